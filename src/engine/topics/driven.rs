//! Topics with an updater: it renders once for all subscribers, and only while there are some.
//!
//! The engine holds the closure itself, as for any timer.

use std::mem;

use super::Topics;
use crate::{
    conn::{Subscription, TopicIndex},
    engine::keys::{TimerId, TimerIndex},
    topic::{Retain, Topic},
};

/// The timer of a topic's updater; the engine holds its closure.
#[derive(Debug)]
pub(in crate::engine) struct Driver {
    timer: TimerId,
    /// The topic value passed to `drive`. The topic is driven as long as clones of it exist.
    pub(super) topic: Topic,
    /// A render for the first subscriber is pending.
    renders_at_once: bool,
    /// Hash of the previous run's output, if there was any.
    last_output: Option<u64>,
    /// The last of its events that was published.
    published: Option<Published>,
}

/// An updater's event in the log of its topic.
#[derive(Debug, Clone, Copy)]
struct Published {
    sequence: u64,
    /// Of what the updater sent.
    hash: u64,
}

/// Whether a topic is rendered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Render {
    Now,
    /// It has another updater now, or no subscribers.
    No,
}

/// The result of an updater's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Rendered {
    News,
    /// The same output as the previous run.
    Same,
    /// No output.
    Nothing,
    /// The topic has another updater now.
    ByReplaced,
}

impl Driver {
    pub(super) fn timer(&self) -> TimerIndex {
        self.timer.index
    }
}

impl Topics {
    /// The updater that this timer runs, if it has not been replaced.
    fn driver(&mut self, index: TopicIndex, timer: TimerIndex) -> Option<&mut Driver> {
        let state = self.states.get_mut(index.slot())?;
        state.driver.as_mut().filter(|driver| driver.timer() == timer)
    }

    /// If this is the first subscriber of a topic with an updater: the updater's timer, which must
    /// render immediately.
    pub(in crate::engine) fn render_for_first(
        &mut self,
        joined: Subscription,
    ) -> Option<TimerIndex> {
        let state = &mut self[joined.topic];
        let is_first = state.audience() == 1;
        let driver = state.driver.as_mut().filter(|_| is_first)?;
        let is_on_its_way = mem::replace(&mut driver.renders_at_once, true);
        (!is_on_its_way).then(|| driver.timer())
    }

    /// The render for the first subscriber is due.
    pub(in crate::engine) fn begin_first_render(
        &mut self,
        index: TopicIndex,
        timer: TimerIndex,
    ) -> Render {
        let Some(driver) = self.driver(index, timer) else { return Render::No };
        driver.renders_at_once = false;
        let state = &mut self[index];
        if state.audience() == 0 {
            return Render::No;
        }
        // The subscriber has seen no render except a retained one: the newest event, unless another
        // publisher has published since.
        let retains = state.topic.options().retain == Retain::Last;
        let kept = Some(state.log.last_sequence()).filter(|_| retains);
        if let Some(driver) = &mut state.driver {
            let seen = driver.published.filter(|published| Some(published.sequence) == kept);
            driver.last_output = seen.map(|published| published.hash);
        }
        Render::Now
    }

    /// Stores the hash of an updater's output for comparison with its next run; `None` if it sent
    /// nothing.
    pub(in crate::engine) fn note_render(
        &mut self,
        index: TopicIndex,
        timer: TimerIndex,
        output: Option<u64>,
    ) -> Rendered {
        let Some(driver) = self.driver(index, timer) else { return Rendered::ByReplaced };
        let last = mem::replace(&mut driver.last_output, output);
        match output {
            None => Rendered::Nothing,
            Some(_) if output == last => Rendered::Same,
            Some(_) => Rendered::News,
        }
    }

    /// The updater's output was published and is the newest event.
    pub(in crate::engine) fn note_published(
        &mut self,
        index: TopicIndex,
        timer: TimerIndex,
        hash: u64,
    ) {
        let sequence = self.sequence;
        if let Some(driver) = self.driver(index, timer) {
            driver.published = Some(Published { sequence, hash });
        }
    }

    /// Sets a new updater for the topic. Returns whether it must render immediately, and the timer
    /// of the previous updater.
    pub(in crate::engine) fn begin_driving(
        &mut self,
        index: TopicIndex,
        topic: &Topic,
        timer: TimerId,
        now: u64,
    ) -> (Render, Option<TimerIndex>) {
        let state = &mut self[index];
        let renders_at_once = state.audience() > 0;
        state.last_use = now;
        let (last_output, published) = (None, None);
        let topic = topic.clone();
        let driver = Driver { timer, topic, renders_at_once, last_output, published };
        let former = state.driver.replace(driver);
        let render = if renders_at_once { Render::Now } else { Render::No };
        (render, former.map(|driver| driver.timer()))
    }

    /// The timer of the topic's updater.
    pub(in crate::engine) fn driver_of(&self, topic: &Topic) -> Option<(TopicIndex, TimerIndex)> {
        let index = self.find(topic)?;
        Some((index, self[index].driver.as_ref()?.timer()))
    }

    /// Removes a topic's updater; false if another one has replaced it.
    pub(in crate::engine) fn end_driving(&mut self, index: TopicIndex, timer: TimerIndex) -> bool {
        let found = self.driver(index, timer).is_some();
        if found {
            self[index].driver = None;
        }
        found
    }
}
