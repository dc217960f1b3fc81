//! [`Membership`]: the member, as its connections see it.

use std::time::Duration;

use super::Down;
use crate::span::protocol::{Reply, Request};

/// A member of a namespace, as its connections see it.
///
/// All methods are called on the thread of the connections, which holds no lock then.
pub(crate) trait Membership: Send + Sync {
    /// Both connections are ready, and their server is the same. The first request is
    /// [`Greet`](Request::Greet).
    fn connected(&self);

    /// There is no connection, or there is none anymore. What was not answered is lost. It is called
    /// after each attempt that fails, also if `connected` was not.
    fn disconnected(&self, why: Down);

    /// The next request for the connection that writes; several may be on their way.
    fn next_request(&self) -> Option<Request>;

    /// The next [`Read`](Request::Read); the last one was answered.
    fn next_read(&self) -> Option<Request>;

    fn answered(&self, reply: Reply);

    /// When to ask for requests again, although nothing has come and nobody has woken the thread.
    /// Less than a millisecond is a millisecond.
    fn next_deadline(&self) -> Option<Duration>;

    /// All reactors have ended: the thread ends as soon as [`is_drained`](Self::is_drained), and
    /// after a moment in any case. Call [`Wake::end`](super::Wake::end) when this becomes true.
    fn is_over(&self) -> bool;

    /// Everything that was published has been acknowledged.
    fn is_drained(&self) -> bool;
}
