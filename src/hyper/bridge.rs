//! The way for connections that cannot be taken: the reactor's answer comes through a socket pair and
//! is passed on by the server.

use std::{
    error::Error,
    fmt, io,
    os::unix::net::UnixStream as StdUnixStream,
    task::{Context, Poll, ready},
};

use ::tokio::net::UnixStream;
use bytes::Bytes;
use http_types as http;

use crate::http::{BodyFollows, Malformed, ResponseReader};

/// The server's end of the pair: first the head of the answer, then its body.
pub(super) struct Bridge {
    stream: UnixStream,
    reader: ResponseReader,
    body_follows: BodyFollows,
    /// Body bytes that came with the head.
    early: Vec<u8>,
    /// What is to come of the body, if that is known.
    remaining_bytes: Option<u64>,
}

impl Bridge {
    /// The server's end, and the one for the reactor.
    pub(super) fn new(body_follows: BodyFollows) -> io::Result<(Self, StdUnixStream)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let bridge = Self {
            stream: UnixStream::from_std(ours)?,
            reader: ResponseReader::new(),
            body_follows,
            early: Vec::new(),
            remaining_bytes: None,
        };
        Ok((bridge, theirs))
    }

    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<()>, BridgeError>> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = ready!(poll_read(&self.stream, cx, &mut buffer)).map_err(BridgeError::Io)?;
            let mut input = &buffer[..read];
            if input.is_empty() {
                return Poll::Ready(Err(BridgeError::Cut));
            }
            if let Some(head) = self.reader.take_head(&mut input, self.body_follows)? {
                self.reader.take_body(input, &mut self.early)?;
                let length = head.headers().get(http::header::CONTENT_LENGTH);
                self.remaining_bytes = match self.is_complete() {
                    true => Some(0), // The length may be that of another response, as for a HEAD.
                    false => length.and_then(|it| it.to_str().ok()?.parse().ok()),
                };
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// The next bytes of the body. An error if the reactor has cut the stream, so that the client
    /// sees a cut too.
    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BridgeError>>> {
        let mut data = std::mem::take(&mut self.early);
        let mut buffer = [0; READ_BYTES];
        while data.is_empty() {
            if self.reader.is_complete() {
                return Poll::Ready(None);
            }
            let read = ready!(poll_read(&self.stream, cx, &mut buffer)).map_err(BridgeError::Io)?;
            if read == 0 {
                let end = (!self.reader.may_end()).then_some(Err(BridgeError::Cut));
                return Poll::Ready(end);
            }
            self.reader.take_body(&buffer[..read], &mut data)?;
        }
        if let Some(remaining_bytes) = &mut self.remaining_bytes {
            *remaining_bytes = remaining_bytes.saturating_sub(data.len() as u64);
        }
        Poll::Ready(Some(Ok(data.into())))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.early.is_empty() && self.reader.is_complete()
    }

    /// How much of the body is to come, if the head has told it.
    pub(super) fn remaining_bytes(&self) -> Option<u64> {
        self.remaining_bytes
    }
}

/// Waits for bytes without a buffer of its own, so that a quiet stream holds none.
fn poll_read(
    stream: &UnixStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

/// Why the reactor's answer is incomplete.
#[derive(Debug)]
pub(super) enum BridgeError {
    Cut,
    Malformed,
    Io(io::Error),
}

impl From<Malformed> for BridgeError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the reactor has cut the stream",
            Self::Malformed => "the reactor's answer is malformed",
            Self::Io(_) => "cannot read from the reactor",
        })
    }
}

impl Error for BridgeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Cut | Self::Malformed => None,
        }
    }
}

/// As much as usually comes at once. On the stack of the poll.
const READ_BYTES: usize = 8 * 1024;
