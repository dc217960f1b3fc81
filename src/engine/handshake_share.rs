//! How much of a turn TLS handshakes may take, so that ticks keep their time while very many clients
//! connect.
//!
//! A handshake is expensive. Nearly all of that is the answer to the client's first flight, with the
//! signature: 70 us with an ECDSA key (P-256), 0.5 ms with RSA 2048, 3 ms with RSA 4096, on one core
//! of an AMD EPYC (`tests/tls/figures.rs`). So the time is measured, with
//! a clock lent by the reactor, and an answer begins only if one like the last ones fits in what is
//! left of the turn. In a simulation, each read has a fixed price instead.

use std::time::Duration;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct HandshakeShare {
    nanos_per_turn: u64,
    left_nanos: u64,
    /// A step towards an answer has been taken in this turn.
    has_begun: bool,
    /// An answer has been given in this turn.
    has_answered: bool,
    /// The same for ends.
    has_ended: bool,
    /// What the next answer may cost: the last one, or an earlier one that was dearer, which counts
    /// less with each that follows.
    answer_nanos: u64,
    clock_nanos: Option<fn() -> u64>,
}

/// What a read of a connection in a handshake may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The answer to the client's first flight.
    Answer,
    /// The end of the handshake. It frees memory, so it need not wait for the answers of others.
    End,
}

impl HandshakeShare {
    pub(super) fn new(per_turn: Duration) -> Self {
        let nanos_per_turn = u64::try_from(per_turn.as_nanos()).unwrap_or(u64::MAX);
        Self {
            nanos_per_turn,
            left_nanos: 0,
            has_begun: false,
            has_answered: false,
            has_ended: false,
            answer_nanos: ANSWER_NANOS,
            clock_nanos: None,
        }
    }

    pub(super) fn set_clock(&mut self, clock_nanos: fn() -> u64) {
        self.clock_nanos = Some(clock_nanos);
    }

    pub(super) fn begin_turn(&mut self) {
        self.left_nanos = self.nanos_per_turn;
        (self.has_begun, self.has_answered, self.has_ended) = (false, false, false);
    }

    /// Whether there is time for this step. There always is for one of each kind in a turn.
    pub(super) fn allows(&self, step: Step) -> bool {
        match step {
            Step::Answer if !self.has_begun => true,
            // Parts of hellos, and requests for another key share, are cheap. Very many are not.
            Step::Answer if !self.has_answered => self.left_nanos > 0,
            Step::Answer => self.answer_nanos <= self.left_nanos,
            Step::End => !self.has_ended || self.left_nanos > 0,
        }
    }

    /// A step begins. To be passed to [`end`](Self::end).
    pub(super) fn begin(&self) -> u64 {
        self.clock_nanos.map_or(0, |clock_nanos| clock_nanos())
    }

    pub(super) fn end(&mut self, step: Step, began_nanos: u64, has_answered: bool) {
        let spent_nanos = match (self.clock_nanos, step) {
            (Some(clock_nanos), _) => clock_nanos().saturating_sub(began_nanos),
            (None, Step::Answer) => ANSWER_NANOS,
            (None, Step::End) => END_NANOS,
        };
        self.has_begun |= step == Step::Answer;
        self.has_ended |= step == Step::End;
        self.spend(spent_nanos, has_answered);
    }

    fn spend(&mut self, spent_nanos: u64, has_answered: bool) {
        self.left_nanos = self.left_nanos.saturating_sub(spent_nanos);
        if has_answered {
            self.has_answered = true;
            self.answer_nanos = spent_nanos.max(self.answer_nanos - self.answer_nanos / 8);
        }
    }
}

/// As with an ECDSA key; see `tls/tests/figures.rs`.
const ANSWER_NANOS: u64 = 150_000;
const END_NANOS: u64 = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn answers_in_a_turn(share: &mut HandshakeShare, cost_nanos: u64) -> (u64, u64) {
        share.begin_turn();
        let mut count = 0;
        while share.allows(Step::Answer) {
            share.has_begun = true;
            share.spend(cost_nanos, true);
            count += 1;
        }
        (count, count * cost_nanos)
    }

    #[test]
    fn answers_of_any_cost_keep_within_the_share_or_there_is_one() {
        let mut share = HandshakeShare::new(Duration::from_millis(1));
        for cost_nanos in [40_000, 150_000, 400_000, 1_000_000, 6_000_000, 90_000] {
            // One turn to see what they cost now.
            answers_in_a_turn(&mut share, cost_nanos);
            for _ in 0..30 {
                let (count, nanos) = answers_in_a_turn(&mut share, cost_nanos);
                assert!(count == 1 || nanos <= 1_000_000, "{count} of {cost_nanos}");
            }
            let (count, _) = answers_in_a_turn(&mut share, cost_nanos);
            assert_eq!(count, (1_000_000 / cost_nanos).max(1), "none is wasted");
        }
    }

    #[test]
    fn an_end_needs_time_that_is_left() {
        let mut share = HandshakeShare::new(Duration::from_micros(100));
        share.begin_turn();
        share.end(Step::End, share.begin(), false);
        assert!(share.allows(Step::End) && share.allows(Step::Answer));
        share.end(Step::End, share.begin(), false);
        assert!(!share.allows(Step::End), "one in each turn");
        assert!(share.allows(Step::Answer), "one in each turn");
        share.end(Step::Answer, share.begin(), true);
        assert!(!share.allows(Step::Answer));
        share.begin_turn();
        assert!(share.allows(Step::End) && share.allows(Step::Answer));
    }

    /// Such as parts of hellos.
    #[test]
    fn steps_that_answer_nothing_take_their_time_of_the_share() {
        for (share_us, steps) in [(0, 1), (300, 2), (1_000, 7)] {
            let mut share = HandshakeShare::new(Duration::from_micros(share_us));
            share.begin_turn();
            let mut count = 0;
            while share.allows(Step::Answer) {
                share.end(Step::Answer, share.begin(), false);
                count += 1;
            }
            assert_eq!(count, steps, "{share_us}");
        }
    }

    #[test]
    fn a_share_of_nothing_lets_one_answer_pass() {
        let mut share = HandshakeShare::new(Duration::ZERO);
        assert_eq!(answers_in_a_turn(&mut share, 1).0, 1);
        let mut share = HandshakeShare::new(Duration::MAX);
        share.begin_turn();
        share.has_begun = true;
        share.spend(u64::MAX / 4, true);
        assert!(share.allows(Step::Answer));
    }
}
