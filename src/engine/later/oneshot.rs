//! What a [`Later`] and its [`Responder`](super::Responder) share.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    engine::{
        api::{Answer, Context},
        calls::{drop_each, guard},
        keys::ConnIndex,
        remote::Mailbox,
    },
    http::{HeaderLines, Request, Response},
};

/// What a handler returns when the answer comes from another thread; see
/// [`Context::later`](crate::Context::later).
///
/// It stands for the answer of the request whose handler returns it, and of no other. If it is
/// dropped instead, its [`Responder`](crate::Responder) finds that nobody waits.
///
/// ```
/// use starwheel::{Context, Later, Request, Response};
/// use std::thread;
/// fn report(_req: &Request, cx: &mut Context<'_>) -> Later {
///     let (later, responder) = cx.later();
///     thread::spawn(move || responder.answer(Response::text("computed elsewhere")));
///     later
/// }
/// ```
#[must_use = "the client gets an answer only if the handler returns this"]
pub struct Later {
    oneshot: Option<Arc<Oneshot>>,
    /// Of the reactor that can answer it.
    mailbox: Arc<Mailbox>,
    /// Added to the answer by the layers around the handler.
    pub(in crate::engine) header_lines: HeaderLines,
    /// It belongs to the reactor's thread.
    _not_send: PhantomData<*const ()>,
}

/// An answer on its way to the reactor.
pub(crate) enum LateAnswer {
    Response(Response),
    /// Runs on the reactor's thread, because a stream's closures cannot be sent.
    Build(Build),
    /// The responder was dropped.
    None,
}

pub(crate) type Build = Box<dyn FnOnce(&mut Request, &mut Context<'_>) -> Answer + Send>;
/// What to call when nobody waits anymore.
pub(in crate::engine) struct OnGone(pub(super) Box<dyn FnOnce() + Send>);

/// Where an answer goes. It is locked for moments only, and no user code runs under the lock.
pub(crate) struct Oneshot(Mutex<State>);

struct State {
    place: Place,
    on_gone: Option<OnGone>,
}

enum Place {
    /// The handler has not returned the promise yet; an answer that comes first is kept.
    Unreturned(Option<LateAnswer>),
    /// This connection waits.
    Waiting(ConnIndex),
    /// It has its answer.
    Answered,
    Gone(Gone),
}

/// Why nobody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Gone {
    Left,
    TimedOut,
    Stopped,
}

/// The user code of a promise that has ended; to be run or dropped with panics caught.
#[derive(Default)]
pub(in crate::engine) struct Ended {
    /// An answer to a promise that was not returned.
    pub(in crate::engine) kept: Option<LateAnswer>,
    pub(in crate::engine) on_gone: Option<OnGone>,
}

/// What became of a promise that a handler returned.
pub(in crate::engine) enum Bound {
    Waits,
    /// The answer was there already.
    Answered(LateAnswer),
}

impl Later {
    pub(in crate::engine) fn new(oneshot: Arc<Oneshot>, mailbox: Arc<Mailbox>) -> Self {
        let header_lines = HeaderLines::new();
        Self { oneshot: Some(oneshot), mailbox, header_lines, _not_send: PhantomData }
    }

    /// True if its answer goes to the reactor with this mailbox.
    pub(in crate::engine) fn belongs_to(&self, mailbox: &Arc<Mailbox>) -> bool {
        Arc::ptr_eq(&self.mailbox, mailbox)
    }

    /// The handler has returned it.
    pub(in crate::engine) fn take_oneshot(&mut self) -> Option<Arc<Oneshot>> {
        self.oneshot.take()
    }

    /// What layers have added to its answer.
    pub(in crate::engine) fn take_lines(&mut self) -> HeaderLines {
        mem::replace(&mut self.header_lines, HeaderLines::new())
    }
}

/// The handler did not return it.
impl Drop for Later {
    fn drop(&mut self) {
        let Some(oneshot) = self.oneshot.take() else { return };
        let Ended { kept, on_gone } = oneshot.end(Gone::Left);
        // This may run while a handler's panic unwinds, and a second panic would abort the process.
        drop_each(kept);
        if let Some(on_gone) = on_gone {
            let _panicked = guard("a closure passed to Responder::on_gone", || on_gone.call());
        }
    }
}

impl Default for Oneshot {
    fn default() -> Self {
        Self(Mutex::new(State { place: Place::Unreturned(None), on_gone: None }))
    }
}

impl Oneshot {
    /// The handler of a request on this connection has returned the promise.
    pub(in crate::engine) fn bind(&self, index: ConnIndex) -> Bound {
        let mut state = self.lock();
        match mem::replace(&mut state.place, Place::Waiting(index)) {
            Place::Unreturned(Some(answer)) => {
                state.place = Place::Answered;
                Bound::Answered(answer)
            }
            _ => Bound::Waits,
        }
    }

    /// The answer has reached the reactor. Returns it with the connection that waits for it, or
    /// alone if nobody waits. An answer to a promise that was not returned yet is kept.
    pub(in crate::engine) fn receive(
        &self,
        answer: LateAnswer,
    ) -> Option<(LateAnswer, Option<ConnIndex>)> {
        let mut state = self.lock();
        match &mut state.place {
            Place::Unreturned(kept) => {
                *kept = Some(answer);
                None
            }
            Place::Waiting(index) => {
                let index = *index;
                state.place = Place::Answered;
                Some((answer, Some(index)))
            }
            Place::Answered | Place::Gone(_) => Some((answer, None)),
        }
    }

    /// Nobody waits anymore. Returns what is left, unless it was answered or over before.
    pub(in crate::engine) fn end(&self, gone: Gone) -> Ended {
        let mut state = self.lock();
        if matches!(state.place, Place::Answered | Place::Gone(_)) {
            return Ended::default();
        }
        let kept = match mem::replace(&mut state.place, Place::Gone(gone)) {
            Place::Unreturned(kept) => kept,
            _ => None,
        };
        Ended { kept, on_gone: state.on_gone.take() }
    }

    /// The answer is about to be sent: nothing is called anymore.
    pub(super) fn take_on_gone(&self) -> Option<OnGone> {
        self.lock().on_gone.take()
    }

    pub(super) fn gone(&self) -> Option<Gone> {
        match self.lock().place {
            Place::Gone(gone) => Some(gone),
            _ => None,
        }
    }

    /// Sets what to call when nobody waits anymore; returns it if that is so already.
    pub(super) fn set_on_gone(&self, call: OnGone) -> Option<OnGone> {
        let mut state = self.lock();
        match state.place {
            Place::Gone(_) => Some(call),
            _ => {
                let earlier = state.on_gone.replace(call);
                drop(state);
                drop(earlier);
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").finish_non_exhaustive()
    }
}

impl OnGone {
    pub(in crate::engine) fn call(self) {
        self.0();
    }
}

impl fmt::Debug for OnGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnGone")
    }
}

impl fmt::Debug for Oneshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oneshot").finish_non_exhaustive()
    }
}
