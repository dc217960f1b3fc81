//! Requests and streams over TLS: the engine with clients of another make (rustls), on a simulated
//! network with its faults, and on loopback.

#[path = "tls/bounds.rs"]
mod bounds;
#[path = "tls/counts.rs"]
mod counts;
#[path = "tls/figures.rs"]
mod figures;
#[path = "support/https.rs"]
mod https;
#[path = "tls/lateness.rs"]
mod lateness;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    time::Duration,
};

use https::{End, HttpsClient, Localhost};
use starwheel::{
    Backpressure, Config, Next, Reactor, Response, Router, Sse, StreamCompression, Topic,
    testing::{Faults, ServerEnd, Simulation},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
const GET_TICKS: &[u8] = b"GET /ticks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const LARGE_BYTES: usize = 300_000;

/// `/`, `/large`, the length of a body, and a stream of five ticks, one every 100 ms.
fn routes() -> Router {
    Router::new()
        .get("/", |_req, _cx| Response::text("hello"))
        .get("/large", |_req, _cx| Response::text("*".repeat(LARGE_BYTES)))
        .post("/", |req, _cx| Response::text(format!("{} bytes", req.body().len())))
        .get("/ticks", |_req, _cx| {
            let mut count = 0;
            Sse::every(Duration::from_millis(100), move |stream| {
                count += 1;
                stream.send(format_args!("tick {count}."));
                if count == 5 { Next::Finish } else { Next::Again }
            })
            .compression(StreamCompression::Off)
        })
}

fn faults(change: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::default();
    change(&mut faults);
    faults
}

#[test]
fn requests_are_answered_on_one_connection() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut client = localhost.connect(&mut simulation);
    for count in 1..=3 {
        client.send(&mut simulation, GET);
        assert_eq!(client.text().matches("hello").count(), count);
    }
    let body = "y".repeat(100_000);
    let post =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{body}");
    client.send(&mut simulation, post.as_bytes());
    assert!(client.text().ends_with("100000 bytes"), "{}", client.text());
    assert_eq!(simulation.stats().connections, 1);
}

#[test]
fn an_answer_does_not_depend_on_where_the_clients_bytes_are_cut() {
    let localhost = Localhost::new();
    for piece_bytes in [1, 2, 3, 5, 6, 50, 300] {
        let mut simulation = Simulation::new(routes());
        let mut client = localhost.connect(&mut simulation);
        client.piece_bytes = piece_bytes;
        client.send(&mut simulation, GET);
        assert!(client.text().ends_with("hello"), "pieces of {piece_bytes}");
    }
}

#[test]
fn a_stream_ticks_and_ends_in_an_orderly_way() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, GET_TICKS);
    for _ in 0..10 {
        simulation.advance(Duration::from_millis(100));
        client.send(&mut simulation, b"");
    }
    assert_five_ticks(&client);
    assert_eq!(client.end(), Some(&End::CloseNotify));
    assert_eq!(simulation.server_end(client.client), Some(ServerEnd::Fin));
}

fn assert_five_ticks(client: &HttpsClient) {
    let text = client.text();
    let ticks: Vec<_> = (1..=5).map(|count| format!("data: tick {count}.\n")).collect();
    let found: Vec<_> = text.match_indices("data: ").map(|(at, _)| &text[at..at + 14]).collect();
    assert_eq!(found, ticks.iter().map(String::as_str).collect::<Vec<_>>(), "{text}");
    assert!(text.ends_with("0\r\n\r\n"), "{text}");
}

/// Records are cut wherever the kernel's buffer ends.
#[test]
fn a_slow_client_gets_everything_once() {
    let localhost = Localhost::new();
    for socket_buffer_bytes in [1, 21, 22, 23, 1000, 16_405, 16_406, 16_407, 49_218, 49_219] {
        let mut simulation = Simulation::new(routes());
        let mut client = localhost.connect(&mut simulation);
        client.send(&mut simulation, GET);
        simulation.set_faults(faults(|it| it.socket_buffer_bytes = socket_buffer_bytes));
        for _ in 0..100 {
            client.send(&mut simulation, GET_LARGE);
            simulation.stall(client.client);
            simulation.turn();
            simulation.resume(client.client);
            client.send(&mut simulation, b"");
            if client.text().matches('*').count() == LARGE_BYTES {
                break;
            }
        }
        assert_eq!(client.text().matches('*').count() % LARGE_BYTES, 0, "{socket_buffer_bytes}");
        assert_eq!(client.end(), None);
    }
}

/// Whatever the sockets do, as long as they do not fail.
#[test]
fn conversations_survive_short_reads_short_writes_refusals_and_interrupts() {
    let localhost = Localhost::new();
    for seed in 0..60 {
        let mut simulation = Simulation::with_config(Config::default(), seed, routes());
        simulation.set_faults(faults(|it| {
            it.short_writes_percent = 40;
            it.short_reads_percent = 40;
            it.would_block_percent = 20;
            it.interrupts_percent = 20;
            it.spurious_readiness_percent = 20;
            it.socket_buffer_bytes = [50, 5000, 64 * 1024][seed as usize % 3];
        }));
        let mut client = localhost.connect(&mut simulation);
        client.piece_bytes = [7, 100, usize::MAX][seed as usize / 3 % 3];
        client.send(&mut simulation, GET);
        assert!(client.text().ends_with("hello"), "seed {seed}: {:?}", client.end());
        client.send(&mut simulation, GET_LARGE);
        assert_eq!(client.text().matches('*').count(), LARGE_BYTES, "seed {seed}");
        client.session.refresh_traffic_keys().unwrap();
        client.send(&mut simulation, GET_TICKS);
        for _ in 0..10 {
            simulation.advance(Duration::from_millis(100));
            client.send(&mut simulation, b"");
        }
        assert_five_ticks(&client);
        assert_eq!(client.end(), Some(&End::CloseNotify), "seed {seed}");
    }
}

/// The connection is reset at any time. Nothing may panic or remain.
#[test]
fn a_reset_anywhere_leaves_nothing() {
    let localhost = Localhost::new();
    for seed in 0..100 {
        let mut simulation = Simulation::with_config(Config::default(), seed, routes());
        simulation.set_faults(faults(|it| {
            it.resets_percent = 10;
            it.short_reads_percent = 60;
            it.short_writes_percent = 60;
        }));
        let mut client = localhost.connect(&mut simulation);
        client.send(&mut simulation, GET);
        client.send(&mut simulation, GET_TICKS);
        simulation.reset(client.client);
        simulation.turn();
        assert_eq!(simulation.stats().connections, 0, "seed {seed}");
    }
}

#[test]
fn events_of_a_topic_reach_clients_that_stall_in_between() {
    let (localhost, topic) = (Localhost::new(), Topic::new("t").log(100, 1 << 20));
    let subscribed = topic.clone();
    let router = Router::new().get("/", move |_req, _cx| Sse::new().subscribe(&subscribed));
    let mut simulation = Simulation::new(router);
    let mut clients: Vec<_> = (0..3).map(|_| localhost.connect(&mut simulation)).collect();
    clients.iter_mut().for_each(|client| client.send(&mut simulation, GET));
    simulation.set_faults(faults(|it| it.socket_buffer_bytes = 30_000));
    simulation.stall(clients[1].client);
    for number in 0..50 {
        let text = format!("{number:03} {}", "z".repeat(2000));
        simulation.context().publish(&topic, text).unwrap();
        simulation.turn();
    }
    simulation.resume(clients[1].client);
    for client in &mut clients {
        client.send(&mut simulation, b"");
        let text = client.text();
        let numbers: Vec<_> =
            text.match_indices("data: ").map(|(at, _)| &text[at + 6..at + 9]).collect();
        let all: Vec<_> = (0..50).map(|number| format!("{number:03}")).collect();
        assert_eq!(numbers, all.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// A record may end after the first byte of an event. Then the client has a part of that event,
/// which the topic's log may discard before the rest is sent.
#[test]
fn no_event_is_cut_when_a_stalled_client_misses_some() {
    let localhost = Localhost::new();
    let mut gaps = 0;
    // Around one record with the frame of an event.
    for large_bytes in 16_384 - 30..16_384 {
        let topic = Topic::new("t").log(2, 1 << 20).backpressure(Backpressure::DropOldest);
        let subscribed = topic.clone();
        let router = Router::new().get("/", move |_req, _cx| {
            Sse::new().subscribe(&subscribed).compression(StreamCompression::Off)
        });
        let mut simulation = Simulation::new(router);
        let mut client = localhost.connect(&mut simulation);
        client.send(&mut simulation, GET);
        simulation.set_faults(faults(|it| it.socket_buffer_bytes = 1000));
        simulation.stall(client.client);
        for texts in [["a".repeat(large_bytes), "b".to_owned()], ["c".repeat(40), "d".repeat(40)]] {
            for text in texts {
                simulation.context().publish(&topic, text).unwrap();
            }
            simulation.turn();
        }
        simulation.resume(client.client);
        client.send(&mut simulation, b"");
        let (text, second) = (client.text(), "\n\n\r\n9\r\ndata: b\n\n\r\n30\r\ndata: c");
        let gap = "\n\n\r\n14\r\nevent: gap\ndata: t\n\n\r\n30\r\ndata: c";
        assert!(text.contains(second) || text.contains(gap), "{large_bytes}");
        gaps += usize::from(text.contains(gap));
        assert_eq!(client.end(), None);
    }
    assert!((1..30).contains(&gaps), "both happen");
}

/// Records may have more padding than data. What a client costs is what it has sent.
#[test]
fn a_turn_reads_a_share_of_records_however_small_they_are() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut client = localhost.connect(&mut simulation);
    client.send(
        &mut simulation,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n",
    );
    let mut records = Vec::new();
    for _ in 0..30_000 {
        client.session.writer().write_all(b"x").unwrap();
        client.session.write_tls(&mut records).unwrap();
    }
    assert!(records.len() > 600_000);
    simulation.send(client.client, &records);
    loop {
        let reads_before = simulation.reads(client.client);
        let has_more = simulation.turn_once();
        let reads = simulation.reads(client.client) - reads_before;
        assert!(reads <= 5, "{reads} reads in a turn");
        if !has_more {
            break;
        }
    }
    client.send(&mut simulation, b"");
    assert!(client.text().ends_with("30000 bytes"), "{}", client.text());
}

#[test]
fn a_request_in_the_clear_gets_an_alert_and_an_end() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let client = simulation.connect_tls(&localhost.server);
    simulation.send(client, GET);
    simulation.turn();
    assert_eq!(simulation.received(client), [21, 3, 3, 0, 2, 2, 10]);
    assert_eq!(simulation.stats().connections, 0);
}

#[test]
fn a_shutdown_ends_each_client_as_far_as_it_has_come() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut ticking = localhost.connect(&mut simulation);
    ticking.send(&mut simulation, GET_TICKS);
    let mut idle = localhost.connect(&mut simulation);
    idle.send(&mut simulation, GET);
    let in_handshake = simulation.connect_tls(&localhost.server);
    simulation.send(in_handshake, &[22, 3, 1]);
    let mut stalled = localhost.connect(&mut simulation);
    stalled.send(&mut simulation, b"");
    simulation.set_faults(faults(|it| it.socket_buffer_bytes = 1000));
    simulation.stall(stalled.client);
    stalled.session.writer().write_all(GET_LARGE).unwrap();
    stalled.converse(&mut simulation);
    simulation.shutdown();
    simulation.turn();
    assert_eq!(simulation.stats().connections, 0);
    for (client, end) in [(&mut ticking, ServerEnd::Fin), (&mut idle, ServerEnd::Fin)] {
        client.send(&mut simulation, b"");
        assert_eq!(client.end(), Some(&End::CloseNotify));
        assert_eq!(simulation.server_end(client.client), Some(end));
    }
    assert_eq!(simulation.server_end(in_handshake), Some(ServerEnd::Fin));
    assert_eq!(simulation.server_end(stalled.client), Some(ServerEnd::Reset));
    assert!(!stalled.text().contains("*"), "no complete record was read");
}

#[test]
fn a_drain_says_farewell_to_streams_and_closes_them_in_an_orderly_way() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, GET_TICKS);
    simulation.drain(Duration::from_millis(300));
    for _ in 0..4 {
        simulation.advance(Duration::from_millis(100));
        client.send(&mut simulation, b"");
    }
    assert!(client.text().contains("retry: "), "{}", client.text());
    assert_eq!(client.end(), Some(&End::CloseNotify));
    assert!(simulation.is_stopped());
}

/// Keep-alives are small records between long pauses.
#[test]
fn a_quiet_stream_is_kept_alive_and_ends_when_its_client_is_gone() {
    let localhost = Localhost::new();
    let every = starwheel::KeepAlive::Every(Duration::from_secs(15));
    let router = Router::new().get("/", move |_req, _cx| Sse::new().keep_alive(every));
    let mut simulation = Simulation::new(router);
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, GET);
    for _ in 0..100 {
        simulation.advance(Duration::from_secs(15));
    }
    client.send(&mut simulation, b"");
    assert_eq!(simulation.stats().keep_alives, 100);
    assert_eq!(client.text().matches("\r\n:\n").count(), 101, "and one with the head");
    client.session.send_close_notify();
    client.send(&mut simulation, b"");
    assert_eq!(simulation.stats().connections, 0);
    assert_eq!(client.end(), Some(&End::CloseNotify));
}

#[test]
fn a_client_that_ends_its_side_gets_its_answer_and_an_end() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, b"");
    client.session.writer().write_all(GET_LARGE).unwrap();
    client.session.send_close_notify();
    client.send(&mut simulation, b"");
    simulation.half_close(client.client);
    client.send(&mut simulation, b"");
    assert_eq!(client.text().matches('*').count(), LARGE_BYTES);
    assert_eq!(client.end(), Some(&End::CloseNotify));
    assert_eq!(simulation.stats().connections, 0);
}

/// A real socket, from the first byte to the last.
#[test]
fn a_reactor_serves_https() {
    let localhost = Localhost::new();
    let server = localhost.server.clone();
    let (report, reported) = mpsc::channel();
    let reactor = std::thread::spawn(move || {
        let mut reactor = Reactor::new(routes()).unwrap();
        let address = reactor.listen_tls("127.0.0.1:0", server).unwrap();
        report.send((address, reactor.handle())).unwrap();
        reactor.run().unwrap();
    });
    let (address, handle) = reported.recv().unwrap();
    let mut session = localhost.session();
    let mut socket = TcpStream::connect(address).unwrap();
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    stream.write_all(&GET_LARGE.repeat(3)).unwrap();
    stream.write_all(GET_TICKS).unwrap();
    let mut text = String::new();
    // An error unless it ends with close_notify.
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches('*').count(), 3 * LARGE_BYTES);
    assert!(text.contains("tick 5.") && text.ends_with("0\r\n\r\n"));
    handle.shutdown();
    reactor.join().unwrap();
}

/// By hand, for clients of other makes: `cargo test -p starwheel-tests --test tls -- --ignored
/// --nocapture`.
#[test]
#[ignore = "serves until it is killed"]
fn serve_other_clients() {
    let localhost = Localhost::new();
    let path = std::env::temp_dir().join("starwheel-ca.pem");
    std::fs::write(&path, &localhost.authority.pem).unwrap();
    let mut reactor = Reactor::new(routes()).unwrap();
    let address = reactor.listen_tls("127.0.0.1:0", localhost.server).unwrap();
    println!("curl --cacert {} https://localhost:{}/large", path.display(), address.port());
    reactor.run().unwrap();
}
