//! What is measured, and the targets.

use starwheel_load::{
    Experiment,
    broadcast::Broadcast,
    connect::Connect,
    idle::Idle,
    pages::Pages,
    plain::Plain,
    pump::Pump,
    tick::{Phases, Tick},
    visits::Visits,
};

use crate::servers::{Kind, Known, Route};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Full,
    Quick,
}

pub(crate) struct Workload {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) experiment: Box<dyn Experiment>,
    route: Route,
    /// Variants that take part.
    variants: &'static [&'static str],
    /// Of the peers, only these.
    peers: Peers,
    pub(crate) rounds: Rounds,
    /// For the announcement of how long it will take.
    pub(crate) seconds: f64,
}

enum Peers {
    All,
    Only(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// As often as it is said.
    All,
    /// What does not depend on the hour, as memory, or takes long, as lateness at many sizes.
    One,
}

impl Workload {
    pub(crate) fn wants(&self, server: &Known) -> bool {
        match server.kind {
            Kind::Variant => self.variants.contains(&server.name),
            _ if !server.can(self.route) => false,
            Kind::Ours | Kind::Floor => true,
            Kind::RustPeer | Kind::Peer => match self.peers {
                Peers::All => true,
                Peers::Only(names) => names.contains(&server.name),
            },
        }
    }
}

pub(crate) fn all(length: Length) -> Vec<Workload> {
    let full = length == Length::Full;
    let seconds = if full { 3 } else { 2 };
    let many = |full_count, quick_count| if full { full_count } else { quick_count };
    let tick = |streams, interval_ms, seconds| -> Box<dyn Experiment> {
        Box::new(Tick { streams, interval_ms, bytes: 100, seconds, phases: Phases::Even })
    };
    let broadcast = |streams, bytes, publishes| -> Box<dyn Experiment> {
        Box::new(Broadcast { streams, bytes, publishes })
    };
    let idle = |path: &str| -> Box<dyn Experiment> {
        Box::new(Idle { streams: 10_000, warm_up: 1000, path: path.into() })
    };
    let pages = |path: &str| -> Box<dyn Experiment> {
        Box::new(Pages { streams: 1000, path: path.into(), seconds, ..Pages::default() })
    };
    let work = |id, title, route, experiment, seconds| Workload {
        id,
        title,
        experiment,
        route,
        variants: &[],
        peers: if full { Peers::All } else { Peers::Only(QUICK) },
        rounds: Rounds::All,
        seconds,
    };
    let measured = seconds as f64;
    let mut all = vec![
        Workload {
            variants: &["workers-1", "workers-2", "axum-starwheel"],
            rounds: Rounds::One,
            ..work("idle", "idle stream", Route::Idle, idle("/idle"), 5.0)
        },
        Workload {
            rounds: Rounds::One,
            ..work(
                "idle-updater",
                "idle stream with an updater",
                Route::Tick,
                idle("/tick?ms=86400000"),
                5.0,
            )
        },
        Workload {
            variants: &["workers-1", "workers-2", "axum-starwheel", "floor-ms"],
            ..work(
                "tick-1000",
                "tick, 1,000 streams x 10/s x 100 B",
                Route::Tick,
                tick(1000, 100, seconds),
                measured + 3.0,
            )
        },
        Workload {
            variants: &["floor-ms"],
            ..work(
                "tick-5000",
                "tick, 5,000 streams x 1/s",
                Route::Tick,
                tick(5000, 1000, seconds),
                measured + 4.0,
            )
        },
        Workload {
            variants: &["floor-ms"],
            peers: Peers::Only(QUICK),
            rounds: Rounds::One,
            ..work(
                "tick-10000",
                "tick, 10,000 streams x 1/s",
                Route::Tick,
                // Each stream's own schedule is found by its events: more of them, better found.
                tick(10_000, 1000, many(8, 4) as u64),
                if full { 13.0 } else { 9.0 },
            )
        },
        Workload {
            variants: &["workers-1", "workers-2", "uwebsockets-topics"],
            ..work(
                "broadcast-10000",
                "broadcast 9,900 x 100 B",
                Route::Topic,
                broadcast(9900, 100, many(20, 8)),
                5.0,
            )
        },
        Workload {
            variants: &["uwebsockets-topics"],
            ..work(
                "broadcast-10kb",
                "broadcast 1,000 x 10 KB",
                Route::Topic,
                broadcast(1000, 10_000, many(100, 40)),
                3.0,
            )
        },
        Workload {
            variants: &["floor-batch", "uwebsockets-topics"],
            ..work(
                "pump",
                "pump: 8 publishes in flight, 1,000 streams",
                Route::Topic,
                Box::new(Pump { streams: 1000, bytes: 100, publishes: many(80, 40), in_flight: 8 }),
                2.5,
            )
        },
        work(
            "page",
            "compressed broadcast: a page of 20 KB, 10 of 200 rows change, 1,000 streams",
            Route::Page,
            pages("/page?ms=200"),
            measured + 4.0,
        ),
        work(
            "private",
            "compressed private streams, the same page",
            Route::Page,
            pages("/private?ms=200"),
            measured + 4.0,
        ),
        work(
            "connect",
            "accept a stream and send its head",
            Route::Idle,
            Box::new(Connect { streams: many(8000, 4000), warm_up: 1000 }),
            1.5,
        ),
        work(
            "churn",
            "connect, first event, close",
            Route::Tick,
            Box::new(Visits { connections: many(20_000, 8000), at_a_time: 32 }),
            2.0,
        ),
        work(
            "plain",
            "plain 13-byte response, keep-alive",
            Route::Hello,
            Box::new(Plain { connections: 64, replies: many(100_000, 40_000) }),
            1.5,
        ),
    ];
    if full {
        let scale = |id, title, streams, interval_ms, seconds| Workload {
            variants: &["floor-ms"],
            peers: Peers::Only(QUICK),
            ..work(id, title, Route::Tick, tick(streams, interval_ms, 8), seconds)
        };
        all.push(scale("tick-100", "tick, 100 streams x 10/s", 100, 100, 11.0));
        all.push(Workload {
            rounds: Rounds::One,
            ..scale("tick-19000", "tick, 19,000 streams x 1/s", 19_000, 1000, 16.0)
        });
    }
    all
}

/// The peers that are worth the time of a quick run.
const QUICK: &[&str] = &["hyper", "axum"];
