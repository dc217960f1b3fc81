//! [`Probe`]: what another worker has to be asked for, because its statistics do not say it.
//!
//! The answer has two parts: that the worker is there, with each piece of its walk, and what the
//! walk has found. One question is on its way at a time, so a worker that stands still gets no more.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::engine::{Context, Handle, Progress, SlowStream, SlowWalk, TrySendError};

/// A worker, as the worker that has viewers knows it.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) handle: Handle,
    answer: Answer,
    /// A question is on its way.
    is_asked: bool,
    /// When it last was heard of, by the clock of the worker that asks.
    heard_at: Duration,
    pub(super) found: Found,
    pub(super) is_stopped: bool,
}

/// What a walk has found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) count: u64,
    pub(super) worst: Arc<[SlowStream]>,
}

/// Where a worker puts its answer.
type Answer = Arc<Mutex<Report>>;

#[derive(Debug, Default)]
struct Report {
    is_heard: bool,
    found: Option<Found>,
}

impl Probe {
    pub(super) fn new(handle: Handle, now: Duration) -> Self {
        let (answer, found) = (Answer::default(), Found::default());
        Self { handle, answer, is_asked: false, heard_at: now, found, is_stopped: false }
    }

    /// Nobody has looked for a while: what was found then is old, and silence means nothing.
    pub(super) fn begin(&mut self, now: Duration) {
        self.heard_at = now;
        self.found = Found::default();
    }

    /// Takes the answer to the last question, and asks the next one.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>, target: Target) {
        let report = mem::take(&mut *lock(&self.answer));
        if report.is_heard {
            self.heard_at = cx.now();
        }
        if let Some(found) = report.found {
            self.found = found;
            self.is_asked = false;
        }
        if self.is_asked {
            return;
        }
        let answer = Arc::clone(&self.answer);
        let begin = move |cx: &mut Context<'_>| walk_on(cx, SlowWalk::default(), answer);
        let asked = match target {
            Target::ThisWorker => {
                begin(cx);
                Ok(())
            }
            // In the turn after this one, so that its queue is seen empty again by those who watch it.
            Target::Other => self.handle.run(move |cx| _ = cx.after(Duration::ZERO, begin)),
        };
        // If its queue is full, it is asked again in a second, and is silent until then.
        self.is_asked = asked.is_ok();
        self.is_stopped = matches!(asked, Err(TrySendError::Closed(_)));
    }

    /// For how long nothing was heard.
    pub(super) fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard_at)
    }
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    ThisWorker,
    Other,
}

/// One piece of a walk; the next one is due a few turns later.
fn walk_on(cx: &mut Context<'_>, mut walk: SlowWalk, answer: Answer) {
    let progress = cx.walk_on(&mut walk);
    let mut report = lock(&answer);
    report.is_heard = true;
    if progress == Progress::Complete {
        let count = walk.count();
        report.found = Some(Found { count, worst: cx.end_walk(walk).into() });
        return;
    }
    drop(report);
    cx.after(BETWEEN_PIECES, move |cx| walk_on(cx, walk, answer));
}

fn lock(answer: &Answer) -> MutexGuard<'_, Report> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hundred thousand slots a second.
const BETWEEN_PIECES: Duration = Duration::from_millis(10);
