//! Topics that a stream subscribes to after its start, and topics that it leaves: the client's id
//! covers those too.

use starwheel::{
    Event, FirstTick, JoinAt, Method, Router, Sse, Stream, Topic,
    testing::{ClientResponse, Faults, Simulation},
};

use crate::{
    positions::{back, chat, connecting, cut_anywhere, state},
    story::{data, data_of, secs},
    words::{publish, serving, serving_all, streams},
};

#[test]
fn a_retained_event_given_later_does_not_take_the_id_back() {
    let (chat, state) = (chat(), state());
    let (watched, later) = (chat.clone(), state.clone());
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let later = later.clone();
        let sse = Sse::new().subscribe(&watched);
        sse.on_connect(move |stream| assert!(stream.subscribe(&later)))
    }));
    publish(&mut simulation, &state, ["state"]);
    publish(&mut simulation, &chat, ["before"]);
    let client = simulation.get("/");
    publish(&mut simulation, &chat, 1..=2);
    cut_anywhere(&mut simulation, client, &["state", "1", "2"]);

    let mut simulation = serving(&chat);
    let client = simulation.get("/");
    publish(&mut simulation, &state, ["state"]);
    publish(&mut simulation, &chat, 1..=3);
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| assert!(cx.subscribe(id, &state)));
    assert_eq!(data(&simulation, client), ["1", "2", "3", "state"]);
    let id = simulation.last_event_id(client);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), [""; 0]);
}

#[test]
fn a_stream_that_subscribes_in_on_connect_or_later_gets_a_bookmark() {
    let chat = chat();
    let watched = chat.clone();
    let mut simulation = connecting(move |stream| assert!(stream.subscribe(&watched)));
    publish(&mut simulation, &chat, ["before"]);
    let client = simulation.get("/");
    assert_eq!((simulation.writes(client), simulation.events(client).len()), (1, 0));
    publish(&mut simulation, &chat, ["missed"]);
    cut_anywhere(&mut simulation, client, &["missed"]);

    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Sse::new()));
    let client = simulation.get("/");
    publish(&mut simulation, &chat, ["before"]);
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    assert_eq!(simulation.last_event_id(client), "");
    simulation.run(|cx| assert!(cx.subscribe(id, &chat)));
    assert_eq!(simulation.last_event_id(client), "sim0-1");
}

#[test]
fn a_topic_that_is_subscribed_later_resumes_from_the_clients_id() {
    for in_updater in [false, true] {
        let (chat, news) = (chat(), Topic::new("news").history(100, 100_000));
        let (watched, later) = (chat.clone(), news.clone());
        let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
            let later = later.clone();
            let sse = Sse::every(secs(1), move |stream: &mut Stream<'_>| {
                if in_updater {
                    stream.subscribe(&later);
                }
            });
            sse.first_tick(FirstTick::AfterInterval).subscribe(&watched)
        }));
        let first = simulation.get("/");
        simulation.run(|cx| {
            for n in 0..6 {
                cx.publish(&chat, format_args!("chat {n}")).unwrap();
                cx.publish(&news, format_args!("news {n}")).unwrap();
            }
        });
        let id = simulation.events(first)[2].last_event_id.clone();
        simulation.reset(first);
        simulation.turn();
        let client = back(&mut simulation, &id);
        assert_eq!(data(&simulation, client), ["chat 3", "chat 4", "chat 5"]);
        if in_updater {
            simulation.advance(secs(3));
        } else {
            let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
            simulation.run(|cx| assert!(cx.subscribe(id, &news)));
        }
        publish(&mut simulation, &news, ["news 6"]);
        let expected =
            ["chat 3", "chat 4", "chat 5", "news 2", "news 3", "news 4", "news 5", "news 6"];
        assert_eq!(data(&simulation, client), expected);
    }
}

#[test]
fn missed_events_of_a_later_topic_arrive_once_wherever_the_client_is_cut() {
    let (chat, news) = (chat(), Topic::new("news").history(100, 100_000));
    let both = [chat.clone(), news.clone()];
    let mut simulation = serving(&chat);
    publish(&mut simulation, &chat, ["seen"]);
    simulation.run(|cx| {
        for n in 0..4 {
            cx.publish(&chat, format_args!("chat {n}")).unwrap();
            cx.publish(&news, format_args!("news {n}")).unwrap();
        }
    });
    let client = back(&mut simulation, "sim0-1");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| assert!(cx.subscribe(id, &news)));
    let received = simulation.received(client);
    let chats = ["chat 0", "chat 1", "chat 2", "chat 3"];
    let news = ["news 0", "news 1", "news 2", "news 3"];
    assert_eq!(data(&simulation, client), [chats, news].concat());

    // From its first news on, the client's id covers both topics.
    let start = received.windows(11).position(|it| it == b"data: news ").unwrap();
    let mut simulation = serving_all(&both);
    simulation.run(|cx| {
        cx.publish(&both[0], "seen").unwrap();
        for n in 0..4 {
            cx.publish(&both[0], format_args!("chat {n}")).unwrap();
            cx.publish(&both[1], format_args!("news {n}")).unwrap();
        }
    });
    let first_end = start + received[start..].windows(2).position(|it| it == b"\n\n").unwrap() + 2;
    for cut in first_end..=received.len() {
        let answer = ClientResponse::parse(&received[..cut], Method::Get).unwrap();
        let mut got = data_of(&answer);
        let client = back(&mut simulation, &answer.last_event_id());
        got.extend(data(&simulation, client));
        assert_eq!(got, [chats, news].concat(), "cut at {cut} with {}", answer.last_event_id());
    }
}

#[test]
fn an_id_that_is_gone_is_a_gap_in_topics_that_come_later_too() {
    let chat = chat();
    let watched = chat.clone();
    let mut simulation = connecting(move |stream| assert!(stream.subscribe(&watched)));
    for id in ["another-7", "mine", "7", "sim0-9"] {
        let client = back(&mut simulation, id);
        assert_eq!(simulation.events(client)[0].name, "gap", "{id}");
        let id = simulation.last_event_id(client);
        let client = back(&mut simulation, &id);
        assert_eq!(data(&simulation, client), [""; 0]);
    }

    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Sse::new()));
    let client = back(&mut simulation, "another-7");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.advance(secs(100));
    simulation.run(|cx| assert!(cx.subscribe(id, &chat)));
    assert_eq!(data(&simulation, client), ["chat"]);
}

#[test]
fn a_publishers_own_id_resumes_topics_that_come_later() {
    let (chat, news) = (chat(), Topic::new("news").history(100, 100_000));
    let (watched, other) = (chat.clone(), news.clone());
    let mut simulation = connecting(move |stream| {
        assert!(stream.subscribe(&watched));
        assert!(stream.subscribe(&other));
    });
    simulation.run(|cx| {
        for n in 1..=3 {
            cx.publish(&chat, Event::new(n.to_string()).id(format!("msg {n}")).unwrap()).unwrap();
            cx.publish(&news, format_args!("news {n}")).unwrap();
        }
    });
    let client = back(&mut simulation, "msg 2");
    assert_eq!(data(&simulation, client), ["news 2", "3", "news 3"]);
}

#[test]
fn a_client_that_subscribes_again_gets_new_events_and_nothing_twice() {
    let (chat, news) = (chat(), Topic::new("news").history(100, 100_000));
    let mut simulation = serving_all(&[chat.clone(), news.clone()]);
    publish(&mut simulation, &chat, 1..=3);
    let client = back(&mut simulation, "sim0-1");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| assert!(cx.unsubscribe(id, &chat)));
    publish(&mut simulation, &chat, ["not for it"]);
    publish(&mut simulation, &news, ["news"]);
    simulation.run(|cx| assert!(cx.subscribe(id, &chat)));
    publish(&mut simulation, &chat, ["5"]);
    assert_eq!(data(&simulation, client), ["2", "3", "news", "5"]);
    let id = simulation.last_event_id(client);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), [""; 0]);
}

#[test]
fn a_stream_that_gives_a_topic_up_keeps_its_position() {
    let (chat, state) = (chat(), state());
    let watched = chat.clone();
    let mut simulation =
        Simulation::new(Router::new().get("/", move |_, _| Sse::new().subscribe(&watched)));
    publish(&mut simulation, &state, ["state"]);
    let client = simulation.get("/");
    publish(&mut simulation, &chat, 1..=3);
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| {
        assert!(cx.unsubscribe(id, &chat));
        assert!(cx.subscribe(id, &state));
    });
    assert_eq!(data(&simulation, client), ["1", "2", "3", "state"]);
    let id = simulation.last_event_id(client);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), [""; 0]);
}

#[test]
fn a_topic_that_is_subscribed_while_the_client_lags_loses_nothing_and_brings_nothing_old() {
    let (chat, news) = (chat(), Topic::new("news").history(100, 100_000));
    let mut simulation = serving_all(&[chat.clone(), news.clone()]);
    let client = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| assert!(cx.unsubscribe(id, &news)));
    simulation.stall(client);
    let mut faults = Faults::default();
    faults.socket_buffer_bytes = 30;
    simulation.set_faults(faults);
    simulation.run(|cx| {
        for n in 0..5 {
            cx.publish(&chat, format_args!("chat {n}")).unwrap();
            cx.publish(&news, format_args!("news {n}")).unwrap();
        }
    });
    simulation.run(|cx| assert!(cx.subscribe(id, &news)));
    publish(&mut simulation, &news, ["news 5"]);
    simulation.resume(client);
    simulation.turn();
    let expected = ["chat 0", "chat 1", "chat 2", "chat 3", "chat 4", "news 5"];
    assert_eq!(data(&simulation, client), expected);
    simulation.set_faults(Faults::default());
    // Ids from before it was subscribed again may bring more, but nothing twice.
    let (received, mut exact) = (simulation.received(client), 0);
    for cut in 0..=received.len() {
        let Some(answer) = ClientResponse::parse(&received[..cut], Method::Get) else { continue };
        let (mut got, id) = (data_of(&answer), answer.last_event_id());
        if !id.is_empty() {
            let client = back(&mut simulation, &id);
            got.extend(data(&simulation, client));
            let count = got.len();
            exact += usize::from(got == expected);
            got.sort();
            got.dedup();
            assert_eq!(got.len(), count, "cut at {cut}: {got:?}");
            assert!(expected.iter().all(|it| got.contains(&(*it).to_owned())), "{got:?}");
        }
    }
    assert!(exact > 100, "{exact}");
}

#[test]
fn a_stream_may_join_at_the_oldest_event_in_on_connect_or_later() {
    let log = Topic::new("log").history(10, 10_000);
    let watched = log.clone();
    let mut simulation = connecting(move |stream| {
        stream.send("welcome");
        assert!(stream.subscribe_at(&watched, JoinAt::Oldest));
        assert!(!stream.subscribe_at(&watched, JoinAt::Oldest), "it has the topic already");
    });
    publish(&mut simulation, &log, 1..=3);
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["welcome", "1", "2", "3"]);
    publish(&mut simulation, &log, [4]);
    assert_eq!(data(&simulation, client), ["welcome", "1", "2", "3", "4"]);

    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Sse::new()));
    let [oldest, live] = [simulation.get("/"), simulation.get("/")];
    publish(&mut simulation, &log, 1..=3);
    let [first, second] = streams(&mut simulation)[..] else { panic!("two streams") };
    simulation.run(|cx| {
        assert!(cx.subscribe_at(first, &log, JoinAt::Oldest));
        assert!(cx.subscribe_at(second, &log, JoinAt::Live));
    });
    publish(&mut simulation, &log, [4]);
    let of_first = data(&simulation, oldest).len();
    let of_second = data(&simulation, live).len();
    assert_eq!((of_first.max(of_second), of_first.min(of_second)), (4, 1));
    simulation.run(|cx| assert!(!cx.subscribe_at(first, &log, JoinAt::Oldest)));
}
