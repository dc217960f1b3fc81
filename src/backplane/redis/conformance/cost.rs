//! What the server pays, in CPU per event, beside plain `XADD`. A measurement, not a test.

use std::{fs, sync::Arc};

use super::{Pair, Server};
use crate::{
    span::protocol::{Batch, Keeps, Post, Request, Retention},
    topic::{Compressible, Continues},
};

#[test]
#[ignore = "it measures; run it with --nocapture on a quiet machine"]
fn what_the_server_pays_per_event() {
    let Some(server) = Server::start(&[]) else { return };
    let plain = measure(&server, 1, 16, |number, out| {
        let command = format!(
            "*8\r\n$4\r\nXADD\r\n$5\r\nplain\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$5\r\n10000\r\n$12\r\n{}-0\r\n$2\r\ne1\r\n$100\r\n{}\r\n",
            1_000_000_000 + number,
            "x".repeat(100)
        );
        out.extend_from_slice(command.as_bytes());
    });
    println!("XADD, 16 in flight as everything here: {plain:.2} us");
    for (name, keeps) in [
        ("log only", Keeps { events: 0, bytes: 0 }),
        ("history of 100", Keeps { events: 100, bytes: 1 << 20 }),
    ] {
        for (events, topics) in [(1, 1), (16, 1), (16, 16), (128, 1), (128, 128)] {
            let mut pair = Pair::new(&server);
            pair.greet();
            let cost = measure(&server, events, 16, |number, out| {
                pair.encode("anna", &append(number, events, topics, keeps), out);
            });
            println!(
                "{name}, {events} events of {topics} topics a call: {cost:.2} us an event, \
                 {:.2} XADD",
                cost / plain
            );
        }
    }
    let mut pair = Pair::new(&server);
    pair.greet();
    let mut command = Vec::new();
    let keeps = Keeps { events: 100, bytes: 1 << 20 };
    (1..=20).for_each(|number| pair.encode("anna", &append(number, 128, 20, keeps), &mut command));
    pair.client.send(&command);
    (0..20).for_each(|_| drop(pair.client.receive()));
    let topics: Vec<Arc<str>> = (0..20).map(|n| format!("topic {n}").into()).collect();
    let cost = measure(&server, 1, 1, |_, out| {
        pair.encode("anna", &Request::Recall(topics.clone()), out);
    });
    println!("recall of 20 topics with 100 events: {cost:.0} us, {:.2} us an event", cost / 2000.);
}

impl Pair {
    fn greet(&mut self) {
        let _reply = self.ask("anna", &Request::Greet { floor: 0 });
    }
}

fn append(number: u64, events: usize, topics: usize, keeps: Keeps) -> Request {
    let data = "x".repeat(92);
    let post = |nth: usize| Post {
        topic: format!("topic {}", nth % topics).into(),
        keeps,
        compression: Compressible::Yes,
        continues: Continues::Yes,
        once: None,
        events: format!("data: {data}\n\n").into_bytes().into(),
    };
    let posts = (0..events).map(post).collect();
    let retention = Retention { log_entries: 10_000, history_s: 3600 };
    let batch = Arc::new(Batch { number, posts, bytes: events * 100 });
    Request::Append { batch, base: number, retention }
}

/// Microseconds of CPU of the server per event.
fn measure(
    server: &Server,
    events: usize,
    in_flight: u64,
    encode: impl Fn(u64, &mut Vec<u8>),
) -> f64 {
    let mut client = server.connect();
    let calls = (20_000 / events as u64).clamp(320, 4_000);
    let mut before = 0;
    for window in 0..calls / in_flight {
        if window == calls / in_flight / 4 {
            before = cpu_ns(server);
        }
        let mut commands = Vec::new();
        (1..=in_flight).for_each(|nth| encode(window * in_flight + nth, &mut commands));
        client.send(&commands);
        (0..in_flight).for_each(|_| drop(client.receive()));
    }
    let windows = calls / in_flight - calls / in_flight / 4;
    (cpu_ns(server) - before) as f64 / 1000. / (windows * in_flight * events as u64) as f64
}

fn cpu_ns(server: &Server) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/schedstat", server.process_id()));
    let text = text.expect("Linux");
    text.split(' ').next().and_then(|field| field.parse().ok()).expect("a number")
}
