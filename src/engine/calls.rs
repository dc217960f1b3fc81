//! The users' closures of one stream, and the only way in which user code is called.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    context::Context,
    next::Next,
    stream::{Stream, StreamId},
};
use crate::error::{CloseReason, Logged};

pub(super) type Updater = Box<dyn FnMut(&mut Stream<'_>) -> Next>;
pub(super) type OnConnect = Box<dyn FnOnce(&mut Stream<'_>)>;
pub(super) type OnDisconnect = Box<dyn FnOnce(&mut Context<'_>, StreamId, CloseReason)>;

/// What a stream calls. 24 bytes for a connection that calls nothing.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) updater: Option<Updater>,
    /// Rarely needed, so out of line.
    pub(super) hooks: Option<Box<Hooks>>,
}

#[derive(Default)]
pub(super) struct Hooks {
    pub(super) on_connect: Option<OnConnect>,
    pub(super) on_disconnect: Option<OnDisconnect>,
    /// Hash of the last tick's output, for streams that skip unchanged ones.
    pub(super) last_output: Option<u64>,
}

impl Hooks {
    pub(super) fn is_empty(&self) -> bool {
        self.on_connect.is_none() && self.on_disconnect.is_none() && self.last_output.is_none()
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("updater", &self.updater.is_some()).finish_non_exhaustive()
    }
}

/// A closure of the user's panicked.
#[derive(Debug)]
pub(super) struct Panicked;

/// Runs user code. A panic ends here: it costs the stream it belongs to, and nobody else.
///
/// With `panic = "abort"` in the profile this is an ordinary call.
///
/// `AssertUnwindSafe` holds because of the first invariant: what user code can reach of ours is
/// `Core`, whose methods never call user code and so are never left half-way by a panic.
pub(super) fn guard<R>(what: &str, call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        log::error!("{what} panicked: {}", Logged(message_of(&*payload)));
        // The payload's own destructor is user code too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        Panicked
    })
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
