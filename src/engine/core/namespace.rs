//! The namespace of a reactor: what arrives from its sequencer, and what leaves for it.

use std::{mem, sync::Arc};

use super::Core;
use crate::{
    conn::{Standing, TopicIndex},
    engine::{
        keys::{ConnIndex, StreamId},
        remote::{Outlet, TrySendError},
        topics::Entry,
    },
    error::Logged,
    span::Publication,
    sse::Encode,
    topic::{
        Arrival, Backlog, Compressible, Continues, Generations, History, JoinAt, Loss, Placed,
        Reach, Series, Topic,
    },
};

/// Joining and publishing.
impl Core {
    pub(in crate::engine) fn join_namespace(
        &mut self,
        outlet: Arc<dyn Outlet>,
        generations: Generations,
        position: u64,
    ) {
        if self.mailbox.set_outlet(outlet) {
            self.topics.join_namespace(generations, position);
        }
    }

    /// An event of this reactor leaves for the namespace.
    pub(super) fn publish_outside<E: Encode>(
        &mut self,
        topic: &Topic,
        event: E,
        compression: Compressible,
        once: Option<&str>,
    ) -> Result<(), TrySendError<E>> {
        let mut buffer = mem::take(&mut self.publish_buffer);
        buffer.clear();
        buffer.push(&event);
        let published = match buffer.as_bytes() {
            [] => Ok(()),
            events => self.leave(Publication::of(topic, &[events], compression, once)),
        };
        self.publish_buffer = buffer;
        published.map_err(|refused| refused.with(event))
    }

    /// Events that were accepted earlier leave for the namespace, which may refuse them.
    pub(super) fn pass_on(
        &mut self,
        topic: &Topic,
        events: &[u8],
        compression: Compressible,
        once: Option<&str>,
    ) {
        if events.is_empty() {
            return;
        }
        self.pass_on_all(Publication::of(topic, &[events], compression, once));
    }

    pub(super) fn pass_on_all(&mut self, publication: Publication<'_>) {
        let topic = publication.topic;
        if let Err(refused) = self.leave(publication) {
            let name = Logged(topic.name());
            log::warn!("an event on \"{name}\" was not published: {refused}");
        }
    }

    pub(super) fn leave(&self, publication: Publication<'_>) -> Result<(), TrySendError<()>> {
        let Some(outlet) = self.mailbox.outlet() else { return Ok(()) };
        self.mailbox.late().settle(publication, outlet.publish(publication))
    }
}

/// Arrivals.
impl Core {
    /// An event from the sequencer.
    pub(in crate::engine) fn place(&mut self, placed: &Placed) {
        if !self.topics.come_to(placed.sequence()) || self.obey(placed) {
            return;
        }
        let Some(index) = self.topics.find(placed.topic()) else { return };
        if !self.topics[index].is_live(placed) {
            return;
        }
        match self.topics[index].series() {
            Series::Spanning => self.place_here(index, placed),
            Series::Local => self.place_locally(index, placed),
        }
    }

    fn place_here(&mut self, index: TopicIndex, placed: &Placed) {
        self.begin_again(index);
        if !self.topics.has_no_audience(index) {
            self.stats.published += 1;
            self.topics.append_placed(index, placed, self.now);
        }
        if placed.is_last() {
            self.settle_end(index);
        }
    }

    /// The topic is driven here, or was declared local in this reactor alone.
    fn place_locally(&mut self, index: TopicIndex, placed: &Placed) {
        let (frame, compression) = (placed.frame(), placed.compression());
        match placed.continues() {
            Continues::No => self.finish_at(index, &frame.events(), compression),
            Continues::Yes => self.publish_at(index, &frame.events(), compression),
        }
    }

    pub(in crate::engine) fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Hydrate(topic, backlog) => {
                let ready = self.hydrate(&topic, &backlog);
                ready.into_iter().for_each(|conn| self.join_all(conn));
            }
            Arrival::Lost(loss) => {
                self.stats.left_out += 1;
                self.lose(loss);
            }
            Arrival::Joined(generations, place) => {
                self.topics.set_generations(generations, self.now);
                self.topics.begin_after(place);
                self.obey_closings(place);
                self.end_doubt(u64::MAX);
            }
            Arrival::Generations(generations, loss) => {
                self.topics.set_generations(generations, self.now);
                loss.into_iter().for_each(|loss| self.lose(loss));
                self.end_doubt(u64::MAX);
            }
            Arrival::SameGenerations(question) => self.end_doubt(question),
        }
    }

    fn lose(&mut self, loss: Loss) {
        let came_to = self.topics.progress().spanning;
        self.topics.lose(loss.lost, self.now);
        let mut ready = Vec::new();
        for (topic, backlog) in &loss.pasts {
            match self.topics.find(topic) {
                Some(index) if self.topics[index].series() == Series::Local => {
                    self.make_good(index, backlog, came_to);
                }
                _ => ready.extend(self.hydrate(topic, backlog)),
            }
        }
        // Their topics may be any of these, and have nothing in their logs before.
        ready.into_iter().for_each(|conn| self.join_all(conn));
    }

    /// A local topic gets what others have published on it by its name after this place.
    fn make_good(&mut self, index: TopicIndex, backlog: &Backlog, came_to: u64) {
        self.topics.lose_locally(index, backlog, came_to, self.now);
        for placed in backlog.events.iter().filter(|placed| placed.sequence() > came_to) {
            if self.topics[index].is_live(placed) {
                self.place_locally(index, placed);
            }
        }
        self.end_locally(index, backlog);
    }

    /// The past of a topic has come. Returns the streams that waited for it last, to join all their
    /// topics.
    fn hydrate(&mut self, topic: &Topic, backlog: &Backlog) -> Vec<ConnIndex> {
        if topic.is_closings() {
            backlog.events.iter().for_each(|placed| _ = self.obey(placed));
            return Vec::new();
        }
        let Some(index) = self.topics.find(topic) else { return Vec::new() };
        let ready = self.topics.hydrate(index, backlog);
        if self.topics[index].series() == Series::Local {
            self.end_locally(index, backlog);
        }
        ready
    }

    /// The generations are known: streams with ids that were strange need not wait for them.
    fn end_doubt(&mut self, question: u64) {
        for conn in self.topics.end_doubt(question) {
            self.join_all(conn);
        }
    }

    fn join_all(&mut self, conn: ConnIndex) {
        let Some(waiting) = self.topics.end_waiting(conn) else { return };
        let id = self.conns.stream_id(conn);
        if self.conns.live(id).is_none() {
            return;
        }
        if let Some(last_event_id) = &waiting.last_event_id {
            self.topics.remember(conn, last_event_id, &waiting.topics);
        }
        if self.conns[conn].standing() == Standing::Waiting {
            self.conns[conn].set_standing(Standing::Unmarked);
            self.conns.mark_dirty(conn);
        }
        for ((topic, join_at), since) in waiting.topics.iter().zip(waiting.since) {
            let index = self.topics.open(topic, self.now);
            self.join(id, index, *join_at, Some(since));
        }
        if let Some(ending) = waiting.ending {
            self.end_stream(conn, ending.into());
        }
    }
}

/// Topics in use, and streams that wait for their pasts.
impl Core {
    /// Whether a stream may subscribe to this topic now. All topics that it waits for open
    /// together.
    pub(super) fn entry(&mut self, conn: ConnIndex, index: TopicIndex, topic: &Topic) -> Entry {
        let entry = match self.topics.entry(index) {
            Entry::Unasked => self.begin_use(index, topic),
            entry => entry,
        };
        if self.topics.is_waiting(conn) { Entry::Closed } else { entry }
    }

    /// `topic` is the value of the application, because the sequencer counts its clones.
    fn begin_use(&mut self, index: TopicIndex, topic: &Topic) -> Entry {
        let (place, topic) = match self.mailbox.outlet() {
            Some(outlet) => outlet.begin_use(topic),
            None => (0, topic.detached()),
        };
        self.topics.begin_use(index, topic, place)
    }

    /// A driven topic is local, but others may publish on it by hand, from anywhere.
    pub(super) fn begin_local_use(&mut self, index: TopicIndex, topic: &Topic) {
        if topic.options().reach == Reach::Namespace
            && let Some(outlet) = self.mailbox.outlet()
            && !self.topics[index].is_reported()
        {
            let (place, _) = outlet.begin_use(topic);
            self.topics.begin_local_use(index, place);
        }
    }

    /// The topic is about to be forgotten here.
    pub(super) fn end_use(&self, index: TopicIndex) {
        let state = &self.topics[index];
        if state.is_reported()
            && let Some(outlet) = self.mailbox.outlet()
        {
            outlet.end_use(state.topic());
        }
    }

    /// A stream waits for the past of a topic. It gets nothing meanwhile: with the id of a frame of
    /// another topic, its client would claim to have seen this one.
    pub(super) fn wait_for(&mut self, conn: ConnIndex, index: TopicIndex, join_at: JoinAt) -> bool {
        self.conns[conn].doubt_standing(Standing::Waiting);
        self.topics.wait(conn, index, join_at)
    }

    /// A new stream waits if one of its topics does, and its id counts from then on.
    pub(in crate::engine) fn subscribe_all(
        &mut self,
        id: StreamId,
        topics: &[(Topic, JoinAt)],
        last_event_id: Option<&str>,
    ) {
        let mut must_wait = false;
        for (topic, _) in topics {
            let index = self.topics.open(topic, self.now);
            must_wait |= self.entry(id.conn, index, topic) != Entry::Open;
        }
        let doubt = self.doubt(topics, last_event_id);
        match (must_wait || doubt.is_some(), last_event_id) {
            (true, last_event_id) => {
                self.topics.begin_waiting(id.conn, last_event_id, doubt);
            }
            (false, Some(last_event_id)) => {
                self.topics.remember(id.conn, last_event_id, topics);
            }
            (false, None) => {}
        }
        for (topic, join_at) in topics {
            self.subscribe(id, topic, *join_at);
        }
    }

    /// An id of a generation that is not known here may be of one that began a moment ago. Returns the
    /// number of the question. Local topics have other ids, and need not ask.
    fn doubt(&self, topics: &[(Topic, JoinAt)], last_event_id: Option<&str>) -> Option<u64> {
        let resumes = |(topic, _): &(Topic, JoinAt)| {
            self.topics.find(topic).is_some_and(|index| {
                let state = &self.topics[index];
                let has_ids = state.topic().options().history == History::On;
                has_ids && state.series() == Series::Spanning
            })
        };
        let is_in_doubt = last_event_id.is_some_and(|id| self.topics.is_strange(id))
            && topics.iter().any(resumes);
        is_in_doubt.then(|| self.mailbox.outlet()?.ask_for_generations()).flatten()
    }

    /// A stream leaves a topic that it waits for; false if it waits for others.
    pub(super) fn stop_waiting_for(&mut self, id: StreamId, topic: &Topic) -> bool {
        let Some(index) = self.topics.stop_waiting_for(id.conn, topic) else { return false };
        self.watch_topic(index);
        if self.topics.waits_for_nothing(id.conn) {
            self.join_all(id.conn);
        }
        true
    }

    /// A waiting stream has ended.
    #[cold]
    pub(super) fn abandon_waiting(&mut self, conn: ConnIndex) {
        let topics = self.topics.end_waiting(conn).map(|waiting| waiting.topics);
        for (topic, _) in topics.unwrap_or_default() {
            if let Some(index) = self.topics.find(&topic) {
                self.watch_topic(index);
            }
        }
    }
}
