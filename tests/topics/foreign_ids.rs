//! Ids that give no position in a stream's topics: those of private events, and of topics without
//! history.

use starwheel::{Event, Router, Sse, Stream, Topic, testing::Simulation};

use crate::{
    positions::{Several, back, chat},
    story::{data, secs},
    words::{publish, serving, serving_all, streams},
};

#[test]
fn a_private_event_with_an_id_is_followed_by_the_position_of_the_stream() {
    let chat = chat();
    let watched = chat.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let private = |id: &'static str| Event::new("private").id(id).unwrap();
        let mut ticks = 0;
        Sse::every(secs(1), move |stream: &mut Stream<'_>| {
            ticks += 1;
            if ticks == 2 {
                stream.send(private("tick"));
                stream.send("private");
            }
        })
        .send(private("first"))
        .subscribe(&watched)
        .on_connect(move |stream| stream.send(private("")))
    }));
    publish(&mut simulation, &chat, ["before"]);
    let client = simulation.get("/");
    let held = |simulation: &Simulation| simulation.last_event_id(client);
    assert_eq!(held(&simulation), "sim0-1");
    publish(&mut simulation, &chat, ["2"]);
    simulation.advance(secs(1));
    assert_eq!(held(&simulation), "sim0-2");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| {
        cx.send(id, Event::new("private").id(7).unwrap());
        cx.publish(&chat, "3").unwrap();
        cx.send_uncompressed(id, Event::id_only(8).unwrap());
    });
    assert_eq!(data(&simulation, client).len(), 7);
    assert_eq!(held(&simulation), "sim0-3");
    let names: Vec<_> =
        simulation.events(client).into_iter().map(|event| event.last_event_id).collect();
    assert_eq!(names, ["first", "", "sim0-2", "tick", "tick", "7", "sim0-3"], "pages see theirs");
    let back = back(&mut simulation, "sim0-2");
    assert_eq!(simulation.events(back).last().unwrap().data, "3");
}

#[test]
fn a_client_cut_right_after_a_private_id_gets_a_gap() {
    let chat = chat();
    let mut simulation = serving(&chat);
    let client = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| assert!(cx.send(id, Event::new("private").id("mine").unwrap())));
    let text = simulation.response(client).text().to_owned();
    assert_eq!(text, "id: sim0-0\n\nid: mine\ndata: private\n\nid: sim0-0\n\n");
    let client = back(&mut simulation, "mine");
    assert_eq!(simulation.events(client)[0].name, "gap");
}

#[test]
fn a_tick_that_is_dropped_because_it_is_unchanged_brings_no_bookmark_either() {
    let chat = chat();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let tick = |stream: &mut Stream<'_>| stream.send(Event::new("private").id(7).unwrap());
        Sse::every(secs(1), tick).skip_unchanged().subscribe(&chat)
    }));
    let client = simulation.get("/");
    simulation.advance(secs(9));
    assert_eq!(simulation.stats().ticks_unchanged, 9);
    assert_eq!(simulation.response(client).text(), "id: 7\ndata: private\n\nid: sim0-0\n\n");
}

#[test]
fn a_published_id_that_no_log_knows_is_followed_by_the_position_of_the_stream() {
    let (chat, passing) = (chat(), Topic::new("passing"));
    let mut simulation = serving_all(&[chat.clone(), passing.clone()]);
    let client = simulation.get("/");
    publish(&mut simulation, &chat, 1..=1);
    simulation.run(|cx| {
        cx.publish(&passing, Several(&[("a", "2"), ("", "3")])).unwrap();
        cx.publish(&chat, "4").unwrap();
        cx.publish(&passing, Event::new("5").id("b").unwrap()).unwrap();
    });
    assert_eq!(data(&simulation, client), ["1", "2", "3", "4", "5"]);
    let id = simulation.last_event_id(client);
    let client = back(&mut simulation, &id);
    assert_eq!(data(&simulation, client), [""; 0]);

    let mut simulation = serving(&passing);
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&passing, Event::new("1").id("b").unwrap()).unwrap();
    });
    assert_eq!(simulation.response(client).text(), ":\nid: b\ndata: 1\n\n", "and nothing else");
}
