//! Reads that return less than is available, and reads that are not needed.
#![cfg(all(target_os = "linux", not(starwheel_portable)))]

use std::{
    fs,
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use starwheel::Reactor;

use crate::{
    client::{Client, get},
    listening, routes, turn_until, turn_until_quiet,
};

/// All of it is in the kernel before the reactor reads: no later event reports the rest.
#[test]
fn an_urgent_byte_anywhere_in_a_request_delays_nothing() {
    let request = get("/hello");
    let (mut reactor, address) = listening();
    for cut in 0..=request.len() {
        let requests = reactor.stats().requests;
        let mut client = Client::connect(address);
        turn_until(&mut reactor, "it is accepted", |stats| stats.connections == 1);
        turn_until_quiet(&mut reactor);
        client.send(&request[..cut]);
        client.send_urgent(b'!');
        client.send(&request[cut..]);
        client.send(&request);
        turn_until(&mut reactor, "all is read", |stats| stats.requests == requests + 2);
        turn_until_quiet(&mut reactor);
        assert_eq!((client.answer().body, client.answer().body), ("hello".into(), "hello".into()));
        drop(client);
        turn_until(&mut reactor, "it is gone", |stats| stats.connections == 0);
    }
}

#[test]
fn many_urgent_bytes_and_a_fin_delay_nothing() {
    let (mut reactor, address) = listening();
    let mut client = Client::connect(address);
    turn_until(&mut reactor, "it is accepted", |stats| stats.connections == 1);
    turn_until_quiet(&mut reactor);
    for round in 1..=5 {
        // If several urgent bytes wait, all but the last become data.
        client.send("POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 22\r\n\r\n0123456789");
        client.send_urgent(b'!');
        client.send("0123456789");
        client.send_urgent(b'!');
        client.send("0");
        turn_until(&mut reactor, "all is read", |stats| stats.requests == round);
    }
    client.send(get("/hello"));
    client.send_urgent(b'!');
    client.half_close();
    turn_until(&mut reactor, "it is gone", |stats| stats.connections == 0);
    (0..5).for_each(|_| assert_eq!(client.answer().status, 405));
    assert_eq!(client.answer().body, "hello");
    assert_eq!(client.rest(), "");
}

#[test]
fn descriptors_sent_over_a_unix_socket_delay_nothing_and_are_not_kept() {
    let path = std::env::temp_dir().join(format!("starwheel-test-{}-passed", std::process::id()));
    let mut reactor = Reactor::new(routes()).unwrap();
    reactor.listen_on(UnixListener::bind(&path).unwrap()).unwrap();
    let mut client = Client::connect_unix(&path);
    fs::remove_file(&path).unwrap();
    turn_until(&mut reactor, "it is accepted", |stats| stats.connections == 1);
    turn_until_quiet(&mut reactor);
    let name = format!("starwheel-test-{}-attachment", std::process::id());
    let attached_path = std::env::temp_dir().join(&name);
    let attached = fs::File::create(&attached_path).unwrap();
    fs::remove_file(&attached_path).unwrap();
    let request = get("/hello");
    for cut in 1..request.len() {
        send_with_descriptor(client.socket(), &request.as_bytes()[..cut], attached.as_fd());
        client.send(&request[cut..]);
        turn_until(&mut reactor, "all is read", |stats| stats.requests == cut as u64);
        turn_until_quiet(&mut reactor);
        assert_eq!(client.answer().body, "hello", "cut at {cut}");
    }
    // Other tests open and close descriptors in the meantime, but none of this file.
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|it| fs::read_link(it.ok()?.path()).ok());
    let open = links.filter(|link| link.to_string_lossy().contains(&name)).count();
    assert_eq!(open, 1, "ours");
}

fn send_with_descriptor(socket: &UnixStream, bytes: &[u8], attached: BorrowedFd<'_>) {
    let descriptors = [attached];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty());
    assert_eq!(sent.unwrap(), bytes.len());
}
