//! Bytes of one connection that its socket has not taken yet.
//!
//! An empty outbox is one null pointer. The buffers behind non-empty ones come from a [`Pool`],
//! so that an ordinary reply costs no allocation once the pool is warm.

use std::{io::IoSlice, sync::Arc};

use crate::http::Body;

/// The queue of one connection: encoded bytes, then at most one reply body that is kept as it
/// came instead of being copied.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    written: usize,
    body: Option<Body>,
    body_written: usize,
}

/// Spare buffers, shared by all outboxes of a reactor.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "an outbox is one pointer; its box moves in and out whole")]
pub(crate) struct Pool(Vec<Box<Queue>>);

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| {
            let body = queue.body.as_ref().map_or(0, |body| body.as_slice().len());
            queue.bytes.len() - queue.written + body - queue.body_written
        })
    }

    /// Where to append encoded bytes. A body queued earlier is copied in front of them first;
    /// that happens only when replies are pipelined behind a large one.
    ///
    /// The caller must append at least one byte.
    pub(crate) fn bytes(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        let queue = self.queue(pool);
        if let Some(body) = queue.body.take() {
            queue.bytes.extend_from_slice(&body.as_slice()[queue.body_written..]);
            queue.body_written = 0;
        }
        &mut queue.bytes
    }

    pub(crate) fn push(&mut self, bytes: &[u8], pool: &mut Pool) {
        if !bytes.is_empty() {
            self.bytes(pool).extend_from_slice(bytes);
        }
    }

    /// Queues a reply's body: small ones are copied behind their head, large ones kept.
    pub(crate) fn push_body(&mut self, body: Body, pool: &mut Pool) {
        if body.as_slice().len() <= COPIED_BODY_BYTES_MAX {
            self.push(body.as_slice(), pool);
        } else {
            self.bytes(pool);
            self.queue(pool).body = Some(body);
        }
    }

    /// Queues what is left of a shared frame behind its first `written` bytes, without a copy.
    pub(crate) fn push_shared(&mut self, frame: &Arc<[u8]>, written: usize, pool: &mut Pool) {
        self.bytes(pool);
        let queue = self.queue(pool);
        queue.body = Some(Body::Shared(Arc::clone(frame)));
        queue.body_written = written;
    }

    /// What waits, in order.
    pub(crate) fn slices(&self) -> [IoSlice<'_>; 2] {
        match &self.0 {
            None => [IoSlice::new(&[]), IoSlice::new(&[])],
            Some(queue) => [
                IoSlice::new(&queue.bytes[queue.written..]),
                IoSlice::new(
                    queue.body.as_ref().map_or(&[], |body| &body.as_slice()[queue.body_written..]),
                ),
            ],
        }
    }

    /// The socket took the first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize, pool: &mut Pool) {
        debug_assert!(count <= self.len());
        let Some(queue) = &mut self.0 else { return };
        let from_bytes = count.min(queue.bytes.len() - queue.written);
        queue.written += from_bytes;
        queue.body_written += count - from_bytes;
        let left = self.len();
        if left == 0 {
            self.clear(pool);
        }
    }

    /// Forgets everything that waits.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        if let Some(queue) = self.0.take() {
            pool.give_back(queue);
        }
    }

    fn queue(&mut self, pool: &mut Pool) -> &mut Queue {
        self.0.get_or_insert_with(|| pool.0.pop().unwrap_or_default())
    }
}

impl Pool {
    fn give_back(&mut self, mut queue: Box<Queue>) {
        if self.0.len() >= SPARE_BUFFERS_MAX || queue.bytes.capacity() > SPARE_BUFFER_BYTES_MAX {
            return;
        }
        queue.bytes.clear();
        queue.written = 0;
        queue.body = None;
        queue.body_written = 0;
        self.0.push(queue);
    }
}

/// Above this a copy costs more than the second slice of a vectored write.
const COPIED_BODY_BYTES_MAX: usize = 8 * 1024;
/// The pool never holds more than 64 x 16 KiB = 1 MiB.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_BUFFER_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(outbox: &Outbox) -> Vec<u8> {
        outbox.slices().concat_bytes()
    }

    trait ConcatBytes {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl ConcatBytes for [IoSlice<'_>; 2] {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|slice| slice.iter().copied()).collect()
        }
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
        let large: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let mut expected = b"head".to_vec();
        outbox.push(b"head", &mut pool);
        expected.extend_from_slice(&large);
        outbox.push_body(Body::from(large), &mut pool);

        outbox.advance(50_000, &mut pool);
        assert_eq!(waiting(&outbox), &expected[50_000..]);

        expected.extend_from_slice(b"second reply");
        outbox.push(b"second reply", &mut pool);
        assert_eq!(waiting(&outbox), &expected[50_000..]);

        outbox.advance(outbox.len(), &mut pool);
        assert!(outbox.is_empty());
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
