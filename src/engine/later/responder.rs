//! [`Responder`]: answers a request from any thread.

use std::{error::Error, fmt, sync::Arc};

use super::oneshot::{Gone, LateAnswer, OnGone, Oneshot};
use crate::{
    engine::{
        api::{Answer, Context},
        calls::drop_each,
        remote::{Command, Mailbox},
    },
    http::{Request, Response},
};

/// Answers one request from any thread, once; from [`Context::later`](crate::Context::later).
///
/// Answering never fails because the reactor's queue is full: the waiting connection has kept the
/// place. If a responder is dropped without an answer (its thread has panicked, say), the client
/// gets a 500, and an error is logged.
///
/// ```
/// use starwheel::{Context, Later, Request, Response, Sse};
/// use std::thread;
///
/// /// A query that takes a while, and then a stream.
/// fn watch(_req: &Request, cx: &mut Context<'_>) -> Later {
///     let (later, responder) = cx.later();
///     thread::spawn(move || {
///         let rows = vec!["one", "two"]; // From a database.
///         if responder.is_gone() {
///             return; // The client has left: save the rest of the work.
///         }
///         // A stream is built on the reactor's thread, because its closures need not be `Send`.
///         responder.answer_with(move |_req, _cx| Sse::new().send(rows.join(",")));
///     });
///     later
/// }
/// ```
pub struct Responder {
    oneshot: Option<Arc<Oneshot>>,
    mailbox: Arc<Mailbox>,
}

impl Responder {
    pub(in crate::engine) fn new(oneshot: Arc<Oneshot>, mailbox: Arc<Mailbox>) -> Self {
        Self { oneshot: Some(oneshot), mailbox }
    }

    /// Answers with a response, or with a `Result` of two. Nothing happens if nobody waits.
    pub fn answer(self, response: impl Into<Response>) {
        let _unanswered = self.try_answer(response);
    }

    /// Answers with what the closure returns: anything that a handler may return, a stream too. It
    /// runs on the reactor's thread and must not block. It gets the request again, with the route's
    /// parameters and the extensions that layers have added. If it panics, the client gets a 500.
    ///
    /// Nothing happens if nobody waits; the closure is dropped.
    pub fn answer_with<F, R>(self, build: F)
    where
        F: FnOnce(&mut Request, &mut Context<'_>) -> R + Send + 'static,
        R: Into<Answer>,
    {
        let _unanswered = self.try_answer_with(build);
    }

    /// The same as [`answer`](Self::answer), but returns the response if nobody waits.
    ///
    /// # Errors
    /// Returns the response if the client has left, if it waited too long, or if the reactor has
    /// stopped. A client may also leave after this has returned.
    ///
    /// ```
    /// use starwheel::{Responder, Response, Unanswered};
    /// fn deliver(responder: Responder, receipt: String) {
    ///     match responder.try_answer(Response::text(receipt)) {
    ///         Ok(()) => {}
    ///         Err(Unanswered::Stopped(_)) => log::warn!("the server stops; the receipt is lost"),
    ///         Err(unanswered) => log::info!("{unanswered}"),
    ///     }
    /// }
    /// ```
    pub fn try_answer(self, response: impl Into<Response>) -> Result<(), Unanswered<Response>> {
        // Converted before anything is locked. If that panics, the client gets a 500.
        self.send(response.into(), LateAnswer::Response)
    }

    /// The same as [`answer_with`](Self::answer_with), but returns the closure if nobody waits.
    ///
    /// # Errors
    /// As [`try_answer`](Self::try_answer).
    pub fn try_answer_with<F, R>(self, build: F) -> Result<(), Unanswered<F>>
    where
        F: FnOnce(&mut Request, &mut Context<'_>) -> R + Send + 'static,
        R: Into<Answer>,
    {
        self.send(build, |build| {
            LateAnswer::Build(Box::new(move |request, cx| build(request, cx).into()))
        })
    }

    /// True once nobody waits for the answer: the client has closed or lost its connection, or has
    /// waited for [`Limits::answer_timeout`](crate::Limits::answer_timeout), or the handler did not
    /// return its [`Later`](crate::Later), or the reactor has ended. A client that only ends its
    /// requests (a FIN) still waits for a response; a stream for it ends when it starts. One that has
    /// pipelined another request is not read until it has its answer, so that it has left is noticed
    /// only then.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone().is_some()
    }

    /// Sets what to call when [`is_gone`](Self::is_gone) becomes true, to cancel the work. It runs
    /// once, usually on the reactor's thread, and must not block; immediately, on this thread, if
    /// it is true already. It replaces an earlier one and does not run after an answer. If the
    /// reactor is dropped while the client waits, it is dropped too, without a call.
    ///
    /// ```
    /// use starwheel::{Context, Later, Request, Response};
    /// use std::{sync::atomic::{AtomicBool, Ordering}, sync::Arc, thread};
    /// fn search(_req: &Request, cx: &mut Context<'_>) -> Later {
    ///     let (later, responder) = cx.later();
    ///     let canceled = Arc::new(AtomicBool::new(false));
    ///     let cancel = Arc::clone(&canceled);
    ///     responder.on_gone(move || cancel.store(true, Ordering::Relaxed));
    ///     thread::spawn(move || {
    ///         let found = (0..1000).find(|n| n * n == 961 || canceled.load(Ordering::Relaxed));
    ///         responder.answer(Response::text(format!("{found:?}")));
    ///     });
    ///     later
    /// }
    /// ```
    pub fn on_gone(&self, call: impl FnOnce() + Send + 'static) {
        let Some(oneshot) = &self.oneshot else { return };
        if let Some(call) = oneshot.set_on_gone(OnGone(Box::new(call))) {
            call.call();
        }
    }

    fn gone(&self) -> Option<Gone> {
        let gone = self.oneshot.as_ref().and_then(|oneshot| oneshot.gone());
        gone.or_else(|| (!self.mailbox.is_open()).then_some(Gone::Stopped))
    }

    fn send<V>(
        mut self,
        value: V,
        answer: impl FnOnce(V) -> LateAnswer,
    ) -> Result<(), Unanswered<V>> {
        match (self.gone(), self.oneshot.take()) {
            (None, Some(oneshot)) => {
                // Dropped on this thread, after the answer has left.
                let _unneeded = oneshot.take_on_gone();
                self.mailbox
                    .push_reserved(value, |value| Command::Answer(oneshot, answer(value)))
                    .map_err(Unanswered::Stopped)
            }
            (Some(Gone::TimedOut), _) => Err(Unanswered::TimedOut(value)),
            (Some(Gone::Stopped), _) => Err(Unanswered::Stopped(value)),
            (Some(Gone::Left), _) | (None, None) => Err(Unanswered::ClientGone(value)),
        }
    }
}

/// Without an answer, the client must not wait for its timeout.
impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(oneshot) = self.oneshot.take()
            && oneshot.gone().is_none()
        {
            // A second panic while the thread unwinds would abort the process.
            drop_each(oneshot.take_on_gone());
            let _stopped =
                self.mailbox.push_reserved((), |()| Command::Answer(oneshot, LateAnswer::None));
        }
    }
}

/// Why [`Responder::try_answer`] returned the answer.
///
/// ```
/// use starwheel::Unanswered;
/// assert_eq!(Unanswered::TimedOut(7).into_inner(), 7);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unanswered<T> {
    /// The client has left, or the handler did not return its [`Later`](crate::Later).
    ClientGone(T),
    /// The client has been answered with 503, after
    /// [`Limits::answer_timeout`](crate::Limits::answer_timeout).
    TimedOut(T),
    /// The reactor has stopped or was dropped.
    Stopped(T),
}

impl<T> Unanswered<T> {
    /// The answer that was passed.
    pub fn into_inner(self) -> T {
        match self {
            Self::ClientGone(value) | Self::TimedOut(value) | Self::Stopped(value) => value,
        }
    }
}

/// Shows the reason; the value need not be `Debug`.
impl<T> fmt::Debug for Unanswered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientGone(_) => "ClientGone(..)",
            Self::TimedOut(_) => "TimedOut(..)",
            Self::Stopped(_) => "Stopped(..)",
        })
    }
}

impl<T> fmt::Display for Unanswered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientGone(_) => "the client has left before its answer came",
            Self::TimedOut(_) => "the answer came after Limits::answer_timeout",
            Self::Stopped(_) => "the reactor has stopped",
        })
    }
}

impl<T> Error for Unanswered<T> {}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("is_gone", &self.is_gone()).finish_non_exhaustive()
    }
}
