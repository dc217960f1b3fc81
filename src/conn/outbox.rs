//! Bytes of one connection that its socket has not taken yet.
//!
//! An empty outbox is one null pointer. Buffers of non-empty ones come from a [`Pool`], so an
//! ordinary response costs no allocation once the pool is warm.
//!
//! ```text
//!            bytes             later[0]          later[1]
//!   ┌──────────┬──────────┐   ┌───────────────┐ ┌──────────┬╌╌╌╌╌┐
//!   │ written  │ waiting  │   │ a shared body │ │ waiting  │ room│ ◄── push
//!   └──────────┴──────────┘   └───────────────┘ └──────────┴╌╌╌╌╌┘
//! ```
//!
//! The queue is a list of segments. Each is freed once it is written, so a client that always lags
//! a little does not keep what it has already been sent.
//!
//! **Memory bound**: after [`advance`](Outbox::advance), at most twice the waiting bytes plus 64
//! KiB are allocated.
//!
//! * Copied bytes go into segments of 16 KiB. A longer segment, such as the body of a response, is
//!   cut to its rest whenever half of it is written, so each of its bytes moves at most once.
//! * Shared bytes count in equal parts for all holders. When this outbox's part is more than twice
//!   its rest, the rest is copied and the reference dropped. This is checked when bytes are
//!   written. If other holders of a response's body leave later, the body is kept complete until
//!   the client reads more, or is closed as stalled.
//! * Frames of topics come in pieces that get smaller towards the end, so the bound always holds
//!   for them and nothing is copied.

use std::{collections::VecDeque, io::IoSlice, mem, sync::Arc};

use crate::http::Body;

/// The queue of one connection: encoded bytes, and bodies and frames that are kept without a copy.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Option<Box<Backlog>>);

#[derive(Debug, Default)]
struct Backlog {
    /// The first segment; empty if it is shared and so cannot be appended to or cut.
    bytes: Vec<u8>,
    /// The segments after it.
    later: VecDeque<Body>,
    /// How many bytes of the first segment the socket has taken.
    written: usize,
    /// Number of waiting bytes, in all segments.
    waiting: usize,
}

/// Spare buffers, shared by all outboxes of a reactor.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "an outbox is one pointer; its box moves in and out whole")]
pub(crate) struct Pool(Vec<Box<Backlog>>);

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Number of waiting bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.waiting)
    }

    /// Queues what `encode` appends, which must be at least one byte.
    pub(crate) fn push_with(&mut self, pool: &mut Pool, encode: impl FnOnce(&mut Vec<u8>)) {
        self.queue(pool).append(HEAD_BYTES, encode);
    }

    pub(crate) fn push(&mut self, bytes: &[u8], pool: &mut Pool) {
        if !bytes.is_empty() {
            self.queue(pool).append(bytes.len(), |tail| tail.extend_from_slice(bytes));
        }
    }

    /// Queues a response's body: a small one is copied after its head, a large one kept.
    pub(crate) fn push_body(&mut self, mut body: Body, pool: &mut Pool) {
        let length = body.as_slice().len();
        if length <= COPIED_BODY_BYTES_MAX {
            return self.push(body.as_slice(), pool);
        }
        if let Body::Owned(bytes) = &mut body
            && bytes.capacity() / 2 > length
        {
            bytes.shrink_to_fit();
        }
        let queue = self.queue(pool);
        queue.later.push_back(body);
        queue.waiting += length;
    }

    /// Queues the rest of shared pieces after their first `written` bytes, without a copy.
    ///
    /// The outbox must be empty, and the rest must not be.
    pub(crate) fn push_shared<'a>(
        &mut self,
        pieces: impl Iterator<Item = &'a Arc<[u8]>>,
        written: usize,
        pool: &mut Pool,
    ) {
        debug_assert!(self.is_empty(), "a socket has taken a part of the pieces");
        let queue = self.queue(pool);
        queue.written = written;
        for piece in pieces {
            match queue.written.checked_sub(piece.len()) {
                Some(after) if queue.later.is_empty() => queue.written = after,
                _ => {
                    queue.waiting += piece.len();
                    queue.later.push_back(Body::Shared(Arc::clone(piece)));
                }
            }
        }
        queue.waiting -= queue.written;
        debug_assert!(queue.waiting > 0);
        queue.free_written();
    }

    /// The waiting bytes, if they are in one piece.
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        let queue = self.0.as_ref()?;
        let segments = queue.later.len() + usize::from(!queue.bytes.is_empty());
        (segments == 1).then(|| &queue.first()[queue.written..])
    }

    /// The waiting bytes that fit one write, in order.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; SLICES_PER_WRITE], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let mut count = 0;
        if let Some(queue) = &self.0 {
            let mut written = queue.written;
            for (slice, segment) in slices.iter_mut().zip(queue.segments()) {
                *slice = IoSlice::new(&segment[mem::take(&mut written)..]);
                count += 1;
            }
        }
        (slices, count)
    }

    /// The socket took the first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize, pool: &mut Pool) {
        debug_assert!(count <= self.len());
        let Some(queue) = &mut self.0 else { return };
        queue.waiting -= count;
        if queue.waiting == 0 {
            return self.clear(pool);
        }
        queue.written += count;
        queue.free_written();
    }

    /// Discards everything that waits.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        if let Some(queue) = self.0.take() {
            pool.give_back(queue);
        }
    }

    fn queue(&mut self, pool: &mut Pool) -> &mut Backlog {
        self.0.get_or_insert_with(|| pool.0.pop().unwrap_or_default())
    }
}

impl Backlog {
    /// The segments in order. There is at least one while bytes wait.
    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = Some(&self.bytes[..]).filter(|bytes| !bytes.is_empty());
        bytes.into_iter().chain(self.later.iter().map(Body::as_slice))
    }

    fn first(&self) -> &[u8] {
        match self.later.front() {
            Some(body) if self.bytes.is_empty() => body.as_slice(),
            _ => &self.bytes,
        }
    }

    /// Appends to the last segment, or to a new one if that is full or shared.
    fn append(&mut self, expected_bytes: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        let has_room = |tail: &Vec<u8>| tail.len() + expected_bytes <= SEGMENT_BYTES;
        let add_to = |tail: &mut Vec<u8>| {
            let length = tail.len();
            if tail.capacity() - length < expected_bytes && length + expected_bytes <= SEGMENT_BYTES
            {
                // Doubled, but not beyond the size of a segment.
                tail.reserve_exact(expected_bytes.max(length).min(SEGMENT_BYTES - length));
            }
            encode(tail);
            tail.len() - length
        };
        self.waiting += match self.later.back_mut() {
            None if self.bytes.is_empty() || has_room(&self.bytes) => add_to(&mut self.bytes),
            Some(Body::Owned(tail)) if has_room(tail) => add_to(tail),
            _ => {
                let mut tail = Vec::with_capacity(expected_bytes);
                let added_bytes = add_to(&mut tail);
                self.later.push_back(Body::Owned(tail));
                added_bytes
            }
        };
    }

    /// Frees the written segments, and cuts the next one. It exists, because bytes wait.
    fn free_written(&mut self) {
        loop {
            if self.bytes.is_empty()
                && let Some(Body::Owned(next)) = self.later.front_mut()
            {
                self.bytes = mem::take(next);
                self.later.pop_front();
            }
            let Some(after) = self.written.checked_sub(self.first().len()) else { break };
            self.written = after;
            if self.bytes.is_empty() {
                self.later.pop_front();
            } else {
                empty(&mut self.bytes);
            }
        }
        self.cut_first();
        if self.later.capacity() > 4 * self.later.len() + IDLE_SEGMENTS {
            self.later.shrink_to(2 * self.later.len());
        }
    }

    /// Cuts the first segment to its rest, if that frees more than it moves.
    fn cut_first(&mut self) {
        let rest_bytes = self.first().len() - self.written;
        if !self.bytes.is_empty() {
            if self.written >= SEGMENT_BYTES.max(rest_bytes) {
                self.bytes.drain(..self.written);
                self.bytes.shrink_to_fit();
                self.written = 0;
            }
        } else if let Some(Body::Shared(shared)) = self.later.front()
            && shared.len() / Arc::strong_count(shared) > 2 * rest_bytes + SEGMENT_BYTES
        {
            self.bytes.extend_from_slice(&shared[self.written..]);
            self.written = 0;
            self.later.pop_front();
        }
    }
}

impl Pool {
    fn give_back(&mut self, mut queue: Box<Backlog>) {
        if self.0.len() >= SPARE_QUEUES_MAX || queue.bytes.capacity() > SEGMENT_BYTES {
            return;
        }
        queue.bytes.clear();
        queue.later.clear();
        queue.later.shrink_to(IDLE_SEGMENTS);
        queue.written = 0;
        queue.waiting = 0;
        self.0.push(queue);
    }
}

/// Empties a buffer and keeps its memory if it is small.
fn empty(bytes: &mut Vec<u8>) {
    bytes.clear();
    if bytes.capacity() > SEGMENT_BYTES {
        *bytes = Vec::new();
    }
}

/// Above this, a copy costs more than another slice in a vectored write.
const COPIED_BODY_BYTES_MAX: usize = 8 * 1024;
/// Enough for most heads.
const HEAD_BYTES: usize = 512;
/// Copied bytes beyond this go into the next segment.
const SEGMENT_BYTES: usize = 16 * 1024;
/// Segments per write.
pub(crate) const SLICES_PER_WRITE: usize = 16;
/// Room for segments that a queue always keeps.
const IDLE_SEGMENTS: usize = 16;
/// The pool never holds more than 64 x 16 KiB = 1 MiB.
const SPARE_QUEUES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(outbox: &Outbox) -> Vec<u8> {
        let (slices, count) = outbox.slices();
        let waiting = slices[..count].iter().map(|slice| &**slice).collect::<Vec<_>>().concat();
        if let Some(only) = outbox.only_slice() {
            assert_eq!(only, waiting);
        }
        waiting
    }

    fn numbered(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at % 251) as u8).collect()
    }

    /// Bytes that a queue has allocated; bytes shared with `others` are not counted.
    fn allocated(outbox: &Outbox) -> usize {
        let Some(queue) = &outbox.0 else { return 0 };
        let later = queue.later.iter().map(|body| match body {
            Body::Owned(bytes) => bytes.capacity(),
            Body::Shared(bytes) => bytes.len() / Arc::strong_count(bytes),
            _ => 0,
        });
        let places = queue.later.capacity() * size_of::<Body>();
        queue.bytes.capacity() + later.sum::<usize>() + places
    }

    #[test]
    fn an_empty_outbox_is_one_pointer_and_no_heap() {
        assert_eq!(size_of::<Outbox>(), size_of::<usize>());
        assert!(Outbox::new().is_empty());
    }

    #[test]
    fn bytes_and_large_bodies_leave_in_the_order_they_came() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::new();
        let large = numbered(100_000);
        let mut expected = b"head".to_vec();
        outbox.push(b"head", &mut pool);
        expected.extend_from_slice(&large);
        outbox.push_body(Body::from(large), &mut pool);

        outbox.advance(50_000, &mut pool);
        assert_eq!(waiting(&outbox), &expected[50_000..]);

        expected.extend_from_slice(b"second response");
        outbox.push(b"second response", &mut pool);
        assert_eq!(waiting(&outbox), &expected[50_000..]);
        assert_eq!(outbox.len(), expected.len() - 50_000);

        outbox.advance(outbox.len(), &mut pool);
        assert!(outbox.is_empty());
    }

    #[test]
    fn whatever_is_queued_and_taken_the_bytes_keep_their_order_and_the_memory_its_bound() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::new();
        let source = numbered(300_000);
        let (mut expected, mut at) = (Vec::new(), 7_usize);
        for step in 0..5_000_usize {
            at = at.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(step);
            let chance = at >> 32;
            let bytes = &source[..1 + chance % [100, 3_000, 20_000, 300_000][step % 4]];
            match chance % 6 {
                0 => outbox.push(bytes, &mut pool),
                1 => outbox.push_body(Body::from(bytes.to_vec()), &mut pool),
                2 => outbox.push_body(Body::from(Arc::<[u8]>::from(bytes)), &mut pool),
                3 => outbox.push_with(&mut pool, |out| out.extend_from_slice(bytes)),
                4 if outbox.is_empty() => {
                    let pieces: Vec<_> = bytes.chunks(20_000).map(Arc::from).collect();
                    outbox.push_shared(pieces.iter(), bytes.len() / 2, &mut pool);
                    expected.extend_from_slice(&bytes[bytes.len() / 2..]);
                }
                _ => outbox.push(&bytes[..1], &mut pool),
            }
            match chance % 6 {
                0..=3 => expected.extend_from_slice(bytes),
                4 if outbox.len() > 1 && expected.len() == outbox.len() => {}
                _ => expected.push(bytes[0]),
            }
            assert_eq!(outbox.len(), expected.len());
            let (slices, count) = outbox.slices();
            let writable: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let taken = (chance / 7) % (writable + 1);
            let most = if step % 500 == 499 { writable } else { writable.min(taken) };
            assert!(expected.starts_with(&waiting(&outbox)), "step {step}");
            expected.drain(..most);
            if most > 0 {
                outbox.advance(most, &mut pool);
            }
            let bound = 2 * outbox.len() + 64 * 1024;
            assert!(allocated(&outbox) <= bound, "{} of {bound}", allocated(&outbox));
        }
    }

    #[test]
    fn bytes_that_others_hold_too_are_not_copied() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::new();
        let shared: Arc<[u8]> = numbered(1_000_000).into();
        outbox.push_shared([&shared].into_iter(), 999_999, &mut pool);
        assert_eq!(waiting(&outbox), &shared[999_999..]);
        assert_eq!(Arc::strong_count(&shared), 1, "half of it was more than the rest is worth");
        outbox.clear(&mut pool);

        let others: Vec<_> = (0..100).map(|_| Arc::clone(&shared)).collect();
        outbox.push_shared([&shared].into_iter(), 999_999, &mut pool);
        assert_eq!(Arc::strong_count(&shared), others.len() + 2);
    }

    #[test]
    fn drained_buffers_are_used_again_but_large_ones_are_freed() {
        let mut pool = Pool::default();
        let mut outbox = Outbox::new();
        outbox.push(b"small", &mut pool);
        outbox.advance(5, &mut pool);
        assert_eq!(pool.0.len(), 1);
        outbox.push(&[0; 100_000], &mut pool);
        assert_eq!(pool.0.len(), 0);
        outbox.clear(&mut pool);
        assert_eq!(pool.0.len(), 0, "a buffer beyond the bound must not stay");
    }
}
