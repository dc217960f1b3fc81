//! The bytes around a response: status lines, the head of a stream, chunk headers.
//!
//! It knows no body.

use super::{Date, StatusCode};

/// What happens to the connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    KeepAlive,
    Close,
}

/// How a client finds the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFraming {
    /// By the last chunk, which distinguishes an end from a cut. For HTTP/1.1.
    Chunked,
    /// By the end of the connection. For HTTP/1.0, which has no chunks.
    UntilClose,
}

/// Appends the head of an event stream. Each of `extra_header_lines` is any number of complete
/// lines, as [`HeaderLines`](super::HeaderLines) encodes them.
///
/// The fields are those of Datastar's SDK specification, including `Connection: keep-alive`, which
/// HTTP/1.1 does not need. `no-transform` and `X-Accel-Buffering` keep proxies from compressing and
/// buffering.
pub(crate) fn encode_stream_head<const N: usize>(
    out: &mut Vec<u8>,
    date: &Date,
    framing: StreamFraming,
    connection: Connection,
    extra_header_lines: [&[u8]; N],
) {
    encode_status_line(out, StatusCode::OK);
    out.extend_from_slice(
        b"Content-Type: text/event-stream\r\n\
          Cache-Control: no-cache, no-transform\r\n\
          X-Accel-Buffering: no\r\n",
    );
    encode_date(out, date);
    if framing == StreamFraming::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(match (framing, connection) {
        (StreamFraming::Chunked, Connection::KeepAlive) => KEEP_ALIVE,
        // Without chunks only a close ends the stream, whatever was requested.
        _ => CLOSE,
    });
    for lines in extra_header_lines {
        out.extend_from_slice(lines);
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the header of a chunk of `length_bytes` and returns how many bytes of `out` it took.
///
/// A chunk is this header, the data, and [`CHUNK_END`]. The body ends with [`LAST_CHUNK`]. An empty
/// chunk would end it too, so `length_bytes` must not be 0.
pub(crate) fn chunk_header(length_bytes: usize, out: &mut [u8; 18]) -> usize {
    debug_assert!(length_bytes > 0, "an empty chunk would end the body");
    let digits = (usize::BITS - length_bytes.leading_zeros()).div_ceil(4).max(1) as usize;
    for (at, digit) in out[..digits].iter_mut().enumerate() {
        let shift = 4 * (digits - 1 - at);
        *digit = b"0123456789abcdef"[length_bytes >> shift & 0xf];
    }
    out[digits..digits + 2].copy_from_slice(b"\r\n");
    digits + 2
}

/// Follows the data of each chunk.
pub(crate) const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body; no trailers.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub(super) fn encode_status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status.as_u16()).as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.reason_phrase().as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn encode_date(out: &mut Vec<u8>, date: &Date) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) const KEEP_ALIVE: &[u8] = b"Connection: keep-alive\r\n";
pub(super) const CLOSE: &[u8] = b"Connection: close\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_head(framing: StreamFraming, connection: Connection) -> String {
        let (mut out, date) = (Vec::new(), Date::new());
        encode_stream_head(&mut out, &date, framing, connection, [b"X-One: 1\r\n"]);
        String::from_utf8(out).expect("heads of streams are text")
    }

    #[test]
    fn a_stream_has_the_head_that_datastar_asks_for() {
        assert_eq!(
            stream_head(StreamFraming::Chunked, Connection::KeepAlive),
            "HTTP/1.1 200 OK\r\n\
             Content-Type: text/event-stream\r\n\
             Cache-Control: no-cache, no-transform\r\n\
             X-Accel-Buffering: no\r\n\
             Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             Transfer-Encoding: chunked\r\n\
             Connection: keep-alive\r\n\
             X-One: 1\r\n\r\n"
        );
        let closing = stream_head(StreamFraming::Chunked, Connection::Close);
        assert!(closing.contains("Transfer-Encoding: chunked\r\nConnection: close\r\n"));
        let old = stream_head(StreamFraming::UntilClose, Connection::KeepAlive);
        assert!(old.contains("Connection: close\r\n") && !old.contains("chunked"));
    }

    #[test]
    fn chunk_headers_are_as_short_as_can_be() {
        let header = |length_bytes| {
            let mut out = [0; 18];
            let end = chunk_header(length_bytes, &mut out);
            String::from_utf8_lossy(&out[..end]).into_owned()
        };
        for length_bytes in [1, 9, 10, 15, 16, 255, 256, 4095, 65_536, usize::MAX >> 1, usize::MAX]
        {
            assert_eq!(header(length_bytes), format!("{length_bytes:x}\r\n"));
        }
    }
}
