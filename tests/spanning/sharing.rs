//! Events reach all workers, in one order; local topics do not; other streams are not affected.

use starwheel::{
    Config, Context, JoinAt, Request, Router, Sse, Topic,
    testing::{ClientResponse, LinkFaults, SimulatedWorkers, Simulation},
};

use crate::{
    decoders,
    words::{come_back, got, link_faults, ms, publish, with_ids, workers_with},
};

#[test]
fn events_of_any_worker_reach_the_subscribers_of_all_in_one_order_with_the_same_ids() {
    let topics = ["a", "b"].map(|name| Topic::new(name).history(100, 1 << 16));
    let mut workers = workers_with(3, &topics);
    let clients: Vec<_> = (0..3).map(|worker| workers[worker].get("/")).collect();
    for n in 0..30 {
        let topic = topics[n % 2].clone();
        match n % 5 {
            0 => workers.handle().publish(&topic, n.to_string()).unwrap(),
            1 => workers[2].handle().publish_batch(&topic, [n.to_string()]).unwrap(),
            _ => workers[n % 3].run(|cx| cx.publish(&topic, n.to_string()).unwrap()),
        }
    }
    workers.turn();
    let first = with_ids(&workers, 0, clients[0]);
    let numbers: Vec<_> = (0..30).map(|n: usize| n.to_string()).collect();
    assert_eq!(first.iter().map(|(data, _)| data.clone()).collect::<Vec<_>>(), numbers);
    assert!(first.iter().zip(2..).all(|((_, id), n)| *id == format!("_sim0g0-{n}")), "{first:?}");
    for (worker, client) in clients.into_iter().enumerate() {
        assert_eq!(with_ids(&workers, worker, client), first);
    }
    for worker in 0..3 {
        let stats = workers[worker].stats();
        assert_eq!((stats.published, stats.delivered), (30, 30));
    }
}

#[test]
fn a_publish_leaves_in_its_turn_at_the_own_worker() {
    let topic = Topic::new("t");
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    let near = workers[0].get("/");
    let far = workers[1].get("/");
    // A timer fires after commands were taken, and before fan-out.
    workers[0].context().after(ms(1), move |cx| cx.publish(&topic, "now").unwrap());
    workers[0].turn();
    workers[0].jump(ms(1));
    workers[0].turn_once();
    assert_eq!(got(&workers, 0, near), ["now"]);
    workers[1].turn_once();
    assert_eq!(got(&workers, 1, far), ["now"]);
}

#[test]
fn commands_of_one_thread_keep_their_order_with_events_on_shared_topics() {
    let topic = Topic::new("t");
    let mut workers = workers_with(1, std::slice::from_ref(&topic));
    let client = workers[0].get("/");
    let handle = workers.handle();
    for n in 0..3 {
        handle.publish(&topic, format!("event {n}")).unwrap();
        let send = move |cx: &mut Context<'_>| {
            for id in cx.streams().collect::<Vec<_>>() {
                cx.send(id, format!("sent {n}"));
            }
        };
        handle.run(send).unwrap();
    }
    let close = |cx: &mut Context<'_>| {
        for id in cx.streams().collect::<Vec<_>>() {
            cx.close(id, starwheel::Ending::Finish);
        }
    };
    handle.run(close).unwrap();
    handle.publish(&topic, "too late").unwrap();
    workers.turn();
    let mut all = got(&workers, 0, client);
    all.sort();
    let expected = ["event 0", "event 1", "event 2", "sent 0", "sent 1", "sent 2"];
    assert_eq!(all, expected, "everything published before the end, and nothing after");
}

#[test]
fn an_event_does_not_overtake_an_earlier_command_in_the_turn_that_publishes_it() {
    let topic = Topic::new("t");
    let mut workers = workers_with(1, std::slice::from_ref(&topic));
    let client = workers[0].get("/");
    let handle = workers.handle();
    let id = workers[0].context().streams().next().unwrap();
    workers[0].context().after(ms(1), move |cx| {
        handle.run(move |cx| assert!(cx.send(id, "first"))).unwrap();
        cx.publish(&topic, "second").unwrap();
    });
    workers.advance(ms(1));
    assert_eq!(got(&workers, 0, client), ["first", "second"]);
}

#[test]
fn a_local_topic_stays_in_its_worker() {
    let local = Topic::new("load").history(10, 1 << 16).local();
    let mut workers = workers_with(2, std::slice::from_ref(&local));
    let (near, far) = (workers[0].get("/"), workers[1].get("/"));
    workers[0].run(|cx| cx.publish(&local, "here").unwrap());
    workers[0].handle().publish(&local, "and here").unwrap();
    workers.turn();
    assert_eq!(got(&workers, 0, near), ["here", "and here"]);
    assert_eq!(got(&workers, 1, far), [""; 0]);
    assert!(workers[0].last_event_id(near).starts_with("sim0-"));
    assert_eq!((workers.last_place(), workers.topics()), (1, 0));
}

#[test]
fn a_driven_topic_is_rendered_by_each_worker_for_its_own_subscribers() {
    let load = Topic::new("load").retain();
    let mut workers = workers_with(2, std::slice::from_ref(&load));
    for worker in 0..2 {
        let mut runs = 0;
        workers[worker].context().drive(&load, ms(1_000), move |feed| {
            runs += 1;
            feed.send(format!("{runs} of {worker}"));
        });
    }
    let clients = [workers[0].get("/"), workers[1].get("/")];
    workers.advance(ms(1_000));
    for (worker, client) in clients.into_iter().enumerate() {
        let expected = [format!("1 of {worker}"), format!("2 of {worker}")];
        assert_eq!(got(&workers, worker, client), expected);
    }
    // By hand, from anywhere, to all of them.
    publish(&mut workers, &load, "by hand");
    for (worker, client) in clients.into_iter().enumerate() {
        assert_eq!(got(&workers, worker, client).last().unwrap(), "by hand");
    }
    workers[1].run(|cx| cx.publish(&load, "in a closure").unwrap());
    workers[1].run(|cx| cx.publish(&load.clone().local(), "here").unwrap());
    workers.turn();
    let last = [&["by hand", "in a closure"][..], &["by hand", "in a closure", "here"]];
    for (worker, client) in clients.into_iter().enumerate() {
        assert_eq!(got(&workers, worker, client)[2..], *last[worker]);
    }
}

#[test]
fn a_client_goes_on_at_another_worker_as_at_its_own() {
    let topics = ["a", "b"].map(|name| Topic::new(name).history(100, 1 << 16));
    let mut workers = workers_with(3, &topics);
    let client = workers[0].get("/");
    publish(&mut workers, &topics[0], "1");
    publish(&mut workers, &topics[1], "2");
    let id = workers[0].last_event_id(client);
    for n in 3..7 {
        publish(&mut workers, &topics[n % 2], n);
    }
    for worker in 0..3 {
        let back = come_back(&mut workers, worker, &id);
        assert_eq!(got(&workers, worker, back), ["3", "4", "5", "6"], "at {worker}");
        assert_eq!(workers[worker].last_event_id(back), "_sim0g0-7");
    }
}

#[test]
fn a_client_ahead_of_its_worker_gets_nothing_twice() {
    let topics = ["a", "b", "plain"].map(Topic::new);
    let topics = topics.map(|it| if it.name() == "plain" { it } else { it.history(99, 1 << 16) });
    let mut workers = workers_with(2, &topics);
    let (fast, _slow) = (workers[0].get("/"), workers[1].get("/"));
    workers.set_link_faults(1, link_faults(|it| it.delay_max = ms(50)));
    for n in 0..20 {
        publish(&mut workers, &topics[n % 3], n);
    }
    let (seen, id) = (got(&workers, 0, fast), workers[0].last_event_id(fast));
    assert_eq!(seen.len(), 20);
    let back = come_back(&mut workers, 1, &id);
    publish(&mut workers, &topics[1], "20");
    publish(&mut workers, &topics[2], "21");
    workers.advance(ms(100));
    assert_eq!(got(&workers, 1, back), ["20", "21"]);
}

#[test]
fn local_topics_with_history_report_a_gap_to_a_client_with_an_id_of_the_namespace() {
    let news = Topic::new("news").history(100, 1 << 16);
    let own = Topic::new("own").history(100, 1 << 16).local();
    let load = Topic::new("load").local();
    let topics = [news.clone(), own.clone(), load.clone()];
    let mut workers = workers_with(2, &topics);
    let client = workers[0].get("/");
    for n in 0..6 {
        workers[0].run(|cx| cx.publish(&topics[n % 3], n.to_string()).unwrap());
    }
    assert_eq!(got(&workers, 0, client), ["0", "1", "2", "3", "4", "5"]);
    let ids: Vec<_> = workers[0].events(client).into_iter().map(|it| it.last_event_id).collect();
    // All ids speak of the namespace; an event of a local topic has the one before.
    assert_eq!(ids, ["_sim0g0-2", "_sim0g0-2", "_sim0g0-2", "_sim0g0-3", "_sim0g0-3", "_sim0g0-3"]);
    for worker in 0..2 {
        let back = come_back(&mut workers, worker, "_sim0g0-2");
        assert_eq!(got(&workers, worker, back), ["gap own", "3"], "at {worker}");
    }
}

#[test]
fn an_id_of_a_worker_alone_is_a_gap_on_topics_that_span_workers() {
    let news = Topic::new("news").history(100, 1 << 16);
    let mut workers = workers_with(2, std::slice::from_ref(&news));
    publish(&mut workers, &news, "1");
    for unknown in ["sim0-1", "_sim0-1", "_sim0g9-2", "_sim0g0", "nonsense"] {
        let back = come_back(&mut workers, 1, unknown);
        assert_eq!(got(&workers, 1, back), ["gap news"], "{unknown}");
    }
}

#[test]
fn a_publishers_own_id_is_known_to_all_workers() {
    let news = Topic::new("news").history(100, 1 << 16);
    let mut workers = workers_with(2, &[news.clone(), Topic::new("other").history(9, 99)]);
    for n in 1..4 {
        let event = starwheel::Event::new(n.to_string()).id(format!("own {n}")).unwrap();
        workers.handle().publish(&news, event).unwrap();
    }
    workers.turn();
    let back = come_back(&mut workers, 1, "own 2");
    assert_eq!(got(&workers, 1, back), ["3"]);
}

#[test]
fn a_delta_never_refers_to_an_event_of_a_topic_that_had_the_same_place_before() {
    let spanning = Topic::new("spanning");
    let watched = spanning.clone();
    let mut workers = SimulatedWorkers::new(1, move |_worker| {
        let spanning = watched.clone();
        Router::new()
            .get("/local", |_req, _cx| {
                let [local, stays] = ["local", "stays"].map(|name| Topic::new(name).local());
                Sse::new().subscribe(&local).subscribe(&stays)
            })
            .get("/spanning", move |_req, _cx| Sse::new().subscribe(&spanning))
    });
    // A delta to another page gives other words.
    let page = |n: usize| {
        let words = ["zero is long", "one", "one"][n];
        format!("<p>{n}</p>{}", format!("again and again {words} ").repeat(20))
    };
    let connect = |workers: &mut SimulatedWorkers, target| {
        let client = workers[0].connect();
        let headers = [("Accept-Encoding", "zstd")];
        workers[0].request(client, starwheel::Method::Get, target, &headers, b"");
        workers.turn();
        client
    };
    let client = connect(&mut workers, "/local");
    for _ in 0..2 {
        workers[0].run(|cx| cx.publish(&Topic::new("local").local(), page(0)).unwrap());
    }
    let id = workers[0].context().streams().next().unwrap();
    workers[0].run(|cx| assert!(cx.unsubscribe(id, &Topic::new("local").local())));
    // The new topic has the place of the forgotten one, and its first event the number of the last.
    let other = connect(&mut workers, "/spanning");
    publish(&mut workers, &spanning, page(1));
    workers[0].run(|cx| assert!(cx.subscribe(id, &spanning)));
    publish(&mut workers, &spanning, page(2));
    for (client, pages) in [(client, &[0, 0, 2][..]), (other, &[1, 2])] {
        let received = workers[0].received(client);
        let answer = ClientResponse::parse(&received, starwheel::Method::Get).unwrap();
        let text = String::from_utf8(decoders::decoded(&answer)).unwrap();
        let expected = pages.iter().map(|&n| format!("data: {}\n\n", page(n)));
        let events =
            text.split_inclusive("\n\n").map(|it| it.trim_start_matches(|letter| letter != 'd'));
        assert_eq!(events.collect::<String>(), expected.collect::<String>());
    }
}

#[test]
fn ticks_are_the_same_whatever_happens_on_the_way_to_a_worker() {
    let trace = |is_bad: bool| {
        let news = Topic::new("news").history(5, 1 << 16);
        let watched = news.clone();
        let mut workers = SimulatedWorkers::new(2, move |_worker| {
            let news = watched.clone();
            Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&news)).get(
                "/clock",
                |_req, _cx| {
                    let mut ticks = 0;
                    Sse::every(ms(10), move |stream| {
                        ticks += 1;
                        stream.send(format!("{ticks} at {:?}", stream.now()));
                    })
                },
            )
        });
        let clock = workers[1].get("/clock");
        let _reader = workers[1].get("/news");
        if is_bad {
            let faults = link_faults(|it| {
                it.delay_max = ms(30);
                it.history_delay_max = ms(100);
                it.queue_events = 3;
            });
            workers.set_link_faults(1, faults);
        }
        for n in 0..300 {
            let published = workers[0].handle().publish(&news, n.to_string());
            assert!(is_bad || published.is_ok());
            if is_bad && n % 50 == 0 {
                workers.restart_sequencer(2);
            }
            workers.advance(ms(7));
        }
        workers[1].received(clock)
    };
    assert!(trace(false) == trace(true));
}

#[test]
fn a_reactor_alone_sends_the_same_bytes_whether_its_topics_are_local_or_not() {
    let trace = |local: fn(Topic) -> Topic| {
        let topics = [
            local(Topic::new("a").history(5, 1 << 16)),
            local(Topic::new("b").history(50, 1 << 16)),
            local(Topic::new("c").retain()),
            local(Topic::new("d")),
        ];
        let watched = topics.clone();
        let router = Router::new().get("/", move |_req: &Request, _cx: &mut Context<'_>| {
            let sse = watched[..3].iter().fold(Sse::new(), |sse, topic| sse.subscribe(topic));
            sse.subscribe_at(&watched[3], JoinAt::Oldest)
        });
        let mut simulation = Simulation::with_config(Config::default(), 1, router);
        let mut clients = vec![simulation.get("/")];
        for n in 0..100 {
            simulation.run(|cx| cx.publish(&topics[n * n % 4], n.to_string()).unwrap());
            if n % 7 == 0 {
                let id = simulation.last_event_id(clients[n / 14]);
                let client = simulation.connect();
                let headers = [("Last-Event-ID", &*id)];
                simulation.request(client, starwheel::Method::Get, "/", &headers, b"");
                clients.push(client);
            }
        }
        simulation.turn();
        clients.into_iter().map(|client| simulation.received(client)).collect::<Vec<_>>()
    };
    assert!(trace(|topic| topic) == trace(Topic::local));
}

#[test]
fn topics_are_forgotten_by_all_workers_and_nothing_leaks() {
    let mut workers = SimulatedWorkers::new(3, |_worker| {
        Router::new().get("/{room}", |req: &Request, _cx: &mut Context<'_>| {
            let name = format!("room {}", req.param("room").unwrap_or_default());
            Sse::new().subscribe(&Topic::new(name).history(3, 1 << 16))
        })
    });
    let held = Topic::new("held").history(3, 1 << 16);
    publish(&mut workers, &held, "kept");
    for round in 0..10 {
        let clients: Vec<_> = (0..300)
            .map(|n| {
                let client = workers[n % 3].get(&format!("/{}", round * 300 + n));
                let room = Topic::new(format!("room {}", round * 300 + n)).history(3, 1 << 16);
                workers.handle().publish(&room, "hello").unwrap();
                (n % 3, client)
            })
            .collect();
        workers.turn();
        for (worker, client) in clients {
            assert_eq!(got(&workers, worker, client), ["hello"]);
            workers[worker].half_close(client);
        }
        workers.turn();
    }
    assert_eq!(workers.topics(), 3_001);
    // A minute at the workers, and then one at the sequencer.
    workers.advance(ms(121_000));
    assert_eq!(workers.topics(), 1, "the one that the program holds");
    for worker in 0..3 {
        assert_eq!(workers[worker].stats().log_bytes, 0);
    }
    drop(held);
    workers.advance(ms(121_000));
    assert_eq!(workers.topics(), 0);
}

#[test]
fn a_topic_stays_while_any_worker_uses_it() {
    let mut workers = SimulatedWorkers::new(2, |_worker| {
        Router::new()
            .get("/", |_req, _cx| Sse::new().subscribe(&Topic::new("room").history(3, 1 << 16)))
    });
    let room = || Topic::new("room").history(3, 1 << 16);
    let (short, long) = (workers[0].get("/"), workers[1].get("/"));
    workers.handle().publish(&room(), "1").unwrap();
    workers[0].half_close(short);
    workers.advance(ms(600_000));
    assert_eq!(workers[0].stats().log_bytes, 0, "it needs it no more");
    let id = "_sim0g0-1";
    let back = come_back(&mut workers, 0, id);
    assert_eq!(got(&workers, 0, back), ["1"], "and gets it again");
    assert_eq!(got(&workers, 1, long), ["1"]);
}

#[test]
fn a_worker_without_subscribers_gets_no_events_after_a_minute() {
    let topics = [Topic::new("kept").history(9, 1 << 16), Topic::new("plain")];
    let mut workers = workers_with(2, &topics);
    let (_stays, leaves) = (workers[0].get("/"), workers[1].get("/"));
    workers[1].half_close(leaves);
    for _ in 0..200 {
        workers.advance(ms(1_000));
        publish(&mut workers, &topics[0], "kept");
        publish(&mut workers, &topics[1], "plain");
    }
    // Nothing of the topic that keeps nothing, and a minute of the other.
    let published = workers[1].stats().published;
    assert!((55..65).contains(&published), "{published}");
    assert_eq!(workers[0].stats().published, 400);
}

#[test]
fn an_event_without_an_audience_gets_no_place() {
    let mut workers = workers_with(2, &[]);
    publish(&mut workers, &Topic::new("plain"), "unheard");
    assert_eq!((workers.last_place(), workers.topics()), (1, 0));
    workers.set_link_faults(0, LinkFaults::default());
    workers.handle().publish_batch(&Topic::new("kept").retain(), ["1", "2"]).unwrap();
    assert_eq!((workers.last_place(), workers.topics()), (3, 1));
}

#[test]
fn an_event_for_all_workers_comes_once_also_with_a_local_value_of_its_topic() {
    let topic = Topic::new("t");
    let mut workers = workers_with(3, std::slice::from_ref(&topic));
    let clients = [0, 1, 2].map(|worker| workers[worker].get("/"));
    let local = topic.clone().local();
    workers.handle_of_all().publish(&local, "one").unwrap();
    workers.handle_of_all().publish_batch(&local, ["two", "three"]).unwrap();
    workers.turn();
    for (worker, client) in clients.into_iter().enumerate() {
        assert_eq!(got(&workers, worker, client), ["one", "two", "three"], "at {worker}");
    }
}

#[test]
fn the_options_of_a_topics_first_use_count_on_all_workers() {
    let history = Topic::new("t").history(10, 1 << 16);
    let retains = Topic::new("t").retain();
    for (first, later, has_ids) in [(&history, &retains, true), (&retains, &history, false)] {
        let mut workers = workers_with(2, std::slice::from_ref(later));
        publish(&mut workers, first, 0);
        let client = workers[0].get("/");
        for n in 1..4 {
            publish(&mut workers, first, n);
        }
        let id = workers[0].last_event_id(client);
        assert_eq!(!id.is_empty(), has_ids, "{id}");
        workers[0].reset(client);
        publish(&mut workers, first, "missed");
        let back = come_back(&mut workers, 1, &id);
        assert_eq!(got(&workers, 1, back), ["missed"]);
    }
}
