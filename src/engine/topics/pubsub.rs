//! Publishing, subscribing, leaving; topics that are driven, and topics that are forgotten.

use std::{mem, sync::Arc, time::Duration};

use super::{Driver, FORGET_AFTER_MS, Subscriber};
use crate::{
    conn::{Conn, NO_CODEC, Standing, Subscription},
    engine::{
        core::{Birth, Core, Death, Slot, TimerCall, TopicUpdater},
        sse::interval_ms,
        stream::StreamId,
    },
    sse::Encode,
    topic::{Allowed, Frame, History, JoinAt, Resume, Retain, Topic, TopicKey},
};

impl Core {
    /// Publishes one event. Returns the number of subscribers it will be offered to.
    pub(in crate::engine) fn publish(
        &mut self,
        topic: &Topic,
        event: &(impl Encode + ?Sized),
        compression: Allowed,
    ) -> usize {
        let Some(index) = self.topic_to_publish_on(topic) else { return 0 };
        let mut aside = mem::take(&mut self.publish_buffer);
        aside.clear();
        aside.push(event);
        let subscribers = self.publish_encoded(index, aside.as_bytes(), compression);
        self.publish_buffer = aside;
        subscribers
    }

    /// Publishes events that another thread has encoded.
    pub(in crate::engine) fn publish_bytes(&mut self, topic: &Topic, events: &[u8]) -> usize {
        match self.topic_to_publish_on(topic) {
            Some(index) => self.publish_encoded(index, events, Allowed::Yes),
            None => 0,
        }
    }

    /// `None` when nobody listens and nothing is to be kept.
    fn topic_to_publish_on(&mut self, topic: &Topic) -> Option<u32> {
        if let Some(index) = self.topics.find(topic) {
            return Some(index);
        }
        let options = topic.options();
        let keeps = options.history == History::On || options.retain == Retain::Last;
        keeps.then(|| self.topics.open(topic, self.now))
    }

    pub(in crate::engine) fn publish_encoded(
        &mut self,
        index: u32,
        events: &[u8],
        compression: Allowed,
    ) -> usize {
        let topics = &mut self.topics;
        let Some(state) = topics.states.get_mut(index as usize) else { return 0 };
        if events.is_empty() {
            return state.subscribers.len();
        }
        topics.sequence += 1;
        let epoch = match state.topic.options().history {
            History::On => Some(topics.epoch.as_str()),
            History::Off => None,
        };
        let frame = Frame::new(topics.sequence, events, epoch, &mut topics.frame_scratch);
        let frame = match compression {
            Allowed::Yes => frame.with_previous(state.last.take()),
            Allowed::No => frame.uncompressed(),
        };
        if state.coded_subscribers > 0 {
            state.last = frame.as_previous();
        }
        self.stats.published += 1;
        state.last_use = self.now;
        let subscribers = state.subscribers.len();
        topics.log_bytes -= state.log.bytes();
        if subscribers == 0 {
            state.offered = frame.sequence;
            state.log.push(frame);
            state.evict();
            state.log.trim(state.offered, state.topic.options());
            topics.log_bytes += state.log.bytes();
            self.watch_topic(index);
            return 0;
        }
        state.unoffered_bytes += frame.bytes.len();
        topics.unoffered_bytes += frame.bytes.len();
        state.log.push(frame);
        state.evict();
        topics.log_bytes += state.log.bytes();
        topics.begin_pass(index, self.now);
        subscribers
    }

    /// Subscribes a stream; false if it has ended or is subscribed already. A client that comes
    /// back goes on after what it has seen when it came, unless the stream has had the topic since.
    pub(in crate::engine) fn subscribe(
        &mut self,
        id: StreamId,
        topic: &Topic,
        join_at: JoinAt,
    ) -> bool {
        if !self.is_live(id) {
            return false;
        }
        let index = self.topics.open(topic, self.now);
        let topics = &mut self.topics;
        let last_seen = topics.last_seen(id.index, index);
        let Some(state) = topics.states.get_mut(index as usize) else { return false };
        let Some(Slot::Conn(conn)) = self.slots.get_mut(id.index as usize) else { return false };
        let codec = conn.codec;
        let Some(streaming) = conn.streaming() else { return false };
        if streaming.subscriptions.find(index).is_some() {
            return false;
        }
        let options = state.topic.options();
        let fresh = match (join_at, options.retain) {
            (JoinAt::Oldest, _) => state.log.oldest_cursor(),
            (JoinAt::Live, Retain::Last) => state.log.newest_cursor(u64::MAX),
            (JoinAt::Live, Retain::Nothing) => state.log.last_sequence(),
        };
        let (cursor, gap, standing) = match last_seen.map(|seen| state.log.resume(seen)) {
            // It holds an id already that speaks of this topic.
            Some(Resume::At(cursor)) => (cursor, None, Standing::Uneven),
            Some(Resume::Gap(cursor)) => {
                (cursor.min(fresh), Some(state.topic.clone()), Standing::Unmarked)
            }
            None => (fresh, None, Standing::Unmarked),
        };
        let has_history = options.history == History::On;
        let place = state.subscribers.len() as u32;
        state.subscribers.push(Subscriber { conn: id.index, cursor });
        if codec != NO_CODEC {
            state.coded_subscribers += 1;
            if state.last.is_none() {
                state.last = state.log.newest();
            }
            if let Some(codec) = self.codecs.get_mut(codec as usize) {
                codec.share();
            }
        }
        state.last_use = self.now;
        streaming.subscriptions.add(Subscription { topic: index, place });
        if has_history {
            streaming.subscriptions.doubt(standing);
        }
        let behind = state.log.last_sequence() > cursor;
        if place == 0
            && let Some(driver) = &mut state.driver
            && !mem::replace(&mut driver.renders_at_once, true)
        {
            self.births.push_back(Birth::Render { topic: index, timer: driver.timer.index });
        }
        topics.hold(index, cursor);
        if let Some(topic) = gap {
            self.stats.gaps += 1;
            self.send(id, &topic.gap(), Allowed::Yes);
        }
        if behind || (has_history && standing == Standing::Unmarked) {
            self.mark_dirty(id.index);
        }
        true
    }

    /// Ends a subscription; false if there was none.
    pub(in crate::engine) fn unsubscribe(&mut self, id: StreamId, topic: &Topic) -> bool {
        let Some(index) = self.topics.find(topic) else { return false };
        if !self.is_live(id) {
            return false;
        }
        let streaming = self.conn(id.index).and_then(Conn::streaming);
        let Some(left) = streaming.and_then(|streaming| streaming.subscriptions.remove(index))
        else {
            return false;
        };
        if self.topics.keeps_history(left)
            && let Some((_, cursor)) = self.topics.position_on(left)
        {
            self.topics.note_left(id.index, TopicKey::of(topic.name()), cursor);
        }
        self.leave_topic(id.index, left);
        true
    }

    /// Ends all subscriptions of a stream that has ended.
    pub(in crate::engine) fn leave_topics(&mut self, conn: u32) {
        self.topics.forget_stream(conn);
        let Some(streaming) = self.conn(conn).and_then(Conn::streaming) else { return };
        for &left in mem::take(&mut streaming.subscriptions).as_slice() {
            self.leave_topic(conn, left);
        }
    }

    /// Takes a stream off a topic's list that has struck the topic off its own.
    fn leave_topic(&mut self, conn: u32, left: Subscription) {
        let (index, now) = (left.topic, self.now);
        let is_coded = self.conn(conn).is_some_and(|conn| conn.codec != NO_CODEC);
        let Some(state) = self.topics.state(index) else { return };
        let Subscriber { conn: owner, cursor } = state.subscribers[left.place as usize];
        debug_assert_eq!(owner, conn);
        let moved = state.take_out(left.place as usize);
        state.coded_subscribers -= u32::from(is_coded);
        if state.coded_subscribers == 0 {
            state.last = None;
        }
        state.last_use = now;
        let driver = state.driver.filter(|_| state.subscribers.is_empty());
        for (subscriber, place) in moved.into_iter().flatten() {
            if let Some(streaming) = self.conn(subscriber.conn).and_then(Conn::streaming) {
                streaming.subscriptions.moved(index, place as u32);
            }
        }
        if let Some(driver) = driver {
            self.wheel.cancel(driver.timer.index);
        }
        self.watch_topic(index);
        self.topics.moved_on_from(index, cursor, now);
    }

    pub(in crate::engine) fn subscribers(&self, topic: &Topic) -> usize {
        let state =
            self.topics.find(topic).and_then(|index| self.topics.states.get(index as usize));
        state.map_or(0, |state| state.subscribers.len())
    }

    /// Forgets the topic if nothing holds it, or has a timer look again later.
    fn watch_topic(&mut self, index: u32) {
        let now = self.now;
        let Some(state) = self.topics.state(index) else { return };
        if state.is_unused(now) {
            return self.forget_topic(index);
        }
        if state.subscribers.is_empty() && state.driver.is_none() && !state.watched {
            state.watched = true;
            let topic = state.topic.shared_name().clone();
            let call = TimerCall::Once(Box::new(move |cx| cx.review_topic(&topic)));
            self.add_timer(FORGET_AFTER_MS, 0, call);
        }
    }

    pub(in crate::engine) fn review_topic(&mut self, name: &Arc<str>) {
        let Some(&index) = self.topics.by_name.get(name) else { return };
        if let Some(state) = self.topics.state(index) {
            state.watched = false;
            self.watch_topic(index);
        }
    }

    fn forget_topic(&mut self, index: u32) {
        let topics = &mut self.topics;
        let state = topics.states.remove(index as usize);
        topics.by_name.remove(state.topic.shared_name());
        if state.topic.options().history == History::On {
            topics.forgotten = topics.forgotten.max(state.log.last_sequence());
        }
        if state.pass.is_some() {
            topics.fan_out.retain(|other| *other != index);
        }
        topics.log_bytes -= state.log.bytes();
        topics.unoffered_bytes -= state.unoffered_bytes + state.pass.map_or(0, |pass| pass.bytes);
    }

    /// Gives a topic an updater in place of an earlier one.
    pub(in crate::engine) fn drive(
        &mut self,
        topic: &Topic,
        interval: Duration,
        updater: TopicUpdater,
    ) {
        let index = self.topics.open(topic, self.now);
        let interval_ms = interval_ms(interval);
        let call = TimerCall::Drive(index, updater);
        let timer = self.add_timer(interval_ms.into(), interval_ms, call);
        let Some(state) = self.topics.state(index) else { return };
        let renders_at_once = !state.subscribers.is_empty();
        let former = state.driver.replace(Driver { timer, renders_at_once, last_output: None });
        if renders_at_once {
            self.births.push_back(Birth::Render { topic: index, timer: timer.index });
        }
        if let Some(former) = former {
            self.end_driver(former);
        }
    }

    /// Takes a topic's updater away, unless another one has taken its place.
    pub(in crate::engine) fn stop_driving(&mut self, index: u32, timer: u32) {
        let Some(state) = self.topics.state(index) else { return };
        if let Some(driver) = state.driver.take_if(|driver| driver.timer.index == timer) {
            self.end_driver(driver);
            self.watch_topic(index);
        }
    }

    fn end_driver(&mut self, driver: Driver) {
        self.wheel.cancel(driver.timer.index);
        self.deaths.push_back(Death::Timer(driver.timer.index));
    }
}
