//! Joining, reconnecting, and gaps for events that are no longer available.

use starwheel::{
    Config, Context, Encode, Event, EventBuffer, EventError, EventId, EventName, JoinAt, Method,
    Request, Router, Sse, Topic,
    testing::{Client, Simulation},
};

use crate::{
    story::{HOUR, data, get_1_0, secs},
    words::{last_id, named, publish, serving, serving_all},
};

/// A client reconnects with its last event id.
fn back(simulation: &mut Simulation, last_event_id: &str) -> Client {
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/", &[("Last-Event-ID", last_event_id)], b"");
    simulation.turn();
    client
}

fn chat() -> Topic {
    Topic::new("chat").history(100, 100_000)
}

#[test]
fn header_and_both_query_parameters_resume_and_the_header_comes_first() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let first = simulation.get("/");
    publish(&mut simulation, &chat, 1..=3);
    let ids: Vec<_> = simulation.events(first).into_iter().map(|e| e.last_event_id).collect();
    let by_header = back(&mut simulation, &ids[0]);
    let by_query = simulation.get(&format!("/?last_event_id={}", ids[0]));
    let by_the_other = simulation.get(&format!("/?x=1&lastEventID={}", ids[0]));
    let both = simulation.connect();
    let target = format!("/?last_event_id={}", ids[0]);
    simulation.request(both, Method::Get, &target, &[("last-event-id", &ids[1])], b"");
    simulation.turn();
    for client in [by_header, by_query, by_the_other] {
        assert_eq!(data(&simulation, client), ["2", "3"]);
    }
    assert_eq!(data(&simulation, both), ["3"]);
}

#[test]
fn a_client_that_reconnects_often_gets_each_event_exactly_once() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let (mut client, mut seen) = (simulation.get("/"), Vec::new());
    for round in 0..20_u32 {
        publish(&mut simulation, &chat, (0..round % 4).map(|n| format!("{round}.{n}")));
        simulation.half_close(client);
        simulation.turn();
        seen.extend(data(&simulation, client));
        publish(&mut simulation, &chat, [format!("{round} while away")]);
        let id = simulation.last_event_id(client);
        client = back(&mut simulation, &id);
    }
    seen.extend(data(&simulation, client));
    let expected: Vec<_> = (0..20_u32)
        .flat_map(|round| {
            let here = (0..round % 4).map(move |n| format!("{round}.{n}"));
            here.chain([format!("{round} while away")])
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_client_that_has_seen_everything_gets_nothing_twice() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let first = simulation.get("/");
    publish(&mut simulation, &chat, 1..=3);
    let id = last_id(&simulation, first);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), [""; 0]);
    publish(&mut simulation, &chat, ["4"]);
    assert_eq!(data(&simulation, client), ["4"]);
}

#[test]
fn a_live_join_brings_no_history() {
    let chat = chat();
    let mut simulation = serving(&chat);
    publish(&mut simulation, &chat, 1..=3);
    let client = simulation.get("/");
    publish(&mut simulation, &chat, ["4"]);
    assert_eq!(data(&simulation, client), ["4"]);
}

#[test]
fn join_at_matters_only_to_new_clients() {
    let chat = chat();
    let watched = chat.clone();
    let mut simulation = Simulation::new(
        Router::new().get("/", move |_, _| Sse::new().subscribe_at(&watched, JoinAt::Oldest)),
    );
    publish(&mut simulation, &chat, 1..=3);
    let new = simulation.get("/");
    assert_eq!(data(&simulation, new), ["1", "2", "3"]);
    let id = simulation.events(new)[1].last_event_id.clone();
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), ["3"]);
}

#[test]
fn retain_and_history_together() {
    let state = Topic::new("state").history(10, 10_000).retain();
    let mut simulation = serving(&state);
    publish(&mut simulation, &state, 1..=3);
    let new = simulation.get("/");
    assert_eq!(data(&simulation, new), ["3"], "the retained one");
    let id = last_id(&simulation, new);
    let current = back(&mut simulation, &id);
    assert_eq!(data(&simulation, current), [""; 0], "it has the retained one");
    publish(&mut simulation, &state, 4..=5);
    let late = back(&mut simulation, &id);
    assert_eq!(data(&simulation, late), ["4", "5"], "each once, the retained one too");
    let lost = back(&mut simulation, "another-3");
    assert_eq!(data(&simulation, lost), ["state", "5"], "a gap, then the retained one");
}

#[test]
fn a_gap_is_named_by_the_application_and_has_the_topic_as_data() {
    let [a, b] = [("a", "reload-a"), ("b", "reload-b")]
        .map(|(name, gap)| Topic::new(name).history(1, 10_000).gap_event(gap).unwrap());
    let mut simulation = serving_all(&[a.clone(), b.clone()]);
    publish(&mut simulation, &a, 1..=2);
    let client = back(&mut simulation, "nonsense");
    let gaps = [("reload-a", "a"), ("reload-b", "b")];
    assert_eq!(named(&simulation, client), gaps.map(|(name, data)| (name.into(), data.into())));
    assert_eq!(simulation.stats().gaps, 2);
}

#[test]
fn a_gap_event_cannot_have_a_name_that_breaks_the_stream() {
    let refused: EventError = Topic::new("t").gap_event("gap\ndata: injected").unwrap_err();
    assert!(!refused.to_string().is_empty());
}

#[test]
fn the_name_of_a_topic_cannot_inject_anything() {
    let topic = Topic::new("a\n\nevent: b\rdata: c").history(1, 10_000);
    let mut simulation = serving(&topic);
    let client = back(&mut simulation, "nonsense");
    let data = "a\n\nevent: b\ndata: c".to_owned();
    assert_eq!(named(&simulation, client), [("gap".to_owned(), data)]);
}

#[test]
fn an_id_from_the_future_is_a_gap_too() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let first = simulation.get("/");
    publish(&mut simulation, &chat, ["1"]);
    let id = last_id(&simulation, first);
    let (epoch, _) = id.rsplit_once('-').unwrap();
    let client = back(&mut simulation, &format!("{epoch}-99999"));
    publish(&mut simulation, &chat, ["2"]);
    assert_eq!(data(&simulation, client), ["chat", "2"]);
}

#[test]
fn hostile_ids_are_gaps_and_cost_nothing() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let first = simulation.get("/");
    publish(&mut simulation, &chat, ["1"]);
    let id = last_id(&simulation, first);
    for hostile in [
        "-",
        "0",
        "18446744073709551616",
        "sim0-",
        "sim0--1",
        "sim0-+1",
        "sim0- 1",
        "sim0-1 ",
        "sim0-0x1",
        "sim0-18446744073709551615",
        "\u{fffd}",
        &"9".repeat(8_000),
        &format!("{id}{id}"),
        &format!("x{id}"),
        &format!("{id}x"),
    ] {
        let client = back(&mut simulation, hostile);
        // White space around a field's value is not part of it.
        let expected: &[&str] = if hostile.trim() == id { &[] } else { &["chat"] };
        assert_eq!(data(&simulation, client), expected, "{hostile:?}");
    }
}

/// Fetch-based clients (Datastar, undici, npm's eventsource) send an id with an umlaut as one byte
/// for each character up to U+00FF.
#[test]
fn an_id_that_is_not_utf_8_is_unknown_and_so_a_gap() {
    let chat = chat();
    let mut simulation = serving(&chat);
    publish(&mut simulation, &chat, ["1"]);
    for id in [&b"\xe4"[..], b"caf\xe9 7", b"\xff", b"sim0-1\xa0", b"\xe2\x80", b"\xc0\x80"] {
        for target in ["/", "/?last_event_id=sim0-1"] {
            let client = simulation.connect();
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nLast-Event-ID: ");
            simulation.send(client, &[head.as_bytes(), id, b"\r\n\r\n"].concat());
            simulation.turn();
            let gap = [("gap".to_owned(), "chat".to_owned())];
            assert_eq!(named(&simulation, client), gap, "{target} {}", id.escape_ascii());
        }
    }
    for in_query in ["%E4", "%ff%FE", "sim0-1%A0"] {
        let client = simulation.get(&format!("/?last_event_id={in_query}"));
        assert_eq!(data(&simulation, client), ["chat"], "{in_query}");
    }
}

#[test]
fn a_handler_sees_that_there_is_an_id_that_is_not_utf_8() {
    let mut simulation = Simulation::new(
        Router::new()
            .get("/", |req: &Request, _| Sse::new().send(req.last_event_id().unwrap_or("none"))),
    );
    let client = simulation.connect();
    simulation.send(client, b"GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: \xe4\r\n\r\n");
    simulation.turn();
    assert_eq!(data(&simulation, client), ["\u{fffd}"]);
}

#[test]
fn one_id_resumes_all_topics_of_a_stream() {
    let topics = ["a", "b", "c"].map(|name| Topic::new(name).history(100, 100_000));
    let mut simulation = serving_all(&topics);
    let first = simulation.get("/");
    simulation.run(|cx| {
        for n in 0..60 {
            cx.publish(&topics[n % 7 % 3], format_args!("{n}")).unwrap();
        }
    });
    let events = simulation.events(first);
    assert_eq!(events.len(), 60);
    for seen in 1..60 {
        let client = back(&mut simulation, &events[seen - 1].last_event_id);
        let expected: Vec<_> = (seen..60).map(|n| n.to_string()).collect();
        assert_eq!(data(&simulation, client), expected);
    }
}

#[test]
fn a_topic_with_a_shorter_history_has_its_own_gap() {
    let (long, short) = (Topic::new("long").history(100, 100_000), Topic::new("short"));
    let short = short.history(2, 100_000);
    let mut simulation = serving_all(&[long.clone(), short.clone()]);
    let first = simulation.get("/");
    simulation.run(|cx| {
        for n in 0..4 {
            cx.publish(&long, format_args!("long {n}")).unwrap();
            cx.publish(&short, format_args!("short {n}")).unwrap();
        }
    });
    let id = simulation.events(first)[0].last_event_id.clone();
    let client = back(&mut simulation, &id);
    let expected = ["short", "long 1", "long 2", "short 2", "long 3", "short 3"];
    assert_eq!(data(&simulation, client), expected);
}

#[test]
fn topics_without_history_give_no_ids_and_no_gaps() {
    let (kept, passing) = (chat(), Topic::new("passing"));
    let mut simulation = serving_all(&[kept.clone(), passing.clone()]);
    let first = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&passing, "one").unwrap();
        cx.publish(&kept, "two").unwrap();
        cx.publish(&passing, "three").unwrap();
    });
    let ids: Vec<_> = simulation.events(first).into_iter().map(|e| e.last_event_id).collect();
    assert_eq!(ids[0], "sim0-0", "that of the bookmark");
    assert_eq!(ids[1..], ["sim0-2", "sim0-2"]);
    simulation.run(|cx| {
        cx.publish(&passing, "missed for good").unwrap();
        cx.publish(&kept, "missed").unwrap();
    });
    let client = back(&mut simulation, &ids[2]);
    assert_eq!(data(&simulation, client), ["missed"]);

    let mut simulation = serving(&passing);
    let client = back(&mut simulation, "anything");
    publish(&mut simulation, &passing, ["live"]);
    assert_eq!(data(&simulation, client), ["live"]);
    assert_eq!(simulation.stats().gaps, 0);
}

#[test]
fn an_id_of_an_earlier_process_is_a_gap() {
    let chat = chat();
    let mut ids = Vec::<String>::new();
    for process in 0..2 {
        let watched = chat.clone();
        let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
        let mut simulation = Simulation::with_config(Config::default(), process, router);
        let first = simulation.get("/");
        publish(&mut simulation, &chat, 1..=5);
        if let Some(id) = ids.last() {
            let client = back(&mut simulation, id);
            publish(&mut simulation, &chat, ["live"]);
            assert_eq!(data(&simulation, client), ["chat", "live"]);
        }
        ids.push(last_id(&simulation, first));
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_publishers_own_ids_stay_and_resume() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let first = simulation.get("/");
    let event = |n| Event::new("x").name("message").unwrap().id(format!("msg {n} +")).unwrap();
    simulation.run(|cx| {
        for n in 1..=4 {
            cx.publish(&chat, event(n)).unwrap();
        }
        cx.publish(&chat, "without").unwrap();
    });
    let events = simulation.events(first);
    assert_eq!(events[1].last_event_id, "msg 2 +");
    assert_ne!(events[4].last_event_id, "msg 4 +", "it got one of ours");
    let by_query = simulation.get("/?last_event_id=msg+2+%2B");
    assert_eq!(simulation.events(by_query).len(), 3);
    let client = back(&mut simulation, &events[4].last_event_id);
    assert_eq!(data(&simulation, client), [""; 0]);
    let client = back(&mut simulation, "msg 5");
    assert_eq!(data(&simulation, client), ["chat"]);
}

/// Writes its fields in the order of their names in `order`, and more than one event for a `/`.
struct InOrder(&'static str);

impl Encode for InOrder {
    fn encode(&self, out: &mut EventBuffer) {
        for field in self.0.split(' ') {
            match field {
                "comment" => out.comment("id: 1"),
                "data" => out.data("id: 1\n\nid: 2"),
                "event" => out.event(&EventName::from_static("message")),
                "id" => out.id(&EventId::from(7)),
                "none" => out.id(&EventId::try_from("").unwrap()),
                "retry" => out.retry(secs(3)),
                other => out.push(&Self(&other[1..])),
            }
        }
    }
}

/// The lines of these fields of all that a client has got.
fn lines(simulation: &Simulation, client: Client, field: &str) -> Vec<String> {
    let body = simulation.response(client).body;
    let text = String::from_utf8(body).unwrap();
    text.lines().filter(|line| line.starts_with(field)).map(str::to_owned).collect()
}

#[test]
fn a_publishers_own_id_stays_on_whatever_line_it_is() {
    for order in [
        "data id",
        "retry id data",
        "comment data retry id",
        "event data data id data",
        "data event id retry comment",
        "id data",
        "none data id",
        "/data data id",
        "data id /comment",
        "id",
    ] {
        let chat = chat();
        let mut simulation = serving(&chat);
        let first = simulation.get("/");
        simulation.run(|cx| {
            cx.publish(&chat, InOrder(order)).unwrap();
            cx.publish(&chat, "missed").unwrap();
        });
        let ids = lines(&simulation, first, "id:");
        // The others are assigned by the reactor.
        let own = ids.iter().filter(|line| *line != "id: " && !line.starts_with("id: sim"));
        assert_eq!(own.collect::<Vec<_>>(), ["id: 7"], "{order}");
        let client = back(&mut simulation, "7");
        assert_eq!(data(&simulation, client), ["missed"], "{order}");
    }
}

#[test]
fn an_event_keeps_its_id_before_a_separate_comment() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let first = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&chat, InOrder("data /comment")).unwrap();
    });
    let id = last_id(&simulation, first);
    assert_ne!(id, "", "the event has it, not the comment");
    publish(&mut simulation, &chat, ["missed"]);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), ["missed"]);
    simulation.run(|cx| {
        cx.publish(&chat, Event::comment_only("nothing to come back to")).unwrap();
    });
    assert_eq!(lines(&simulation, first, "id:").len(), 3, "a bookmark and two events");
}

#[test]
fn a_snapshot_comes_before_the_first_live_event() {
    let chat = chat();
    let watched = chat.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, cx| {
        // Published between the request and the stream's start: part of the snapshot.
        cx.publish(&watched, "in the snapshot already").unwrap();
        let chat = watched.clone();
        Sse::new().send("snapshot").subscribe(&watched).on_connect(move |stream| {
            stream.send("more of it");
            stream.context().publish(&chat, "first live one").unwrap();
            stream.send("the last of it");
        })
    }));
    let client = simulation.get("/");
    publish(&mut simulation, &chat, ["second live one"]);
    let expected =
        ["snapshot", "more of it", "the last of it", "first live one", "second live one"];
    assert_eq!(data(&simulation, client), expected);
}

#[test]
fn a_snapshot_of_a_closure_comes_before_the_first_live_event() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let topic = watched.clone();
        Sse::new().on_connect(move |stream| {
            stream.send("snapshot");
            assert!(stream.subscribe(&topic));
            assert!(!stream.subscribe(&topic), "it has it already");
        })
    }));
    publish(&mut simulation, &topic, ["before"]);
    let client = simulation.get("/");
    publish(&mut simulation, &topic, ["live"]);
    assert_eq!(data(&simulation, client), ["snapshot", "live"]);
}

#[test]
fn clients_of_http_1_0_get_bare_events_and_replay() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let old = get_1_0(&mut simulation, "/", "");
    publish(&mut simulation, &chat, 1..=3);
    assert_eq!(data(&simulation, old), ["1", "2", "3"]);
    assert!(simulation.response(old).header("transfer-encoding").is_none());
    let id = simulation.events(old)[0].last_event_id.clone();
    let fields = format!("Last-Event-ID: {id}\r\n");
    let back = get_1_0(&mut simulation, "/", &fields);
    assert_eq!(data(&simulation, back), ["2", "3"]);
}

#[test]
fn a_replay_is_bounded_by_events_and_by_bytes() {
    let (few, small) = (Topic::new("few").history(3, usize::MAX), Topic::new("small"));
    let small = small.history(usize::MAX, 500);
    let (left, right) = (few.clone(), small.clone());
    let mut simulation = Simulation::new(
        Router::new()
            .get("/few", move |_, _| Sse::new().subscribe_at(&left, JoinAt::Oldest))
            .get("/small", move |_, _| Sse::new().subscribe_at(&right, JoinAt::Oldest)),
    );
    let bytes = |n: u32| format!("{n:0100}");
    publish(&mut simulation, &few, 1..=9);
    publish(&mut simulation, &small, (1..=9).map(bytes));
    let client = simulation.get("/few");
    assert_eq!(data(&simulation, client), ["7", "8", "9"]);
    let client = simulation.get("/small");
    assert_eq!(data(&simulation, client), (7..=9).map(bytes).collect::<Vec<_>>());
}

#[test]
fn replay_reaches_a_client_that_asks_in_the_very_turn_of_a_publish() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let first = simulation.get("/");
    publish(&mut simulation, &chat, 1..=2);
    let id = simulation.events(first)[0].last_event_id.clone();
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/", &[("Last-Event-ID", &id)], b"");
    publish(&mut simulation, &chat, ["3"]);
    assert_eq!(data(&simulation, client), ["2", "3"]);
}

#[test]
fn a_handler_may_choose_by_what_the_client_has_seen() {
    let chat = chat();
    let watched = chat.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |req: &Request, _| {
        let sse = if req.last_event_id().is_some() { Sse::new() } else { Sse::new().send("new") };
        sse.subscribe(&watched)
    }));
    let new = simulation.get("/");
    publish(&mut simulation, &chat, ["1"]);
    assert_eq!(data(&simulation, new), ["new", "1"]);
    let id = last_id(&simulation, new);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), [""; 0]);
}

// Unused topics.

#[test]
fn a_topic_that_keeps_nothing_vanishes_with_its_last_subscriber() {
    let plain = Topic::new("t");
    let mut simulation = serving(&plain);
    let client = simulation.get("/");
    publish(&mut simulation, &plain, ["heard"]);
    // While it is in use, its first options count.
    publish(&mut simulation, &Topic::new("t").retain(), ["not kept"]);
    assert_eq!(simulation.stats().log_bytes, 0);
    simulation.half_close(client);
    simulation.turn();
    // It starts again, with these options.
    publish(&mut simulation, &Topic::new("t").retain(), ["kept"]);
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["kept"]);
}

/// A server of rooms that creates a topic for each request.
fn rooms() -> Simulation {
    Simulation::new(Router::new().get("/{room}", |req: &Request, _| {
        let room = Topic::new(req.param("room").unwrap_or_default().to_owned());
        Sse::new().subscribe_at(&room.history(10, 10_000), JoinAt::Oldest)
    }))
}

#[test]
fn the_history_of_a_room_outlives_its_last_use_by_a_minute() {
    let mut simulation = rooms();
    let room = || Topic::new("blue").history(10, 10_000);
    publish(&mut simulation, &room(), ["said"]);
    simulation.advance(secs(59));
    let client = simulation.get("/blue");
    assert_eq!(data(&simulation, client), ["said"]);
    simulation.advance(secs(1_000));
    simulation.half_close(client);
    simulation.advance(secs(59));
    let client = simulation.get("/blue");
    assert_eq!(data(&simulation, client), ["said"], "it is the last use that counts");
    let id = last_id(&simulation, client);
    simulation.half_close(client);
    publish(&mut simulation, &room(), ["missed"]);
    simulation.advance(secs(121));
    assert_eq!(simulation.stats().log_bytes, 0);
    let client = simulation.get("/blue");
    assert_eq!(data(&simulation, client), [""; 0]);
    let client = simulation.get(&format!("/blue?last_event_id={id}"));
    assert_eq!(data(&simulation, client), ["blue"], "a gap, and never silence");
}

#[test]
fn a_topic_begun_between_turns_long_after_the_last_one_is_forgotten_like_others() {
    let mut simulation = rooms();
    simulation.turn();
    simulation.jump(secs(100));
    simulation.context().publish(&Topic::new("blue").retain(), "said").unwrap();
    simulation.jump(secs(59));
    simulation.turn();
    assert!(simulation.stats().log_bytes > 0);
    simulation.advance(secs(1));
    assert_eq!(simulation.stats().log_bytes, 0);
}

#[test]
fn a_topic_begun_by_a_publish_of_nothing_is_forgotten_like_others() {
    struct Nothing;
    impl Encode for Nothing {
        fn encode(&self, _: &mut EventBuffer) {}
    }
    struct Broken;
    impl Encode for Broken {
        fn encode(&self, _: &mut EventBuffer) {
            panic!("on purpose");
        }
    }
    let begin: [fn(&mut Context<'_>, &Topic); 2] = [
        |cx, topic| {
            assert_eq!(cx.subscribers(topic), 0);
            cx.publish(topic, Nothing).unwrap();
        },
        |cx, topic| {
            assert_eq!(cx.subscribers(topic), 0);
            cx.publish(topic, Broken).unwrap();
        },
    ];
    for begin in begin {
        let mut simulation = rooms();
        simulation.queue(move |cx| begin(cx, &Topic::new("blue").retain()));
        simulation.advance(secs(60));
        // If it still existed, it would still retain.
        publish(&mut simulation, &Topic::new("blue"), ["to nobody"]);
        assert_eq!(simulation.stats().published, 0);
    }
}

#[test]
fn the_history_of_a_room_lives_while_the_value_does_that_it_began_with() {
    let mut simulation = rooms();
    let blue = Topic::new("blue").history(10, 10_000);
    publish(&mut simulation, &blue, ["said"]);
    simulation.advance(HOUR);
    let client = simulation.get("/blue");
    assert_eq!(data(&simulation, client), ["said"]);
    simulation.half_close(client);
    simulation.turn();
    drop(blue);
    simulation.advance(secs(121));
    let client = simulation.get("/blue");
    assert_eq!(data(&simulation, client), [""; 0]);
}

#[test]
fn thousands_of_rooms_with_few_people_come_and_go_without_a_trace() {
    const ROOMS: usize = 3_000;
    let mut simulation = Simulation::new(Router::new().get("/{room}", |req: &Request, _| {
        Sse::new().subscribe(&Topic::new(req.param("room").unwrap_or_default().to_owned()))
    }));
    let clients: Vec<_> = (0..2 * ROOMS)
        .map(|n| {
            let client = simulation.connect();
            let target = format!("/{}", n % ROOMS);
            simulation.request(client, Method::Get, &target, &[], b"");
            client
        })
        .collect();
    simulation.turn();
    simulation.run(|cx| {
        for room in 0..ROOMS {
            let topic = Topic::new(room.to_string());
            assert_eq!(cx.subscribers(&topic), 2);
            cx.publish(&topic, format_args!("to {room}")).unwrap();
        }
    });
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(data(&simulation, *client), [format!("to {}", n % ROOMS)]);
    }
    assert_eq!(simulation.stats().log_bytes, 0);
    clients.iter().for_each(|client| simulation.half_close(*client));
    simulation.turn();
    simulation.run(|cx| {
        for room in 0..ROOMS {
            assert_eq!(cx.subscribers(&Topic::new(room.to_string())), 0);
            cx.publish(&Topic::new(room.to_string()), "nobody is here").unwrap();
        }
    });
    assert_eq!((simulation.stats().streams, simulation.stats().log_bytes), (0, 0));
    let turns = simulation.turns();
    simulation.advance(HOUR);
    assert!(simulation.turns() - turns < 10, "no timer is left");
}

#[test]
fn one_stream_may_have_thousands_of_topics() {
    let topics: Vec<_> = (0..2_000).map(|n| Topic::new(format!("t{n}"))).collect();
    let mut simulation = serving_all(&topics);
    let (all, other) = (simulation.get("/"), simulation.get("/"));
    simulation.run(|cx| {
        for topic in topics.iter().rev().step_by(7) {
            cx.publish(topic, topic.name()).unwrap();
        }
    });
    let expected: Vec<_> = topics.iter().rev().step_by(7).map(Topic::name).collect();
    assert_eq!(data(&simulation, all), expected);
    simulation.half_close(all);
    simulation.turn();
    simulation.run(|cx| assert!(topics.iter().all(|topic| cx.subscribers(topic) == 1)));
    assert_eq!(data(&simulation, other), expected);
}
