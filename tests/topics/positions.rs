//! The id that a client holds: wherever it is cut, the id gives the stream's position in all its
//! topics.

use starwheel::{
    Config, Encode, Ending, Event, EventBuffer, EventName, JoinAt, Method, Request, Router, Sse,
    Stream, Topic,
    testing::{Client, ClientResponse, Simulation},
};

use crate::{
    story::{data, data_of, get_1_0, secs},
    words::{publish, serving, serving_all, streams},
};

pub(super) fn chat() -> Topic {
    Topic::new("chat").history(100, 100_000)
}

pub(super) fn state() -> Topic {
    Topic::new("state").history(10, 10_000).retain()
}

/// A client reconnects with this id, or connects for the first time.
pub(super) fn back(simulation: &mut Simulation, last_event_id: &str) -> Client {
    let client = simulation.connect();
    let fields = [("Last-Event-ID", last_event_id)];
    let fields = if last_event_id.is_empty() { &[][..] } else { &fields[..] };
    simulation.request(client, Method::Get, "/", fields, b"");
    simulation.turn();
    client
}

/// A stream with this `on_connect`.
pub(super) fn connecting(hook: impl Fn(&mut Stream<'_>) + Clone + 'static) -> Simulation {
    Simulation::new(Router::new().get("/", move |_, _| Sse::new().on_connect(hook.clone())))
}

/// Cuts a client after each byte that it got; it then reconnects with the id that it holds. The
/// events of both visits, without `private`, must be `expected`. Returns at how many bytes it was
/// still a new client, and had got nothing.
#[track_caller]
pub(super) fn cut_anywhere(
    simulation: &mut Simulation,
    client: Client,
    expected: &[&str],
) -> usize {
    let received = simulation.received(client);
    let mut new = 0;
    for cut in 0..=received.len() {
        let Some(answer) = ClientResponse::parse(&received[..cut], Method::Get) else { continue };
        let topical = |data: Vec<String>| data.into_iter().filter(|it| it != "private");
        let mut got: Vec<_> = topical(data_of(&answer)).collect();
        let id = answer.last_event_id();
        if id.is_empty() {
            assert_eq!(got, [""; 0], "events before the first id");
            new += 1;
            continue;
        }
        let client = back(simulation, &id);
        got.extend(topical(data(simulation, client)));
        assert_eq!(got, expected, "cut at {cut} with {id}");
        simulation.reset(client);
    }
    simulation.turn();
    new
}

// Bookmarks.

#[test]
fn a_client_that_is_cut_before_its_first_event_loses_nothing() {
    let chat = chat();
    let mut simulation = serving(&chat);
    publish(&mut simulation, &chat, ["before its visit"]);
    let client = simulation.get("/");
    assert_eq!(
        (simulation.last_event_id(client), data(&simulation, client).len()),
        ("sim0-1".into(), 0)
    );
    simulation.half_close(client);
    publish(&mut simulation, &chat, ["missed"]);
    assert!(cut_anywhere(&mut simulation, client, &["missed"]) < 20);
}

#[test]
fn a_bookmark_leaves_with_the_head_and_is_no_event() {
    let chat = chat();
    for watched in [chat.clone(), Topic::new("state").history(10, 10_000).retain()] {
        let mut simulation = serving(&watched);
        let client = simulation.get("/");
        assert_eq!(simulation.writes(client), 1);
        assert_eq!(simulation.response(client).text(), "id: sim0-0\n\n");
        assert_eq!(simulation.events(client), []);
        let old = get_1_0(&mut simulation, "/", "");
        assert_eq!(simulation.response(old).text(), "id: sim0-0\n\n");
    }
}

#[test]
fn a_bookmark_may_be_an_event_for_clients_that_note_no_other_id() {
    let chat = chat();
    let watched = chat.clone();
    let mut config = Config::default();
    config.bookmark_event = Some(EventName::from_static("bookmark"));
    let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
    let mut simulation = Simulation::with_config(config, 0, router);
    let client = simulation.get("/");
    let expected = "event: bookmark\ndata: \nid: sim0-0\n\n";
    assert_eq!(simulation.response(client).text(), expected);
    publish(&mut simulation, &chat, ["missed"]);
    let client = back(&mut simulation, "sim0-0");
    assert_eq!(data(&simulation, client), ["missed"]);
}

#[test]
fn the_id_of_a_topics_event_is_its_last_line() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&chat, Event::new("a\nb").name("e").unwrap()).unwrap();
        cx.publish(&chat, Event::new("c").id("own").unwrap()).unwrap();
    });
    let expected = "event: e\ndata: a\ndata: b\nid: sim0-1\n\ndata: c\nid: own\n\n";
    assert!(simulation.response(client).text().ends_with(expected));
}

#[test]
fn streams_without_topics_that_have_a_history_get_no_bookmark() {
    let topic = Topic::new("t").retain();
    let mut simulation = serving(&topic);
    publish(&mut simulation, &topic, ["state"]);
    let client = back(&mut simulation, "sim0-1");
    let later = Topic::new("later");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| {
        assert!(cx.subscribe(id, &later));
        cx.send(id, Event::new("private").id("mine").unwrap());
        cx.publish(&later, "live").unwrap();
    });
    let expected = "data: state\n\nid: mine\ndata: private\n\ndata: live\n\n";
    assert_eq!(simulation.response(client).text(), expected);
}

#[test]
fn a_client_that_comes_back_with_its_position_needs_no_bookmark() {
    let chat = chat();
    let mut simulation = serving(&chat);
    publish(&mut simulation, &chat, 1..=2);
    let client = back(&mut simulation, "sim0-1");
    assert_eq!(simulation.response(client).text(), "data: 2\nid: sim0-2\n\n");
}

#[test]
fn a_client_gets_one_gap_event_per_gap() {
    let chat = chat();
    let mut simulation = serving(&chat);
    publish(&mut simulation, &chat, 1..=2);
    let client = back(&mut simulation, "nonsense");
    let expected = "event: gap\ndata: chat\n\nid: sim0-2\n\n";
    assert_eq!(simulation.response(client).text(), expected);
    publish(&mut simulation, &chat, ["3"]);
    let id = simulation.last_event_id(client);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), [""; 0]);
}

#[test]
fn a_new_client_gets_nothing_from_before_its_visit_when_it_comes_back() {
    let topics = [chat(), state(), Topic::new("news").history(10, 10_000)];
    let mut simulation = serving_all(&topics);
    publish(&mut simulation, &topics[1], ["state"]);
    publish(&mut simulation, &topics[0], 1..=3);
    let client = simulation.get("/");
    publish(&mut simulation, &topics[2], ["news"]);
    cut_anywhere(&mut simulation, client, &["state", "news"]);
    publish(&mut simulation, &topics[0], [4]);
    cut_anywhere(&mut simulation, client, &["state", "news", "4"]);
}

#[test]
fn retained_and_oldest_events_arrive_once_wherever_a_new_client_is_cut() {
    let (chat, news) = (chat(), Topic::new("news").history(100, 100_000));
    let states = ["a", "b", "c"].map(|name| Topic::new(name).history(10, 10_000).retain());
    let mut topics: Vec<_> = states.iter().map(|it| (it.clone(), JoinAt::Live)).collect();
    topics.extend([(chat.clone(), JoinAt::Oldest), (news.clone(), JoinAt::Live)]);
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let sse = Sse::new().send("private");
        topics.iter().fold(sse, |sse, (topic, join_at)| sse.subscribe_at(topic, *join_at))
    }));
    publish(&mut simulation, &chat, 1..=2);
    for state in &states {
        publish(&mut simulation, state, ["earlier".to_owned(), state.name().to_owned()]);
    }
    publish(&mut simulation, &chat, 3..=3);
    publish(&mut simulation, &news, ["old news"]);
    let client = simulation.get("/");
    publish(&mut simulation, &chat, ["live"]);
    publish(&mut simulation, &states[0], ["a again"]);
    let expected = ["1", "2", "a", "b", "c", "3", "live", "a again"];
    assert_eq!(data(&simulation, client)[1..], expected);
    cut_anywhere(&mut simulation, client, &expected);
}

#[test]
fn more_lagging_topics_than_an_id_can_name_are_gaps_for_a_client_cut_among_them() {
    let states: Vec<_> =
        (0..40).map(|n| Topic::new(format!("s{n}")).history(10, 10_000).retain()).collect();
    let mut simulation = serving_all(&states);
    for (n, state) in states.iter().enumerate() {
        publish(&mut simulation, state, [n]);
    }
    let client = simulation.get("/");
    let all: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(data(&simulation, client), all);
    let answer = simulation.response(client);
    let (mut gaps, mut exact) = (0, 0);
    for (blank, _) in answer.text().match_indices("\n\n") {
        let seen = starwheel::testing::EventParser::read(&answer.body[..blank + 2]);
        assert!(seen.last_event_id().len() < 1024);
        let client = back(&mut simulation, seen.last_event_id());
        let got = data(&simulation, client);
        if simulation.events(client).iter().any(|event| event.name == "gap") {
            assert_eq!(got.len(), 80, "each topic says so, and starts as for a new client");
            gaps += 1;
        } else {
            assert_eq!(got, all[seen.events.len()..]);
            exact += 1;
        }
    }
    assert!(gaps > 10 && exact > 10, "{gaps} {exact}");
}

// Events of one publish.

/// Several events together, some with their own id.
pub(super) struct Several(pub(super) &'static [(&'static str, &'static str)]);

impl Encode for Several {
    fn encode(&self, out: &mut EventBuffer) {
        for (id, data) in self.0 {
            match *id {
                "" => out.push(data),
                id => out.push(&Event::new(*data).id(id).unwrap()),
            }
        }
    }
}

#[test]
fn events_that_were_published_together_come_once_wherever_a_client_is_cut() {
    let topics = [chat(), Topic::new("news").history(100, 100_000)];
    let mut simulation = serving_all(&topics);
    publish(&mut simulation, &topics[0], ["before"]);
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&topics[0], Several(&[("", "1"), ("", "2"), ("", "3")])).unwrap();
        cx.publish(&topics[1], "4").unwrap();
        cx.publish(&topics[1], Several(&[("own 5", "5"), ("", "6")])).unwrap();
        cx.publish(&topics[0], Several(&[("", "7"), ("own 8", "8")])).unwrap();
        cx.publish(&topics[0], Several(&[("own 9", "9"), ("own 10", "10"), ("own 11", "11")]))
            .unwrap();
    });
    let expected: Vec<_> = (1..=11).map(|n| n.to_string()).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_eq!(data(&simulation, client), expected);
    cut_anywhere(&mut simulation, client, &expected);
}

#[test]
fn events_that_were_published_together_are_retained_together_and_come_once() {
    let (chat, state) = (chat(), state());
    let mut simulation = serving_all(&[chat.clone(), state.clone()]);
    simulation.run(|cx| {
        cx.publish(&state, Several(&[("", "old"), ("", "old too")])).unwrap();
        cx.publish(&state, Several(&[("", "a"), ("own", "b"), ("", "c")])).unwrap();
        cx.publish(&chat, "before").unwrap();
    });
    let client = simulation.get("/");
    publish(&mut simulation, &chat, ["1"]);
    cut_anywhere(&mut simulation, client, &["a", "b", "c", "1"]);
}

#[test]
fn a_client_that_is_cut_twice_in_one_publish_gets_the_rest_of_the_rest() {
    let chat = chat();
    let mut simulation = serving(&chat);
    simulation.run(|cx| {
        cx.publish(&chat, Several(&[("", "1"), ("", "2"), ("", "3"), ("", "4")])).unwrap();
        cx.publish(&chat, "5").unwrap();
    });
    let second = back(&mut simulation, "sim0-1.1");
    assert_eq!(data(&simulation, second), ["2", "3", "4", "5"]);
    cut_anywhere(&mut simulation, second, &["2", "3", "4", "5"]);
    for (id, expected) in [("sim0-1.3", &["4", "5"][..]), ("sim0-1.9", &["5"]), ("sim0-1", &["5"])]
    {
        let client = back(&mut simulation, id);
        assert_eq!(data(&simulation, client), expected, "{id}");
    }
    let client = back(&mut simulation, "sim0-1.0");
    assert_eq!(simulation.events(client)[0].name, "gap");
}

#[test]
fn an_empty_id_of_a_publishers_does_not_make_clients_forget_theirs() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&chat, Event::new("1").id("").unwrap()).unwrap();
    });
    assert_eq!(simulation.last_event_id(client), "sim0-1");
}

#[test]
fn an_id_that_two_events_have_is_a_gap() {
    let chat = chat();
    let mut simulation = serving(&chat);
    simulation.run(|cx| {
        for n in 1..=3 {
            cx.publish(&chat, Event::new(n.to_string()).id("the same").unwrap()).unwrap();
        }
    });
    let client = back(&mut simulation, "the same");
    assert_eq!(data(&simulation, client), ["chat"], "and no guess");
}

// Order of the first events.

#[test]
fn events_of_the_handler_come_first_even_before_a_gap() {
    let chat = chat();
    let watched = chat.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        Sse::new()
            .subscribe(&watched)
            .send("first")
            .on_connect(|stream| stream.send("from on_connect"))
    }));
    publish(&mut simulation, &chat, ["before"]);
    let client = back(&mut simulation, "nonsense");
    publish(&mut simulation, &chat, ["live"]);
    assert_eq!(data(&simulation, client), ["first", "chat", "from on_connect", "live"]);
    let expected =
        "data: first\n\nevent: gap\ndata: chat\n\ndata: from on_connect\n\nid: sim0-1\n\n";
    assert!(simulation.response(client).text().starts_with(expected));
}

#[test]
fn a_one_shot_answer_with_older_events_is_complete_and_bookmarked() {
    let (chat, state) = (chat(), state());
    let topics = [chat.clone(), state.clone()];
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let sse = topics.iter().fold(Sse::new(), |sse, topic| sse.subscribe(topic));
        sse.ending(Ending::Finish)
    }));
    publish(&mut simulation, &state, ["state"]);
    publish(&mut simulation, &chat, ["before"]);
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["state"]);
    assert_eq!(simulation.response(client).end, starwheel::testing::BodyEnd::Complete);
    assert_eq!(simulation.last_event_id(client), "sim0-2");
    cut_anywhere(&mut simulation, client, &["state"]);
}

#[test]
fn a_topic_that_is_new_has_lost_nothing() {
    let chat = chat();
    let mut simulation = Simulation::new(Router::new().get("/{room}", |req: &Request, _| {
        let chat = Topic::new("chat").history(100, 100_000);
        let room = Topic::new(req.param("room").unwrap_or_default().to_owned());
        Sse::new().subscribe(&chat).subscribe(&room.history(10, 10_000))
    }));
    publish(&mut simulation, &chat, 1..=3);
    let client = simulation.get("/blue?last_event_id=sim0-1");
    assert_eq!(data(&simulation, client), ["2", "3"]);
    // A topic that was forgotten may have.
    let blue = Topic::new("blue").history(10, 10_000);
    publish(&mut simulation, &blue, ["4"]);
    drop(blue);
    simulation.reset(client);
    simulation.advance(secs(200));
    let client = simulation.get("/blue?last_event_id=sim0-1");
    assert_eq!(data(&simulation, client), ["blue", "2", "3"]);
    let client = simulation.get("/blue?last_event_id=sim0-4");
    assert_eq!(data(&simulation, client), [""; 0]);
}

#[test]
fn hostile_positions_are_gaps_and_cost_nothing() {
    let chat = chat();
    let mut simulation = serving(&chat);
    publish(&mut simulation, &chat, 1..=3);
    let key = "0123456789abcdef";
    for hostile in [
        "sim0-1~".to_owned(),
        "sim0-1.".to_owned(),
        "sim0-1.1.1".to_owned(),
        format!("sim0-1~{key}"),
        format!("sim0-1~{key}:2"),
        format!("sim0-1~{key}:-1"),
        format!("sim0-1{}", format!("~{key}:1").repeat(300)),
        format!("sim0-4~{key}:1"),
    ] {
        let client = back(&mut simulation, &hostile);
        assert_eq!(simulation.events(client)[0].name, "gap", "{hostile}");
    }
    let client = back(&mut simulation, &format!("sim0-2~{key}:1"));
    assert_eq!(data(&simulation, client), ["3"], "of a topic that this stream has not");
}
