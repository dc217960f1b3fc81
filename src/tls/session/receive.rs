//! Receiving and opening.

use std::{
    io::{self, ErrorKind},
    mem,
    ops::Range,
};

use super::{Answer, Input, KEY_UPDATE, Session};
use crate::tls::{
    alert::{Alert, Fault},
    record::{self, ContentType, Opened, RECORD_BYTES_MAX},
};

/// What a call received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes of data are at the start of the buffer. There may be more.
    Data(usize),
    /// No data until the socket is readable again.
    Nothing,
    /// The client's `close_notify`: it sends nothing more, and it has sent all it wanted.
    Closed,
}

/// Why nothing more is received.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    /// What the client did. An alert may be [queued](Session::has_unsent).
    Fault(Fault),
    /// The socket's error.
    Io(io::Error),
}

/// What a record means.
enum Meaning {
    /// This many bytes of data.
    Data(usize),
    Nothing,
    /// The peer's key has changed.
    KeyUpdate,
    Close,
}

impl Session {
    /// Reads and opens records until there is data, or no more bytes.
    ///
    /// `read` works like [`io::Read::read`] on a non-blocking socket; zero bytes are the peer's
    /// FIN. `buffer` has room for a record, [`RECORD_BYTES_MAX`]. An incomplete record is kept in
    /// the session, and [counted](Self::unread_bytes).
    ///
    /// What was received before a fault is returned first. The result does not depend on where the
    /// bytes were cut.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<Received, ReceiveError> {
        debug_assert!(buffer.len() >= RECORD_BYTES_MAX, "otherwise a record may never fit");
        loop {
            match self.input {
                Input::Open => {}
                Input::Closed => return Ok(Received::Closed),
                Input::Failed(fault) => return Err(ReceiveError::Fault(fault)),
            }
            let filled_bytes = if self.has_unread_record() {
                self.take_unread(buffer)
            } else {
                let kept_bytes = self.unread_bytes();
                let read_bytes = match read(&mut buffer[kept_bytes..]) {
                    Ok(0) => {
                        self.fail(Fault::Cut);
                        continue;
                    }
                    Ok(read_bytes) => read_bytes,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Ok(Received::Nothing);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(ReceiveError::Io(error)),
                };
                match self.complete(buffer, kept_bytes..kept_bytes + read_bytes) {
                    Some(filled_bytes) => filled_bytes,
                    None => continue,
                }
            };
            let data_bytes = self.open(&mut buffer[..filled_bytes]);
            if data_bytes > 0 {
                return Ok(Received::Data(data_bytes));
            }
        }
    }

    /// Moves kept bytes to the start of the buffer. Returns their number.
    fn take_unread(&mut self, buffer: &mut [u8]) -> usize {
        self.hold(|held| {
            let mut taken = mem::take(&mut held.unread);
            let taken_bytes = taken.len().min(buffer.len());
            held.unread = taken.split_off(taken_bytes);
            held.unread_until = None;
            buffer[..taken_bytes].copy_from_slice(&taken);
            taken_bytes
        })
    }

    /// Puts the kept part of a record in front of its rest, which has just been read to `new`. While
    /// the record is incomplete, only the new bytes are copied: trickling costs nobody but the one
    /// who does it.
    fn complete(&mut self, buffer: &mut [u8], new: Range<usize>) -> Option<usize> {
        if new.start == 0 {
            return Some(new.end);
        }
        self.hold(|held| held.unread.extend_from_slice(&buffer[new.clone()]));
        self.has_unread_record().then(|| self.take_unread(buffer))
    }

    /// Opens all complete records. Their data is at the start of the buffer; returns its length.
    fn open(&mut self, buffer: &mut [u8]) -> usize {
        let mut cipher = self.receiving.keys(self.suite).cipher(self.suite);
        let mut data_bytes = 0;
        let mut start = 0;
        while self.input == Input::Open {
            let record_bytes = match record::length_bytes(&buffer[start..]) {
                Ok(Some(record_bytes)) if start + record_bytes <= buffer.len() => record_bytes,
                Ok(_) => {
                    self.keep_unread(&buffer[start..]);
                    break;
                }
                Err(fault) => {
                    self.fail(fault);
                    break;
                }
            };
            let end = start + record_bytes;
            let number = u64::from(self.received_records);
            let in_out = &mut buffer[data_bytes..end];
            let opened = record::open(&cipher, number, in_out, start - data_bytes);
            match opened.and_then(|opened| self.understand(&opened)) {
                Ok(Meaning::Data(bytes)) => data_bytes += bytes,
                Ok(Meaning::Nothing) => {}
                Ok(Meaning::KeyUpdate) => {
                    cipher = self.receiving.keys(self.suite).cipher(self.suite)
                }
                Ok(Meaning::Close) => self.input = Input::Closed,
                Err(fault) => self.fail(fault),
            }
            start = end;
        }
        data_bytes
    }

    /// Keeps the bytes in front of those that are kept already.
    fn keep_unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.hold(|held| drop(held.unread.splice(..0, bytes.iter().copied())));
        }
    }

    fn understand(&mut self, opened: &Opened<'_>) -> Result<Meaning, Fault> {
        let Some(received_records) = self.received_records.checked_add(1) else {
            return Err(Fault::KeyWorn);
        };
        self.received_records = received_records;
        let is_between_fragments = self.key_update_bytes > 0;
        if is_between_fragments && opened.content_type != ContentType::Handshake {
            return Err(Fault::UnexpectedMessage);
        }
        if opened.content_type == ContentType::ApplicationData && !opened.content.is_empty() {
            self.quiet_records = 0;
            return Ok(Meaning::Data(opened.content.len()));
        }
        self.quiet_records += 1;
        if self.quiet_records > QUIET_RECORDS_MAX {
            return Err(Fault::NoData);
        }
        match opened.content_type {
            ContentType::ApplicationData => Ok(Meaning::Nothing),
            ContentType::Alert => match Alert::parse(opened.content)?.received()? {
                Some(_) => Ok(Meaning::Close),
                None => Ok(Meaning::Nothing),
            },
            ContentType::Handshake => self.understand_handshake(opened.content),
        }
    }

    /// A KeyUpdate, or a part of one. Nothing else may come from a client after the handshake:
    /// certificates are not requested then, and renegotiation does not exist (section 4.1.2).
    fn understand_handshake(&mut self, content: &[u8]) -> Result<Meaning, Fault> {
        if content.is_empty() {
            return Err(Fault::EmptyMessage);
        }
        for (at, byte) in content.iter().enumerate() {
            let header = &KEY_UPDATE_HEADER[usize::from(self.key_update_bytes)..];
            match header.first() {
                Some(expected) if expected == byte => self.key_update_bytes += 1,
                Some(_) if self.key_update_bytes == 0 => return Err(Fault::UnexpectedMessage),
                Some(_) => return Err(Fault::Malformed),
                // A message must not span a change of keys (section 5.1).
                None if at + 1 < content.len() => return Err(Fault::UnexpectedMessage),
                None => return self.update_receiving_key(*byte),
            }
        }
        Ok(Meaning::Nothing)
    }

    fn update_receiving_key(&mut self, request: u8) -> Result<Meaning, Fault> {
        match request {
            0 => {}
            1 => self.answer = Answer::Due,
            _ => return Err(Fault::IllegalKeyUpdate),
        }
        self.receiving.update(self.suite);
        self.received_records = 0;
        self.key_update_bytes = 0;
        self.key_updates = self.key_updates.wrapping_add(1);
        Ok(Meaning::KeyUpdate)
    }
}

/// Type and length of the message (section 4).
const KEY_UPDATE_HEADER: [u8; 4] = [KEY_UPDATE, 0, 0, 1];
/// As rustls and BoringSSL.
const QUIET_RECORDS_MAX: u8 = 32;
