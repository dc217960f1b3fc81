//! Requests of closures that must wait because they need other closures: births and deaths. They
//! are stored as data until no user code is on the stack.

use std::{collections::VecDeque, fmt};

use super::{
    api::{Context, Feed, Next, Sse},
    client::Requester,
    keys::{ConnIndex, StreamId, TimerIndex},
    later::{OnGone, Promise},
    places::ClientNetwork,
};
use crate::{
    compress::Encoding,
    conn::{RouteIndex, TopicIndex},
    error::CloseReason,
    topic::Progress,
};

/// Births and deaths in the order of the requests.
#[derive(Debug, Default)]
pub(super) struct Pending {
    births: VecDeque<Birth>,
    timers: Vec<(TimerIndex, TimerCall)>,
    deaths: VecDeque<Death>,
}

/// Closures on their way in.
#[derive(Debug)]
pub(super) enum Birth {
    Stream {
        index: ConnIndex,
        sse: Box<Sse>,
        request: Remembered,
    },
    /// The stream may have been given the ends of topics.
    Review(StreamId),
    /// A driven topic has got its first subscriber: render for it at once.
    Render {
        topic: TopicIndex,
        timer: TimerIndex,
    },
}

/// What the start of a stream needs of its request.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) last_event_id: Option<Box<str>>,
    pub(super) encoding: Encoding,
    /// For a stream that may exceed the limit of its tag or address.
    pub(super) client: Option<Requester>,
    /// For a stream through a trusted proxy: the network it counts for.
    pub(super) network: Option<ClientNetwork>,
    pub(super) route: Option<RouteIndex>,
}

/// Closures on their way out.
#[derive(Debug)]
pub(super) enum Death {
    Stream {
        id: StreamId,
        reason: CloseReason,
        /// The last events of any topics that were published before the end was decided.
        published: Progress,
    },
    Timer(TimerIndex),
    /// A promise that nobody waits for anymore, with the call that was set for this case.
    Promise(Box<Promise>, Option<OnGone>),
}

/// The closure of a timer.
pub(super) enum TimerCall {
    Once(Box<dyn FnOnce(&mut Context<'_>)>),
    Repeating(Box<dyn FnMut(&mut Context<'_>) -> Next>),
    /// The updater of a topic.
    Drive(TopicIndex, TopicUpdater),
}

pub(super) type TopicUpdater = Box<dyn FnMut(&mut Feed<'_>) -> Next>;

impl Pending {
    pub(super) fn add_birth(&mut self, birth: Birth) {
        self.births.push_back(birth);
    }

    pub(super) fn add_death(&mut self, death: Death) {
        self.deaths.push_back(death);
    }

    pub(super) fn next_birth(&mut self) -> Option<Birth> {
        self.births.pop_front()
    }

    pub(super) fn add_timer(&mut self, index: TimerIndex, call: TimerCall) {
        self.timers.push((index, call));
    }

    /// Timers whose closures are not stored yet.
    pub(super) fn take_timers(&mut self) -> impl ExactSizeIterator<Item = (TimerIndex, TimerCall)> {
        self.timers.drain(..)
    }

    pub(super) fn next_death(&mut self) -> Option<Death> {
        self.deaths.pop_front()
    }

    /// Number of deaths not yet settled.
    pub(super) fn deaths(&self) -> usize {
        self.deaths.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.births.is_empty() && self.timers.is_empty() && self.deaths.is_empty()
    }
}

impl fmt::Debug for TimerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Once(_) => "Once",
            Self::Repeating(_) => "Repeating",
            Self::Drive(..) => "Drive",
        })
    }
}

/// Deaths settled per turn, in addition to one per birth: about a millisecond of hooks, last chunks
/// and closed sockets.
pub(super) const DEATHS_PER_TURN: usize = 128;
