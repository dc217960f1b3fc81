//! Publishing, subscribing and closing from inside any closure, at any moment.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use starwheel::{
    Context, Ending, FirstTick, Method, Next, Request, Response, Router, Sse, StreamId, Topic,
    testing::{Client, Simulation},
};

use crate::{
    random::Random,
    story::{Diary, Ids, data, ms, secs},
    words::{publish, serving, streams, subscribers},
};

#[test]
fn every_kind_of_closure_may_publish() {
    let topic = Topic::new("t");
    let [handler, updater, joined, left, timer, beat, driven] = [(); 7].map(|()| topic.clone());
    let watched = topic.clone();
    let router = Router::new()
        .get("/", move |_, _| Sse::new().subscribe(&watched))
        .get("/say", move |_, cx| {
            assert_eq!(cx.subscribers(&handler), 1);
            cx.publish(&handler, "a handler").unwrap();
            Response::no_content()
        })
        .get("/stream", move |_, _| {
            let (updater, joined, left) = (updater.clone(), joined.clone(), left.clone());
            Sse::every(ms(10), move |stream| {
                assert_eq!(stream.context().subscribers(&updater), 1);
                stream.context().publish(&updater, "an updater").unwrap();
                Next::Finish
            })
            .first_tick(FirstTick::AfterInterval)
            .on_connect(move |stream| {
                assert_eq!(stream.context().subscribers(&joined), 1);
                stream.context().publish(&joined, "on_connect").unwrap();
            })
            .on_disconnect(move |cx, _, _| {
                assert_eq!(cx.subscribers(&left), 1);
                cx.publish(&left, "on_disconnect").unwrap();
            })
        });
    let mut simulation = Simulation::new(router);
    let client = simulation.get("/");
    simulation.get("/say");
    simulation.get("/stream");
    simulation.advance(ms(10));
    simulation.run(move |cx| {
        cx.publish(&topic, "a command").unwrap();
        cx.after(ms(10), move |cx| {
            assert_eq!(cx.subscribers(&timer), 1);
            cx.publish(&timer, "a timer").unwrap();
        });
        cx.every(ms(20), move |cx| {
            cx.publish(&beat, "a repeating timer").unwrap();
            Next::Finish
        });
        let (source, told) = (Topic::new("source"), driven.clone());
        let run = move |feed: &mut starwheel::Feed<'_>| {
            assert_eq!(feed.context().subscribers(&told), 1);
            feed.context().publish(&told, "a topic updater").unwrap();
            Next::Finish
        };
        cx.drive(&source, ms(30), run);
        let ids: Vec<_> = cx.streams().collect();
        assert!(cx.subscribe(ids[0], &source));
    });
    simulation.advance(ms(30));
    let expected = [
        "a handler",
        "on_connect",
        "an updater",
        "on_disconnect",
        "a command",
        "a topic updater",
        "a timer",
        "a repeating timer",
    ];
    assert_eq!(data(&simulation, client), expected);
}

#[test]
fn a_users_refcell_may_stay_borrowed_while_everything_is_done_with_topics() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    let app = Rc::new(RefCell::new(0));
    let rendering = Rc::clone(&app);
    simulation.run(|cx| {
        let mut app = app.borrow_mut();
        let own = Rc::clone(&rendering);
        cx.drive(&topic, secs(1), move |feed| feed.send(format_args!("{}", own.borrow())));
        let ids: Vec<_> = cx.streams().collect();
        assert!(cx.unsubscribe(ids[0], &topic));
        assert!(cx.subscribe(ids[0], &topic));
        assert_eq!(cx.subscribers(&topic), 1);
        cx.publish(&topic, "published").unwrap();
        *app += 1;
    });
    assert_eq!(data(&simulation, client), ["published", "1"]);
}

#[test]
fn an_ended_stream_can_neither_subscribe_nor_unsubscribe() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    let other = Topic::new("other");
    simulation.run(|cx| {
        assert!(!cx.subscribe(id, &topic), "it has it already");
        assert!(!cx.unsubscribe(id, &other), "it never had it");
        assert!(cx.close(id, Ending::Drop));
        assert!(!cx.subscribe(id, &other));
        assert!(!cx.unsubscribe(id, &topic));
        assert_eq!((cx.peer(id), cx.age(id), cx.queued_bytes(id)), (None, None, None));
        assert_eq!(cx.streams().count(), 0);
    });
    assert_eq!(subscribers(&mut simulation, &topic), 0);
    // The connection's slot may be reused by another stream; the id does not refer to that one.
    simulation.half_close(client);
    simulation.turn();
    simulation.get("/");
    simulation.run(|cx| assert!(!cx.subscribe(id, &other)));
    assert_eq!(subscribers(&mut simulation, &other), 0);
}

#[test]
fn a_stream_that_closes_itself_gets_nothing_more() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let own = watched.clone();
        Sse::every(secs(1), move |stream| {
            stream.context().publish(&own, "before").unwrap();
            stream.close(Ending::Finish);
            stream.context().publish(&own, "behind").unwrap();
            assert!(!stream.unsubscribe(&own));
        })
        .first_tick(FirstTick::AfterInterval)
        .subscribe(&watched)
    }));
    let client = simulation.get("/");
    simulation.advance(secs(1));
    assert_eq!(data(&simulation, client), ["before"]);
    assert_eq!(subscribers(&mut simulation, &topic), 0);
}

#[test]
fn the_example_announces_who_joins_and_leaves() {
    // Presence in twenty lines: a list that is published whenever it changes.
    let people = Topic::new("people").retain();
    let present = Rc::new(RefCell::new(BTreeMap::<StreamId, String>::new()));
    let publish_list = {
        let (people, present) = (people.clone(), Rc::clone(&present));
        move |cx: &mut Context<'_>| {
            let names: BTreeSet<_> = present.borrow().values().cloned().collect();
            let names: Vec<_> = names.into_iter().collect();
            cx.publish(&people, names.join(" ")).unwrap();
        }
    };
    let mut simulation = Simulation::new(Router::new().get("/{name}", {
        move |req: &Request, _: &mut Context<'_>| {
            let name = req.param("name").unwrap_or_default().to_owned();
            let (joined, left) = (publish_list.clone(), publish_list.clone());
            let (inside, outside) = (Rc::clone(&present), Rc::clone(&present));
            Sse::new()
                .tag(name.as_str())
                .on_connect(move |stream| {
                    inside.borrow_mut().insert(stream.id(), name);
                    joined(&mut stream.context());
                })
                .on_disconnect(move |cx, id, _| {
                    outside.borrow_mut().remove(&id);
                    left(cx);
                })
                .subscribe(&people)
        }
    }));
    let anna = simulation.get("/anna");
    let ben = simulation.get("/ben");
    let annas_phone = simulation.get("/anna");
    simulation.run(|cx| assert_eq!(cx.tagged("anna").len(), 2));
    simulation.half_close(anna);
    simulation.turn();
    simulation.half_close(annas_phone);
    simulation.turn();
    let expected = ["anna", "anna ben", "anna ben", "anna ben", "ben"];
    assert_eq!(data(&simulation, ben), expected, "the retained list first");
    simulation.run(|cx| assert!(cx.tagged("anna").is_empty()));
}

#[test]
fn a_hook_may_close_the_next_subscriber_and_so_on_in_one_turn() {
    let (topic, ids) = (Topic::new("t"), Ids::default());
    let (watched, keep) = (topic.clone(), ids.clone());
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let (keep, others, topic) = (keep.clone(), keep.clone(), watched.clone());
        Sse::new()
            .subscribe(&watched)
            .on_connect(move |stream| keep.keep(stream.id()))
            .on_disconnect(move |cx, id, _| {
                let all = others.all();
                let next = all.iter().position(|other| *other == id).unwrap() + 1;
                cx.publish(&topic, format_args!("{next} left")).unwrap();
                if next < all.len() {
                    cx.close(all[next], Ending::Finish);
                }
            })
    }));
    let clients: Vec<_> = (0..50).map(|_| simulation.get("/")).collect();
    let first = ids.all()[0];
    simulation.run(|cx| assert!(cx.close(first, Ending::Finish)));
    for (n, client) in clients.into_iter().enumerate() {
        let expected: Vec<_> = (1..=n).map(|gone| format!("{gone} left")).collect();
        assert_eq!(data(&simulation, client), expected);
    }
    assert_eq!(subscribers(&mut simulation, &topic), 0);
}

#[test]
fn topics_may_be_subscribed_to_from_handlers_and_timers() {
    let (topic, diary) = (Topic::new("t"), Diary::default());
    let (by_handler, by_timer, noted) = (topic.clone(), topic.clone(), diary.clone());
    let router = Router::new()
        .get("/stream", |req: &Request, _| {
            Sse::new().tag(req.query_value("user").unwrap_or_default())
        })
        .post("/join", move |req: &Request, cx| {
            let ids = cx.tagged(&req.query_value("user").unwrap_or_default());
            let joined = ids.iter().filter(|id| cx.subscribe(**id, &by_handler)).count();
            Response::text(joined.to_string())
        })
        .post("/join-later", move |req: &Request, cx| {
            let (ids, topic) =
                (cx.tagged(&req.query_value("user").unwrap_or_default()), by_timer.clone());
            let noted = noted.clone();
            cx.after(secs(1), move |cx| {
                ids.iter().for_each(|id| noted.note(cx.subscribe(*id, &topic)));
            });
            Response::no_content()
        });
    let mut simulation = Simulation::new(router);
    let [anna, ben] = ["anna", "ben"].map(|user| simulation.get(&format!("/stream?user={user}")));
    let post = |simulation: &mut Simulation, target: &str| {
        let client = simulation.connect();
        simulation.request(client, Method::Post, target, &[], b"");
        simulation.turn();
    };
    post(&mut simulation, "/join?user=anna");
    post(&mut simulation, "/join-later?user=ben");
    publish(&mut simulation, &topic, ["1"]);
    simulation.advance(secs(1));
    publish(&mut simulation, &topic, ["2"]);
    assert_eq!(data(&simulation, anna), ["1", "2"]);
    assert_eq!(data(&simulation, ben), ["2"]);
    assert_eq!(diary.read(), ["true"]);
}

// In the middle of a pass over more subscribers than a turn serves.

/// State and actions of the closures of a crowded server.
#[derive(Default)]
struct Crowd {
    random: Random,
    ids: Vec<StreamId>,
    /// Streams subscribed, unsubscribed or closed by others: they need not get everything.
    disturbed: BTreeSet<StreamId>,
    subscribed: BTreeSet<StreamId>,
    published: u32,
}

type Shared = Rc<RefCell<Crowd>>;

impl Crowd {
    /// Disturbs a stream, or publishes, from any closure.
    fn meddle(crowd: &Shared, cx: &mut Context<'_>, topic: &Topic) {
        let mut crowd = crowd.borrow_mut();
        let crowd = &mut *crowd;
        let id = crowd.ids[crowd.random.below(crowd.ids.len())];
        match crowd.random.below(16) {
            0 => {
                crowd.published += 1;
                cx.publish(topic, format_args!("{}", crowd.published)).unwrap();
                return;
            }
            1..=5 => {
                let left = cx.unsubscribe(id, topic);
                assert_eq!(left, crowd.subscribed.remove(&id));
            }
            6..=10 => {
                if cx.subscribe(id, topic) {
                    assert!(crowd.subscribed.insert(id));
                }
            }
            11 => {
                cx.close(id, Ending::Finish);
                crowd.subscribed.remove(&id);
            }
            12 => {
                cx.close(id, Ending::Drop);
                crowd.subscribed.remove(&id);
            }
            _ => {
                cx.send(id, "private");
                return;
            }
        }
        crowd.disturbed.insert(id);
    }
}

/// A server whose every closure meddles.
fn crowded(crowd: &Shared, topic: &Topic) -> Simulation {
    let (watched, by_stream, by_handler) = (topic.clone(), Rc::clone(crowd), Rc::clone(crowd));
    let meddled = topic.clone();
    Simulation::new(
        Router::new()
            .get("/", move |_, _| {
                let (joined, left, topic) =
                    (Rc::clone(&by_stream), Rc::clone(&by_stream), watched.clone());
                Sse::new()
                    .subscribe(&watched)
                    .on_connect(move |stream| {
                        let mut crowd = joined.borrow_mut();
                        crowd.ids.push(stream.id());
                        crowd.subscribed.insert(stream.id());
                    })
                    .on_disconnect(move |cx, id, _| {
                        left.borrow_mut().subscribed.remove(&id);
                        Crowd::meddle(&left, cx, &topic);
                    })
            })
            .get("/meddle", move |_, cx| {
                Crowd::meddle(&by_handler, cx, &meddled);
                Response::no_content()
            }),
    )
}

/// All clients that connect in one turn.
fn come(simulation: &mut Simulation, count: usize) -> Vec<Client> {
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let client = simulation.connect();
            simulation.send(client, &crate::story::get("/"));
            client
        })
        .collect();
    simulation.turn();
    clients
}

#[test]
fn anything_may_happen_during_a_pass_over_ten_thousand_subscribers() {
    const SUBSCRIBERS: usize = 10_000;
    let (topic, crowd) = (Topic::new("t").log(2, usize::MAX), Shared::default());
    let mut simulation = crowded(&crowd, &topic);
    let clients = come(&mut simulation, SUBSCRIBERS);
    let ids = crowd.borrow().ids.clone();
    assert_eq!(ids.len(), SUBSCRIBERS);
    let meddler = simulation.connect();
    {
        // A timer, a stream's own updater and a topic's updater, each every millisecond.
        let (by_timer, by_feed) = (Rc::clone(&crowd), Rc::clone(&crowd));
        let (told, fed, source) = (topic.clone(), topic.clone(), Topic::new("source"));
        simulation.run(|cx| {
            cx.every(ms(1), move |cx| Crowd::meddle(&by_timer, cx, &told));
            cx.drive(&source, ms(1), move |feed| {
                Crowd::meddle(&by_feed, &mut feed.context(), &fed);
            });
            assert!(cx.subscribe(ids[0], &source));
        });
    }
    let mut turns_of_passes = 0;
    for _ in 0..8 {
        let (crowd_of_command, told) = (Rc::clone(&crowd), topic.clone());
        simulation.queue(move |cx| {
            crowd_of_command.borrow_mut().published += 1;
            let published = crowd_of_command.borrow().published;
            cx.publish(&told, format_args!("{published}")).unwrap();
        });
        while simulation.turn_once() {
            turns_of_passes += 1;
            let (by_command, told) = (Rc::clone(&crowd), topic.clone());
            simulation.queue(move |cx| {
                (0..20).for_each(|_| Crowd::meddle(&by_command, cx, &told));
            });
            (0..5).for_each(|_| simulation.send(meddler, &crate::story::get("/meddle")));
            if turns_of_passes % 10 == 0 {
                break;
            }
        }
        simulation.advance(ms(1));
    }
    simulation.turn();
    assert!(turns_of_passes >= 50, "passes went on while all this happened");
    let crowd = crowd.borrow();
    let all: Vec<_> = (1..=crowd.published).collect();
    let mut undisturbed = 0;
    for (id, client) in ids.iter().zip(&clients) {
        let events: Vec<u32> =
            data(&simulation, *client).iter().filter_map(|text| text.parse().ok()).collect();
        if crowd.disturbed.contains(id) {
            assert!(events.is_sorted_by(|a, b| a < b), "{id}: {events:?}");
        } else {
            undisturbed += 1;
            assert_eq!(events, all, "{id}");
        }
    }
    assert!(undisturbed > 1_000 && crowd.disturbed.len() > 500, "{undisturbed}");
    assert_eq!(simulation.stats().closed.slow, 0);
    assert_eq!(simulation.stats().panics, 0);
    assert_eq!(subscribers(&mut simulation, &topic), crowd.subscribed.len());
    assert_eq!(simulation.stats().log_bytes, 0);
}
