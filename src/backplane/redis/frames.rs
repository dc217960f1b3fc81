//! RESP2 in both directions: commands are written, and replies are found in what has come.
//!
//! `redis-protocol` decodes a reply from its beginning, also if the end is missing, and follows arrays
//! in arrays by recursion. [`Frames`] therefore looks for the end first. It remembers how far it has
//! looked, so the work is linear in the bytes however they are cut, and it refuses what is too large or
//! too deep. Then each reply is decoded once.

use memchr::memmem;
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

/// Appends a command: an array of bulk strings.
pub(super) fn write_command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    write_length(out, b'*', arguments.len());
    for argument in arguments {
        write_length(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Why a reply cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// It has more bytes or items than a reply may have.
    TooLarge,
    /// What is wrong with it.
    Malformed(String),
}

fn malformed(what: &str) -> FrameError {
    FrameError::Malformed(what.to_owned())
}

/// Replies of a server, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// Where the first reply begins that was not taken.
    start: usize,
    scan: Scan,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete reply.
    ///
    /// # Errors
    /// The rest cannot be read then.
    pub(super) fn next(&mut self) -> Result<Option<OwnedFrame>, FrameError> {
        let bytes = &self.bytes[self.start..];
        let Some(length) = self.scan.find_end(bytes)? else { return Ok(None) };
        self.scan = Scan { work: self.scan.work, ..Scan::default() };
        match decode(&bytes[..length]) {
            Ok(Some((frame, used))) if used == length => {
                self.start += length;
                Ok(Some(frame))
            }
            Ok(_) => Err(malformed("a reply ends elsewhere than it says")),
            Err(error) => Err(malformed(error.details())),
        }
    }
}

/// How far a reply has been looked at. Positions count from its first byte.
#[derive(Debug, Default)]
struct Scan {
    /// Before it, everything is complete.
    at: usize,
    /// Up to here there is no end of the line that begins at `at`.
    searched: usize,
    /// Where the bulk string ends that has begun.
    bulk_end: Option<usize>,
    /// For each array that is open: how many items are missing.
    open: Vec<usize>,
    items: usize,
    /// For tests: bytes and items that were looked at.
    work: usize,
}

impl Scan {
    /// The length of the reply, if it is complete.
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        loop {
            self.work += 1;
            if let Some(end) = self.bulk_end {
                match bytes.get(end..end + 2) {
                    Some(b"\r\n") => self.at = end + 2,
                    Some(_) => return Err(malformed("a bulk string is longer than it says")),
                    None => return Ok(None),
                }
                self.bulk_end = None;
            } else {
                let Some(length) = self.line_length(bytes)? else { return Ok(None) };
                let line = &bytes[self.at..self.at + length];
                self.at += length + 2;
                if self.begins_more(line)? {
                    continue;
                }
            }
            if self.at > REPLY_BYTES_MAX {
                return Err(FrameError::TooLarge);
            }
            self.searched = self.at;
            if self.completes_all() {
                return Ok(Some(self.at));
            }
        }
    }

    fn line_length(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let from = self.searched.max(self.at);
        let rest = bytes.get(from..).unwrap_or_default();
        let found = memmem::find(rest, b"\r\n");
        self.work += found.unwrap_or(rest.len());
        // The last byte may be the first half of an end.
        let end = from + found.unwrap_or_else(|| rest.len().saturating_sub(1));
        self.searched = end;
        match end - self.at > LINE_BYTES_MAX {
            true => Err(malformed("a line that does not end")),
            false => Ok(found.map(|_| end - self.at)),
        }
    }

    /// Whether what follows the line belongs to the same item, or is an item in it.
    fn begins_more(&mut self, line: &[u8]) -> Result<bool, FrameError> {
        let Some((kind, rest)) = line.split_first() else {
            return Err(malformed("an empty line"));
        };
        match kind {
            b'+' | b'-' | b':' => Ok(false),
            b'$' => {
                let Some(length) = parse_length(rest, REPLY_BYTES_MAX)? else { return Ok(false) };
                let end = self.at + length;
                if end > REPLY_BYTES_MAX {
                    return Err(FrameError::TooLarge);
                }
                self.bulk_end = Some(end);
                Ok(true)
            }
            b'*' => {
                let Some(count @ 1..) = parse_length(rest, ITEMS_MAX)? else { return Ok(false) };
                self.items += count;
                if self.items > ITEMS_MAX {
                    return Err(FrameError::TooLarge);
                }
                if self.open.len() == DEPTH_MAX {
                    return Err(malformed("arrays in arrays, too deep"));
                }
                self.open.push(count);
                Ok(true)
            }
            _ => Err(malformed("a line that begins like no reply")),
        }
    }

    /// An item is complete: whether this makes the reply complete.
    fn completes_all(&mut self) -> bool {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }
}

/// `None` for a null, which has the length -1.
fn parse_length(digits: &[u8], max: usize) -> Result<Option<usize>, FrameError> {
    if digits == b"-1" {
        return Ok(None);
    }
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(digits).ok().filter(|_| is_number);
    let number = number.ok_or_else(|| malformed("a length that is no number"))?;
    match number.parse() {
        Ok(length) if length <= max => Ok(Some(length)),
        _ => Err(FrameError::TooLarge),
    }
}

/// A reply. Most are a few kilobytes; a member asks for no more than some megabytes at once.
pub(super) const REPLY_BYTES_MAX: usize = 64 << 20;
/// Items of a reply, with those of all its arrays. An item takes up to 80 bytes while it is decoded.
const ITEMS_MAX: usize = 1 << 20;
/// Arrays in arrays; `XREAD` has four.
const DEPTH_MAX: usize = 8;
/// An error, a status or a number.
const LINE_BYTES_MAX: usize = 64 << 10;
/// What the buffer keeps after a large reply.
const KEPT_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(frames: &mut Frames) -> Vec<OwnedFrame> {
        std::iter::from_fn(|| frames.next().unwrap()).collect()
    }

    const STREAM: &[u8] =
        b"+OK\r\n:-5\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n-ERR no\r\n$6\r\na\r\nb\r\n\r\n*2\r\n*1\r\n\
        *2\r\n$3\r\n1-0\r\n*2\r\n$1\r\ne\r\n$2\r\n\r\n\r\n:7\r\n*3\r\n*0\r\n$-1\r\n+\r\n";

    fn expected() -> Vec<OwnedFrame> {
        let mut rest = STREAM;
        let mut frames = Vec::new();
        while let Some((frame, used)) = decode(rest).unwrap() {
            frames.push(frame);
            rest = &rest[used..];
        }
        assert!(rest.is_empty() && frames.len() == 10);
        frames
    }

    #[test]
    fn replies_are_found_wherever_they_are_cut() {
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let mut frames = Frames::default();
                let mut found = Vec::new();
                for piece in [&STREAM[..first], &STREAM[first..second], &STREAM[second..]] {
                    frames.push(piece);
                    found.extend(all(&mut frames));
                }
                assert_eq!(found, expected(), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_reply_in_pieces_costs_no_more_than_its_bytes() {
        let entry =
            [b"*2\r\n$3\r\n1-0\r\n*1\r\n$100\r\n".as_slice(), &[b'x'; 100], b"\r\n"].concat();
        let reply = [b"*2000\r\n".as_slice(), &entry.repeat(2000)].concat();
        let line = [b"+".as_slice(), &[b'y'; 60_000], b"\r\n"].concat();
        for bytes in [reply, line] {
            for size in [1, 7, 1460] {
                let mut frames = Frames::default();
                let pieces = bytes.chunks(size);
                let calls = pieces.len();
                let mut found = 0;
                for piece in pieces {
                    frames.push(piece);
                    found += all(&mut frames).len();
                }
                assert_eq!(found, 1);
                // Each call may look at the byte before its piece again.
                let work = frames.scan.work;
                assert!(work < bytes.len() + 4 * calls + 10, "{work} steps in pieces of {size}");
            }
        }
    }

    #[test]
    fn hostile_replies_are_errors_and_cost_nothing() {
        let deep = b"*1\r\n".repeat(100_000);
        let wide = [b"*8\r\n".as_slice(), &b"*1048576\r\n".repeat(8)].concat();
        let long = [b"-".as_slice(), &[b'x'; LINE_BYTES_MAX + 2]].concat();
        for bytes in [
            b"$67108865\r\n".as_slice(),
            b"$9223372036854775807\r\n",
            b"$99999999999999999999999\r\n",
            b"*1048577\r\n",
            b"*9223372036854775807\r\n",
            b"$-2\r\n",
            b"$+1\r\na\r\n",
            b"*\r\n",
            b"$1x\r\n",
            b"$1\r\nabc",
            b"\r\n",
            b"%1\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b":x\r\n",
            b":99999999999999999999\r\n",
            b"-\xff\r\n",
            &deep,
            &wide,
            &long,
        ] {
            let mut frames = Frames::default();
            frames.push(bytes);
            let reason =
                frames.next().expect_err(&bytes[..bytes.len().min(30)].escape_ascii().to_string());
            let is_large = bytes.len() > 4 && bytes[1].is_ascii_digit();
            assert!(reason != FrameError::TooLarge || is_large, "{reason:?}");
            assert!(frames.scan.open.capacity() <= 2 * DEPTH_MAX);
        }
    }

    #[test]
    fn a_reply_of_several_parts_has_a_limit_for_all_of_them() {
        let mut frames = Frames::default();
        frames.push(b"*3\r\n");
        let part = [b"$33554432\r\n".as_slice(), &vec![b'x'; 32 << 20], b"\r\n"].concat();
        frames.push(&part);
        assert_eq!(frames.next(), Ok(None));
        frames.push(b"$33554432\r\n");
        assert_eq!(frames.next(), Err(FrameError::TooLarge));
    }

    #[test]
    fn the_buffer_does_not_grow_with_the_number_of_replies() {
        let mut frames = Frames::default();
        let reply = [b"$1000\r\n".as_slice(), &[b'x'; 1000], b"\r\n$1"].concat();
        frames.push(b"$1");
        for _ in 0..10_000 {
            frames.push(&reply[2..]);
            assert_eq!(all(&mut frames).len(), 1);
        }
        assert!(frames.bytes.capacity() < 8 * reply.len(), "{}", frames.bytes.capacity());
        frames.push(&reply[2..reply.len() - 2]);
        all(&mut frames);
        frames.push(format!("${}\r\n", 2 << 20).as_bytes());
        frames.push(&vec![b'x'; 2 << 20]);
        frames.push(b"\r\n");
        assert_eq!(all(&mut frames).len(), 1);
        frames.push(b"+OK\r\n");
        assert!(frames.bytes.capacity() <= KEPT_BYTES, "a large reply is not kept");
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut out = b"before".to_vec();
        write_command(&mut out, &[b"ECHO", b"", b"a\r\nb"]);
        assert_eq!(out, b"before*3\r\n$4\r\nECHO\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..20),
                "[*$:+-]-?[0-9]{0,3}\r\n".prop_map(String::into_bytes),
                "[a-z]{0,5}\r\n".prop_map(String::into_bytes),
            ], 0..40)) {
            let mut frames = Frames::default();
            for piece in pieces {
                frames.push(&piece);
                while let Ok(Some(_)) = frames.next() {}
            }
        }
    }
}
