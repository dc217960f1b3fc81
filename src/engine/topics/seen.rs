//! State of streams besides their cursors: the id that a client sent, and topics that the stream
//! has left. Most streams have neither, so both are kept in side tables.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
};

use super::Topics;
use crate::topic::{History, JoinAt, LastSeen, Point, Position, Progress, Series, Topic, TopicKey};
use crate::{
    conn::{Subscription, TopicIndex},
    engine::keys::ConnIndex,
};

/// What is remembered by connection, for as long as its stream lives.
#[derive(Debug, Default)]
pub(super) struct Past {
    came_with: HashMap<ConnIndex, CameWith>,
    /// Streams whose id is unknown here, or no longer known.
    lost: HashSet<ConnIndex>,
    left: HashMap<ConnIndex, Left>,
}

/// What a client has seen, according to its id, which speaks of one series.
#[derive(Debug)]
enum CameWith {
    /// Everything up to this sequence, in all topics.
    Sequence(Series, u64),
    /// The same with different positions per topic.
    Position(Series, Box<Position>),
    /// Not an id of ours; a topic that the stream subscribes to later may know it.
    Own(Box<OwnId>),
}

/// A publisher's own id. Boxed, so that the table has small entries.
#[derive(Debug)]
struct OwnId(Box<str>);

/// What a stream has seen of topics that it is no longer subscribed to.
#[derive(Debug, Default)]
struct Left {
    /// The largest of their cursors.
    up_to: Progress,
    /// For streams that came with an id: it no longer applies to these topics.
    topics: Vec<TopicKey>,
}

impl CameWith {
    fn position(series: Series, position: Position) -> Self {
        match position.is_even() {
            true => Self::Sequence(series, position.up_to.sequence),
            false => Self::Position(series, Box::new(position)),
        }
    }
}

impl Topics {
    /// Stores the id that a client sent, for all topics that its stream ever subscribes to. A
    /// publisher's own id is searched in the topics that the stream starts with. If two events have
    /// it, it is ambiguous and ignored.
    pub(in crate::engine) fn remember(
        &mut self,
        conn: ConnIndex,
        id: &str,
        topics: &[(Topic, JoinAt)],
    ) {
        let came_with = match Position::parse(id, &self.epoch) {
            Some(position) if position.up_to.sequence > self.sequence => None,
            Some(position) => Some(CameWith::position(Series::Local, position)),
            None => match self.spanning_position(id) {
                Some(position) => Some(CameWith::position(Series::Spanning, position)),
                None => self.own_id(id, topics),
            },
        };
        match came_with {
            Some(came_with) => {
                self.past.came_with.insert(conn, came_with);
            }
            None => {
                self.past.lost.insert(conn);
            }
        }
    }

    /// The position that a publisher's own id stands for.
    fn own_id(&self, id: &str, topics: &[(Topic, JoinAt)]) -> Option<CameWith> {
        let states = topics.iter().filter_map(|(topic, _)| Some(&self[self.find(topic)?]));
        let found = states.flat_map(|state| {
            let points = state.log.with_own_id(id);
            points.map(|point| (state.series, point))
        });
        match single(found) {
            Ok((series, point)) => Some(CameWith::position(series, Position::at(point))),
            // A log that knows it exists already, or never will.
            Err(0) if self.has_history && id.len() <= OWN_ID_BYTES_MAX => {
                Some(CameWith::Own(Box::new(OwnId(id.into()))))
            }
            Err(_) => None,
        }
    }

    /// The stream has ended.
    pub(in crate::engine) fn forget_stream(&mut self, conn: ConnIndex) {
        // Avoids hashing a key: most servers have no such streams, and every stream ends.
        if self.remembers_no_stream() {
            return;
        }
        let Past { came_with, lost, left } = &mut self.past;
        came_with.remove(&conn);
        lost.remove(&conn);
        left.remove(&conn);
    }

    /// True if nothing is remembered of any stream.
    pub(in crate::engine) fn remembers_no_stream(&self) -> bool {
        let Past { came_with, lost, left } = &self.past;
        came_with.is_empty() && lost.is_empty() && left.is_empty()
    }

    /// A stream leaves a topic but stays open.
    pub(in crate::engine) fn note_left_topic(&mut self, conn: ConnIndex, left: Subscription) {
        if self.keeps_history(left) {
            let (_, cursor) = self.position(left);
            let state = &self[left.topic];
            self.note_left(conn, TopicKey::of(state.topic.name()), (state.series, cursor));
        }
    }

    fn note_left(&mut self, conn: ConnIndex, topic: TopicKey, (series, cursor): (Series, u64)) {
        let Past { came_with, lost, left } = &mut self.past;
        let left = left.entry(conn).or_default();
        left.up_to.move_to(series, cursor.max(left.up_to.of(series)));
        let came_with_id = came_with.contains_key(&conn) || lost.contains(&conn);
        if came_with_id && !left.topics.contains(&topic) {
            left.topics.push(topic);
        }
    }

    /// What a stream has seen of topics that it has left.
    pub(super) fn left_at(&self, conn: ConnIndex, series: Series) -> u64 {
        self.past.left.get(&conn).map_or(0, |left| left.up_to.of(series))
    }

    /// What the client of a stream had seen of a topic when it connected; `None` if nothing.
    pub(in crate::engine) fn last_seen(
        &mut self,
        conn: ConnIndex,
        index: TopicIndex,
    ) -> Option<LastSeen> {
        let state = &self.states[index.slot()];
        if !state.gives_ids() || self.remembers_no_stream() {
            return None;
        }
        let Past { came_with, lost, .. } = &mut self.past;
        let is_lost = lost.contains(&conn);
        let mut came_with = came_with.get_mut(&conn);
        if let Some(CameWith::Own(id)) = came_with.as_deref()
            && let Ok(point) = single(state.log.with_own_id(&id.0))
            && let Some(came_with) = &mut came_with
        {
            **came_with = CameWith::position(state.series, Position::at(point));
        }
        let key = TopicKey::of(state.topic.name());
        let last_seen = match came_with {
            None if is_lost => LastSeen::Unknown,
            None => return None,
            Some(CameWith::Sequence(series, sequence)) if *series == state.series => {
                LastSeen::Sequence(*sequence)
            }
            Some(CameWith::Position(series, position)) if *series == state.series => {
                LastSeen::Sequence(position.of(key).cursor())
            }
            // The id does not speak of this topic.
            Some(_) => LastSeen::Unknown,
        };
        // Without a history, nothing but the end is ever asked for.
        let is_due = match (state.topic.options().history, last_seen) {
            (History::On, _) => true,
            (History::Off, LastSeen::Sequence(seen)) => {
                state.log.end().is_some_and(|end| seen >= end)
            }
            (History::Off, LastSeen::Unknown) => false,
        };
        (is_due && !self.has_left(conn, key)).then_some(last_seen)
    }

    fn has_left(&self, conn: ConnIndex, topic: TopicKey) -> bool {
        self.past.left.get(&conn).is_some_and(|left| left.topics.contains(&topic))
    }

    /// What a client that was cut in the middle of a frame has seen of it, if its stream has not
    /// been given the rest yet.
    pub(super) fn half_seen(
        &self,
        conn: ConnIndex,
        topic: TopicKey,
        (series, cursor): (Series, u64),
    ) -> Option<Point> {
        let Some(CameWith::Position(of, position)) = self.past.came_with.get(&conn) else {
            return None;
        };
        if *of != series {
            return None;
        }
        let point = position.of(topic);
        let is_due = point.events > 0 && point.cursor() == cursor && !self.has_left(conn, topic);
        is_due.then_some(point)
    }
}

/// Ids of a namespace.
impl Topics {
    /// What the client of a stream has seen of the namespace of this topic, according to its id.
    pub(in crate::engine) fn seen_ahead(&self, conn: ConnIndex, index: TopicIndex) -> u64 {
        if self[index].series == Series::Local {
            return 0;
        }
        match self.past.came_with.get(&conn) {
            Some(CameWith::Sequence(Series::Spanning, sequence)) => *sequence,
            Some(CameWith::Position(Series::Spanning, position)) => position.up_to.cursor(),
            _ => 0,
        }
    }

    /// What was at these places does not exist anymore, so ids that speak of it are unknown from here
    /// on.
    pub(super) fn forget_ids_in(&mut self, places: RangeInclusive<u64>) {
        let Past { came_with, lost, .. } = &mut self.past;
        let is_lost = |came_with: &CameWith| match came_with {
            CameWith::Sequence(series, sequence) => {
                *series == Series::Spanning && places.contains(sequence)
            }
            CameWith::Position(series, position) => {
                *series == Series::Spanning && places.contains(&position.up_to.sequence)
            }
            CameWith::Own(_) => false,
        };
        let gone = came_with.extract_if(|_, came_with| is_lost(came_with));
        lost.extend(gone.map(|(conn, _)| conn));
    }
}

/// The only item; otherwise the number of items, where two means two or more.
fn single<T>(mut found: impl Iterator<Item = T>) -> Result<T, usize> {
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(0),
        (Some(_), Some(_)) => Err(2),
    }
}

/// Maximum length of a publisher's own id. Longer ones are not kept for later topics.
const OWN_ID_BYTES_MAX: usize = 1024;
