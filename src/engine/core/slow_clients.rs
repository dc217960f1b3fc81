//! Clients that read too slowly, by name.

use std::fmt::Write;

use super::Core;
use crate::{
    engine::{
        calls::watchdog::Report,
        keys::{ConnIndex, StreamId},
    },
    error::{CloseReason, Logged},
};

impl Core {
    /// Logs a stream that ends because its client reads too slowly: as a warning at most once a
    /// second, because slow clients come in crowds, and all others at debug level.
    #[cold]
    pub(in crate::engine) fn report_slow_client(&mut self, id: StreamId) {
        let name = self.name_of(id);
        let state = self.lag_in_words(id.conn);
        let reason = CloseReason::Slow;
        match self.watchdog.report_slow_client(self.now) {
            Report::Silent => log::debug!("{name}: {reason}{state}"),
            Report::Warn { unreported: 0 } => log::warn!("{name}: {reason}{state}"),
            Report::Warn { unreported } => log::warn!(
                "{name}: {reason}{state} (and {unreported} other slow clients since the last warning)"
            ),
        }
    }

    /// A stream by its id, route, client and tag.
    fn name_of(&self, id: StreamId) -> String {
        let (route, peer) = (self.route_of(id.conn), self.conns[id.conn].peer());
        match self.tags.of(id) {
            None => format!("{id} of {route} for {peer}"),
            Some(tag) => format!("{id} of {route} for {peer} with tag \"{}\"", Logged(tag)),
        }
    }

    /// What waits for a stream: the topic that has passed it by, or else the one it lags most in, and
    /// the bytes that its socket has not taken.
    fn lag_in_words(&self, index: ConnIndex) -> String {
        let (conn, mut text) = (&self.conns[index], String::new());
        let mut subscriptions = conn.subscriptions().iter().copied();
        let missed = subscriptions.clone().find(|&it| self.topics.has_passed_by(it));
        let slowest =
            missed.or_else(|| subscriptions.by_ref().max_by_key(|&it| self.topics.lag(it)));
        if let Some(subscription) = slowest
            && let Some(topic) = self.topics.name(subscription.topic)
        {
            let (topic, lag) = (Logged(topic), self.topics.lag(subscription));
            // Writing into a `String` cannot fail.
            let _infallible = match (missed, lag) {
                (Some(_), _) => write!(text, "; it missed events of topic \"{topic}\""),
                (None, 0) => Ok(()),
                (None, lag) => write!(text, "; {lag} events of topic \"{topic}\" wait for it"),
            };
        }
        if !conn.outbox.is_empty() {
            let _infallible = write!(text, "; {} bytes are queued", conn.outbox.len());
        }
        text
    }
}
