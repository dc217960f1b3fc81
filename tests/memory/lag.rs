//! After every turn, the memory allocated for a lagging client is at most twice the bytes queued
//! for it plus 64 KiB, however much it has been sent.

use std::{cell::Cell, rc::Rc, sync::Arc};

use starwheel::{
    Backpressure, Body, Config, Context, Response, Router, Sse, StreamId, Topic,
    testing::{Client, Faults, Simulation},
};

use crate::{live_bytes, random::Random};

/// Of the one kind that is quick to send; the others reach as far as their queues ever do.
const MANY_BYTES: u64 = 100_000_000;
const SOME_BYTES: u64 = 10_000_000;
const SLACK_BYTES: usize = 64 * 1024;
/// The head of an answer, without the digits of its length.
const HEAD_BYTES: usize = 115;
const KERNEL_BYTES: usize = 8 * 1024;

/// A client that reads a random part of its waiting output.
struct Laggard {
    simulation: Simulation,
    client: Client,
    random: Random,
    /// Allocated when nothing was queued.
    idle_bytes: usize,
    sent_before: u64,
}

impl Laggard {
    /// `warm_up` causes all one-time allocations; it must queue more than the kernel takes.
    fn new(mut simulation: Simulation, request: &[u8], warm_up: impl Fn(&mut Context<'_>)) -> Self {
        let client = simulation.connect();
        let mut faults = Faults::default();
        faults.socket_buffer_bytes = KERNEL_BYTES;
        faults.short_writes_percent = 10;
        simulation.set_faults(faults);
        simulation.send(client, request);
        simulation.turn();
        for _ in 0..2 {
            simulation.stall(client);
            simulation.run(&warm_up);
            simulation.resume(client);
            simulation.turn();
        }
        drop(simulation.take_received(client));
        simulation.stall(client);
        let sent_before = simulation.stats().bytes_out;
        let (random, idle_bytes) = (Random::new(1), live_bytes());
        Self { simulation, client, random, idle_bytes, sent_before }
    }

    /// Reads until at most this many bytes are queued.
    fn read_down_to(&mut self, lag_bytes: usize, queued: impl Fn(&mut Simulation) -> usize) {
        loop {
            let waiting = queued(&mut self.simulation);
            self.check(waiting);
            if waiting <= lag_bytes {
                return;
            }
            let count = self.random.between(1, 8 * 1024) as usize;
            self.simulation.read_some(self.client, count);
            drop(self.simulation.take_received(self.client));
            self.simulation.turn();
        }
    }

    fn check(&mut self, queued_bytes: usize) {
        let log_bytes = self.simulation.stats().log_bytes as usize;
        let allocated = live_bytes().saturating_sub(self.idle_bytes + log_bytes);
        let bound = 2 * queued_bytes + SLACK_BYTES;
        assert!(
            allocated <= bound,
            "{allocated} bytes allocated with {queued_bytes} queued, after {} sent",
            self.simulation.stats().bytes_out,
        );
    }

    fn has_been_sent(&self, bytes: u64) -> bool {
        self.simulation.stats().bytes_out - self.sent_before >= bytes
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.outbox_bytes = usize::MAX;
    config
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: test\r\n{headers}\r\n").into_bytes()
}

fn only_stream(cx: &Context<'_>) -> StreamId {
    cx.streams().next().expect("the stream is open")
}

fn greet(cx: &mut Context<'_>) {
    cx.send(only_stream(cx), noise(&mut Random::new(5), 40_000));
}

/// The result of `Context::queued_bytes`.
fn queued_on_stream(simulation: &mut Simulation) -> usize {
    let queued = Rc::new(Cell::new(0));
    let said = Rc::clone(&queued);
    simulation.run(move |cx| said.set(cx.queued_bytes(only_stream(cx)).unwrap()));
    queued.get()
}

/// Text of that length that no coding compresses much.
fn noise(random: &mut Random, bytes: usize) -> String {
    let letters = (0..bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    letters.take(bytes).map(|byte| char::from(b'0' + byte % 64)).collect()
}

fn private_events(bytes: u64, headers: &str, lag_bytes_max: usize, event_bytes_max: usize) {
    let simulation =
        Simulation::with_config(config(), 0, Router::new().get("/", |_, _| Sse::new()));
    let text = noise(&mut Random::new(2), event_bytes_max);
    let mut laggard = Laggard::new(simulation, &get(headers), greet);
    while !laggard.has_been_sent(bytes) {
        let length = laggard.random.between(1, event_bytes_max as u64) as usize;
        let start = laggard.random.below(event_bytes_max - length + 1);
        let event = &text[start..start + length];
        laggard.simulation.run(|cx| assert!(cx.send(only_stream(cx), event)));
        // Never empty: at least a byte stays queued, and mostly much more.
        let lag_bytes = 1 + laggard.random.below(lag_bytes_max);
        laggard.read_down_to(lag_bytes, queued_on_stream);
    }
}

#[test]
fn private_events_of_a_kilobyte_with_a_lag_of_50_kb() {
    private_events(MANY_BYTES, "", 50_000, 1_000);
}

#[test]
fn private_events_of_any_size_with_a_lag_of_megabytes() {
    private_events(MANY_BYTES, "", 4_000_000, 300_000);
}

#[test]
fn private_events_that_are_compressed() {
    private_events(SOME_BYTES, "Accept-Encoding: gzip\r\n", 200_000, 20_000);
}

#[test]
fn private_events_to_a_client_of_http_1_0() {
    let simulation =
        Simulation::with_config(config(), 0, Router::new().get("/", |_, _| Sse::new()));
    let mut laggard = Laggard::new(simulation, b"GET / HTTP/1.0\r\n\r\n", greet);
    let text = "x".repeat(3_000);
    while !laggard.has_been_sent(SOME_BYTES) {
        laggard.simulation.run(|cx| assert!(cx.send(only_stream(cx), text.as_str())));
        let lag_bytes = 1 + laggard.random.below(100_000);
        laggard.read_down_to(lag_bytes, queued_on_stream);
    }
}

/// Answers to a client that pipelines, with bodies of these sizes.
fn answers(sizes: &[usize], body: impl Fn(usize) -> Body + 'static) {
    let made_bytes = Rc::new(Cell::new(0));
    let made = Rc::clone(&made_bytes);
    let mut random = Random::new(3);
    let sizes = sizes.to_vec();
    let router = Router::new().get("/", move |_, _| {
        let size = random.pick(&sizes);
        let vary_bytes = if size >= 1024 { "Vary: Accept-Encoding\r\n".len() } else { 0 };
        let answer_bytes = HEAD_BYTES + size.to_string().len() + vary_bytes + size;
        made.set(made.get() + answer_bytes as u64);
        Response::text(body(size))
    });
    let simulation = Simulation::with_config(config(), 0, router);
    let request = get("Accept-Encoding: identity\r\n");
    let mut laggard = Laggard::new(simulation, &request.repeat(20), |_| {});
    assert_eq!(laggard.simulation.stats().bytes_out, made_bytes.get(), "what a head has");
    let mut asked = 20;
    while !laggard.has_been_sent(SOME_BYTES) {
        let mut lag_bytes = 0;
        // Those that wait for earlier answers to leave are read when the queue is empty.
        if laggard.simulation.stats().requests == asked {
            let count = laggard.random.between(1, 8);
            asked += count;
            laggard.simulation.send(laggard.client, &request.repeat(count as usize));
            laggard.simulation.turn();
            lag_bytes = 1 + laggard.random.below(60_000);
        }
        let made_bytes = Rc::clone(&made_bytes);
        laggard.read_down_to(lag_bytes, move |simulation| {
            made_bytes.get().saturating_sub(simulation.stats().bytes_out) as usize
        });
    }
}

#[test]
fn pipelined_answers_that_are_copied() {
    answers(&[10, 1_000, 8_000], |size| Body::from("x".repeat(size)));
}

#[test]
fn pipelined_answers_that_are_kept_as_they_came() {
    answers(&[20_000, 100_000, 3_000_000], |size| Body::from("x".repeat(size)));
}

#[test]
fn answers_whose_bodies_have_spare_capacity() {
    answers(&[9_000, 500_000], |size| {
        let mut body = String::with_capacity(8 * size);
        body.push_str(&"x".repeat(size));
        Body::from(body)
    });
}

#[test]
fn answers_whose_bodies_were_shared_once() {
    answers(&[9_000, 200_000, 3_000_000], |size| Body::from(Arc::<[u8]>::from(vec![b'x'; size])));
}

/// Events of a topic whose log keeps nearly nothing, so that the client holds what it was given in
/// part.
fn shared_frames(headers: &str, sizes: &[usize]) {
    let topic = Topic::new("t").log(1, 0).backpressure(Backpressure::Latest);
    let watched = topic.clone();
    let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
    let simulation = Simulation::with_config(config(), 0, router);
    let text = noise(&mut Random::new(4), *sizes.iter().max().unwrap());
    let mut laggard = Laggard::new(simulation, &get(headers), |cx| {
        greet(cx);
        cx.publish(&topic, noise(&mut Random::new(6), 40_000)).unwrap();
    });
    while !laggard.has_been_sent(SOME_BYTES) {
        for _ in 0..laggard.random.between(1, 3) {
            let size = laggard.random.pick(sizes);
            let event = &text[..size];
            laggard.simulation.run(|cx| {
                assert_eq!(cx.subscribers(&topic), 1);
                cx.publish(&topic, event).unwrap();
            });
        }
        if laggard.random.percent(20) {
            laggard.simulation.run(|cx| assert!(cx.send(only_stream(cx), "for you alone")));
        }
        let lag_bytes = laggard.random.below(100_000);
        laggard.read_down_to(lag_bytes, queued_on_stream);
    }
}

#[test]
fn shared_frames_of_some_kilobytes() {
    shared_frames("", &[100, 5_000, 20_000]);
}

#[test]
fn shared_frames_that_are_large() {
    shared_frames("", &[40_000, 300_000, 2_000_000]);
}

/// What a topic keeps of its last event, for deltas, counts with the topic; so they are small here.
#[test]
fn shared_frames_that_are_compressed() {
    shared_frames("Accept-Encoding: gzip\r\n", &[100, 1_000, 8_000]);
}

#[test]
fn the_rest_of_one_call_shrinks_as_it_is_read() {
    let simulation =
        Simulation::with_config(config(), 0, Router::new().get("/", |_, _| Sse::new()));
    let text = "x".repeat(16_000_000);
    let mut laggard = Laggard::new(simulation, &get(""), greet);
    laggard.simulation.run(|cx| {
        for _ in 0..4 {
            assert!(cx.send(only_stream(cx), text.as_str()));
        }
    });
    for lag_bytes in [40_000_000, 17_000_000, 15_000_000, 1_000_000, 100_000, 1] {
        laggard.read_down_to(lag_bytes, queued_on_stream);
    }
}

#[test]
fn the_last_to_hold_a_shared_frame_keeps_little_more_than_the_rest_of_it() {
    let topic = Topic::new("t").log(1, 0);
    let watched = topic.clone();
    let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
    let mut simulation = Simulation::new(router);
    let clients: Vec<_> = (0..60).map(|_| simulation.get("/")).collect();
    let text = "x".repeat(1_000_000);
    let mut faults = Faults::default();
    faults.socket_buffer_bytes = 600_000;
    simulation.set_faults(faults);
    let mut round = |last: Client| {
        clients.iter().for_each(|&client| simulation.stall(client));
        simulation.run(|cx| {
            assert_eq!(cx.subscribers(&topic), clients.len());
            cx.publish(&topic, &text).unwrap();
        });
        // While all hold it, each part of it is little; 1,000 bytes are left to each.
        let left = text.len() - 600_000 - 1_000;
        clients.iter().for_each(|&client| simulation.read_some(client, left));
        simulation.turn();
        for &client in clients.iter().filter(|client| **client != last) {
            simulation.resume(client);
        }
        simulation.turn();
        assert_eq!(simulation.stats().log_bytes, 0);
        clients.iter().for_each(|&client| drop(simulation.take_received(client)));
        let bytes = live_bytes();
        simulation.resume(last);
        simulation.turn();
        clients.iter().for_each(|&client| drop(simulation.take_received(client)));
        (bytes, live_bytes())
    };
    // The simulated kernel's buffers grow to their size in the first round.
    round(clients[0]);
    let (held, idle) = round(clients[0]);
    assert!(held - idle < SLACK_BYTES, "{} bytes for some 1,000", held - idle);
}
