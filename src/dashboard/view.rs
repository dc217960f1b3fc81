//! [`View`]: what is known while somebody looks, and how it becomes a snapshot once a second.

use std::{collections::VecDeque, time::Duration};

use super::{
    figures,
    json::Json,
    probe::{Probe, Target},
};
use crate::engine::{Context, Feed, Stats};

/// The dashboard of one worker, from its first viewer until a minute after its last.
#[derive(Debug, Default)]
pub(super) struct View {
    /// All workers, in their order. Empty until the first snapshot.
    workers: Vec<Probe>,
    rendered_at: Option<Duration>,
    /// The totals of the last minutes, one text for each second.
    past: VecDeque<String>,
    past_bytes: usize,
    snapshots: u64,
}

impl View {
    /// Sends a snapshot to all viewers.
    pub(super) fn render(&mut self, feed: &mut Feed<'_>) {
        let viewers = feed.subscribers() as u64;
        let cx = &mut feed.context();
        let own = self.ask_all(cx);
        let of_all: Vec<_> = self.stats_of_others(own);
        let mut json = Json::with_capacity(8 * 1024);
        json.object(|json| {
            json.key("t").number(millis(cx.now()));
            self.snapshots += 1;
            json.counts([("viewers", viewers), ("worker", own as u64), ("number", self.snapshots)]);
            if let Some(left) = cx.drains_for() {
                json.key("draining_ms").number(millis(left));
            }
            if let Some(backplane) = self.workers[own].handle.backplane() {
                json.key("backplane").object(|json| figures::write_backplane(json, &backplane));
            }
            json.key("workers").list(|json| {
                for (probe, stats) in self.workers.iter().zip(&of_all) {
                    let stats = stats.as_ref().unwrap_or_else(|| cx.stats());
                    json.object(|json| write_worker(json, probe, stats, cx.now()));
                }
            });
        });
        self.remember(cx, &of_all);
        feed.send(json.into_text());
    }

    /// What a new viewer gets first: the last minutes, and when this process has started, which tells
    /// a page whether it has seen them already.
    pub(super) fn past(&self, cx: &Context<'_>) -> String {
        let mut json = Json::with_capacity(self.past_bytes + self.past.len() + 100);
        json.object(|json| {
            json.key("started").number(started(cx));
            json.key("past").list(|json| self.past.iter().for_each(|second| json.raw(second)));
        });
        json.into_text()
    }

    /// Asks all workers; the number of this one.
    fn ask_all(&mut self, cx: &mut Context<'_>) -> usize {
        let (now, own) = (cx.now(), cx.worker_number());
        if self.workers.is_empty() {
            let handles = cx.handle_of_all().workers();
            self.workers = handles.into_iter().map(|it| Probe::new(it, now)).collect();
        }
        let is_new = self.rendered_at.is_none_or(|before| now - before > PAUSE);
        self.rendered_at = Some(now);
        for (number, probe) in self.workers.iter_mut().enumerate() {
            if is_new {
                probe.begin(now);
            }
            probe.ask(cx, if number == own { Target::ThisWorker } else { Target::Other });
        }
        own
    }

    /// Their last statistics; `None` for this worker, whose own are at hand.
    fn stats_of_others(&self, own: usize) -> Vec<Option<Stats>> {
        let stats = |(number, it): (_, &Probe)| (number != own).then(|| it.handle.stats());
        self.workers.iter().enumerate().map(stats).collect()
    }

    /// Keeps the totals of this second for viewers that come later.
    fn remember(&mut self, cx: &Context<'_>, of_all: &[Option<Stats>]) {
        let mut json = Json::with_capacity(256 * of_all.len() + 50);
        json.object(|json| {
            json.key("t").number(millis(cx.now()));
            json.key("workers").list(|json| {
                for stats in of_all {
                    let stats = stats.as_ref().unwrap_or_else(|| cx.stats());
                    json.object(|json| figures::write_totals(json, stats));
                }
            });
        });
        let second = json.into_text();
        self.past_bytes += second.len();
        self.past.push_back(second);
        while self.past.len() > PAST_SECONDS || self.past_bytes > PAST_BYTES_MAX {
            self.past_bytes -= self.past.pop_front().map_or(0, |second| second.len());
        }
    }
}

fn write_worker(json: &mut Json, probe: &Probe, stats: &Stats, now: Duration) {
    figures::write_all(json, stats);
    json.count("silent_ms", millis(probe.silent_for(now)));
    json.count("stopped", probe.is_stopped.into());
    json.count("slow_clients", probe.found.count);
    if !probe.found.worst.is_empty() {
        json.key("slow").list(|json| figures::write_slow(json, &probe.found.worst));
    }
}

/// When this reactor has started, in seconds of the time of day.
fn started(cx: &Context<'_>) -> u64 {
    let now = cx.system_time().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(cx.now()).as_secs()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Without a snapshot for this long, nobody has looked.
const PAUSE: Duration = Duration::from_millis(2_500);
/// Five minutes.
const PAST_SECONDS: usize = 300;
/// With very many workers, fewer seconds.
const PAST_BYTES_MAX: usize = 512 * 1024;
