//! Topics that an updater feeds, and streams that have both.

use std::{cell::Cell, rc::Rc};

use starwheel::{
    BoxError, CloseReason, Ending, Event, Feed, JoinAt, Next, Router, Sse, Topic,
    testing::{BodyEnd, ServerEnd, Simulation},
};

use crate::{
    story::{Bomb, Diary, data, ms, secs},
    words::{publish, serving, streams, subscribers},
};

/// An updater that counts its runs from one.
pub(crate) fn counting() -> impl FnMut(&mut Feed<'_>) {
    let mut count = 0;
    move |feed| {
        count += 1;
        feed.send(format_args!("{count}"));
    }
}

#[test]
fn an_interval_below_a_millisecond_becomes_one_millisecond() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    let mut runs = 0;
    simulation.run(|cx| {
        cx.drive(&topic, ms(0), move |feed| {
            runs += 1;
            feed.send(format_args!("{runs}"));
        });
    });
    simulation.advance(ms(3));
    assert!(simulation.events(client).len() >= 3);
}

#[test]
fn a_topic_updater_keeps_its_schedule_as_subscribers_come_and_go() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    let first = simulation.get("/");
    simulation.advance(ms(2_500));
    let second = simulation.get("/");
    simulation.advance(ms(600));
    assert_eq!(data(&simulation, first), ["1", "2", "3", "4"]);
    assert_eq!(data(&simulation, second), ["4"], "not the first, so no render of its own");
    simulation.half_close(first);
    simulation.advance(secs(1));
    assert_eq!(data(&simulation, second), ["4", "5"]);
    simulation.half_close(second);
    simulation.advance(secs(100));
    let third = simulation.get("/");
    assert_eq!(data(&simulation, third), ["6"], "at once");
    simulation.advance(ms(999));
    assert_eq!(data(&simulation, third), ["6"]);
    simulation.advance(ms(1));
    assert_eq!(data(&simulation, third), ["6", "7"], "and from then on with the interval");
}

#[test]
fn a_driven_topic_does_not_run_for_a_stream_that_ends() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    let client = simulation.get("/");
    simulation.half_close(client);
    // Its next run is due in the turn in which the last subscriber leaves.
    simulation.jump(secs(1));
    simulation.turn();
    simulation.advance(secs(10));
    assert_eq!((simulation.stats().streams, simulation.stats().ticks), (0, 1));
    let next = simulation.get("/");
    assert_eq!(data(&simulation, next), ["2"]);
}

#[test]
fn a_pause_of_the_process_is_one_late_run_and_no_storm() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    let client = simulation.get("/");
    simulation.pause(ms(100_300));
    assert_eq!(data(&simulation, client), ["1", "2"]);
    simulation.advance(ms(700));
    assert_eq!(data(&simulation, client), ["1", "2", "3"]);
}

#[test]
fn it_may_say_when_it_runs_again_and_when_never() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let alive = Rc::new(());
    let captured = Rc::clone(&alive);
    simulation.run(|cx| {
        let mut answers = [Next::After(ms(10)), Next::Again, Next::Finish].into_iter();
        cx.drive(&topic, secs(1), move |feed| {
            let _ = &captured;
            let now = feed.context().now().as_millis();
            feed.send(format_args!("at {now}"));
            answers.next().unwrap()
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(100));
    assert_eq!(data(&simulation, client), ["at 0", "at 10", "at 1010"]);
    assert_eq!(Rc::strong_count(&alive), 1, "the closure is gone");
    publish(&mut simulation, &topic, ["the topic lives on"]);
    assert_eq!(data(&simulation, client).len(), 4);
}

#[test]
fn a_later_updater_takes_the_place_of_an_earlier_one() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| cx.drive(&topic, secs(1), |feed| feed.send("former")));
    let client = simulation.get("/");
    simulation.run(|cx| cx.drive(&topic, secs(1), |feed| feed.send("latter")));
    simulation.advance(secs(5));
    assert_eq!(data(&simulation, client), ["former", "latter"]);
    let ticks = simulation.stats().ticks;
    simulation.half_close(client);
    simulation.advance(secs(5));
    assert_eq!(simulation.stats().ticks, ticks);
}

#[test]
fn errors_and_panics_cost_one_run() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        let mut count = 0;
        cx.drive(&topic, secs(1), move |feed| {
            count += 1;
            feed.send(format_args!("{count}"));
            match count {
                2 => Err(BoxError::from("no data")),
                3 => panic!("on purpose"),
                _ => Ok(()),
            }
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(4));
    assert_eq!(data(&simulation, client), ["1", "4", "5"], "and nothing that they had sent");
    assert_eq!((simulation.stats().panics, simulation.stats().streams), (1, 1));
}

#[test]
fn an_updater_whose_destructor_panics_may_be_replaced() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let bomb = Bomb;
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), move |_| {
            let _ = &bomb;
        });
    });
    simulation.run(|cx| cx.drive(&topic, secs(1), |feed| feed.send("fine")));
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["fine"]);
    assert_eq!(simulation.stats().panics, 1);
}

#[test]
fn all_events_of_one_run_are_published_together_and_compared_together() {
    let topic = Topic::new("t").history(10, 10_000);
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        let mut count = 0;
        cx.drive(&topic, secs(1), move |feed| {
            count += 1;
            feed.send(Event::new("head").name("part").unwrap());
            feed.send(format_args!("{}", count / 2));
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(3));
    let events = simulation.events(client);
    let texts: Vec<_> = events.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(texts, ["head", "0", "head", "1", "head", "2"]);
    assert_eq!(simulation.stats().ticks_unchanged, 1, "2 / 2 and 3 / 2");
    for (seen, expected) in ["0", "head", "1", "head", "2"].iter().enumerate() {
        let back = simulation.get(&format!("/?last_event_id={}", events[seen].last_event_id));
        assert_eq!(data(&simulation, back)[0], *expected, "in the middle of a run too");
    }
}

#[test]
fn it_knows_how_many_listen_and_has_the_reactor_at_hand() {
    let (topic, other) = (Topic::new("t"), Topic::new("other"));
    let (left, right, told) = (topic.clone(), other.clone(), other.clone());
    let mut simulation = Simulation::new(
        Router::new()
            .get("/", move |_, _| Sse::new().subscribe(&left))
            .get("/other", move |_, _| Sse::new().subscribe(&right)),
    );
    let listener = simulation.get("/other");
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), move |feed| {
            let count = feed.subscribers();
            feed.send(format_args!("to {count}"));
            assert_eq!(feed.context().subscribers(&told), 1);
            feed.context().publish(&told, format_args!("{count} listen")).unwrap();
        });
    });
    let first = simulation.get("/");
    let _second = simulation.get("/");
    simulation.advance(secs(1));
    assert_eq!(data(&simulation, first), ["to 1", "to 2"]);
    assert_eq!(data(&simulation, listener), ["1 listen", "2 listen"]);
}

#[test]
fn it_may_publish_on_its_own_topic_too() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let own = topic.clone();
    simulation.run(|cx| {
        let mut count = 0;
        cx.drive(&topic, secs(1), move |feed| {
            count += 1;
            feed.send(format_args!("rendered {count}"));
            feed.context().publish(&own, format_args!("published {count}")).unwrap();
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(1));
    let expected = ["published 1", "rendered 1", "published 2", "rendered 2"];
    assert_eq!(data(&simulation, client), expected, "a render is published when it is whole");
}

#[test]
fn it_may_send_its_subscribers_away() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let own = topic.clone();
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), move |feed| {
            feed.send("the last thing you hear");
            let ids: Vec<_> = feed.context().streams().collect();
            for id in ids {
                assert!(feed.context().unsubscribe(id, &own));
            }
            assert_eq!(feed.subscribers(), 0);
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(10));
    assert_eq!(data(&simulation, client), [""; 0], "no subscriber was left");
    assert_eq!(simulation.stats().ticks, 1);
}

#[test]
fn it_may_close_its_subscribers_in_the_middle_of_a_run() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        let mut runs = 0;
        cx.drive(&topic, secs(1), move |feed| {
            runs += 1;
            feed.send(format_args!("run {runs}"));
            if runs == 2 {
                let ids: Vec<_> = feed.context().streams().collect();
                ids.iter().for_each(|id| assert!(feed.context().close(*id, Ending::Finish)));
            }
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(10));
    assert_eq!(data(&simulation, client), ["run 1"], "the second was published after the end");
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    assert_eq!(simulation.stats().ticks, 2);
}

#[test]
fn a_retained_render_and_a_fresh_one_when_it_has_changed_meanwhile() {
    let topic = Topic::new("t").retain();
    let mut simulation = serving(&topic);
    let state = Rc::new(Cell::new(1));
    let seen = Rc::clone(&state);
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), move |feed| feed.send(format_args!("{}", seen.get())));
    });
    let first = simulation.get("/");
    simulation.half_close(first);
    simulation.advance(secs(5));
    let same = simulation.get("/");
    assert_eq!(data(&simulation, same), ["1"], "the retained one is as good as a fresh one");
    simulation.half_close(same);
    simulation.advance(secs(5));
    state.set(2);
    let changed = simulation.get("/");
    assert_eq!(data(&simulation, changed), ["1", "2"]);
}

#[test]
fn a_first_subscriber_gets_a_fresh_render_whatever_was_published_by_hand() {
    for by_itself in [false, true] {
        let topic = Topic::new("t").retain();
        let mut simulation = serving(&topic);
        let own = topic.clone();
        simulation.run(|cx| {
            let mut count = 0;
            let updater = move |feed: &mut Feed<'_>| {
                count += 1;
                feed.send("state");
                if by_itself && count == 2 {
                    feed.context().publish(&own, "by hand").unwrap();
                }
            };
            cx.drive(&topic, secs(1), updater);
        });
        let first = simulation.get("/");
        simulation.advance(secs(1));
        if !by_itself {
            publish(&mut simulation, &topic, ["by hand"]);
        }
        simulation.half_close(first);
        simulation.advance(secs(1));
        let second = simulation.get("/");
        assert_eq!(data(&simulation, second), ["by hand", "state"]);
        simulation.half_close(second);
        simulation.advance(secs(1));
        let third = simulation.get("/");
        simulation.advance(secs(3));
        assert_eq!(data(&simulation, third), ["state"], "the retained one is a render again");
    }
}

#[test]
fn a_run_is_compared_with_the_run_before_also_when_that_sent_nothing() {
    let topic = Topic::new("t").retain();
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        let mut outputs = ["alarm", "", "alarm", "alarm", "", "", "alarm", "", "alarm"].into_iter();
        let updater = move |feed: &mut Feed<'_>| match outputs.next() {
            None | Some("") => {}
            Some(output) => feed.send(output),
        };
        cx.drive(&topic, secs(1), updater);
    });
    let client = simulation.get("/");
    simulation.advance(secs(7));
    assert_eq!(data(&simulation, client), ["alarm"; 3]);
    assert_eq!(simulation.stats().ticks_unchanged, 1);
    simulation.half_close(client);
    simulation.advance(secs(1));
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["alarm"], "the retained one is as good as a fresh one");
}

#[test]
fn joins_in_one_turn_share_one_render() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    let clients = [(); 5].map(|()| {
        let client = simulation.connect();
        simulation.send(client, &crate::story::get("/"));
        client
    });
    simulation.turn();
    for client in clients {
        assert_eq!(data(&simulation, client), ["1"]);
    }
}

#[test]
fn a_private_updater_and_topics_share_a_stream() {
    let (topic, renders) = (Topic::new("t"), Topic::new("r"));
    let watched = [topic.clone(), renders.clone()];
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let mut count = 0;
        let sse = Sse::every(secs(1), move |stream| {
            count += 1;
            stream.send(format_args!("private {count}"));
        });
        sse.subscribe(&watched[0]).subscribe_at(&watched[1], JoinAt::Oldest)
    }));
    simulation.run(|cx| cx.drive(&renders, ms(1_500), counting()));
    let client = simulation.get("/");
    publish(&mut simulation, &topic, ["hello"]);
    simulation.advance(secs(2));
    let expected = ["private 1", "1", "hello", "private 2", "2", "private 3"];
    assert_eq!(data(&simulation, client), expected);
}

#[test]
fn a_stream_may_choose_its_topics_while_it_runs() {
    let rooms = ["red", "blue"].map(Topic::new);
    let choices = rooms.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let (rooms, mut count) = (choices.clone(), 0);
        Sse::every(secs(1), move |stream| {
            let (from, to) = (&rooms[count % 2], &rooms[(count + 1) % 2]);
            assert_eq!(stream.unsubscribe(from), count > 0);
            assert!(stream.subscribe(to));
            count += 1;
        })
    }));
    let client = simulation.get("/");
    for round in 0..4 {
        for room in &rooms {
            publish(&mut simulation, room, [format!("{} {round}", room.name())]);
        }
        simulation.advance(secs(1));
    }
    assert_eq!(data(&simulation, client), ["blue 0", "red 1", "blue 2", "red 3"]);
    for room in &rooms {
        assert!(subscribers(&mut simulation, room) <= 1);
    }
}

#[test]
fn a_drain_lets_each_stream_hear_its_topics_to_the_end() {
    let (topic, diary) = (Topic::new("t").history(100, 100_000), Diary::default());
    let (watched, noted) = (topic.clone(), diary.clone());
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let noted = noted.clone();
        Sse::new().subscribe(&watched).on_disconnect(move |cx, _, reason| {
            assert!(matches!(reason, CloseReason::Shutdown));
            noted.note(cx.now().as_secs());
        })
    }));
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    let clients: Vec<_> = (0..4).map(|_| simulation.get("/")).collect();
    simulation.drain(secs(40));
    simulation.advance(secs(41));
    assert_eq!(diary.read(), ["0", "10", "20", "30"]);
    for (n, client) in clients.into_iter().enumerate() {
        // The first subscriber had the first run; a run at the moment of leaving may come too late.
        let got = data(&simulation, client);
        let first = if n == 0 { 1 } else { 2 };
        let expected: Vec<_> = (first..=10 * n).map(|run| run.to_string()).collect();
        assert!(got.starts_with(&expected) && got.len() <= expected.len() + 1, "{n}: {got:?}");
        assert_eq!(simulation.response(client).end, BodyEnd::Open, "it may reconnect elsewhere");
        assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    }
    assert!(simulation.is_stopped());
}

#[test]
fn a_shutdown_in_the_turn_of_a_publish_still_brings_the_event() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let clients: Vec<_> = (0..600).map(|_| simulation.get("/")).collect();
    assert_eq!(streams(&mut simulation).len(), 600);
    simulation.run(|cx| {
        cx.publish(&topic, "goodbye").unwrap();
        cx.shutdown();
    });
    for client in clients {
        assert_eq!(data(&simulation, client), ["goodbye"]);
    }
    assert!(simulation.is_stopped());
}
