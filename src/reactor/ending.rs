//! The end of a reactor: its listeners close first, then its handles.

use super::Reactor;

impl Reactor {
    /// A drain has accepted all waiting connections, or everything ends now.
    pub(super) fn stop_listening(&mut self) {
        for mut acceptor in self.acceptors.drain(..) {
            acceptor.deregister(self.poll.registry());
        }
    }

    /// All connections have ended: from now on, handles return commands.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.discard_commands();
        self.shared.copy_stats(self.engine.stats());
    }

    /// Destructors may panic, and two panics during one unwinding abort the process.
    fn discard_commands(&mut self) {
        for command in self.shared.close() {
            self.engine.discard(command);
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.discard_commands();
        self.engine.cut_everything();
    }
}
