//! [`Exchange`]: requests on their way to a server, and its replies, in the same order.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use redis_protocol::resp2::types::OwnedFrame;

use super::{
    Down,
    frames::{FrameError, Frames},
};

/// The bytes of one connection in both directions, and what they answer. `T` says what was asked.
pub(super) struct Exchange<T> {
    input: Frames,
    output: Vec<u8>,
    /// How much of `output` was sent.
    sent: usize,
    /// Bytes that were sent before `output` began.
    sent_before: u64,
    asked: VecDeque<Asked<T>>,
    /// Since when the first of `asked` has been waiting without any progress.
    waiting_since: Instant,
}

struct Asked<T> {
    what: T,
    /// How many bytes were sent when it was sent completely.
    end: u64,
    timeout: Duration,
}

impl<T> Exchange<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            input: Frames::default(),
            output: Vec::new(),
            sent: 0,
            sent_before: 0,
            asked: VecDeque::new(),
            waiting_since: now,
        }
    }

    /// Asks for one reply. `write` appends one command.
    pub(super) fn ask(
        &mut self,
        what: T,
        timeout: Duration,
        now: Instant,
        write: impl FnOnce(&T, &mut Vec<u8>),
    ) {
        if self.asked.is_empty() {
            self.waiting_since = now;
        }
        write(&what, &mut self.output);
        let end = self.sent_before + self.output.len() as u64;
        self.asked.push_back(Asked { what, end, timeout });
    }

    /// How many replies are missing.
    pub(super) fn missing(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// So many bytes of [`unsent`](Self::unsent) were sent.
    pub(super) fn note_sent(&mut self, count: usize, now: Instant) {
        let sent_before = self.sent_before + self.sent as u64;
        // Only what the first request needs is progress. A server that has stopped lets its peer send
        // for a long time.
        if self.asked.front().is_some_and(|first| first.end > sent_before) {
            self.waiting_since = now;
        }
        self.sent += count;
        debug_assert!(self.sent <= self.output.len());
        if self.sent == self.output.len() {
            self.sent_before += self.sent as u64;
            self.sent = 0;
            self.output.clear();
            self.output.shrink_to(KEPT_BYTES);
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.input.push(bytes);
        self.waiting_since = now;
    }

    /// The next reply, with what was asked.
    pub(super) fn next(&mut self, now: Instant) -> Result<Option<(T, OwnedFrame)>, Down> {
        let Some(frame) = self.input.next()? else { return Ok(None) };
        let Some(first) = self.asked.pop_front() else {
            // A server says why it accepts no more connections.
            return Err(match &frame {
                OwnedFrame::Error(words) => Down::of_error(words),
                _ => Down::Malformed("a reply to nothing".into()),
            });
        };
        self.waiting_since = now;
        Ok(Some((first.what, frame)))
    }

    /// When the connection times out, unless something comes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asked.front().map(|first| self.waiting_since + first.timeout)
    }

    pub(super) fn check_deadline(&self, now: Instant) -> Result<(), Down> {
        match self.asked.front() {
            Some(first) if self.waiting_since + first.timeout <= now => {
                Err(Down::Silent(first.timeout))
            }
            _ => Ok(()),
        }
    }
}

impl From<FrameError> for Down {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge => Self::TooLarge,
            FrameError::Malformed(what) => Self::Malformed(what),
        }
    }
}

/// Without bytes, because a password is among them.
impl<T> fmt::Debug for Exchange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("unsent", &self.unsent().len())
            .field("missing", &self.missing())
            .finish_non_exhaustive()
    }
}

/// What the buffer keeps after a large batch.
const KEPT_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::redis::frames::write_command;

    const LIMIT: Duration = Duration::from_secs(2);

    fn ask(exchange: &mut Exchange<u32>, number: u32, now: Instant) {
        exchange.ask(number, LIMIT, now, |_, out| write_command(out, &[b"PING"]));
    }

    #[test]
    fn replies_belong_to_requests_in_their_order() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now);
        (0..3).for_each(|number| ask(&mut exchange, number, now));
        exchange.receive(b":0\r\n:1\r\n:", now);
        for number in [0, 1] {
            let reply = Some((number, OwnedFrame::Integer(number.into())));
            assert_eq!(exchange.next(now), Ok(reply));
        }
        assert_eq!(exchange.next(now), Ok(None));
        assert_eq!(exchange.missing(), 1);
        exchange.receive(b"2\r\n:3\r\n", now);
        assert!(exchange.next(now).is_ok_and(|it| it.is_some()));
        assert_eq!(exchange.next(now), Err(Down::Malformed("a reply to nothing".into())));
    }

    #[test]
    fn the_time_counts_from_the_last_sign_of_the_server() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut exchange = Exchange::new(start);
        assert_eq!(exchange.deadline(), None);
        ask(&mut exchange, 0, at(1000));
        assert_eq!(exchange.deadline(), Some(at(3000)));
        exchange.note_sent(4, at(1500));
        assert_eq!(exchange.deadline(), Some(at(3500)), "it is being sent");
        exchange.note_sent(exchange.unsent().len(), at(1600));
        // More requests are taken by the system, not by the server.
        for ms in [2000, 2500, 3000] {
            ask(&mut exchange, 1, at(ms));
            exchange.note_sent(exchange.unsent().len(), at(ms));
        }
        assert_eq!(exchange.deadline(), Some(at(3600)));
        assert_eq!(exchange.check_deadline(at(3599)), Ok(()));
        assert_eq!(exchange.check_deadline(at(3600)), Err(Down::Silent(LIMIT)));
        exchange.receive(b":", at(3500));
        assert_eq!(exchange.deadline(), Some(at(5500)), "a large reply is coming");
        exchange.receive(b"1\r\n", at(3600));
        exchange.next(at(3600)).unwrap();
        assert_eq!(exchange.deadline(), Some(at(5600)), "the next one");
    }

    #[test]
    fn bytes_are_sent_in_any_pieces() {
        let now = Instant::now();
        let mut exchange = Exchange::new(now);
        ask(&mut exchange, 0, now);
        let mut sent = Vec::new();
        for n in 0..40 {
            let piece = exchange.unsent();
            let count = piece.len().min(3);
            sent.extend_from_slice(&piece[..count]);
            exchange.note_sent(count, now);
            if n == 2 {
                ask(&mut exchange, 1, now);
            }
        }
        assert_eq!(sent, b"*1\r\n$4\r\nPING\r\n".repeat(2));
        assert!(exchange.unsent().is_empty());
    }

    #[test]
    fn a_server_may_refuse_before_it_is_asked() {
        let now = Instant::now();
        let mut exchange = Exchange::<u32>::new(now);
        exchange.receive(b"-ERR max number of clients reached\r\n", now);
        let refused = Down::Refused("ERR max number of clients reached".into());
        assert_eq!(exchange.next(now), Err(refused));
    }
}
