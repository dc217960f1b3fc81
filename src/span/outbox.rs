//! [`Outbox`]: events on their way to the store, in order and each once.
//!
//! ```text
//!   stored, still kept │ sent, or to be sent again │ waiting
//!   4 5 6              │ 7 8 9                     │ (no numbers yet)
//! ```
//!
//! Batches that were acknowledged are kept for a moment: a store that fails over to a replica may lose
//! them, and then they are sent again.

use std::{collections::VecDeque, sync::Arc};

use super::protocol::{Batch, Post, Request, Retention};

/// What one process publishes.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: VecDeque<Group>,
    /// Batches that are not acknowledged, in order.
    pending: VecDeque<Arc<Batch>>,
    /// Batches of the store.
    stored: VecDeque<Stored>,
    /// Bytes that wait or are pending.
    bytes: usize,
    bytes_max: usize,
    stored_bytes: usize,
    /// The number of the next new batch.
    next_number: u64,
    /// How many of the pending batches have been sent on this connection.
    sent: usize,
    /// Answers that are still to come.
    unanswered: usize,
    /// A batch was not applied: when all answers have come, the first pending one is sent again.
    must_rewind: bool,
    /// Nothing is sent before.
    paused_until_ms: u64,
}

/// Events that one call publishes; they are in one batch.
#[derive(Debug)]
struct Group {
    posts: Vec<Post>,
    bytes: usize,
}

#[derive(Debug)]
struct Stored {
    batch: Arc<Batch>,
    /// The place of its last event, or a later one.
    up_to: u64,
    at_ms: u64,
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            pending: VecDeque::new(),
            stored: VecDeque::new(),
            bytes: 0,
            bytes_max,
            stored_bytes: 0,
            next_number: 1,
            sent: 0,
            unanswered: 0,
            must_rewind: false,
            paused_until_ms: 0,
        }
    }

    /// Bytes that wait or are pending.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Batches whose answers are still to come.
    pub(super) fn in_flight(&self) -> usize {
        self.unanswered
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// As everywhere in this crate, the last one may exceed the limit.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Posts of one call, and how much memory they need.
    pub(super) fn push(&mut self, posts: Vec<Post>, bytes: usize) {
        self.bytes += bytes;
        self.waiting.push_back(Group { posts, bytes });
    }

    /// The next batch to send, if there is one and not too many are on their way.
    pub(super) fn next(&mut self, retention: Retention, now_ms: u64) -> Option<Request> {
        self.rewind();
        let may_send =
            !self.must_rewind && self.unanswered < IN_FLIGHT_MAX && now_ms >= self.paused_until_ms;
        if !may_send {
            return None;
        }
        if self.sent == self.pending.len() && !self.fill_a_batch() {
            return None;
        }
        let base = self.pending.front()?.number;
        let batch = Arc::clone(self.pending.get(self.sent)?);
        self.sent += 1;
        self.unanswered += 1;
        Some(Request::Append { batch, base, retention })
    }

    /// When [`next`](Self::next) may have something though nothing has happened.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let is_paused = self.paused_until_ms > 0 && self.unanswered == 0 && !self.is_empty();
        is_paused.then_some(self.paused_until_ms)
    }

    fn fill_a_batch(&mut self) -> bool {
        let mut batch = Batch { number: self.next_number, posts: Vec::new(), bytes: 0 };
        while let Some(group) = self.waiting.front()
            && (batch.posts.is_empty() || batch.has_room_for(group))
            && let Some(group) = self.waiting.pop_front()
        {
            batch.bytes += group.bytes;
            batch.posts.extend(group.posts);
        }
        if batch.posts.is_empty() {
            return false;
        }
        self.next_number += 1;
        self.pending.push_back(Arc::new(batch));
        true
    }

    /// The store has a batch.
    pub(super) fn acknowledge(&mut self, number: u64, up_to: u64, now_ms: u64) {
        self.answered();
        if self.pending.front().is_none_or(|batch| batch.number != number) {
            return;
        }
        let Some(batch) = self.pending.pop_front() else { return };
        self.sent = self.sent.saturating_sub(1);
        self.paused_until_ms = 0;
        self.bytes -= batch.bytes;
        self.stored_bytes += batch.bytes;
        self.stored.push_back(Stored { batch, up_to, at_ms: now_ms });
        while let Some(oldest) = self.stored.front()
            && (self.stored_bytes > self.bytes_max / 4 || oldest.at_ms + KEPT_MS <= now_ms)
        {
            self.stored_bytes -= oldest.batch.bytes;
            self.stored.pop_front();
        }
    }

    /// A batch was not applied.
    pub(super) fn was_not_applied(&mut self) {
        self.answered();
        self.must_rewind = true;
    }

    /// The store has no room. It is asked again after a moment.
    pub(super) fn was_refused(&mut self, now_ms: u64) {
        self.was_not_applied();
        self.paused_until_ms = now_ms + REFUSED_PAUSE_MS;
    }

    /// No more answers come for what was sent.
    pub(super) fn disconnected(&mut self) {
        (self.sent, self.unanswered, self.must_rewind) = (0, 0, false);
    }

    /// The store has lost everything after this place. Returns how many batches are sent again.
    pub(super) fn send_again_after(&mut self, place: u64) -> usize {
        let kept = self.stored.partition_point(|stored| stored.up_to <= place);
        let lost: Vec<_> = self.stored.drain(kept..).collect();
        for stored in lost.iter().rev() {
            self.stored_bytes -= stored.batch.bytes;
            self.bytes += stored.batch.bytes;
            self.pending.push_front(Arc::clone(&stored.batch));
        }
        if !lost.is_empty() {
            self.must_rewind = true;
        }
        lost.len()
    }

    fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    fn rewind(&mut self) {
        if self.must_rewind && self.unanswered == 0 {
            (self.sent, self.must_rewind) = (0, false);
        }
    }
}

impl Batch {
    fn has_room_for(&self, group: &Group) -> bool {
        self.posts.len() + group.posts.len() <= BATCH_POSTS
            && self.bytes + group.bytes <= BATCH_BYTES
    }
}

/// Batches on their way at the same time.
const IN_FLIGHT_MAX: usize = 4;
/// Events of a batch, unless one call publishes more.
const BATCH_POSTS: usize = 128;
/// Bytes of a batch, unless one call publishes more.
const BATCH_BYTES: usize = 256 * 1024;
/// How long a store without room is left alone.
const REFUSED_PAUSE_MS: u64 = 200;
/// How long batches are kept that the store may lose.
const KEPT_MS: u64 = 10_000;
