//! The rule of sealed bytes at every split of output and for every error: what leaves is a sequence
//! of records with the numbers 0, 1, 2 and so on, so no number is used twice for bytes that leave.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::*;
use crate::tls::session::RECORDS_PER_KEY;

/// What a socket does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Takes at most this many bytes, then is full.
    Take(usize),
    Block,
    Interrupt,
}

/// A socket that follows a script, and then takes everything.
#[derive(Debug, Default)]
struct Socket {
    script: Vec<Step>,
    left: Vec<u8>,
}

impl Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.script.pop() {
            Some(Step::Block) => Err(ErrorKind::WouldBlock.into()),
            Some(Step::Interrupt) => Err(ErrorKind::Interrupted.into()),
            Some(Step::Take(limit_bytes)) => {
                let taken = &bytes[..bytes.len().min(limit_bytes)];
                self.left.extend_from_slice(taken);
                Ok(taken.len())
            }
            None => self.left.write(bytes),
        }
    }
}

/// Sends all of it like the engine, which asks nothing but whether all was taken: from where it was taken, as soon as the socket is writable.
fn send_all(session: &mut Session, mut data: &[u8], socket: &mut Socket) {
    while !data.is_empty() {
        let (first, second) = data.split_at(data.len() / 3);
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        match session.send(&slices, &mut Vec::new(), |bytes| socket.write(bytes)) {
            Ok(taken) => {
                assert!((1..=data.len()).contains(&taken));
                data = &data[taken..];
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(session.unsent_bytes() < RECORD_BYTES_MAX + 100, "one record and some alerts");
    }
    assert!(!session.has_unsent(), "all was taken, so all has left");
}

/// The client counts for itself: it opens everything only if each number was used once, in order.
fn assert_arrives(suite: Suite, data: &[u8], socket: &Socket, first_number: u32) {
    let (mut client, _) = pair(suite);
    client.count_from(0, first_number);
    assert_eq!(received(&mut client, &socket.left), (data.to_vec(), Ok(Received::Nothing)));
}

#[test]
fn bytes_arrive_once_and_in_order_wherever_a_write_is_cut() {
    let data: Vec<u8> = (0..60_u8).collect();
    for limit_bytes in 0..=data.len() + 22 {
        for rest_bytes in [0, 1, 21, 22, 23, 1000] {
            let (_, mut server) = pair(Suite::Aes128GcmSha256);
            let script = vec![Step::Take(rest_bytes), Step::Block, Step::Take(limit_bytes)];
            let mut socket = Socket { script, left: Vec::new() };
            send_all(&mut server, &data, &mut socket);
            server.change_key();
            send_all(&mut server, &data, &mut socket);
            assert_arrives(Suite::Aes128GcmSha256, &data.repeat(2), &socket, 0);
        }
    }
}

#[test]
fn a_record_of_which_nothing_has_left_is_not_counted() {
    let (mut client, mut server) = pair(Suite::Chacha20Poly1305Sha256);
    for _ in 0..10 {
        let blocked = |_: &[u8]| Err(ErrorKind::WouldBlock.into());
        let result = server.send(&[IoSlice::new(b"never")], &mut Vec::new(), blocked);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
        let result = server.send(&[IoSlice::new(b"never")], &mut Vec::new(), |_| Ok(0));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert_eq!((server.sent_records(), server.unsent_bytes()), (0, 0));
    assert_eq!(received(&mut client, &sent(&mut server, b"other")).0, b"other");
}

#[test]
fn of_several_records_only_those_are_counted_of_which_a_byte_has_left() {
    let data = vec![1; 3 * 16_384];
    let record_bytes = 16_384 + 22;
    for (limit_bytes, records, unsent_bytes) in [
        (1, 1, record_bytes - 1),
        (record_bytes, 1, 0),
        (record_bytes + 1, 2, record_bytes - 1),
        (3 * record_bytes - 1, 3, 1),
    ] {
        let (_, mut server) = pair(Suite::Aes128GcmSha256);
        let mut socket =
            Socket { script: vec![Step::Block, Step::Take(limit_bytes)], left: Vec::new() };
        let write = |bytes: &[u8]| socket.write(bytes);
        let taken = server.send(&[IoSlice::new(&data)], &mut Vec::new(), write).unwrap();
        let withheld_bytes = usize::from(unsent_bytes > 0);
        assert_eq!(taken, records * 16_384 - withheld_bytes);
        assert_eq!(server.sent_records(), records as u32);
        assert_eq!(server.unsent_bytes(), unsent_bytes);
    }
}

/// Callers keep the rest of a slice once a part of it was taken, and may drop other slices.
#[test]
fn nothing_has_left_of_a_slice_of_which_nothing_is_taken() {
    for first_bytes in 16_384 - 3..16_384 + 3 {
        for (second_bytes, third_bytes) in [(100, 0), (1, 100), (16_384, 16_384)] {
            for limit_bytes in [10, 16_500, 40_000] {
                let (mut client, mut server) = pair(Suite::Aes128GcmSha256);
                let slices = [first_bytes, second_bytes, third_bytes].map(|bytes| vec![1; bytes]);
                let slices = slices.each_ref().map(|slice| IoSlice::new(slice));
                let script = vec![Step::Block, Step::Take(limit_bytes)];
                let mut socket = Socket { script, left: Vec::new() };
                let write = |bytes: &[u8]| socket.write(bytes);
                let taken = server.send(&slices, &mut Vec::new(), write).unwrap();
                if taken == first_bytes || taken == first_bytes + second_bytes {
                    server.flush(|bytes| socket.write(bytes)).unwrap();
                    assert_eq!(received(&mut client, &socket.left).0.len(), taken);
                }
            }
        }
    }
}

#[test]
fn after_any_other_error_nothing_leaves() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::TimedOut] {
        for limit_bytes in [0, 5, 1000] {
            let (_, mut server) = pair(Suite::Aes128GcmSha256);
            let mut socket =
                Socket { script: vec![Step::Block, Step::Take(limit_bytes)], left: Vec::new() };
            let slices = [IoSlice::new(b"data")];
            let write = |bytes: &[u8]| socket.write(bytes);
            let _ = server.send(&slices, &mut Vec::new(), write);
            let failing = |_: &[u8]| Err(kind.into());
            let error = server.send(&slices, &mut Vec::new(), failing).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_is_lost(&mut server);
        }
    }
}

#[test]
fn after_a_panic_of_the_writer_nothing_leaves() {
    let (_, mut server) = pair(Suite::Aes128GcmSha256);
    let panicking = |_: &[u8]| -> io::Result<usize> { panic!("a bug in the caller") };
    let send = || server.send(&[IoSlice::new(b"data")], &mut Vec::new(), panicking);
    assert!(catch_unwind(AssertUnwindSafe(send)).is_err());
    assert_is_lost(&mut server);
}

fn assert_is_lost(server: &mut Session) {
    let write = |_: &[u8]| -> io::Result<usize> { panic!("nothing may leave") };
    assert!(server.send(&[IoSlice::new(b"data")], &mut Vec::new(), write).is_err());
    server.close();
    assert!(!server.has_unsent());
    server.flush(write).unwrap();
}

/// Others are served in between, however fast this client reads.
#[test]
fn one_call_sends_a_share_of_a_large_body() {
    let (mut client, mut server) = pair(Suite::Aes128GcmSha256);
    let data = vec![1; 4 << 20];
    let (mut left, mut start) = (Vec::new(), 0);
    while start < data.len() {
        let slices = [IoSlice::new(&data[start..])];
        let write = |bytes: &[u8]| left.write(bytes);
        let taken = server.send(&slices, &mut Vec::new(), write).unwrap();
        assert!((1..=(1 << 20) + 48 * 1024).contains(&taken), "{taken} bytes in a call");
        start += taken;
    }
    assert!(!server.has_unsent());
    assert_eq!(received(&mut client, &left).0, data);
}

#[test]
fn requests_of_a_client_do_not_make_the_queue_longer() {
    let (mut client, mut server) = pair(Suite::Aes128GcmSha256);
    for _ in 0..1000 {
        client.change_key_and_ask_for_another();
        let mut bytes = flushed(&mut client);
        bytes.extend(sent(&mut client, b"x"));
        assert_eq!(received(&mut server, &bytes).1, Ok(Received::Nothing));
        let blocked = |_: &[u8]| Err(ErrorKind::WouldBlock.into());
        server.send(&[IoSlice::new(b"data")], &mut Vec::new(), blocked).unwrap_err();
        assert!(server.unsent_bytes() <= 27, "{}", server.unsent_bytes());
    }
    let bytes = sent(&mut server, b"data");
    assert_eq!(received(&mut client, &bytes).0, b"data");
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..40_000).prop_map(Step::Take),
        2 => (0_usize..60).prop_map(Step::Take),
        2 => Just(Step::Block),
        1 => Just(Step::Interrupt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_socket_gets_each_record_once(
        suite in prop::sample::select(&SUITES[..]),
        script in prop::collection::vec(step(), 0..40),
        lengths in prop::collection::vec(prop_oneof![0_usize..200, 0_usize..70_000], 1..8),
        // Also across the end of a key.
        first_number in prop::sample::select(vec![0, RECORDS_PER_KEY - 3]),
    ) {
        let (_, mut server) = pair(suite);
        server.count_from(first_number, 0);
        let mut socket = Socket { script, left: Vec::new() };
        let mut all = Vec::new();
        for (length, byte) in lengths.into_iter().zip(1_u8..) {
            let data = vec![byte; length];
            send_all(&mut server, &data, &mut socket);
            all.extend(data);
        }
        assert_arrives(suite, &all, &socket, first_number);
    }
}
