//! One stream whose bytes are decoded: it tells how many events the others must have got.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use zstd::stream::write::Decoder;

use crate::{Result, pages::Coding, wire::Response};

pub(crate) struct Witness {
    socket: TcpStream,
    response: Response,
    /// How much of the body was decoded.
    decoded: usize,
    decoder: Decoding,
    buffer: Vec<u8>,
}

enum Decoding {
    Zstd(Decoder<'static, Lines>),
    Identity(Lines),
}

/// Counts events: an empty line ends one, and one that is nothing but a comment is none.
#[derive(Default)]
struct Lines {
    events: u64,
    /// Decoded bytes.
    bytes: u64,
    line_bytes: usize,
    has_data: bool,
}

impl Witness {
    pub(crate) fn connect(server: SocketAddr, path: &str, coding: Coding) -> Result<Self> {
        let mut socket = TcpStream::connect(server)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nAccept: text/event-stream\r\n\
             Accept-Encoding: {}\r\n\r\n",
            coding.name()
        );
        socket.write_all(request.as_bytes())?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut witness = Self {
            socket,
            response: Response::of_kept_chunks(),
            decoded: 0,
            decoder: match coding {
                Coding::Zstd => Decoding::Zstd(Decoder::new(Lines::default())?),
                Coding::Identity => Decoding::Identity(Lines::default()),
            },
            buffer: vec![0; 64 * 1024],
        };
        // One read that waits, so that a server that does not answer is found out.
        witness.read_once()?;
        witness.socket.set_nonblocking(true)?;
        Ok(witness)
    }

    /// Events, and their bytes before compression, so far.
    pub(crate) fn count(&mut self) -> Result<(u64, u64)> {
        while self.read_once()? {}
        let lines = match &self.decoder {
            Decoding::Zstd(decoder) => decoder.get_ref(),
            Decoding::Identity(lines) => lines,
        };
        Ok((lines.events, lines.bytes))
    }

    /// False when nothing more has arrived.
    fn read_once(&mut self) -> Result<bool> {
        let length = match self.socket.read(&mut self.buffer) {
            Ok(0) => return Err("the server ended the witness's stream".into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.response
            .feed(&self.buffer[..length], |_| {})
            .map_err(|error| format!("unexpected answer: {error:?}"))?;
        let body = self.response.body();
        let news = &body[self.decoded..];
        match &mut self.decoder {
            Decoding::Zstd(decoder) => decoder
                .write_all(news)
                .and_then(|()| decoder.flush())
                .map_err(|error| format!("the stream is not zstd: {error}"))?,
            Decoding::Identity(lines) => lines.write_all(news)?,
        }
        self.decoded = body.len();
        Ok(true)
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes += bytes.len() as u64;
        for &byte in bytes {
            match byte {
                b'\n' if self.line_bytes == 0 => {
                    self.events += u64::from(std::mem::take(&mut self.has_data));
                }
                b'\n' => self.line_bytes = 0,
                b'\r' => {}
                first => {
                    self.has_data |= self.line_bytes == 0 && first == b'd';
                    self.line_bytes += 1;
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_and_comments_are_not() {
        let mut lines = Lines::default();
        for byte in b": hello\n\nevent: a\ndata: b\ndata: c\n\n:\n\ndata: d\r\n\r\ndata: e\n" {
            lines.write_all(&[*byte]).unwrap();
        }
        assert_eq!((lines.events, lines.bytes), (2, 57));
    }
}
