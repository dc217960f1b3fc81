//! `TagOverflow::ReplaceOldest`: a new stream takes the place of the oldest with its tag.

use starwheel::{
    Config, Context, Ending, Method, Request, Router, Sse, StatusCode, TagOverflow, Topic,
    testing::{BodyEnd, Client, Simulation},
};

use crate::story::{Diary, data, faults, secs};

const REPLACED_ID: &str = "starwheel-replaced";

fn config(streams_per_tag: usize) -> Config {
    let mut config = Config::default();
    config.limits.streams_per_tag = Some(streams_per_tag);
    config.limits.tag_overflow = TagOverflow::ReplaceOldest;
    config
}

/// `/` opens a stream of Anna's, and `/other` one without a tag.
fn server(streams_per_tag: usize, diary: &Diary) -> Simulation {
    let diary = diary.clone();
    let router = Router::new()
        .get("/", move |_: &Request, _: &mut Context<'_>| {
            let diary = diary.clone();
            Sse::new()
                .tag("anna")
                .header("X-Kept", "yes")
                .send("born")
                .on_disconnect(move |_cx, _id, reason| diary.note(reason))
        })
        .get("/other", |_, _| Sse::new().send("born"));
    Simulation::with_config(config(streams_per_tag), 0, router)
}

fn ask(simulation: &mut Simulation, target: &str, last_event_id: &str) -> Client {
    let client = simulation.connect();
    let fields = [("Accept", "text/event-stream"), ("Last-Event-ID", last_event_id)];
    simulation.request(client, Method::Get, target, &fields[..], b"");
    simulation.turn();
    client
}

#[test]
fn the_oldest_stream_ends_for_a_reason_of_its_own() {
    let diary = Diary::default();
    let mut simulation = server(2, &diary);
    let clients: Vec<_> = (0..5).map(|_| simulation.get("/")).collect();
    assert_eq!(diary.read(), ["replaced by a newer stream with the same tag"; 3]);
    for (nth, &client) in clients.iter().enumerate() {
        assert_eq!(data(&simulation, client)[0], "born");
        let end = if nth < 3 { BodyEnd::Complete } else { BodyEnd::Open };
        assert_eq!(simulation.response(client).end, end, "Datastar does not reconnect");
    }
    let stats = simulation.stats();
    assert_eq!((stats.streams, stats.opened, stats.closed.replaced), (2, 5, 3));
    assert_eq!(stats.refused.total(), 0);
}

/// Like a browser: it reconnects after every end, until it gets something else than a stream.
#[test]
fn event_sources_do_not_replace_each_other_in_a_loop() {
    let mut simulation = server(1, &Diary::default());
    let mut open: Vec<_> = (0..4).map(|_| ask(&mut simulation, "/", "")).collect();
    let mut closed = 0;
    for _ in 0..10 {
        for client in std::mem::take(&mut open) {
            let answer = simulation.response(client);
            if answer.status == 204 {
                assert_eq!(answer.header("x-kept"), Some("yes"), "such as CORS fields");
                closed += 1;
            } else if answer.end == BodyEnd::Complete {
                open.push(ask(&mut simulation, "/", &answer.last_event_id()));
            } else {
                open.push(client);
            }
        }
    }
    assert_eq!((open.len(), closed), (1, 3));
    let stats = simulation.stats();
    assert_eq!((stats.streams, stats.opened, stats.refused.total()), (1, 4, 0));
}

#[test]
fn only_a_stream_with_a_tag_is_denied_to_a_client_that_was_replaced() {
    let mut simulation = server(1, &Diary::default());
    let other = ask(&mut simulation, "/other", REPLACED_ID);
    assert_eq!(data(&simulation, other), ["born"]);
    let head = simulation.connect();
    simulation.request(head, Method::Head, "/", &[("Last-Event-ID", REPLACED_ID)], b"");
    simulation.turn();
    assert_eq!(simulation.response(head).status, 200);
    let in_query = simulation.get(&format!("/?lastEventId={REPLACED_ID}"));
    assert_eq!(simulation.response(in_query).status, 204);
    // Where nothing is replaced, the id is like any other.
    let mut unlimited = config(1);
    unlimited.limits.streams_per_tag = None;
    for config in [Config::default(), unlimited] {
        let router = Router::new().get("/", |_, _| Sse::new().tag("anna"));
        let mut simulation = Simulation::with_config(config, 0, router);
        let client = ask(&mut simulation, "/", REPLACED_ID);
        assert_eq!(simulation.response(client).status, 200);
    }
}

#[test]
fn the_id_of_a_replaced_stream_comes_last_whatever_it_was_sent() {
    let topic = Topic::new("news").history(100, 100_000);
    for (blocked, coding) in [(false, ""), (true, ""), (false, "gzip")] {
        let mut config = config(1);
        config.limits.outbox_bytes = 1_000;
        let watched = topic.clone();
        let router = Router::new()
            .get("/", move |_, _| Sse::new().tag("anna").send("born").subscribe(&watched));
        let mut simulation = Simulation::with_config(config, 0, router);
        simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 500));
        let oldest = simulation.connect();
        simulation.request(oldest, Method::Get, "/", &[("Accept-Encoding", coding)], b"");
        simulation.turn();
        if blocked {
            simulation.stall(oldest);
        }
        // More than its queue may hold, and more in the turn in which it ends.
        for _ in 0..20 {
            simulation.run(|cx| cx.publish(&topic, "x".repeat(400)).unwrap());
        }
        let newest = simulation.connect();
        simulation.queue({
            let topic = topic.clone();
            move |cx| cx.publish(&topic, "y".repeat(400)).unwrap()
        });
        simulation.request(newest, Method::Get, "/", &[], b"");
        simulation.turn();
        assert_eq!((simulation.stats().streams, simulation.stats().closed.replaced), (1, 1));
        simulation.resume(oldest);
        simulation.turn();
        let answer = simulation.response(oldest);
        assert_eq!(answer.end, BodyEnd::Complete, "blocked: {blocked}");
        if coding.is_empty() {
            let last = answer.events().pop().unwrap();
            assert_eq!((last.name.as_str(), last.data.as_str()), ("replaced", ""));
            assert_eq!(answer.last_event_id(), REPLACED_ID);
        }
    }
}

#[test]
fn a_stream_that_ends_in_the_turn_makes_room_before_any_is_replaced() {
    let diary = Diary::default();
    let mut simulation = server(2, &diary);
    let [first, second] = [(); 2].map(|()| simulation.get("/"));
    let newest = simulation.connect();
    simulation.request(newest, Method::Get, "/", &[], b"");
    simulation.half_close(second);
    simulation.turn();
    assert_eq!(diary.read(), ["the client disconnected"]);
    assert_eq!(simulation.response(first).end, BodyEnd::Open);
    // Two that begin in one turn replace two, and three more begin with the last two left.
    let five: Vec<_> = (0..5).map(|_| simulation.connect()).collect();
    for &client in &five {
        simulation.request(client, Method::Get, "/", &[], b"");
    }
    simulation.turn();
    assert_eq!(simulation.stats().closed.replaced, 5);
    assert_eq!(simulation.stats().streams, 2);
    for &client in &five {
        assert_eq!(data(&simulation, client)[0], "born", "each has begun");
    }
    assert_eq!(simulation.response(five[3]).end, BodyEnd::Open);
    assert_eq!(simulation.response(five[2]).end, BodyEnd::Complete);
}

#[test]
fn a_limit_of_zero_leaves_nothing_to_replace() {
    let mut simulation = server(0, &Diary::default());
    let client = simulation.get("/");
    assert_eq!(simulation.response(client).status, 429);
    assert_eq!(simulation.stats().refused.with(StatusCode::TOO_MANY_REQUESTS), 1);
}

#[test]
fn a_stream_without_room_for_its_address_replaces_nothing() {
    let mut config = config(1);
    config.limits.connections_per_ip = Some(1);
    config.trusted_proxies = starwheel::TrustedPeers::networks(["192.0.2.0/24"]).unwrap();
    let router = Router::new().get("/", |_, _| Sse::new().tag("anna").send("born"));
    let mut simulation = Simulation::with_config(config, 0, router);
    let statuses: Vec<_> = (0..2)
        .map(|_| {
            let proxy = simulation.connect();
            let fields = [("X-Forwarded-For", "198.51.100.7")];
            simulation.request(proxy, Method::Get, "/", &fields, b"");
            simulation.turn();
            simulation.response(proxy).status
        })
        .collect();
    assert_eq!(statuses, [200, 429]);
    assert_eq!((simulation.stats().streams, simulation.stats().closed.replaced), (1, 0));
}

#[test]
fn a_stream_refused_for_its_tag_keeps_no_place_of_its_address() {
    let mut config = config(1);
    config.limits.tag_overflow = TagOverflow::Refuse;
    config.limits.connections_per_ip = Some(2);
    config.trusted_proxies = starwheel::TrustedPeers::networks(["192.0.2.0/24"]).unwrap();
    let router = Router::new()
        .get("/anna", |_, _| Sse::new().tag("anna"))
        .get("/bert", |_, _| Sse::new().tag("bert"));
    let mut simulation = Simulation::with_config(config, 0, router);
    let statuses = ["/anna", "/anna", "/anna", "/bert"].map(|target| {
        let proxy = simulation.connect();
        let fields = [("X-Forwarded-For", "198.51.100.7")];
        simulation.request(proxy, Method::Get, target, &fields, b"");
        simulation.turn();
        simulation.response(proxy).status
    });
    assert_eq!(statuses, [200, 429, 429, 200]);
}

#[test]
fn a_closed_tag_has_room_and_its_streams_end_as_asked() {
    let diary = Diary::default();
    let mut simulation = server(2, &diary);
    (0..2).for_each(|_| _ = simulation.get("/"));
    simulation.run(|cx| assert_eq!(cx.close_tagged_on_all("anna", Ending::Drop), 2));
    simulation.get("/");
    assert_eq!(diary.read(), ["dropped; the client may reconnect"; 2]);
    simulation.handle().close_tagged("anna", Ending::Finish).unwrap();
    simulation.handle().close_tagged("bert", Ending::Finish).unwrap();
    simulation.advance(secs(1));
    assert_eq!(diary.read()[2..], ["finished"]);
    assert_eq!((simulation.stats().streams, simulation.stats().closed.replaced), (0, 0));
}
