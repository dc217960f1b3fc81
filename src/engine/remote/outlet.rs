//! [`Outlet`]: the way out of a reactor that shares topics with others.

use crate::{
    engine::stats::BackplaneStats,
    span::{Publication, Refused},
    topic::Topic,
};

/// The sequencer of a namespace, as one of its reactors sees it. It answers through the reactor's
/// queue; see [`Placed`](crate::topic::Placed) and [`Arrival`](crate::topic::Arrival).
///
/// All methods may be called from any thread and must not block for longer than a lock is held.
pub(crate) trait Outlet: Send + Sync {
    /// Gives places to events, directly after each other, and passes them to every reactor that uses
    /// the topic, this one included. All of them or none.
    fn publish(&self, publication: Publication<'_>) -> Result<(), Refused>;

    /// This reactor gets the topic's events after the place that is returned, with the value that the
    /// topic began with: its options are those of the first use by any reactor. If the topic
    /// [keeps](crate::topic::TopicOptions::keeps_events) events, its streams wait until an
    /// [`Arrival::Hydrate`](crate::topic::Arrival::Hydrate) has come, which is complete up to there.
    fn begin_use(&self, topic: &Topic) -> (u64, Topic);

    /// The place of the last event of a topic that has been finished, as far as that is known in this
    /// process.
    fn end_of(&self, topic: &Topic) -> Option<u64>;

    /// True while any reactor uses the topic as one that spans them.
    fn is_in_use(&self, topic: &Topic) -> bool;

    /// This reactor has dropped what it had of the topic. It needs its events no more.
    fn end_use(&self, topic: &Topic);

    /// A client has come with an id of a generation that is not known here. An
    /// [`Arrival`](crate::topic::Arrival) will tell the generations that there are by now, and the number
    /// of this question if they are still the same; `None` if there is nobody to ask.
    fn ask_for_generations(&self) -> Option<u64> {
        None
    }

    /// How many subscribers a topic has in other processes, as far as is known here.
    fn subscribers_elsewhere(&self, _topic: &Topic) -> usize {
        0
    }

    /// True if other processes may use the same topics.
    fn reaches_others(&self) -> bool {
        false
    }

    /// How this process is connected with others; `None` if it is alone.
    fn backplane(&self) -> Option<BackplaneStats> {
        None
    }
}
