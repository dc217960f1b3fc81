//! Topics with an updater: it renders once for all subscribers, and only while there are some.
//!
//! The closure itself is with the engine, like that of any timer.

use std::mem;

use super::Topics;
use crate::{
    conn::{Subscription, TopicIndex},
    engine::keys::{TimerId, TimerIndex},
    topic::{Retain, Topic},
};

/// The timer of a topic's updater; its closure waits in the engine.
#[derive(Debug)]
pub(in crate::engine) struct Driver {
    timer: TimerId,
    /// The value that it was given for. As long as that is held, the topic is driven.
    pub(super) topic: Topic,
    /// A render for the first subscriber is on its way.
    renders_at_once: bool,
    /// Hash of what it published last.
    last_output: Option<u64>,
}

/// Whether a topic is rendered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Render {
    Now,
    /// It has another updater meanwhile, or nobody listens.
    No,
}

/// What a run of an updater came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Rendered {
    News,
    /// The same as the run before.
    Same,
    /// The topic has another updater by now.
    ByNobody,
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

    /// If this is the first subscriber of a topic with an updater: its timer, which is to render at
    /// once.
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
        // The subscriber has not seen the last render, unless that is kept for those that join.
        if let Some(driver) = &mut state.driver
            && (state.topic.options().retain == Retain::Nothing || state.log.is_empty())
        {
            driver.last_output = None;
        }
        Render::Now
    }

    /// Notes what an updater has sent, to be compared with its next run.
    pub(in crate::engine) fn note_render(
        &mut self,
        index: TopicIndex,
        timer: TimerIndex,
        hash: u64,
    ) -> Rendered {
        match self.driver(index, timer).map(|driver| driver.last_output.replace(hash)) {
            None => Rendered::ByNobody,
            Some(Some(last)) if last == hash => Rendered::Same,
            Some(_) => Rendered::News,
        }
    }

    /// The topic has a new updater. Returns whether it is to render at once, and the timer of the
    /// updater before it.
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
        let driver = Driver { timer, topic: topic.clone(), renders_at_once, last_output: None };
        let former = state.driver.replace(driver);
        let render = if renders_at_once { Render::Now } else { Render::No };
        (render, former.map(|driver| driver.timer()))
    }

    /// The timer of the topic's updater.
    pub(in crate::engine) fn driver_of(&self, topic: &Topic) -> Option<(TopicIndex, TimerIndex)> {
        let index = self.find(topic)?;
        Some((index, self[index].driver.as_ref()?.timer()))
    }

    /// Takes a topic's updater away; false if another one has taken its place.
    pub(in crate::engine) fn end_driving(&mut self, index: TopicIndex, timer: TimerIndex) -> bool {
        let found = self.driver(index, timer).is_some();
        if found {
            self[index].driver = None;
        }
        found
    }
}
