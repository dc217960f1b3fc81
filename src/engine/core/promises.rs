//! Promised answers that will not come.

use super::{Core, Stopping};
use crate::engine::{
    calls::watchdog::Call,
    keys::ConnIndex,
    later::{Gone, OnGone, Promise},
    pending::Death,
};
use crate::http::Request;

impl Core {
    /// A connection has closed. If it waited for an answer, nobody does now.
    #[inline]
    pub(super) fn abandon_promise(&mut self, index: ConnIndex) {
        if let Some(promise) = self.waiting.take(index) {
            let gone = if self.stopping == Stopping::Now { Gone::Stopped } else { Gone::Left };
            self.end_promise(promise, gone);
        }
    }

    /// The responder knows now that nobody waits; what it has set to be called runs at the end of
    /// the turn.
    #[cold]
    pub(in crate::engine) fn end_promise(&mut self, promise: Box<Promise>, gone: Gone) {
        let on_gone = promise.oneshot.end(gone).on_gone;
        self.pending.add_death(Death::Promise(promise, on_gone));
    }

    /// The reactor is dropped: responders learn it, and nothing is called.
    pub(in crate::engine) fn drop_promises(&mut self) {
        for mut promise in self.waiting.take_all() {
            let on_gone = promise.oneshot.end(Gone::Stopped).on_gone;
            self.drop_guarded(on_gone);
            self.drop_extensions(&mut promise.request);
        }
    }

    /// Runs the user code of a promise that has ended: its call, and destructors.
    pub(in crate::engine) fn bury_promise(
        &mut self,
        mut promise: Promise,
        on_gone: Option<OnGone>,
    ) {
        if let Some(on_gone) = on_gone {
            let what = Call::Free("a closure passed to Responder::on_gone");
            // A panic is logged and counted, with no other effect.
            let _panicked = self.call(what, |_core| on_gone.call());
        }
        self.drop_extensions(&mut promise.request);
    }

    /// Drops a death that is not settled anymore.
    pub(in crate::engine) fn drop_death(&mut self, death: Death) {
        if let Death::Promise(mut promise, on_gone) = death {
            self.drop_guarded(on_gone);
            return self.drop_extensions(&mut promise.request);
        }
        self.drop_guarded(death);
    }

    /// Drops the values that layers have left in a request, one by one.
    #[inline]
    pub(in crate::engine) fn drop_extensions(&mut self, request: &mut Request) {
        while let Some(value) = request.extensions_mut().pop() {
            self.drop_guarded(value);
        }
    }
}
