//! Limits that hold for all workers, under clients that race.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
};

use starwheel::{CloseReason, Config, Ending, Response, Router, Sse, TagOverflow, Workers};

use super::Running;
use crate::client::{Client, wait_for};

/// What hooks and clients have seen.
#[derive(Debug, Default)]
struct Gauge {
    /// Streams whose hook has not run yet.
    open: AtomicI64,
    replaced: AtomicU64,
    /// Clients that hold what they have got.
    held: AtomicI64,
}

impl Gauge {
    fn stream(self: &Arc<Self>) -> Sse {
        self.open.fetch_add(1, Ordering::SeqCst);
        let gauge = Arc::clone(self);
        Sse::new().tag("anna").on_disconnect(move |_cx, _id, reason| {
            gauge.open.fetch_sub(1, Ordering::SeqCst);
            let is_replaced = matches!(reason, CloseReason::Replaced);
            gauge.replaced.fetch_add(u64::from(is_replaced), Ordering::SeqCst);
        })
    }
}

fn serving(config: &Config, gauge: &Arc<Gauge>) -> Running {
    let gauge = Arc::clone(gauge);
    let workers = Workers::with_config(config, 3, move |worker| {
        let (gauge, number) = (Arc::clone(&gauge), worker.number());
        Router::new()
            .get("/", move |_req, _cx| gauge.stream())
            .get("/worker", move |_req, _cx| Response::text(number.to_string()))
    });
    Running::start(workers.unwrap())
}

/// The status of a stream's response.
fn ask(client: &mut Client) -> u16 {
    client.request("/");
    client.answer().status
}

/// Threads that open streams, and leave at once or keep them for a while. Never more than `max` are
/// held at the same time. Returns how many were opened and refused.
fn race(address: SocketAddr, gauge: &Arc<Gauge>, max: i64) -> [usize; 2] {
    let racer = |number: usize, gauge: Arc<Gauge>| {
        let (mut kept, mut counts) = (VecDeque::new(), [0; 2]);
        for nth in 0..150 {
            let mut client = Client::connect(address);
            let status = ask(&mut client);
            counts[usize::from(status != 200)] += 1;
            if status != 200 {
                continue;
            }
            let held = gauge.held.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(held <= max, "{held} are open");
            kept.push_back(client);
            let most_kept = if (number + nth).is_multiple_of(3) { 2 } else { 0 };
            while kept.len() > most_kept {
                gauge.held.fetch_sub(1, Ordering::SeqCst);
                match nth % 2 {
                    0 => kept.pop_front().into_iter().for_each(Client::reset),
                    _ => drop(kept.pop_front()),
                }
            }
        }
        gauge.held.fetch_sub(kept.len() as i64, Ordering::SeqCst);
        counts
    };
    thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|number| (number, Arc::clone(gauge)))
            .map(|(number, gauge)| scope.spawn(move || racer(number, gauge)))
            .collect();
        racers.into_iter().fold([0; 2], |sum, racer| {
            let counts = racer.join().unwrap();
            [sum[0] + counts[0], sum[1] + counts[1]]
        })
    })
}

fn all_have_left(workers: &Running) {
    wait_for("all have left", || (workers.handle.stats().connections == 0).then_some(()));
}

/// As many clients have room as at the beginning.
fn assert_room(workers: &Running, max: usize, refusal: u16) {
    let mut clients: Vec<_> = (0..=max).map(|_| Client::connect(workers.address)).collect();
    let mut statuses: Vec<_> = clients.iter_mut().map(ask).collect();
    // With limits of connections, any of them may be the last that a worker has accepted.
    statuses.sort_unstable();
    assert_eq!(statuses.pop(), Some(refusal));
    assert_eq!(statuses, vec![200; max]);
}

#[test]
fn racing_clients_never_exceed_the_limit_of_a_tag() {
    let (mut config, gauge) = (Config::default(), Arc::<Gauge>::default());
    config.limits.streams_per_tag = Some(4);
    let workers = serving(&config, &gauge);
    let [opened, refused] = race(workers.address, &gauge, 4);
    assert!(opened > 0 && refused > 0, "{opened} and {refused}");
    all_have_left(&workers);
    assert_room(&workers, 4, 429);
}

#[test]
fn racing_clients_never_exceed_the_limits_of_connections() {
    for is_per_address in [false, true] {
        let (mut config, gauge) = (Config::default(), Arc::<Gauge>::default());
        match is_per_address {
            true => config.limits.connections_per_ip = Some(5),
            false => config.limits.connections = Some(5),
        }
        let workers = serving(&config, &gauge);
        let [opened, refused] = race(workers.address, &gauge, 5);
        assert!(opened > 0 && refused > 0, "{opened} and {refused}");
        all_have_left(&workers);
        assert_room(&workers, 5, if is_per_address { 429 } else { 503 });
    }
}

/// Each replacement leaves as many streams as there were, on whichever worker they are.
#[test]
fn the_oldest_stream_is_replaced_on_whichever_worker_it_is() {
    let (mut config, gauge) = (Config::default(), Arc::<Gauge>::default());
    config.limits.streams_per_tag = Some(2);
    config.limits.tag_overflow = TagOverflow::ReplaceOldest;
    let workers = serving(&config, &gauge);
    let mut clients: Vec<_> =
        [0, 1, 2, 2, 0, 1].into_iter().map(|worker| workers.on_worker(worker, "/")).collect();
    for client in &mut clients[..4] {
        let last = client.event().unwrap();
        assert!(last.contains("event: replaced\n") && last.ends_with("id: starwheel-replaced"));
        assert_eq!(client.event(), None);
    }
    assert_eq!(gauge.replaced.load(Ordering::SeqCst), 4);
    let [opened, refused] = race(workers.address, &gauge, i64::MAX);
    assert_eq!((opened, refused), (1_200, 0));
    drop(clients);
    all_have_left(&workers);
    // No stream is ended while there is room.
    let before = gauge.replaced.load(Ordering::SeqCst);
    let _two = [0, 1].map(|worker| workers.on_worker(worker, "/"));
    wait_for("two", || (workers.handle.stats().streams == 2).then_some(()));
    assert_eq!(gauge.open.load(Ordering::SeqCst), 2);
    assert_eq!(gauge.replaced.load(Ordering::SeqCst), before);
}

#[test]
fn all_streams_of_a_tag_are_closed_from_any_thread() {
    let gauge = Arc::<Gauge>::default();
    let workers = serving(&Config::default(), &gauge);
    let clients: Vec<_> = (0..3).map(|worker| workers.on_worker(worker, "/")).collect();
    workers.handle.close_tagged("bert", Ending::Finish).unwrap();
    workers.handle.close_tagged("anna", Ending::Finish).unwrap();
    for mut client in clients {
        while let Some(event) = client.event() {
            assert!(event.starts_with(':'), "{event}");
        }
    }
    workers.handle.shutdown();
    workers.ended().unwrap();
    let refused = workers.handle.close_tagged("anna", Ending::Drop);
    assert!(refused.is_err_and(|refused| refused.is_closed()));
}
