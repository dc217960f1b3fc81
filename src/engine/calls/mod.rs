//! The closures of one stream, and the only place where user code is called.

pub(super) mod routes;
pub(super) mod watchdog;

use std::{
    any::Any,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::engine::{api::context::Context, api::next::Next, api::stream::Stream, keys::StreamId};
use crate::error::{CloseReason, Logged};

pub(in crate::engine) type Updater = Box<dyn FnMut(&mut Stream<'_>) -> Next>;
pub(in crate::engine) type OnConnect = Box<dyn FnOnce(&mut Stream<'_>)>;
pub(in crate::engine) type OnDisconnect = Box<dyn FnOnce(&mut Context<'_>, StreamId, CloseReason)>;

/// The closures of a stream. 24 bytes for a connection without any.
#[derive(Default)]
pub(in crate::engine) struct Closures {
    pub(in crate::engine) updater: Option<Updater>,
    /// Rarely needed, so boxed.
    pub(in crate::engine) hooks: Option<Box<Hooks>>,
}

#[derive(Default)]
pub(in crate::engine) struct Hooks {
    pub(in crate::engine) on_connect: Option<OnConnect>,
    pub(in crate::engine) on_disconnect: Option<OnDisconnect>,
    /// Hash of the last tick's output, for streams that skip unchanged ones.
    pub(in crate::engine) last_output: Option<u64>,
}

impl Closures {
    pub(in crate::engine) fn new(updater: Option<Updater>, hooks: Hooks) -> Self {
        Self { updater, hooks: (!hooks.is_empty()).then(|| Box::new(hooks)) }
    }
}

impl Hooks {
    fn is_empty(&self) -> bool {
        self.on_connect.is_none() && self.on_disconnect.is_none() && self.last_output.is_none()
    }
}

impl fmt::Debug for Closures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closures").field("updater", &self.updater.is_some()).finish_non_exhaustive()
    }
}

/// A user closure panicked.
#[derive(Debug)]
pub(in crate::engine) struct Panicked;

/// Runs user code and catches panics. A panic ends only the stream it belongs to.
///
/// With `panic = "abort"` in the profile this is an ordinary call.
///
/// `AssertUnwindSafe` is sound because of the first invariant: user code can only reach `Core`,
/// whose methods never call user code, so a panic never leaves them half done.
pub(in crate::engine) fn guard<R>(what: &str, call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch(call).map_err(|caught| caught.log(what))
}

/// The same, but the culprit is determined only if there is a panic.
pub(in crate::engine) fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Caught> {
    catch_unwind(AssertUnwindSafe(call)).map_err(Caught)
}

/// A panic that has not been logged yet.
#[derive(Debug)]
#[must_use]
pub(in crate::engine) struct Caught(Box<dyn Any + Send>);

impl Caught {
    #[cold]
    pub(in crate::engine) fn log(self, culprit: impl fmt::Display) -> Panicked {
        let Self(payload) = self;
        log::error!("{culprit} panicked: {}", Logged(message_of(&*payload)));
        drop_payload(payload);
        Panicked
    }
}

/// The destructor of a panic payload is user code and may panic too. The payload of that second
/// panic is never dropped.
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(next);
    }
}

/// Drops closures one by one, even if destructors panic.
pub(crate) fn drop_each<V>(values: impl IntoIterator<Item = V>) {
    for value in values {
        let _panicked = guard("a destructor", || drop(value));
    }
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
