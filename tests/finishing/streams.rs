//! What happens to streams whose topics end.

use std::{cell::RefCell, rc::Rc};

use starwheel::{
    Backpressure, CloseReason, Config, Event, FirstTick, JoinAt, Method, Router, Sse, Stream,
    Topic,
    testing::{BodyEnd, ClientResponse, Faults, ServerEnd, Simulation},
};

use crate::{
    decoders,
    words::{
        Together, assert_ended, assert_open, assert_stays_away, back, finish, got, publish, router,
        run, secs, serving,
    },
};

#[test]
fn a_stream_ends_in_order_after_the_last_event_of_its_topic() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let client = simulation.get("/");
    publish(&mut simulation, &run, ["a", "b"]);
    finish(&mut simulation, &run, "end");
    assert_ended(&simulation, client, &["a", "b", "end"]);
    assert_eq!(simulation.server_end(client), None, "the connection serves further requests");
    let stats = simulation.stats();
    assert_eq!((stats.streams, stats.closed.topics_finished, stats.closed.total()), (0, 1, 1));
    assert_eq!(stats.published, 3);
}

#[test]
fn the_end_of_a_topic_has_its_own_reason() {
    let (run, reasons) = (run(), Rc::<RefCell<Vec<CloseReason>>>::default());
    let (watched, told) = (run.clone(), Rc::clone(&reasons));
    let mut simulation = Simulation::new(Router::new().get("/", move |_req, _cx| {
        let told = Rc::clone(&told);
        let sse = Sse::new().subscribe(&watched);
        sse.on_disconnect(move |_cx, _id, reason| told.borrow_mut().push(reason))
    }));
    simulation.get("/");
    finish(&mut simulation, &run, "end");
    let reasons = reasons.borrow();
    assert!(matches!(reasons[..], [CloseReason::TopicsFinished]), "{reasons:?}");
    assert!(reasons[0].is_expected());
    assert_eq!(reasons[0].to_string(), "all of its topics have been finished");
}

#[test]
fn a_client_that_comes_later_gets_the_history_and_the_end_and_then_stays_away() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    publish(&mut simulation, &run, ["a", "b"]);
    let early = simulation.get("/");
    let after_b = simulation.last_event_id(early);
    finish(&mut simulation, &run, "end");
    let late = simulation.get("/");
    assert_ended(&simulation, late, &["a", "b", "end"]);
    let resumed = back(&mut simulation, &after_b);
    assert_ended(&simulation, resumed, &["end"]);
    for client in [early, late, resumed] {
        let id = simulation.last_event_id(client);
        let again = back(&mut simulation, &id);
        assert_stays_away(&simulation, again);
    }
    assert_eq!(simulation.stats().opened, 3);
}

#[test]
fn wherever_a_client_is_cut_it_gets_the_rest_and_the_end_or_stays_away() {
    for topic in [run(), run().retain(), Topic::new("run").retain()] {
        let mut simulation = serving(std::slice::from_ref(&topic));
        let client = simulation.get("/");
        publish(&mut simulation, &topic, ["a", "b"]);
        simulation.run(|cx| cx.finish(&topic, Together(&["end 1", "end 2", "end 3"])).unwrap());
        let received = simulation.received(client);
        for cut in 0..=received.len() {
            let Some(answer) = ClientResponse::parse(&received[..cut], Method::Get) else {
                continue;
            };
            let (id, mut all) = (answer.last_event_id(), got(&answer));
            if id.is_empty() {
                continue;
            }
            let again = back(&mut simulation, &id);
            let rest = simulation.response(again);
            match rest.status {
                204 => assert_eq!(all.last().unwrap(), "end 3"),
                _ => assert_eq!(rest.end, BodyEnd::Complete),
            }
            all.extend(got(&rest));
            assert_eq!(all, ["a", "b", "end 1", "end 2", "end 3"], "cut at {cut} with {id}");
        }
    }
}

#[test]
fn a_client_that_joins_live_gets_the_last_event_of_a_finished_topic() {
    for topic in [run(), run().retain(), Topic::new("run").retain()] {
        let watched = topic.clone();
        let handler = move |_: &starwheel::Request, _: &mut starwheel::Context<'_>| {
            Sse::new().subscribe(&watched)
        };
        let mut simulation = Simulation::new(Router::new().get("/", handler));
        publish(&mut simulation, &topic, ["a", "b"]);
        finish(&mut simulation, &topic, "end");
        let late = simulation.get("/");
        assert_ended(&simulation, late, &["end"]);
        let id = simulation.last_event_id(late);
        let again = back(&mut simulation, &id);
        assert_stays_away(&simulation, again);
    }
}

#[test]
fn a_stream_with_another_topic_goes_on_and_leaves_the_finished_one() {
    for other in [Topic::new("news"), Topic::new("news").history(10, 10_000)] {
        let run = run();
        let mut simulation = serving(&[run.clone(), other.clone()]);
        let client = simulation.get("/");
        publish(&mut simulation, &run, ["a"]);
        finish(&mut simulation, &run, "end");
        simulation.run(|cx| assert_eq!((cx.subscribers(&run), cx.subscribers(&other)), (0, 1)));
        publish(&mut simulation, &other, ["news"]);
        assert_open(&simulation, client, &["a", "end", "news"]);
        // Its client resumes exactly.
        let id = simulation.last_event_id(client);
        publish(&mut simulation, &other, ["missed"]);
        let again = back(&mut simulation, &id);
        let has_history = !got(&simulation.response(again)).is_empty();
        assert_open(&simulation, again, if has_history { &["missed"] } else { &[] });
        finish(&mut simulation, &other, "last news");
        assert_ended(&simulation, client, &["a", "end", "news", "missed", "last news"]);
        assert_eq!(simulation.stats().closed.topics_finished, 2);
    }
}

#[test]
fn a_stream_with_an_updater_goes_on() {
    let run = run();
    let watched = run.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_req, _cx| {
        let sse = Sse::every(secs(1), |stream: &mut Stream<'_>| stream.send("tick"));
        sse.first_tick(FirstTick::AfterInterval).subscribe(&watched)
    }));
    let client = simulation.get("/");
    finish(&mut simulation, &run, "end");
    simulation.advance(secs(1));
    assert_open(&simulation, client, &["end", "tick"]);
    let id = simulation.last_event_id(client);
    let again = back(&mut simulation, &id);
    simulation.advance(secs(1));
    assert_open(&simulation, again, &["tick"]);
}

#[test]
fn a_stream_ends_when_it_leaves_its_last_topic_that_goes_on() {
    let (run, news) = (run(), Topic::new("news"));
    let mut simulation = serving(&[run.clone(), news.clone()]);
    let client = simulation.get("/");
    simulation.run(|cx| {
        let id = cx.streams().next().unwrap();
        cx.finish(&run, "end").unwrap();
        assert!(cx.unsubscribe(id, &news));
    });
    assert_ended(&simulation, client, &["end"]);
}

#[test]
fn a_stream_that_subscribes_to_a_finished_topic_later_gets_it_and_ends() {
    let run = run();
    let mut simulation = Simulation::new(Router::new().get("/", |_req, _cx| Sse::new()));
    let client = simulation.get("/");
    publish(&mut simulation, &run, ["a"]);
    finish(&mut simulation, &run, "end");
    simulation.run(|cx| {
        let id = cx.streams().next().unwrap();
        assert!(cx.subscribe_at(id, &run, JoinAt::Oldest));
    });
    assert_ended(&simulation, client, &["a", "end"]);
}

#[test]
fn a_slow_client_gets_everything_before_the_end() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let mut faults = Faults::default();
    faults.socket_buffer_bytes = 50;
    simulation.set_faults(faults);
    let (slow, quick) = (simulation.get("/"), simulation.get("/"));
    simulation.stall(slow);
    publish(&mut simulation, &run, 0..20);
    finish(&mut simulation, &run, "end");
    let numbers: Vec<_> = (0..20).map(|n| n.to_string()).chain(["end".to_owned()]).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    assert_ended(&simulation, quick, &numbers);
    assert_eq!(simulation.stats().streams, 1);
    simulation.resume(slow);
    simulation.turn();
    assert_ended(&simulation, slow, &numbers);
    assert_eq!((simulation.stats().streams, simulation.stats().closed.topics_finished), (0, 2));
}

#[test]
fn a_client_that_missed_events_of_a_finished_topic_is_told_and_ends() {
    for policy in [Backpressure::DropOldest, Backpressure::Latest] {
        let run = Topic::new("run").history(3, 100_000).backpressure(policy);
        let mut simulation = serving(std::slice::from_ref(&run));
        let mut faults = Faults::default();
        faults.socket_buffer_bytes = 200;
        simulation.set_faults(faults);
        let slow = simulation.get("/");
        simulation.stall(slow);
        publish(&mut simulation, &run, (0..20).map(|n| format!("{n} {}", "x".repeat(50))));
        finish(&mut simulation, &run, "end");
        simulation.resume(slow);
        simulation.turn();
        let answer = simulation.response(slow);
        assert_eq!((answer.end, got(&answer).last().unwrap().as_str()), (BodyEnd::Complete, "end"));
        let has_gap = got(&answer).contains(&"gap".to_owned());
        assert_eq!(has_gap, policy == Backpressure::DropOldest);
    }
}

#[test]
fn compressed_streams_and_those_of_http_1_0_end_as_their_coding_and_framing_require() {
    for coding in ["zstd", "br", "gzip"] {
        let run = run();
        let mut simulation = serving(std::slice::from_ref(&run));
        let client = simulation.connect();
        simulation.request(client, Method::Get, "/", &[("Accept-Encoding", coding)], b"");
        publish(&mut simulation, &run, ["a", "b"]);
        finish(&mut simulation, &run, "end");
        let answer = simulation.response(client);
        assert_eq!(answer.end, BodyEnd::Complete);
        assert!(decoders::is_whole(&answer), "{coding}");
        let text = String::from_utf8(decoders::decoded(&answer)).unwrap();
        let data: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data, ["a", "b", "end"]);
    }
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let client = simulation.connect();
    simulation.send(client, b"GET / HTTP/1.0\r\n\r\n");
    finish(&mut simulation, &run, "end");
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    assert_eq!(got(&simulation.response(client)), ["end"]);
}

#[test]
fn many_subscribers_of_a_finished_topic_end_in_slices() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let clients: Vec<_> = (0..1_000).map(|_| simulation.get("/")).collect();
    simulation.queue({
        let run = run.clone();
        move |cx| cx.finish(&run, "end").unwrap()
    });
    simulation.turn_once();
    let ended = simulation.stats().closed.topics_finished;
    assert!((1..=400).contains(&ended), "{ended}");
    simulation.turn();
    for client in clients {
        assert_ended(&simulation, client, &["end"]);
    }
}

#[test]
fn a_last_event_that_is_empty_still_ends_the_topic_with_an_id() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let client = simulation.get("/");
    simulation.run(|cx| cx.finish(&run, Together(&[])).unwrap());
    assert_ended(&simulation, client, &[]);
    let id = simulation.last_event_id(client);
    let again = back(&mut simulation, &id);
    assert_stays_away(&simulation, again);
}

#[test]
fn a_last_event_with_its_own_id_keeps_clients_away_too() {
    for topic in [run(), Topic::new("run").retain()] {
        let mut simulation = serving(std::slice::from_ref(&topic));
        let client = simulation.get("/");
        simulation.run(|cx| cx.finish(&topic, Event::new("end").id("mine").unwrap()).unwrap());
        assert_eq!(simulation.events(client)[0].last_event_id, "mine");
        let again = back(&mut simulation, "mine");
        assert_stays_away(&simulation, again);
        let other = back(&mut simulation, "other");
        assert_eq!(simulation.response(other).status, 200);
    }
}

#[test]
fn only_a_client_that_has_seen_the_end_of_all_topics_is_sent_away() {
    let topics = ["a", "b"].map(|name| Topic::new(name).history(10, 10_000));
    let mut simulation = serving(&topics);
    let client = simulation.get("/");
    finish(&mut simulation, &topics[0], "end of a");
    let after_a = simulation.last_event_id(client);
    let again = back(&mut simulation, &after_a);
    assert_open(&simulation, again, &[]);
    finish(&mut simulation, &topics[1], "end of b");
    for client in [client, again] {
        assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    }
    let resumed = back(&mut simulation, &after_a);
    assert_ended(&simulation, resumed, &["end of b"]);
    let id = simulation.last_event_id(resumed);
    let away = back(&mut simulation, &id);
    assert_stays_away(&simulation, away);
}

#[test]
fn a_keep_alive_connection_serves_a_further_request_after_the_end() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let client = simulation.get("/");
    finish(&mut simulation, &run, "end");
    let id = simulation.last_event_id(client);
    simulation.request(client, Method::Get, "/", &[("Last-Event-ID", &id)], b"");
    simulation.turn();
    let statuses: Vec<_> = simulation.responses(client).iter().map(|it| it.status).collect();
    assert_eq!(statuses, [200, 204]);
}

#[test]
fn a_finish_from_another_thread_comes_after_what_it_has_published() {
    let run = run();
    let mut simulation =
        Simulation::with_config(Config::default(), 0, router(std::slice::from_ref(&run)));
    let client = simulation.get("/");
    let handle = simulation.handle();
    handle.publish(&run, "a").unwrap();
    handle.publish_batch(&run, ["b", "c"]).unwrap();
    handle.finish(&run, "end").unwrap();
    handle.publish(&run, "late").unwrap();
    handle.finish(&run, "second end").unwrap();
    simulation.turn();
    assert_ended(&simulation, client, &["a", "b", "c", "end"]);
    assert_eq!(handle.stats().published_late, 1);
}
