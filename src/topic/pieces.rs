//! Shared bytes in pieces, so that a subscriber that needs only the end does not keep all of them.
//!
//! A subscriber whose socket has taken part of a frame holds the rest, even after the log has
//! dropped the frame. If a frame were one allocation, the last byte of 64 MiB would keep 64 MiB.
//! Counted from the end, the pieces have 32, 32, 64, 128 KiB and so on. No piece is more than 32
//! KiB longer than all pieces after it, so a holder keeps at most twice its rest plus 32 KiB, and a
//! frame of any size has few pieces.

use std::{borrow::Cow, iter, ops::Range, sync::Arc};

/// Shared bytes; a clone shares them too.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    /// Everything, up to 32 KiB.
    first: Arc<[u8]>,
    // A thin pointer, because most frames have none.
    others: Option<Arc<Vec<Arc<[u8]>>>>,
}

impl Pieces {
    pub(crate) fn len(&self) -> usize {
        match &self.others {
            None => self.first.len(),
            Some(_) => self.iter().map(|piece| piece.len()).sum(),
        }
    }

    /// The pieces in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        iter::once(&self.first).chain(self.others.iter().flat_map(|others| others.iter()))
    }

    /// All bytes, if they are in one piece, which is nearly always the case.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        self.others.is_none().then_some(&*self.first)
    }

    /// The bytes in `range` as one slice; copied if they are in several pieces.
    pub(crate) fn joined(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        match self.only() {
            Some(bytes) => Cow::Borrowed(&bytes[range]),
            None => Cow::Owned(self.slices(range).collect::<Vec<_>>().concat()),
        }
    }

    /// The bytes in `range`, piece by piece; no slice is empty.
    pub(crate) fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        let slices = self.iter().map(move |piece| {
            let (start, end) = (range.start.saturating_sub(at), range.end.saturating_sub(at));
            at += piece.len();
            &piece[start.min(piece.len())..end.min(piece.len())]
        });
        slices.filter(|slice| !slice.is_empty())
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= LAST_PIECE_BYTES {
            return Self { first: bytes.into(), others: None };
        }
        let mut starts = vec![bytes.len() - LAST_PIECE_BYTES];
        while let Some(&start) = starts.last()
            && start > 0
        {
            starts.push(start.saturating_sub(bytes.len() - start));
        }
        let ends = iter::once(bytes.len()).chain(starts.iter().copied());
        let ranges = starts.iter().zip(ends).map(|(&start, end)| start..end);
        let mut pieces: Vec<Arc<[u8]>> = ranges.map(|range| Arc::from(&bytes[range])).collect();
        let first = pieces.pop().unwrap_or_default();
        pieces.reverse();
        Self { first, others: Some(Arc::new(pieces)) }
    }
}

const LAST_PIECE_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn nothing_is_held_beyond_twice_what_is_left_and_32_kib() {
        for length in [1, 32_768, 32_769, 65_536, 65_537, 100_000, 5_000_000] {
            let pieces = Pieces::from(numbered(length));
            assert_eq!(pieces.len(), length);
            assert!(pieces.iter().count() <= 16);
            let mut left = length;
            for piece in pieces.iter() {
                // Of this piece, all but one byte is written.
                let held = left;
                left -= piece.len();
                assert!(held <= 2 * (left + 1) + LAST_PIECE_BYTES, "{held} for {}", left + 1);
            }
        }
    }

    #[test]
    fn any_range_is_found_again() {
        let bytes = numbered(200_000);
        let pieces = Pieces::from(bytes.clone());
        for range in [0..0, 0..1, 5..70_000, 69_999..200_000, 199_999..200_000, 0..200_000] {
            assert_eq!(
                pieces.slices(range.clone()).collect::<Vec<_>>().concat(),
                &bytes[range.clone()]
            );
            assert_eq!(pieces.joined(range.clone()), &bytes[range]);
        }
        let small = Pieces::from(numbered(100));
        assert_eq!(small.only(), Some(&numbered(100)[..]));
        assert!(matches!(small.joined(3..9), Cow::Borrowed(_)));
    }
}
