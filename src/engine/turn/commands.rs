//! Step 2 of a turn: what other threads have asked for.

use std::os::fd::OwnedFd;

use crate::{
    engine::{
        Engine, Transport,
        api::Context,
        calls::watchdog::Call,
        pending::DEATHS_PER_TURN,
        remote::{Adoption, Command, First},
    },
    http::Peer,
    topic::Compressible,
};

impl<T: Transport> Engine<T> {
    /// Runs waiting commands, in slices, and none while the work of earlier ones is behind
    /// schedule: the queue then fills up, and publishers see that. A drain or shutdown among them
    /// always runs, after the commands before it, because closures may publish so much that fan-out
    /// never catches up. Work that commands cause waits for the next turn.
    ///
    /// `adopt` takes over sockets, which the engine does not know.
    pub(crate) fn obey_commands(&mut self, mut adopt: impl FnMut(&mut Self, Adoption)) {
        let depth = self.core.mailbox.depth();
        self.core.stats.queue_depth = depth as u64;
        let mut left = depth.min(COMMANDS_PER_TURN);
        while left > 0 && (self.takes_commands() || self.core.mailbox.is_to_end()) {
            let commands = self.core.mailbox.take(left.min(COMMANDS_PER_SLICE));
            left -= commands.len();
            for command in commands {
                self.obey(command, &mut adopt);
            }
        }
    }

    /// Takes what has come from the sequencer since: what closures of this turn have published on
    /// topics that span reactors leaves in the same turn, too.
    pub(in crate::engine) fn take_arrivals(&mut self) {
        if !self.core.topics.has_namespace() || self.core.mailbox.depth() == 0 {
            return;
        }
        let mut left = COMMANDS_PER_TURN;
        while left > 0 && self.takes_commands() {
            let arrivals = self.core.mailbox.take_arrivals(left.min(COMMANDS_PER_SLICE));
            if arrivals.is_empty() {
                return;
            }
            left -= arrivals.len();
            for arrival in arrivals {
                self.obey(arrival, &mut |_, _| {});
            }
        }
    }

    fn obey(&mut self, command: Command, adopt: &mut impl FnMut(&mut Self, Adoption)) {
        match command {
            Command::Publish(topic, events, compression) => {
                self.core.publish_bytes(&topic, &events, compression, None);
            }
            Command::PublishOnce(topic, events, key) => {
                self.core.publish_bytes(&topic, &events, Compressible::Yes, Some(&key));
            }
            Command::PublishBatch(topic, batch) => {
                for event in batch.events() {
                    self.core.publish_bytes(&topic, event, Compressible::Yes, None);
                }
            }
            Command::Finish(topic, events) => self.core.finish_bytes(&topic, &events),
            Command::Run(call) => _ = self.run(call),
            Command::Adopt(adoption) => adopt(self, adoption),
            Command::Answer(oneshot, answer) => self.answer_late(&oneshot, answer),
            Command::Place(placed) => self.core.place(&placed),
            Command::Arrive(arrival) => self.core.arrive(*arrival),
            Command::Close(ids, reason) => {
                for id in ids {
                    self.core.close(id, reason.clone());
                }
            }
            Command::CloseTagged(tag, ending) => {
                for id in self.core.tags.with(&tag).collect::<Vec<_>>() {
                    self.core.close(id, ending.into());
                }
            }
            Command::Drain(window) => self.drain(window),
            Command::Shutdown => self.shutdown(),
        }
    }

    /// Runs a closure from another thread. A panic is logged and counted, with no other effect; false
    /// then.
    pub(crate) fn run(&mut self, call: impl FnOnce(&mut Context<'_>)) -> bool {
        let what = Call::Free("a closure passed to Handle::run");
        self.core.call(what, |core| call(&mut Context::new(core))).is_ok()
    }

    /// False while the work caused by commands exceeds a turn: fan-out or the ends of streams are
    /// behind schedule. Other threads should wait.
    fn takes_commands(&self) -> bool {
        self.core.topics.unoffered_bytes() < UNOFFERED_BYTES_MAX
            && self.core.pending.deaths() <= DEATHS_PER_TURN
    }

    /// The socket of an adoption, unless its conversion panics, its client if that is elsewhere, and
    /// what comes first on it.
    pub(crate) fn take_apart(
        &mut self,
        adoption: Adoption,
    ) -> (Option<OwnedFd>, Option<Peer>, First) {
        let Adoption { socket, peer, first } = adoption;
        let socket = self.core.call(Call::Free("the conversion of a socket"), |_core| socket());
        (socket.ok(), peer, first)
    }

    /// Drops what cannot be adopted.
    pub(crate) fn discard(&mut self, first: First) {
        self.core.drop_first(first);
    }

    /// Commands are no longer taken, and those that wait are dropped. Destructors may panic, and
    /// two panics during one unwinding abort the process.
    pub(crate) fn close_mailbox(&mut self) {
        for command in self.core.mailbox.close() {
            self.core.drop_command(command);
        }
    }
}

/// Commands per turn, so that a flood of them does not delay ticks.
const COMMANDS_PER_TURN: usize = 16_384;
/// Commands taken under one lock.
const COMMANDS_PER_SLICE: usize = 256;
/// Limit of bytes published from other threads before subscribers have been offered some of them.
const UNOFFERED_BYTES_MAX: usize = 1024 * 1024;
