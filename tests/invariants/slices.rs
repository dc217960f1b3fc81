//! Invariant 7 for the effects of one closure: ends and sends beyond a turn's share wait for the
//! next turns, and their meaning does not change.

use crate::story::{Diary, Ids, data, secs, serving};
use starwheel::testing::{BodyEnd, Client, Simulation};
use starwheel::{Ending, Method, Next, Response, Router, Sse, StreamId, Topic};

/// More than a few turns' shares.
const CROWD: usize = 1_000;

/// A crowd of streams of `topic` at `/`, with a diary of their ends, and a page at `/page`.
struct Crowd {
    simulation: Simulation,
    clients: Vec<Client>,
    ids: Ids,
    ends: Diary,
}

fn crowd(topic: &Topic) -> Crowd {
    let (ids, ends) = (Ids::default(), Diary::default());
    let (keep, noted, watched) = (ids.clone(), ends.clone(), topic.clone());
    let router = Router::new().get("/page", |_, _| Response::text("page")).get("/", move |_, _| {
        let (keep, noted) = (keep.clone(), noted.clone());
        Sse::new()
            .subscribe(&watched)
            .on_connect(move |stream| keep.keep(stream.id()))
            .on_disconnect(move |_, id, reason| noted.note(format_args!("{id} {reason:?}")))
    });
    let mut simulation = Simulation::new(router);
    let clients = (0..CROWD).map(|_| simulation.get("/")).collect();
    Crowd { simulation, clients, ids, ends }
}

impl Crowd {
    /// Closes the whole crowd in the next turn.
    fn close_all(&mut self, ending: Ending) {
        let ids = self.ids.all();
        self.simulation.queue(move |cx| {
            ids.into_iter().for_each(|id| assert!(cx.close(id, ending)));
        });
    }

    /// Sends to the whole crowd in the next turn.
    fn send_all(&mut self, event: &'static str) {
        let ids = self.ids.all();
        self.simulation.queue(move |cx| ids.into_iter().for_each(|id| assert!(cx.send(id, event))));
    }

    /// Number of clients that have got an event.
    fn served(&self) -> usize {
        self.clients.iter().filter(|&&client| !data(&self.simulation, client).is_empty()).count()
    }

    /// Requests a page and turns once: waiting work does not delay the response.
    #[track_caller]
    fn assert_page_is_answered(&mut self) {
        let reader = self.simulation.connect();
        self.simulation.request(reader, Method::Get, "/page", &[], b"");
        assert!(self.simulation.turn_once(), "the rest waits");
        assert_eq!(self.simulation.response(reader).text(), "page");
    }

    fn expected_ends(&self, reason: &str) -> Vec<String> {
        self.ids.all().iter().map(|id: &StreamId| format!("{id} {reason}")).collect()
    }
}

#[track_caller]
fn assert_is_a_share(count: usize) {
    assert!((50..=300).contains(&count), "{count} of {CROWD} in one turn");
}

#[test]
fn invariant_7_streams_that_one_closure_closes_end_in_slices_in_order_and_once() {
    for (ending, reason) in [(Ending::Finish, "Finished"), (Ending::Drop, "Dropped")] {
        let mut crowd = crowd(&Topic::new("t"));
        crowd.close_all(ending);
        assert!(crowd.simulation.turn_once(), "the rest waits");
        assert_is_a_share(crowd.ends.len());
        assert_eq!(crowd.simulation.stats().streams, 0, "all of them are ended");
        let before = crowd.ends.len();
        crowd.assert_page_is_answered();
        assert_is_a_share(crowd.ends.len() - before);

        crowd.simulation.turn();
        assert_eq!(crowd.ends.read(), crowd.expected_ends(reason));
        assert_eq!(crowd.simulation.stats().closed.total(), CROWD as u64);
        for &client in &crowd.clients {
            let is_complete = crowd.simulation.response(client).end == BodyEnd::Complete;
            assert_eq!(is_complete, ending == Ending::Finish);
        }
    }
}

#[test]
fn invariant_7_a_stream_whose_end_waits_gets_what_was_published_before_and_nothing_after() {
    // The log keeps a single event, apart from what is kept for ending streams.
    let topic = Topic::new("t").log(1, 1);
    let mut crowd = crowd(&topic);
    let told = topic.clone();
    crowd.simulation.queue(move |cx| {
        cx.publish(&told, "one").unwrap();
        cx.publish(&told, "two").unwrap();
    });
    crowd.close_all(Ending::Finish);
    for late in ["three", "four", "five"] {
        assert!(crowd.simulation.turn_once(), "the rest waits");
        let told = topic.clone();
        crowd.simulation.queue(move |cx| {
            assert_eq!(cx.subscribers(&told), 0, "nobody listens");
            cx.publish(&told, late).unwrap();
        });
    }
    crowd.simulation.turn();
    for &client in &crowd.clients {
        assert_eq!(data(&crowd.simulation, client), ["one", "two"]);
        assert_eq!(crowd.simulation.response(client).end, BodyEnd::Complete);
    }
    let newcomer = crowd.simulation.get("/");
    crowd.simulation.run(move |cx| {
        cx.publish(&topic, "six").unwrap();
    });
    assert_eq!(data(&crowd.simulation, newcomer), ["six"]);
}

#[test]
fn invariant_7_an_end_that_waits_stays_what_it_is_when_its_client_leaves_or_the_server_stops() {
    let mut crowd = crowd(&Topic::new("t"));
    crowd.close_all(Ending::Finish);
    crowd.simulation.turn_once();
    let (first, last) = (crowd.clients[CROWD / 2], crowd.clients[CROWD - 1]);
    crowd.simulation.reset(first);
    crowd.simulation.half_close(last);
    let ids = crowd.ids.all();
    crowd.simulation.queue(move |cx| {
        for id in ids {
            assert!(!cx.send(id, "never") && !cx.close(id, Ending::Drop));
        }
    });
    crowd.simulation.turn_once();
    assert!(crowd.ends.len() < CROWD, "some still wait");
    crowd.simulation.queue(|cx| cx.shutdown());
    crowd.simulation.turn_once();
    assert_eq!(crowd.ends.read(), crowd.expected_ends("Finished"));
    assert!(crowd.simulation.is_stopped());
}

#[test]
fn invariant_7_a_client_that_has_read_the_end_of_its_stream_may_ask_again_though_others_end_too() {
    let router = Router::new().get("/page", |_, _| Response::text("page")).get("/", |_, _| {
        let mut is_first = true;
        Sse::every(secs(1), move |stream| {
            stream.send("tick");
            match std::mem::take(&mut is_first) {
                true => Next::Again,
                false => Next::Finish,
            }
        })
    });
    let mut simulation = Simulation::new(router);
    let clients: Vec<Client> = (0..CROWD / 4).map(|_| simulation.connect()).collect();
    for &client in &clients {
        simulation.request(client, Method::Get, "/", &[], b"");
    }
    simulation.turn();
    simulation.jump(secs(1));
    assert!(simulation.turn_once(), "the hooks of some wait");
    for &client in &clients {
        assert_eq!(simulation.response(client).end, BodyEnd::Complete);
        simulation.request(client, Method::Get, "/page", &[], b"");
    }
    simulation.turn();
    for &client in &clients {
        let answers = simulation.responses(client);
        assert_eq!(answers.len(), 2, "the connection was kept for another request");
        assert_eq!(answers[1].text(), "page");
    }
}

#[test]
fn invariant_7_streams_that_begin_and_end_in_one_turn_do_so_however_many_they_are() {
    let ends = Diary::default();
    let noted = ends.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        let sse = Sse::new().send("only").ending(Ending::Finish);
        sse.on_disconnect(move |_, _, reason| noted.note(reason))
    });
    let clients: Vec<Client> = (0..CROWD).map(|_| simulation.connect()).collect();
    for &client in &clients {
        simulation.request(client, Method::Get, "/", &[], b"");
    }
    simulation.turn_once();
    assert_eq!(ends.len(), CROWD, "an end for each beginning, or they would become more and more");
}

#[test]
fn invariant_7_sends_of_one_closure_to_many_leave_in_slices_and_in_order() {
    let mut crowd = crowd(&Topic::new("t"));
    crowd.send_all("one");
    assert!(crowd.simulation.turn_once(), "the rest waits");
    assert_is_a_share(crowd.served());
    crowd.assert_page_is_answered();
    assert!(crowd.served() < CROWD, "the rest waits");
    let writes = |crowd: &Crowd| {
        crowd.clients.iter().map(|&client| crowd.simulation.writes(client)).sum::<u64>()
    };
    let before = writes(&crowd);
    let waiting = (CROWD - crowd.served()) as u64;
    crowd.send_all("two");
    crowd.simulation.turn();
    for &client in &crowd.clients {
        assert_eq!(data(&crowd.simulation, client), ["one", "two"]);
    }
    assert_eq!(writes(&crowd) - before, CROWD as u64, "{waiting} had both in one write");
}

#[test]
fn invariant_7_a_stream_with_more_than_sends_does_not_wait_for_its_slice() {
    let ids = Ids::default();
    let keep = ids.clone();
    let mut simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    let clients: Vec<Client> = (0..CROWD).map(|_| simulation.get("/")).collect();
    let state = Topic::new("state").retain();
    let held = state.clone();
    simulation.run(move |cx| {
        cx.publish(&held, "state").unwrap();
    });
    let all = ids.all();
    simulation.queue(move |cx| {
        all.iter().for_each(|&id| assert!(cx.send(id, "one")));
        let [.., closed, subscribed] = all[..] else { panic!("a crowd") };
        assert!(cx.close(closed, Ending::Finish));
        assert!(cx.subscribe(subscribed, &state));
    });
    assert!(simulation.turn_once(), "the rest waits");
    let [first, .., unserved, closed, subscribed] = clients[..] else { panic!("a crowd") };
    assert_eq!(data(&simulation, first), ["one"]);
    assert_eq!(data(&simulation, unserved), [""; 0]);
    assert_eq!(data(&simulation, subscribed), ["one", "state"]);
    assert_eq!(data(&simulation, closed), ["one"]);
    assert_eq!(simulation.response(closed).end, BodyEnd::Complete);
    simulation.turn();
    assert_eq!(data(&simulation, unserved), ["one"]);
}

#[test]
fn invariant_7_sends_that_pile_up_leave_at_once_instead_of_filling_memory() {
    let long: &'static str = "x".repeat(20_000).leak();
    let mut crowd = crowd(&Topic::new("t"));
    crowd.send_all(long);
    assert!(crowd.simulation.turn_once(), "the rest waits");
    assert_is_a_share(crowd.served());
    // Another 20 MB while most of the first 20 MB wait.
    crowd.send_all(long);
    crowd.simulation.turn_once();
    for &client in &crowd.clients {
        assert_eq!(data(&crowd.simulation, client), [long, long]);
    }
    // After that, the next ones leave in slices again.
    crowd.clients.iter().for_each(|&client| crowd.simulation.forget_received(client));
    crowd.simulation.advance(secs(1));
    let bytes_out = crowd.simulation.stats().bytes_out;
    crowd.send_all("short");
    crowd.simulation.turn_once();
    assert_is_a_share(((crowd.simulation.stats().bytes_out - bytes_out) / 18) as usize);
}
