//! Sealing and sending.
//!
//! A record's number may be used again only if no byte of the record has left. Each write decides
//! it: what the write did not touch is thrown away and not counted; a record of which any byte was
//! taken is counted, and its rest is kept and sent first.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem,
};

use super::{Answer, Output, Session, Withheld};
use crate::tls::record::{self, CONTENT_BYTES_MAX, ContentType};

impl Session {
    /// Seals a prefix of the slices and writes it, like a non-blocking socket: the result is the
    /// number of bytes that were taken, or `WouldBlock`.
    ///
    /// `write` is called with sealed bytes until it takes none, or nothing is left, or 1 MiB has been
    /// taken. An error other than `WouldBlock` and `Interrupted` ends the session: nothing leaves any
    /// more.
    ///
    /// While a part of a sealed record is still here, the last byte of its data counts as not taken.
    /// So the caller knows that the socket is full, and comes back when it is writable. It must offer
    /// the same byte again, first. The bytes around it may be others: they are not looked at before.
    /// It is not the first byte of a slice with more than one, so callers may forget slices of which
    /// nothing was taken.
    ///
    /// `scratch` is any buffer. Its contents are replaced by at most three records.
    pub(crate) fn send(
        &mut self,
        slices: &[IoSlice<'_>],
        scratch: &mut Vec<u8>,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.output != Output::Open {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut data = Data::of(slices);
        let offered_bytes = data.len;
        if self.withheld == Withheld::LastByte && data.len > 0 {
            self.flush(&mut write)?;
            data.skip(1);
            self.withheld = Withheld::None;
        }
        let is_within_share = |data: &Data<'_>| offered_bytes - data.len < BYTES_PER_SEND;
        while self.flush_or_block(&mut write)? == Flushed::All
            && data.len > 0
            && is_within_share(&data)
        {
            if self.answer == Answer::Due || self.sent_records >= RECORDS_PER_KEY {
                // Before further data (RFC 8446 section 4.6.3), and only when all that was queued
                // has left: no requests of a peer make the queue longer.
                self.update_sending_key();
                continue;
            }
            let batch = self.seal(data, scratch);
            let written_bytes = self.write(scratch, &mut write)?;
            if written_bytes == 0 {
                break;
            }
            data.skip(self.commit(&batch, scratch, written_bytes));
        }
        let mut taken_bytes = offered_bytes - data.len;
        if self.has_unsent() && taken_bytes > 0 {
            self.withheld = Withheld::LastByte;
            taken_bytes -= 1;
        }
        match taken_bytes {
            0 if offered_bytes > 0 => Err(ErrorKind::WouldBlock.into()),
            taken_bytes => Ok(taken_bytes),
        }
    }

    /// Writes what is queued. `WouldBlock`: something is left.
    pub(crate) fn flush(
        &mut self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if !self.has_unsent() {
            return Ok(());
        }
        let mut unsent = self.hold(|held| mem::take(&mut held.unsent));
        let mut start = 0;
        while start < unsent.len() {
            let written_bytes = self.write(&unsent[start..], &mut write)?;
            if written_bytes == 0 {
                unsent.drain(..start);
                self.hold(|held| held.unsent = unsent);
                return Err(ErrorKind::WouldBlock.into());
            }
            start += written_bytes;
        }
        Ok(())
    }

    fn flush_or_block(
        &mut self,
        write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        match self.flush(write) {
            Ok(()) => Ok(Flushed::All),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Flushed::Blocked),
            Err(error) => Err(error),
        }
    }

    /// Seals as many records as one write gets. Nothing is counted.
    fn seal(&self, mut data: Data<'_>, scratch: &mut Vec<u8>) -> [SealedRecord; RECORDS_PER_WRITE] {
        let cipher = self.sending_keys.cipher(self.suite);
        let mut batch = [SealedRecord::default(); RECORDS_PER_WRITE];
        scratch.clear();
        for (record, number) in batch.iter_mut().zip(u64::from(self.sent_records)..) {
            if data.len == 0 {
                break;
            }
            let content_bytes = data.next_record_bytes();
            let push = |out: &mut Vec<u8>| data.gather(content_bytes, out);
            record::seal(&cipher, number, ContentType::ApplicationData, push, scratch);
            *record = SealedRecord { end: scratch.len(), content_bytes };
        }
        batch
    }

    /// Counts the records that were touched, and keeps the rest of the last one. Returns the bytes
    /// of data in them.
    fn commit(&mut self, batch: &[SealedRecord], sealed: &[u8], written_bytes: usize) -> usize {
        let mut start = 0;
        let mut content_bytes = 0;
        for record in batch.iter().take_while(|record| record.end > 0) {
            if written_bytes <= start {
                break;
            }
            self.sent_records += 1;
            content_bytes += record.content_bytes;
            if written_bytes < record.end {
                self.hold(|held| held.unsent = sealed[written_bytes..record.end].to_vec());
                break;
            }
            start = record.end;
        }
        content_bytes
    }

    /// Calls `write`. Zero bytes: it takes nothing now.
    fn write(
        &mut self,
        bytes: &[u8],
        write: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Also if `write` panics.
        let output = mem::replace(&mut self.output, Output::Lost);
        let result = loop {
            match write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let written_bytes = match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result?,
        };
        self.output = output;
        Ok(written_bytes.min(bytes.len()))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Flushed {
    All,
    Blocked,
}

/// A record in the scratch buffer. `end` is zero where there is none.
#[derive(Debug, Default, Clone, Copy)]
struct SealedRecord {
    end: usize,
    content_bytes: usize,
}

/// Slices from a position on.
#[derive(Debug, Clone, Copy)]
struct Data<'a> {
    slices: &'a [IoSlice<'a>],
    /// Bytes of the first slice that are done.
    start: usize,
    len: usize,
}

impl<'a> Data<'a> {
    fn of(slices: &'a [IoSlice<'a>]) -> Self {
        Self { slices, start: 0, len: slices.iter().map(|slice| slice.len()).sum() }
    }

    /// How many of the bytes the next record gets.
    ///
    /// A record does not end with the first byte of a slice. If that byte were withheld, the caller
    /// would see a slice of which nothing was taken, and might drop it.
    fn next_record_bytes(&self) -> usize {
        if self.len <= CONTENT_BYTES_MAX {
            return self.len;
        }
        let (mut end, mut last_end) = (0, CONTENT_BYTES_MAX);
        let mut start = self.start;
        for slice in self.slices {
            let begin = end;
            end += slice.len() - start;
            let has_begun = mem::take(&mut start) > 0;
            if end >= CONTENT_BYTES_MAX {
                let ends_badly = begin + 1 == CONTENT_BYTES_MAX && !has_begun;
                return if ends_badly { last_end } else { CONTENT_BYTES_MAX };
            }
            if end > begin + 1 || has_begun {
                last_end = end;
            }
        }
        self.len
    }

    /// Appends the next bytes, at most `self.len`.
    fn gather(&mut self, bytes: usize, out: &mut Vec<u8>) {
        self.advance(bytes, |piece| out.extend_from_slice(piece));
    }

    fn skip(&mut self, bytes: usize) {
        self.advance(bytes, |_| {});
    }

    fn advance(&mut self, mut bytes: usize, mut take: impl FnMut(&[u8])) {
        self.len -= bytes;
        while let Some((first, rest)) = self.slices.split_first().filter(|_| bytes > 0) {
            let piece = &first[self.start..];
            let piece = &piece[..piece.len().min(bytes)];
            take(piece);
            bytes -= piece.len();
            self.start += piece.len();
            if self.start == first.len() {
                (self.slices, self.start) = (rest, 0);
            }
        }
    }
}

/// A large body must not keep others waiting while its client reads as fast as records are sealed.
/// After so much, the engine looks at the connection's share of the turn.
const BYTES_PER_SEND: usize = 1024 * 1024;
/// The scratch buffer stays below the 64 KiB that shared buffers keep.
const RECORDS_PER_WRITE: usize = 3;
/// Below the 2^24.5 records that are safe with AES-GCM (RFC 8446 section 5.5), with room for a batch
/// and an alert.
pub(in crate::tls) const RECORDS_PER_KEY: u32 = (1 << 24) - 8;
