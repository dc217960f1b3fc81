//! [`Doubts`]: questions about ids of unknown generations, until a greeting answers them.

/// How often reactors have asked for the generations that there are by now.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    asked: u64,
    /// So many questions came before the last greeting was sent, and that answers them.
    sent: u64,
    answered: u64,
}

impl Doubts {
    /// Returns the number of the question.
    pub(super) fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// No greeting on its way answers all questions.
    pub(super) fn has_new(&self) -> bool {
        self.asked > self.sent
    }

    pub(super) fn greeting_was_sent(&mut self) {
        self.sent = self.asked;
    }

    pub(super) fn greeting_was_lost(&mut self) {
        self.sent = self.answered;
    }

    /// Returns the last question that this answers, if it was not answered before. Those that came after
    /// the greeting was sent wait for the next one.
    pub(super) fn greeting_was_answered(&mut self) -> Option<u64> {
        let is_new = self.sent > self.answered;
        self.answered = self.sent;
        is_new.then_some(self.answered)
    }
}
