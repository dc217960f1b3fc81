//! What connections do: reuse, pipelining, half-closes, drain, shutdown.

#[path = "connections/head.rs"]
mod head;
#[path = "support/story.rs"]
mod story;

use starwheel::{
    Config, Ending, Method, Peer, Response, Router, Sse,
    testing::{BodyEnd, ServerEnd, Simulation},
};
use story::{
    Diary, HOUR, Ids, assert_closed, bad_network, data, data_of, echo, faults, get, get_1_0, ms,
    secs, serving, texts,
};

// Keeping connections.

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let mut simulation = echo();
    let client = simulation.connect();
    for number in 0..10 {
        simulation.request(client, Method::Get, &format!("/?{number}"), &[], b"");
        simulation.advance(secs(50));
    }
    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(texts(&simulation, client), expected);
    assert_eq!(simulation.stats().accepted, 1);
}

#[test]
fn a_connection_is_reused_after_a_finished_stream_and_the_old_id_is_inert() {
    let ids = Ids::default();
    let keep = ids.clone();
    let mut simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    let client = simulation.get("/");
    let first = ids.last();
    simulation.run(|cx| {
        assert!(cx.send(first, "first"));
        assert!(cx.close(first, Ending::Finish));
    });
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    let second = ids.last();
    assert_ne!(first, second);
    simulation.run(|cx| {
        assert!(!cx.send(first, "for nobody"));
        assert!(!cx.close(first, Ending::Drop));
        assert!(cx.send(second, "second"));
    });
    let answers = simulation.responses(client);
    assert_eq!(answers.iter().map(data_of).collect::<Vec<_>>(), [["first"], ["second"]]);
    assert_eq!((answers[0].end, answers[1].end), (BodyEnd::Complete, BodyEnd::Open));
}

#[test]
fn a_client_that_asks_for_a_close_gets_it() {
    let mut simulation = echo();
    for path in ["/", "/once"] {
        let client = simulation.connect();
        simulation.request(client, Method::Get, path, &[("Connection", "close")], b"");
        simulation.request(client, Method::Get, "/", &[], b"");
        simulation.turn();
        assert_eq!(simulation.responses(client).len(), 1, "nothing after it is answered");
        assert_closed(&simulation, client);
    }
}

#[test]
fn http_1_0_keeps_a_connection_only_when_asked() {
    let mut simulation = echo();
    let once = get_1_0(&mut simulation, "/?a", "");
    assert_closed(&simulation, once);
    let kept = get_1_0(&mut simulation, "/?a", "Connection: keep-alive\r\n");
    assert_eq!(simulation.response(kept).header("connection"), Some("keep-alive"));
    assert_eq!(simulation.server_end(kept), None);
}

// Pipelining.

#[test]
fn pipelined_requests_are_answered_in_order_however_they_arrive() {
    let expected: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    let requests: Vec<u8> =
        expected.iter().flat_map(|number| get(&format!("/?{number}"))).collect();
    for piece_bytes in [1, 7, 100, 4096, usize::MAX] {
        let mut simulation = echo();
        let client = simulation.connect();
        for piece in requests.chunks(piece_bytes.min(requests.len())) {
            simulation.send(client, piece);
            simulation.turn();
        }
        assert_eq!(texts(&simulation, client), expected, "in pieces of {piece_bytes}");
    }
}

#[test]
fn pipelined_requests_survive_a_bad_network() {
    for seed in 0..20 {
        let handler = Router::new()
            .get("/", |req, _| Response::text(format!("{:9000}", req.query().unwrap())));
        let mut simulation = Simulation::with_config(Config::default(), seed, handler);
        simulation.set_faults(bad_network());
        let client = simulation.connect();
        for number in 0..40 {
            simulation.request(client, Method::Get, &format!("/?{number}"), &[], b"");
        }
        simulation.turn();
        let expected: Vec<_> =
            (0..40).map(|number| format!("{number:9000}", number = number.to_string())).collect();
        assert_eq!(texts(&simulation, client), expected, "seed {seed}");
    }
}

#[test]
fn requests_after_a_stream_are_not_answered_and_the_connection_closes() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/once", &[], b"");
    simulation.request(client, Method::Get, "/?never", &[], b"");
    simulation.turn();
    assert_eq!(simulation.responses(client).len(), 1);
    assert_eq!(data(&simulation, client), ["once"]);
    assert_closed(&simulation, client);
}

#[test]
fn requests_sent_into_an_open_stream_are_not_answered_either() {
    let ids = Ids::default();
    let keep = ids.clone();
    let mut simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    let client = simulation.get("/");
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    let id = ids.last();
    simulation.run(|cx| assert!(cx.close(id, Ending::Finish)));
    assert_eq!(simulation.stats().opened, 1);
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
}

// Reads.

#[test]
fn a_request_costs_one_read() {
    let mut simulation = echo();
    let client = simulation.connect();
    for number in 0..10 {
        simulation.request(client, Method::Get, &format!("/?{number}"), &[], b"");
        simulation.turn();
        assert_eq!(simulation.reads(client), number + 1);
    }
}

/// A read stops there, and no later event reports the rest.
#[test]
fn bytes_after_an_urgent_byte_are_read_with_those_before_it() {
    let large =
        [b"POST /?a HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n", &[b'x'; 900_000][..]];
    for request in [get("/?a"), large.concat()] {
        for cut in [0, 1, 10, request.len() / 2, request.len() - 1, request.len()] {
            let mut simulation = echo();
            let client = simulation.connect();
            simulation.send(client, &request[..cut]);
            simulation.send_urgent(client, b'!');
            simulation.send(client, &request[cut..]);
            simulation.send(client, &get("/?b"));
            simulation.turn();
            assert_eq!(texts(&simulation, client).len(), 2, "cut at {cut}");
        }
    }
}

#[test]
fn urgent_bytes_on_a_bad_network_delay_nothing() {
    for seed in 0..50 {
        let router = Router::new().get("/", |_, _| Response::text("hello"));
        let mut simulation = Simulation::with_config(Config::default(), seed, router);
        simulation.set_faults(bad_network());
        let client = simulation.connect();
        for number in 1..=20 {
            let request = get("/");
            let (before, after) = request.split_at(usize::from(seed as u8) % request.len());
            simulation.send(client, before);
            simulation.send_urgent(client, b'!');
            simulation.send(client, after);
            simulation.turn();
            assert_eq!(simulation.responses(client).len(), number, "seed {seed}");
        }
    }
}

#[test]
fn a_unix_socket_is_read_until_it_is_empty() {
    let mut simulation = echo();
    let client = simulation.connect_from(Peer::Unix);
    for number in 0..10_usize {
        get("/?a").chunks(number + 1).for_each(|piece| simulation.send(client, piece));
        simulation.turn();
        assert_eq!(texts(&simulation, client).len(), number + 1);
    }
}

// HEAD.

#[test]
fn head_on_a_stream_gets_its_head_and_opens_nothing() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.request(client, Method::Head, "/stream", &[], b"");
    simulation.request(client, Method::Get, "/?next", &[], b"");
    simulation.turn();
    let answers = simulation.responses(client);
    assert_eq!(answers[0].header("content-type"), Some("text/event-stream"));
    assert_eq!(answers[0].body, b"");
    assert_eq!(answers[1].text(), "next");
    assert_eq!(simulation.stats().opened, 0);
}

#[test]
fn head_on_a_response_has_its_length_and_no_body() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.request(client, Method::Head, "/?hello", &[], b"");
    simulation.request(client, Method::Get, "/?next", &[], b"");
    simulation.turn();
    let answers = simulation.responses(client);
    assert_eq!(answers[0].header("content-length"), Some("5"));
    assert_eq!(answers[1].text(), "next");
}

// Half-closes.

#[test]
fn one_shot_answers_still_arrive_after_the_clients_fin() {
    for (path, body) in [("/?hello", "hello"), ("/once", "data: once\n\n")] {
        let mut simulation = echo();
        let client = simulation.connect();
        simulation.request(client, Method::Get, path, &[], b"");
        simulation.half_close(client);
        simulation.turn();
        let answer = simulation.response(client);
        assert_eq!((answer.text(), answer.end), (body, BodyEnd::Complete));
        assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
        assert!(!simulation.is_open(client));
    }
}

#[test]
fn a_large_response_reaches_a_slow_reader_that_has_half_closed() {
    let mut simulation = serving(|_, _| Response::text("x".repeat(1_000_000)));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.half_close(client);
    for _ in 0..100 {
        simulation.advance(ms(100));
        simulation.read_some(client, 20_000);
    }
    simulation.turn();
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    assert!(!simulation.is_open(client));
}

#[test]
fn a_stream_ends_with_the_clients_fin() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        Sse::every(secs(1), |stream| stream.send("tick"))
            .on_disconnect(move |_, _, reason| noted.note(reason))
    });
    let client = simulation.get("/");
    simulation.half_close(client);
    simulation.turn();
    assert_eq!(diary.read(), ["the client disconnected"]);
    assert!(!simulation.is_open(client));
}

#[test]
fn half_closed_connections_cause_no_spinning() {
    let mut simulation = echo();
    for path in ["/", "/once", "/stream"] {
        let client = simulation.get(path);
        simulation.stall(client);
        simulation.half_close(client);
    }
    // One that never finishes its request, and one that waits for a large response.
    let unfinished = simulation.connect();
    simulation.send(unfinished, b"GET / HT");
    simulation.half_close(unfinished);
    let before = simulation.turns();
    simulation.advance(HOUR);
    assert!(simulation.turns() - before < 20, "{} turns", simulation.turns() - before);
    assert_eq!(simulation.stats().connections, 0);
}

#[test]
fn a_client_that_never_closes_is_left_after_the_linger_time() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.send(client, b"nonsense\r\n\r\n");
    simulation.turn();
    assert_closed(&simulation, client);
    assert!(simulation.is_open(client), "a reset could take the answer away");
    simulation.send(client, b"more nonsense");
    simulation.advance(ms(29_999));
    assert!(simulation.is_open(client));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(client));
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin), "what was sent stays valid");
}

#[test]
fn a_client_that_closes_is_left_at_once() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.send(client, b"nonsense\r\n\r\n");
    simulation.turn();
    simulation.half_close(client);
    simulation.turn();
    assert!(!simulation.is_open(client));
}

// Expect.

#[test]
fn a_client_that_waits_for_100_continue_gets_it_once() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.send(
        client,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    simulation.turn();
    assert_eq!(simulation.received(client), b"HTTP/1.1 100 Continue\r\n\r\n");
    simulation.send(client, b"he");
    simulation.turn();
    simulation.send(client, b"llo");
    simulation.turn();
    assert_eq!(texts(&simulation, client), ["hello"]);

    simulation.forget_received(client);
    simulation.send(
        client,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    );
    simulation.turn();
    assert_eq!(simulation.response(client).status, 200, "who does not wait needs none");
}

// Large responses.

#[test]
fn a_large_response_reaches_a_slow_reader_completely() {
    let large: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let body = large.clone();
    let mut simulation =
        serving(move |_, _| Response::bytes("application/octet-stream", body.clone()));
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 300_000));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", &[], b"");
    for _ in 0..200 {
        simulation.advance(ms(100));
        simulation.read_some(client, 30_000);
    }
    simulation.resume(client);
    simulation.turn();
    let answer = simulation.response(client);
    assert_eq!(answer.end, BodyEnd::Complete);
    assert!(answer.body == large, "not a byte differs");
    simulation.request(client, Method::Head, "/", &[], b"");
    simulation.turn();
    assert!(simulation.is_open(client), "and the connection stays open");
}

#[test]
fn large_responses_in_a_row_stay_in_order_on_a_bad_network() {
    let mut simulation = serving(|req, _| Response::text(req.query().unwrap().repeat(100_000)));
    simulation.set_faults(bad_network());
    let client = simulation.connect();
    for letter in ["a", "b", "c", "d", "e"] {
        simulation.request(client, Method::Get, &format!("/?{letter}"), &[], b"");
    }
    simulation.turn();
    let expected: Vec<_> = ["a", "b", "c", "d", "e"].map(|letter| letter.repeat(100_000)).into();
    assert!(texts(&simulation, client) == expected);
}

// Drain and shutdown.

#[test]
fn a_drain_spreads_streams_over_its_window() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        Sse::every(secs(1), |stream| stream.send("tick"))
            .on_disconnect(move |_, _, reason| noted.note(reason))
    });
    let clients: Vec<_> = (0..100).map(|_| simulation.get("/")).collect();
    simulation.drain(secs(10));
    let mut left = Vec::new();
    for _ in 0..10 {
        simulation.advance(secs(1));
        left.push(simulation.stats().streams);
    }
    let evenly: Vec<u64> = (0..10).rev().map(|tenth| tenth * 10).collect();
    // The first half second belongs to the first farewell.
    let difference = left.iter().zip(&evenly).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(difference <= 5, "{left:?}");
    assert_eq!(diary.read(), vec!["the server is shutting down"; 100]);
    for client in clients {
        assert_eq!(simulation.response(client).end, BodyEnd::Open, "it is to reconnect");
        assert!(simulation.server_end(client).is_some());
    }
    simulation.advance(ms(1));
    assert!(simulation.is_stopped());
}

#[test]
fn a_drain_closes_connections_without_a_request_after_a_second_and_busy_ones_after_their_answer() {
    let mut simulation = echo();
    let old = simulation.get("/");
    simulation.advance(secs(5));
    let (fresh, idle, busy) = (simulation.connect(), simulation.get("/"), simulation.connect());
    simulation.send(busy, b"GET /?late HTTP/1.1\r\n");
    simulation.advance(ms(400));
    simulation.drain(secs(60));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(old));
    simulation.advance(ms(598));
    assert!(simulation.is_open(fresh) && simulation.is_open(idle));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(fresh) && !simulation.is_open(idle));
    assert!(simulation.is_open(busy));
    simulation.send(busy, b"Host: a\r\n\r\n");
    simulation.turn();
    assert_eq!(simulation.response(busy).text(), "late");
    assert_closed(&simulation, busy);
    simulation.half_close(busy);
    simulation.turn();
    assert!(simulation.is_stopped(), "a drain without connections does not wait for its window");
}

#[test]
fn requests_that_are_on_their_way_when_a_drain_begins_are_answered() {
    let mut simulation = echo();
    let (fresh, active, late) =
        (simulation.connect(), simulation.get("/?a"), simulation.get("/?a"));
    simulation.request(active, Method::Get, "/?b", &[], b"");
    simulation.request(fresh, Method::Get, "/?b", &[], b"");
    simulation.drain(secs(60));
    let accepted = simulation.connect();
    simulation.advance(ms(900));
    for client in [late, accepted] {
        simulation.request(client, Method::Get, "/?b", &[], b"");
    }
    simulation.turn();
    for client in [fresh, active, late, accepted] {
        assert_eq!(texts(&simulation, client).last().unwrap(), "b");
        assert_closed(&simulation, client);
    }
}

#[test]
fn a_drain_may_go_on_accepting_for_a_time() {
    let mut config = Config::default();
    config.drain_accept_for = secs(5);
    let router = Router::new().get("/", |_, _| Sse::new());
    let mut simulation = Simulation::with_config(config.clone(), 0, router);
    simulation.drain(secs(20));
    simulation.advance(ms(4_999));
    assert!(!simulation.is_stopped(), "a client may still connect");
    let client = simulation.get("/");
    simulation.advance(secs(1));
    assert_eq!(simulation.stats().streams, 1);
    simulation.advance(secs(14));
    assert_eq!(simulation.stats().closed.shutdown, 1, "it leaves within the window");
    simulation.half_close(client);
    simulation.advance(ms(2));
    assert!(simulation.is_stopped());

    let mut simulation = Simulation::with_config(config, 0, Router::new());
    simulation.drain(secs(3));
    simulation.advance(ms(2_999));
    assert!(!simulation.is_stopped());
    simulation.advance(ms(1));
    assert!(simulation.is_stopped(), "no longer than the window");
}

#[test]
fn a_stream_that_finishes_during_a_drain_is_finished() {
    let mut simulation = serving(|_, _| Sse::new().max_lifetime(secs(3)));
    let clients = [simulation.get("/"), simulation.get("/")];
    simulation.drain(secs(60));
    simulation.advance(secs(40));
    assert_eq!(simulation.stats().streams, 0);
    assert_eq!(simulation.stats().closed.total(), 2);
    assert!(clients.iter().all(|&client| simulation.server_end(client).is_some()));
}

#[test]
fn a_shutdown_does_not_wait_for_anybody() {
    let mut simulation = echo();
    let clients = [
        simulation.get("/stream"),
        simulation.get("/stream"),
        simulation.get("/"),
        simulation.connect(),
    ];
    simulation.stall(clients[1]);
    simulation.send(clients[3], b"GET / HT");
    simulation.turn();
    simulation.shutdown();
    assert!(simulation.is_stopped());
    assert_eq!(simulation.stats().closed.shutdown, 2);
    for client in clients {
        assert!(!simulation.is_open(client));
    }
}

#[test]
fn a_shutdown_may_cut_a_drain_short() {
    let mut simulation = echo();
    for _ in 0..10 {
        simulation.get("/stream");
    }
    simulation.drain(HOUR);
    simulation.advance(secs(60));
    assert_eq!(simulation.stats().streams, 9);
    simulation.shutdown();
    assert!(simulation.is_stopped());
    assert_eq!(simulation.stats().closed.shutdown, 10);
}
