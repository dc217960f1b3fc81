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
        self.engine.close_mailbox();
        self.engine.publish_stats();
        self.after_stop.take().into_iter().for_each(|call| call());
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.engine.close_mailbox();
        self.engine.cut_everything();
        self.after_stop.take().into_iter().for_each(|call| call());
    }
}
