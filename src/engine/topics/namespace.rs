//! Topics that span reactors: their events have places in the one log of a namespace, and arrive
//! from its sequencer.
//!
//! This reactor holds a topic's log only while it uses the topic. Beginning to use one means asking
//! for its past, if it keeps any, and streams wait until that has come: a stream whose topics
//! started one after the other would get an id that speaks of all of them from the first.

use std::{collections::HashMap, mem};

use super::{
    Topics,
    state::{Past, TopicState},
};
use crate::{
    conn::{Subscription, TopicIndex},
    engine::{api::next::Ending, keys::ConnIndex},
    topic::{
        Backlog, Frame, Generations, History, JoinAt, Lost, Placed, Position, Reach, Series, Topic,
    },
};

/// What the topics that span reactors share.
#[derive(Debug)]
pub(super) struct Namespace {
    generations: Generations,
    /// Everything up to this place has arrived here, or is not used here.
    position: u64,
    /// Streams that wait for the past of a topic.
    waiting: HashMap<ConnIndex, Waiting>,
}

/// A stream that waits for the past of its topics.
#[derive(Debug, Default)]
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) topics: Vec<(Topic, JoinAt)>,
    /// For each of them the last place, or sequence of a local one, when it began to wait.
    pub(in crate::engine) since: Vec<u64>,
    /// The id of a stream that has none of its topics yet.
    pub(in crate::engine) last_event_id: Option<Box<str>>,
    /// The generation of its id is not known yet; the number of the question.
    doubt: Option<u64>,
    /// How it ends once it has its topics.
    pub(in crate::engine) ending: Option<Ending>,
}

/// What is to be done for a topic that a stream subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Entry {
    Open,
    /// The namespace does not know yet that the topic is used.
    Unasked,
    /// Its past is on its way.
    Closed,
}

impl Namespace {
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn id_prefix(&self) -> &str {
        self.generations.current()
    }
}

/// Joining, and places.
impl Topics {
    /// From here on, topics span the reactors of a namespace unless they are local.
    pub(in crate::engine) fn join_namespace(&mut self, generations: Generations, position: u64) {
        let namespace = Namespace { generations, position, waiting: HashMap::new() };
        self.namespace = Some(Box::new(namespace));
    }

    pub(in crate::engine) fn has_namespace(&self) -> bool {
        self.namespace.is_some()
    }

    /// The series of a topic that is not open yet.
    pub(super) fn series_of_new(&self, topic: &Topic) -> Series {
        match topic.options().reach {
            Reach::Namespace if self.has_namespace() => Series::Spanning,
            _ => Series::Local,
        }
    }

    /// True if events on this topic leave for the namespace. How a topic was opened counts more than
    /// the value; but what is published on a driven topic by hand reaches all that drive it.
    pub(in crate::engine) fn leaves_for_namespace(&self, topic: &Topic) -> bool {
        if !self.has_namespace() {
            return false;
        }
        let reach = topic.options().reach;
        self.find(topic).map_or(reach == Reach::Namespace, |index| {
            let state = &self[index];
            let is_shared = state.is_reported && reach == Reach::Namespace;
            state.series == Series::Spanning || is_shared
        })
    }

    /// Nothing up to this place is missing here. False if that was known.
    pub(in crate::engine) fn come_to(&mut self, place: u64) -> bool {
        let Some(namespace) = &mut self.namespace else { return false };
        let is_new = place > namespace.position;
        namespace.position = namespace.position.max(place);
        is_new
    }

    /// Only from here on, topics get everything.
    pub(in crate::engine) fn begin_after(&mut self, place: u64) {
        self.come_to(place);
        for (_, state) in self.states.iter_mut().filter(|(_, it)| it.series == Series::Spanning) {
            state.live_after = state.live_after.max(place);
        }
    }

    /// Generations have begun. Subscribers that are ahead of this reactor may have seen elsewhere what
    /// does not exist anymore.
    pub(in crate::engine) fn set_generations(&mut self, generations: Generations, now: u64) {
        let Some(namespace) = &mut self.namespace else { return };
        let exists_up_to = generations.end_of(&namespace.generations);
        let position = namespace.position;
        namespace.generations = generations;
        if exists_up_to == u64::MAX {
            return;
        }
        self.forget_ids_in(exists_up_to + 1..=u64::MAX);
        for index in self.all_spanning() {
            if self[index].undo_after(exists_up_to.max(position)) {
                self.begin_pass(index, now);
            }
        }
    }

    fn all_spanning(&self) -> Vec<TopicIndex> {
        let spanning = self.states.iter().filter(|(_, state)| state.series == Series::Spanning);
        spanning.map(|(slot, _)| TopicIndex::new(slot)).collect()
    }

    pub(super) fn spanning_position(&self, id: &str) -> Option<Position> {
        self.namespace.as_ref()?.generations.position(id)
    }

    /// A topic that was not in use here: its log begins when its [use](Self::begin_use) does.
    pub(super) fn open_spanning(&mut self, topic: &Topic, now: u64) -> TopicIndex {
        let state = TopicState::new(topic.detached(), (0, 0), now);
        self.insert(TopicState { series: Series::Spanning, past: Past::Unasked, ..state })
    }

    /// Appends an event from the sequencer.
    pub(in crate::engine) fn append_placed(
        &mut self,
        index: TopicIndex,
        placed: &Placed,
        now: u64,
    ) {
        self.append_frame(index, placed.frame(), now);
    }

    /// Of the next frames of two series, the one that is older: with more frames published after
    /// it in its own series. So neither series delays the other for a slow client.
    pub(super) fn older<'a>(
        &self,
        local: Option<(&'a Frame, Subscription)>,
        spanning: Option<(&'a Frame, Subscription)>,
    ) -> Option<(&'a Frame, Subscription)> {
        let (Some((first, _)), Some((second, _))) = (local, spanning) else {
            return local.or(spanning);
        };
        let progress = self.progress();
        let lag = |frame: &Frame| progress.of(frame.series).saturating_sub(frame.sequence);
        if lag(first) < lag(second) { spanning } else { local }
    }
}

/// Pasts, and the streams that wait for them.
impl Topics {
    /// Whether a stream may subscribe to a topic now.
    pub(in crate::engine) fn entry(&self, index: TopicIndex) -> Entry {
        match self[index].past {
            Past::Known => Entry::Open,
            Past::Unasked => Entry::Unasked,
            Past::Coming => Entry::Closed,
        }
    }

    /// The namespace knows that the topic is used: events after this place are on their way. They are
    /// encoded for the options of `topic`, with which another reactor or publisher may have begun.
    /// Returns whether streams may subscribe to it now: a topic that keeps nothing has no past.
    pub(in crate::engine) fn begin_use(
        &mut self,
        index: TopicIndex,
        topic: Topic,
        place: u64,
    ) -> Entry {
        self.has_history |= topic.options().history == History::On;
        let state = &mut self[index];
        state.topic = topic;
        state.is_reported = true;
        state.live_after = place;
        state.log.lose_up_to(place);
        (state.offered, state.kept_after) = (place, place);
        state.past = match state.topic.options().keeps_events() {
            true => Past::Coming,
            false => Past::Known,
        };
        self.entry(index)
    }

    /// A local topic gets what others publish on it by its name; its past is its own.
    pub(in crate::engine) fn begin_local_use(&mut self, index: TopicIndex, place: u64) {
        let state = &mut self[index];
        state.is_reported = true;
        state.live_after = place;
    }

    /// The past of a topic has come. Returns the streams that waited for it last. One that was sent
    /// before the last loss says nothing more.
    pub(in crate::engine) fn hydrate(
        &mut self,
        index: TopicIndex,
        backlog: &Backlog,
    ) -> Vec<ConnIndex> {
        self.come_to(backlog.complete_up_to);
        let state = &self[index];
        if state.series == Series::Local || backlog.complete_up_to < state.live_after {
            return Vec::new();
        }
        self.change(index, |state| state.prepend(backlog));
        let state = &mut self[index];
        state.past = Past::Known;
        let waiters = mem::take(&mut state.waiters);
        let (ready, others) = waiters.into_iter().partition(|conn| self.waits_for_nothing(*conn));
        self[index].waiters = others;
        ready
    }

    /// True if the pasts of all topics that a stream waits for have come.
    pub(in crate::engine) fn waits_for_nothing(&self, conn: ConnIndex) -> bool {
        let waiting = self.namespace.as_ref().and_then(|it| it.waiting.get(&conn));
        let is_open = |topic| self.find(topic).is_none_or(|it| self[it].past == Past::Known);
        waiting.is_none_or(|waiting| {
            waiting.doubt.is_none() && waiting.topics.iter().all(|(topic, _)| is_open(topic))
        })
    }

    /// True while the stream on this connection waits for the past of a topic.
    pub(in crate::engine) fn is_waiting(&self, conn: ConnIndex) -> bool {
        self.namespace.as_ref().is_some_and(|it| it.waiting.contains_key(&conn))
    }

    /// A new stream waits for all of its topics, and has this id until then.
    pub(in crate::engine) fn begin_waiting(
        &mut self,
        conn: ConnIndex,
        last_event_id: Option<&str>,
        doubt: Option<u64>,
    ) {
        if let Some(namespace) = &mut self.namespace {
            let last_event_id = last_event_id.map(Box::from);
            let waiting = Waiting { last_event_id, doubt, ..Waiting::default() };
            namespace.waiting.insert(conn, waiting);
        }
    }

    /// True for an id of a generation of this namespace that is not known here.
    pub(in crate::engine) fn is_strange(&self, id: &str) -> bool {
        self.namespace.as_ref().is_some_and(|namespace| namespace.generations.is_strange(id))
    }

    /// The generations are known for all questions up to this one. Returns the streams that have waited
    /// only for that.
    pub(in crate::engine) fn end_doubt(&mut self, question: u64) -> Vec<ConnIndex> {
        let Some(namespace) = &mut self.namespace else { return Vec::new() };
        let in_doubt = namespace.waiting.iter_mut().filter_map(|(conn, waiting)| {
            waiting.doubt.take_if(|asked| *asked <= question).map(|_| *conn)
        });
        let mut ready: Vec<_> = in_doubt.collect();
        ready.retain(|conn| self.waits_for_nothing(*conn));
        // In an order that does not depend on a hash.
        ready.sort_unstable();
        ready
    }

    /// A stream waits for a topic, and joins it together with the others that it waits for. False
    /// if it waits for it already.
    pub(in crate::engine) fn wait(
        &mut self,
        conn: ConnIndex,
        index: TopicIndex,
        join_at: JoinAt,
    ) -> bool {
        let (topic, since) = (self[index].topic.clone(), self.progress().of(self[index].series));
        let Some(namespace) = &mut self.namespace else { return false };
        let waiting = namespace.waiting.entry(conn).or_default();
        if waiting.topics.iter().any(|(other, _)| other.name() == topic.name()) {
            return false;
        }
        waiting.topics.push((topic, join_at));
        waiting.since.push(since);
        self[index].waiters.push(conn);
        true
    }

    /// A waiting stream ends like this as soon as it has its topics. False if it does not wait.
    pub(in crate::engine) fn end_after_waiting(&mut self, conn: ConnIndex, ending: Ending) -> bool {
        let waiting = self.namespace.as_mut().and_then(|it| it.waiting.get_mut(&conn));
        let Some(waiting) = waiting else { return false };
        waiting.ending = Some(ending);
        true
    }

    /// The stream waits for nothing anymore.
    pub(in crate::engine) fn end_waiting(&mut self, conn: ConnIndex) -> Option<Waiting> {
        let waiting = self.namespace.as_mut()?.waiting.remove(&conn)?;
        for (topic, _) in &waiting.topics {
            self.end_waiting_for(conn, topic);
        }
        Some(waiting)
    }

    /// A waiting stream leaves one of the topics that it waits for. Returns the topic, if it did.
    pub(in crate::engine) fn stop_waiting_for(
        &mut self,
        conn: ConnIndex,
        topic: &Topic,
    ) -> Option<TopicIndex> {
        let waiting = self.namespace.as_mut()?.waiting.get_mut(&conn)?;
        let place = waiting.topics.iter().position(|(other, _)| other.name() == topic.name())?;
        waiting.topics.remove(place);
        waiting.since.remove(place);
        self.end_waiting_for(conn, topic)
    }

    fn end_waiting_for(&mut self, conn: ConnIndex, topic: &Topic) -> Option<TopicIndex> {
        let index = self.find(topic)?;
        self[index].waiters.retain(|other| *other != conn);
        Some(index)
    }
}

/// Loss.
impl Topics {
    /// Places are missing. Topics lose their logs, so that the policy of each tells its subscribers; a
    /// subscriber that is ahead of what was skipped has lost nothing.
    pub(in crate::engine) fn lose(&mut self, lost: Lost, now: u64) {
        let (Lost::Skipped { up_to } | Lost::Undone { up_to, .. }) = lost;
        self.come_to(up_to);
        if let Lost::Undone { after, up_to } = lost {
            self.forget_ids_in(after + 1..=up_to);
        }
        for index in self.all_spanning() {
            self.change(index, |state| state.lose(lost));
            self.unoffered_bytes -= mem::take(&mut self[index].unoffered_bytes);
            if !self[index].subscribers.is_empty() {
                self.begin_pass(index, now);
            }
        }
    }

    /// A local topic loses its log if some of what others have published on it by its name after
    /// this place is gone.
    pub(in crate::engine) fn lose_locally(
        &mut self,
        index: TopicIndex,
        backlog: &Backlog,
        came_to: u64,
        now: u64,
    ) {
        if backlog.lost_up_to <= came_to.max(self[index].live_after) {
            return;
        }
        self.drop_log(index, now);
    }

    /// A local topic loses its log, and what comes next.
    pub(super) fn drop_log(&mut self, index: TopicIndex, now: u64) {
        // The number of an event that nobody gets.
        self.sequence += 1;
        let lost = self.sequence;
        self.change(index, |state| {
            state.lose_log(lost);
            state.restart_pass();
        });
        self.unoffered_bytes -= mem::take(&mut self[index].unoffered_bytes);
        if !self[index].subscribers.is_empty() {
            self.begin_pass(index, now);
        }
    }
}

impl TopicState {
    fn lose(&mut self, lost: Lost) {
        let (Lost::Skipped { up_to } | Lost::Undone { up_to, .. }) = lost;
        // Otherwise its log was made after the loss.
        if up_to > self.live_after {
            self.lose_log(up_to);
            self.live_after = up_to;
        }
        if let Lost::Undone { after, up_to } = lost {
            // Some are ahead of this reactor, and have seen what is undone elsewhere.
            let is_undone = |cursor: u64| (after + 1..=up_to).contains(&cursor);
            for subscriber in self.subscribers.iter_mut().filter(|it| is_undone(it.cursor)) {
                subscriber.cursor = SAW_WHAT_IS_UNDONE;
            }
            self.undone_up_to = up_to;
        }
        self.restart_pass();
    }

    /// What was placed after this place is undone, and has not come here. True if some have seen it.
    fn undo_after(&mut self, place: u64) -> bool {
        let mut ahead = self.subscribers.iter_mut().filter(|it| it.cursor > place).peekable();
        let has_any = ahead.peek().is_some();
        ahead.for_each(|subscriber| subscriber.cursor = SAW_WHAT_IS_UNDONE);
        if has_any {
            // They have everything before it.
            self.undone_up_to = place;
            self.restart_pass();
        }
        has_any
    }

    fn lose_log(&mut self, up_to: u64) {
        self.log.lose_up_to(up_to);
        self.last = None;
        (self.offered, self.kept_after) = (up_to, up_to);
    }

    /// A pass that is running must reach all subscribers again.
    fn restart_pass(&mut self) {
        if let Some(pass) = &mut self.pass {
            let last = self.log.last_sequence();
            (pass.next_place, pass.up_to, pass.seen_by_all) = (0, last, last);
        }
    }

    fn prepend(&mut self, backlog: &Backlog) {
        let is_known = self.past == Past::Known;
        if !is_known || backlog.lost_up_to < self.log.oldest_cursor() {
            self.log.prepend(backlog, self.topic.options());
        } else if let Some(end) = backlog.end
            && self.log.last_sequence() == self.log.oldest_cursor()
        {
            // All that was kept of it is its end.
            self.log.has_ended_at(end);
        }
    }

    /// False for an event that was sent for an earlier use of the topic, and may have been followed
    /// by others that were not sent here.
    pub(in crate::engine) fn is_live(&self, placed: &Placed) -> bool {
        placed.sequence() > self.live_after
    }

    /// Where a subscriber with this cursor continues after a gap.
    pub(super) fn after_gap(&self, cursor: u64) -> u64 {
        let oldest = self.log.oldest_cursor();
        match self.series == Series::Spanning && cursor == SAW_WHAT_IS_UNDONE {
            true => oldest.max(self.undone_up_to),
            false => oldest,
        }
    }
}

/// The cursor of a subscriber that has seen events that do not exist anymore. Every log has passed
/// it: the first place of a namespace is 2.
const SAW_WHAT_IS_UNDONE: u64 = 0;
