//! A stream whose end is decided no longer counts: a user's newest stream can replace the oldest.

use std::{cell::RefCell, rc::Rc};

use starwheel::{
    BoxError, Config, Context, Ending, Feed, FirstTick, KeepAlive, Method, Next, Request, Router,
    Sse, Stream, StreamId, Topic,
    testing::{Client, Simulation},
};

use crate::story::{Diary, data, ms, secs};

const CAP: usize = 3;

fn config(streams_per_tag: usize) -> Config {
    let mut config = Config::default();
    config.limits.streams_per_tag = Some(streams_per_tag);
    config
}

/// `/` opens a stream of Anna's, `/replace` first makes room for it.
fn server(streams_per_tag: usize) -> Simulation {
    let anna = || Sse::new().tag("anna").on_connect(|stream| stream.send("born"));
    let router = Router::new()
        .get("/", move |_: &Request, _: &mut Context<'_>| anna())
        .get("/replace", move |_, cx| {
            close_all(cx, Ending::Drop);
            anna()
        })
        .get("/other", |_, _| {
            Sse::new().on_connect(|stream| close_all(&mut stream.context(), Ending::Drop))
        });
    Simulation::with_config(config(streams_per_tag), 0, router)
}

fn close_all(cx: &mut Context<'_>, ending: Ending) {
    for id in cx.tagged("anna") {
        assert!(cx.close(id, ending));
    }
}

fn ask(simulation: &mut Simulation, target: &str) -> Client {
    let client = simulation.connect();
    simulation.request(client, Method::Get, target, &[], b"");
    client
}

#[track_caller]
fn assert_born(simulation: &Simulation, client: Client) {
    let answer = simulation.response(client);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(data(simulation, client)[0], "born");
}

#[test]
fn the_newest_stream_of_a_user_can_replace_the_oldest() {
    type MakeRoom = fn(&mut Simulation, Ending);
    let ways: [(&str, MakeRoom); 4] = [
        ("/replace", |_, _| {}),
        // In step 2 of the turn.
        ("/", |simulation, ending| simulation.queue(move |cx| close_all(cx, ending))),
        // In the hook of a stream that is born earlier in this turn.
        ("/", |simulation, _| {
            ask(simulation, "/other");
        }),
        // In a timer that is due in this turn.
        ("/", |simulation, ending| {
            simulation.run(move |cx| {
                cx.after(ms(1), move |cx| close_all(cx, ending));
            });
            simulation.jump(ms(1));
        }),
    ];
    for (way, (target, make_room)) in ways.into_iter().enumerate() {
        for ending in [Ending::Drop, Ending::Finish] {
            let mut simulation = server(1);
            simulation.get("/");
            for _ in 0..3 {
                make_room(&mut simulation, ending);
                let newest = ask(&mut simulation, target);
                simulation.turn();
                assert_born(&simulation, newest);
                assert_eq!(simulation.stats().streams, 1 + u64::from(way == 2), "way {way}");
                simulation.run(|cx| assert_eq!(cx.tagged("anna").len(), 1));
                if way == 2 {
                    // The one that made room is none of Anna's.
                    simulation.run(|cx| {
                        let others = cx.streams().filter(|id| cx.tag(*id).is_none());
                        let others: Vec<_> = others.collect();
                        others.into_iter().for_each(|id| assert!(cx.close(id, Ending::Drop)));
                    });
                }
            }
            assert_eq!(simulation.stats().refused.total(), 0);
        }
    }
}

#[test]
fn each_closed_connection_makes_room_for_one() {
    let mut simulation = server(CAP);
    let first: Vec<_> = (0..CAP).map(|_| simulation.get("/")).collect();
    simulation.queue(|cx| {
        let oldest_two: Vec<_> = cx.tagged("anna").into_iter().take(2).collect();
        oldest_two.into_iter().for_each(|id| assert!(cx.close(id, Ending::Finish)));
    });
    let next: Vec<_> = (0..3).map(|_| ask(&mut simulation, "/")).collect();
    simulation.turn();
    assert_born(&simulation, next[0]);
    assert_born(&simulation, next[1]);
    assert_eq!(simulation.response(next[2]).status, 429, "births of one turn count for each other");
    assert!(simulation.is_open(first[2]) && simulation.stats().streams == 3);
}

/// How a stream ends, and what ends it in the turn of the next request.
struct Way {
    target: &'static str,
    begin: fn(&mut Simulation, Client),
    end: fn(&mut Simulation, Client),
}

fn way(target: &'static str, end: fn(&mut Simulation, Client)) -> Way {
    Way { target, begin: |_, _| {}, end }
}

fn ways() -> [Way; 9] {
    let a_second_passes: fn(&mut Simulation, Client) = |simulation, _| simulation.jump(secs(1));
    [
        way("/idle", Simulation::half_close),
        way("/idle", Simulation::reset),
        way("/lifetime", a_second_passes),
        way("/closes", a_second_passes),
        way("/returns", a_second_passes),
        way("/panics", a_second_passes),
        way("/fails", a_second_passes),
        // More is sent to a client that does not read.
        Way {
            target: "/idle",
            begin: stuck,
            end: |simulation, _| {
                simulation.queue(|cx| send_all(cx, 200_000, false));
            },
        },
        // A client does not read for too long.
        Way { target: "/idle", begin: stuck, end: |simulation, _| simulation.jump(secs(60)) },
    ]
}

fn stuck(simulation: &mut Simulation, client: Client) {
    simulation.stall(client);
    simulation.run(|cx| send_all(cx, 200_000, true));
}

fn send_all(cx: &mut Context<'_>, bytes: usize, is_taken: bool) {
    for id in cx.tagged("anna") {
        assert_eq!(cx.send(id, "x".repeat(bytes)), is_taken);
    }
}

fn ending_streams() -> Router {
    let tick = |updater: fn(&mut Stream<'_>) -> Next| {
        Sse::every(secs(1), updater).first_tick(FirstTick::AfterInterval).tag("anna")
    };
    Router::new()
        .get("/idle", |_, _| Sse::new().tag("anna").keep_alive(KeepAlive::Off).send("born"))
        .get("/lifetime", |_, _| Sse::new().tag("anna").max_lifetime(secs(1)))
        .get("/closes", move |_, _| {
            tick(|stream| {
                stream.close(Ending::Finish);
                Next::Again
            })
        })
        .get("/returns", move |_, _| tick(|_| Next::Drop))
        .get("/panics", move |_, _| tick(|_| panic!("an updater that panics")))
        .get("/fails", move |_, _| tick(|_| Next::Fail(BoxError::from("no more"))))
}

#[test]
fn however_a_stream_ends_its_place_is_free_in_the_same_turn() {
    for (nth, way) in ways().into_iter().enumerate() {
        for request_comes_first in [false, true] {
            let mut simulation = Simulation::with_config(config(1), 0, ending_streams());
            let old = simulation.get(way.target);
            (way.begin)(&mut simulation, old);
            assert_eq!(simulation.stats().streams, 1);
            let newcomer = match request_comes_first {
                true => {
                    let newcomer = ask(&mut simulation, "/idle");
                    (way.end)(&mut simulation, old);
                    newcomer
                }
                false => {
                    (way.end)(&mut simulation, old);
                    ask(&mut simulation, "/idle")
                }
            };
            simulation.turn();
            assert_born(&simulation, newcomer);
            assert_eq!(simulation.stats().streams, 1, "way {nth}");
        }
    }
}

#[test]
fn a_stream_that_ends_in_its_birth_leaves_its_place_to_the_next() {
    let router = Router::new()
        .get("/once", |_, _| Sse::new().tag("anna").send("born").ending(Ending::Finish))
        .get("/panics", |_, _| {
            Sse::new().tag("anna").send("born").on_connect(|_| panic!("a hook that panics"))
        })
        .get("/closes", |_, _| {
            Sse::new().tag("anna").send("born").on_connect(|stream| stream.close(Ending::Drop))
        });
    let mut simulation = Simulation::with_config(config(1), 0, router);
    let all: Vec<_> = ["/once", "/panics", "/closes", "/once", "/panics"]
        .into_iter()
        .map(|target| ask(&mut simulation, target))
        .collect();
    simulation.turn();
    all.into_iter().for_each(|client| assert_born(&simulation, client));
    assert_eq!((simulation.stats().streams, simulation.stats().opened), (0, 5));
}

#[test]
fn streams_that_a_drain_ends_leave_their_places() {
    let mut simulation = server(1);
    // Connected before the drain, which closes only connections without pending work.
    let newcomer = simulation.connect();
    simulation.send(newcomer, b"GET / HTTP/1.1\r\n");
    let old = simulation.get("/");
    simulation.drain(secs(10));
    simulation.jump(ms(500));
    simulation.send(newcomer, b"Host: a\r\n\r\n");
    simulation.turn();
    assert!(simulation.stats().closed.shutdown == 1 && simulation.response(old).status == 200);
    assert_born(&simulation, newcomer);
}

#[test]
fn a_stream_whose_end_is_decided_counts_nowhere() {
    let topic = Topic::new("t");
    let counts = |cx: &mut Context<'_>, topic: &Topic| {
        let streams = cx.streams().count();
        assert_eq!(cx.stats().streams, streams as u64);
        assert_eq!(cx.tagged("anna").len(), streams);
        assert_eq!(cx.subscribers(topic), streams);
        assert_eq!(cx.subscribers(topic), streams);
        cx.publish(topic, "news").unwrap();
        streams
    };
    let (watched, diary) = (topic.clone(), Diary::default());
    let noted = diary.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let (topic, diary) = (watched.clone(), noted.clone());
        Sse::new()
            .tag("anna")
            .subscribe(&watched)
            .on_disconnect(move |cx, _, _| diary.note(counts(cx, &topic)))
    }));
    let clients: Vec<_> = (0..5).map(|_| simulation.get("/")).collect();
    simulation.run(|cx| {
        for (left, id) in (0..4).rev().zip(cx.tagged("anna").into_iter().skip(1)) {
            assert_eq!(counts(cx, &topic), left + 2);
            assert!(cx.close(id, Ending::Drop));
            assert_eq!(counts(cx, &topic), left + 1);
        }
    });
    assert_eq!(diary.read(), ["1"; 4], "none of those that end together is counted");
    // Left by their clients, in one turn.
    let more: Vec<_> = (0..3).map(|_| simulation.get("/")).collect();
    simulation.half_close(clients[0]);
    simulation.reset(more[0]);
    simulation.half_close(more[2]);
    simulation.turn();
    assert_eq!(diary.read()[4..], ["1"; 3]);
    simulation.run(|cx| assert_eq!(counts(cx, &topic), 1));
}

#[test]
fn a_tags_streams_are_listed_oldest_first() {
    let born = Rc::new(RefCell::new(Vec::<StreamId>::new()));
    let note = Rc::clone(&born);
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let note = Rc::clone(&note);
        Sse::new().tag("anna").on_connect(move |stream| note.borrow_mut().push(stream.id()))
    }));
    let listed = |simulation: &mut Simulation| {
        let mut ids = Vec::new();
        simulation.run(|cx| ids = cx.tagged("anna"));
        ids
    };
    let mut clients: Vec<_> = (0..10).map(|_| simulation.get("/")).collect();
    assert_eq!(listed(&mut simulation), *born.borrow());
    // From the middle, the front and the back; their slots are reused by newer ones.
    for place in [4, 0, 7, 3, 0, 4] {
        simulation.reset(clients.remove(place));
        simulation.turn();
        born.borrow_mut().remove(place);
        assert_eq!(listed(&mut simulation), *born.borrow());
    }
    clients.extend((0..10).map(|_| simulation.get("/")));
    assert_eq!(clients.len(), 14);
    assert_eq!(listed(&mut simulation), *born.borrow());
}

#[test]
fn a_driven_topic_renders_at_once_for_one_that_comes_as_the_last_one_leaves() {
    for newcomer_connects_first in [false, true] {
        let topic = Topic::new("t");
        let watched = topic.clone();
        let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
        let mut simulation = Simulation::new(router);
        let mut count = 0;
        let counting = move |feed: &mut Feed<'_>| {
            count += 1;
            feed.send(format_args!("{count}"));
        };
        simulation.run(|cx| cx.drive(&topic, secs(10), counting));
        let early = newcomer_connects_first.then(|| ask(&mut simulation, "/none"));
        let last = simulation.get("/");
        assert_eq!(data(&simulation, last), ["1"]);
        simulation.advance(secs(5));
        simulation.half_close(last);
        let newcomer = early.unwrap_or_else(|| simulation.connect());
        simulation.forget_received(newcomer);
        simulation.request(newcomer, Method::Get, "/", &[], b"");
        simulation.turn();
        assert_eq!(data(&simulation, newcomer), ["2"]);
        simulation.advance(secs(10));
        assert_eq!(data(&simulation, newcomer), ["2", "3"]);
    }
}
