//! What a [`Handle`] does with topics that have an end.

use super::{command::Command, handle::Handle, try_send::TrySendError};
use crate::{
    span::Publication,
    sse::Encode,
    topic::{Topic, encode_last},
};

impl Handle {
    /// Finishes a topic with a last event, from any thread, without blocking: for what has an end, like
    /// a progress report or the answer of a language model. The end comes after everything that this
    /// thread has published on the topic, on all workers and machines.
    ///
    /// - Subscribers get the last event. A stream of which all topics have been finished, and which has
    ///   no updater, then ends in order, with
    ///   [`CloseReason::TopicsFinished`](crate::CloseReason::TopicsFinished). Other streams leave the
    ///   topic and go on.
    /// - A client that comes later gets what the topic keeps, as at any other time, and its stream ends.
    ///   Without an id it gets at least the last event. See [`Topic::keep_finished`] for how long.
    /// - A client whose `Last-Event-ID` is at the end of all topics of its
    ///   [`Sse`](crate::Sse::subscribe), which has no updater, is answered with 204. An `EventSource`,
    ///   which comes back after the end of every stream, then stays away (WHATWG HTML, 9.2.3). Datastar
    ///   does not come back after a complete stream. What an
    ///   [`on_connect`](crate::Sse::on_connect) hook would subscribe to does not count.
    /// - Events that are published on it later are dropped, counted
    ///   ([`Stats::published_late`](crate::Stats::published_late)) and logged; a second last event is
    ///   ignored. Its [updater](crate::Context::drive) is dropped.
    ///
    /// Give the topic a [history](Topic::history): without ids, an `EventSource` does not know that it
    /// has seen the end. If the event encodes to nothing, the topic ends with an id alone.
    ///
    /// ```
    /// use starwheel::{Handle, JoinAt, Router, Sse, Topic, testing::Simulation};
    ///
    /// /// Runs on a thread of its own.
    /// fn answer(handle: &Handle, run: &Topic) -> Result<(), starwheel::BoxError> {
    ///     for token in ["Once", "upon", "a", "time"] {
    ///         handle.publish(run, token)?;
    ///     }
    ///     handle.finish(run, "the end")?;
    ///     Ok(())
    /// }
    ///
    /// let run = Topic::new("run-1").history(4096, 1 << 20);
    /// let watched = run.clone();
    /// let mut simulation = Simulation::new(Router::new().get("/runs/1", move |_req, _cx| {
    ///     Sse::new().subscribe_at(&watched, JoinAt::Oldest)
    /// }));
    /// let early = simulation.get("/runs/1");
    /// answer(&simulation.handle(), &run)?;
    /// simulation.turn();
    /// let late = simulation.get("/runs/1");
    /// for client in [early, late] {
    ///     let events = simulation.events(client);
    ///     assert_eq!((events.len(), events[4].data.as_str()), (5, "the end"));
    /// }
    /// assert_eq!(simulation.stats().closed.topics_finished, 2);
    /// # Ok::<(), starwheel::BoxError>(())
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn finish<E: Encode>(&self, topic: &Topic, event: E) -> Result<(), TrySendError<E>> {
        if let Err(refused) = self.would_take(topic) {
            return Err(refused.with(event));
        }
        let events = encode_last(&event);
        let finished = match (self.outlet_for(topic), self.crew()) {
            (Some(outlet), _) => self.leave_by(outlet, Publication::last(topic, &[&events])),
            (None, None) => {
                let command = |events| Command::Finish(topic.clone(), events);
                self.push_with(events, command).map_err(|refused| refused.with(()))
            }
            (None, Some(crew)) => {
                crew.push_to_all(|| Command::Finish(topic.clone(), events.clone()))
            }
        };
        finished.map_err(|refused| refused.with(event))
    }
}
