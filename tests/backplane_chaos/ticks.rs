//! Streams with their own updater, which never notice the store.

use std::time::Duration;

use starwheel::{
    Sse,
    testing::{Client, SimulatedMachines},
};

/// A stream that ticks on one worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticker {
    pub(crate) at: (usize, usize),
    client: Client,
    since: Duration,
    /// Its machine was stopped meanwhile.
    pub(crate) was_stopped: bool,
}

/// Tells the number of the tick and its time.
pub(crate) fn ticking() -> Sse {
    let mut number = 0;
    Sse::every(INTERVAL, move |stream| {
        stream.send(format_args!("tick {number} at {}", stream.now().as_millis()));
        number += 1;
    })
}

impl Ticker {
    pub(crate) fn start(machines: &mut SimulatedMachines, at: (usize, usize)) -> Self {
        let since = machines.now();
        Self { at, client: machines[at].get("/tick"), since, was_stopped: false }
    }

    /// The same as without a store.
    pub(crate) fn check(&self, machines: &SimulatedMachines) {
        if self.was_stopped {
            return;
        }
        let time = (machines.now() - self.since).as_millis();
        let expected = 0..=time / INTERVAL.as_millis();
        let expected: Vec<_> = expected
            .map(|n| format!("tick {n} at {}", (self.since + INTERVAL * n as u32).as_millis()))
            .collect();
        let got = machines[self.at].events(self.client);
        let got: Vec<_> = got.into_iter().map(|event| event.data).collect();
        assert_eq!(got, expected, "ticks at {:?}", self.at);
    }
}

const INTERVAL: Duration = Duration::from_millis(100);
