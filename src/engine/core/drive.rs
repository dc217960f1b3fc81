//! Topics that are driven by an updater.

use std::{mem, time::Duration};

use super::Core;
use crate::{
    conn::TopicIndex,
    engine::{
        api::interval_ms,
        keys::TimerIndex,
        pending::{Birth, Death, TimerCall, TopicUpdater},
        topics::{Render, Rendered},
    },
    error::Logged,
    topic::{Compressible, Series, Topic},
};

impl Core {
    /// Sets a topic's updater, replacing an earlier one.
    pub(in crate::engine) fn drive(
        &mut self,
        topic: &Topic,
        interval: Duration,
        updater: TopicUpdater,
    ) {
        let index = self.open_to_drive(topic);
        let interval_ms = interval_ms(interval);
        let call = TimerCall::Drive(index, updater);
        let timer = self.add_timer(interval_ms.into(), interval_ms, call);
        let (render, former) = self.topics.begin_driving(index, topic, timer, self.now);
        if render == Render::Now {
            self.pending.add_birth(Birth::Render { topic: index, timer: timer.index });
        }
        if let Some(former) = former {
            self.end_driver(former);
        }
        self.watch_topic(index);
    }

    /// Removes a topic's updater; false if there was none.
    pub(in crate::engine) fn stop_driving(&mut self, topic: &Topic) -> bool {
        let driver = self.topics.driver_of(topic);
        if let Some((index, timer)) = driver {
            self.retire_driver(index, timer);
        }
        driver.is_some()
    }

    /// Removes a topic's updater, unless another one has replaced it.
    pub(in crate::engine) fn retire_driver(&mut self, index: TopicIndex, timer: TimerIndex) {
        if self.topics.end_driving(index, timer) {
            self.end_driver(timer);
            self.watch_topic(index);
        }
    }

    /// Publishes the output of the updater driven by `timer`; nothing if it has been replaced.
    pub(in crate::engine) fn publish_render(&mut self, index: TopicIndex, timer: TimerIndex) {
        if self.topics[index].is_finished() {
            return self.retire_driver(index, timer);
        }
        let hash = self.scratch.hash_from(0);
        let output = (!self.scratch.events().is_empty()).then_some(hash);
        match self.topics.note_render(index, timer, output) {
            Rendered::ByReplaced | Rendered::Nothing => {}
            Rendered::Same => self.stats.ticks_unchanged += 1,
            Rendered::News => {
                let scratch = mem::take(&mut self.scratch);
                match self.topics[index].series() {
                    Series::Local => {
                        self.publish_at(index, scratch.events(), Compressible::Yes);
                        self.topics.note_published(index, timer, hash);
                    }
                    Series::Spanning => {
                        let topic = self.topics[index].topic().clone();
                        self.pass_on(&topic, scratch.events(), Compressible::Yes, None);
                    }
                }
                self.scratch = scratch;
            }
        }
    }

    /// Each reactor renders a driven topic itself, so it is local, unless it was used before.
    fn open_to_drive(&mut self, topic: &Topic) -> TopicIndex {
        let index = self.topics.open_local(topic, self.now);
        if self.topics[index].series() == Series::Spanning {
            log::warn!(
                "each worker that drives topic \"{}\" publishes to all others: drive it before it \
                 is used, or declare it Topic::local()",
                Logged(topic.name())
            );
        }
        self.begin_local_use(index, topic);
        index
    }

    pub(super) fn end_driver(&mut self, timer: TimerIndex) {
        self.conns.disarm_timer(timer);
        self.pending.add_death(Death::Timer(timer));
    }
}
