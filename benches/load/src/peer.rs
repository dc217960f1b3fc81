//! `peer`: a server that compresses as most servers do, with a zstd context for each stream.
//!
//! It is the bare loop of `floor.c` with a compressor in it: what an event costs here is what the
//! kernel and zstd take. It answers `GET` of any path with a stream and `POST` of any path with a
//! publish to all streams, checks next to nothing, and gives up when a client does not keep up.

use std::{
    env,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

use crate::Result;

/// Serves on loopback until it is killed; `PORT` names the port.
pub(crate) fn serve() -> Result<()> {
    let port = env::var("PORT").unwrap_or_default().parse().unwrap_or(0);
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut peer = Peer {
        connections: Vec::new(),
        streams: Vec::new(),
        buffer: vec![0; 64 * 1024],
        piece: Vec::new(),
    };
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                LISTENER => peer.accept(&listener, &poll)?,
                Token(index) => peer.read(index)?,
            }
        }
    }
}

struct Peer {
    connections: Vec<Connection>,
    /// Those of the connections that are streams.
    streams: Vec<usize>,
    buffer: Vec<u8>,
    /// One event as one stream gets it.
    piece: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    /// Made for the first event.
    context: Option<CCtx<'static>>,
}

impl Peer {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((mut socket, _)) => {
                    socket.set_nodelay(true)?;
                    let token = Token(self.connections.len());
                    poll.registry().register(&mut socket, token, Interest::READABLE)?;
                    self.connections.push(Connection { socket, input: Vec::new(), context: None });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        loop {
            match connection.socket.read(&mut self.buffer) {
                // Whoever leaves is written to in vain; the measurement is over then.
                Ok(0) => return Ok(()),
                Ok(length) => connection.input.extend_from_slice(&self.buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        match Request::parse(&connection.input)? {
            None => Ok(()),
            Some(Request::Stream) => {
                connection.input = Vec::new();
                connection.socket.write_all(STREAM_HEAD)?;
                self.streams.push(index);
                Ok(())
            }
            Some(Request::Publish { body }) => {
                let event = [b"data: ", &connection.input[body.clone()], b"\n\n"].concat();
                connection.input.drain(..body.end);
                connection.socket.write_all(NO_CONTENT)?;
                self.publish(&event)
            }
        }
    }

    fn publish(&mut self, event: &[u8]) -> Result<()> {
        for &index in &self.streams {
            let Connection { socket, context, .. } = &mut self.connections[index];
            let context = match context {
                Some(context) => context,
                empty => empty.insert(new_context()?),
            };
            self.piece.resize(HEADER_BYTES + zstd_safe::compress_bound(event.len()) + 2, 0);
            let length = compress(context, event, &mut self.piece[HEADER_BYTES..])?;
            // Zeros in front of the length are allowed, so that it can always have as many digits.
            let header = format!("{length:08x}\r\n");
            self.piece[..HEADER_BYTES].copy_from_slice(header.as_bytes());
            self.piece[HEADER_BYTES + length..][..2].copy_from_slice(b"\r\n");
            let piece = &self.piece[..HEADER_BYTES + length + 2];
            if socket.write(piece)? < piece.len() {
                return Err("a client does not keep up".into());
            }
        }
        Ok(())
    }
}

enum Request {
    Stream,
    Publish { body: std::ops::Range<usize> },
}

impl Request {
    /// `None` while it is not complete.
    fn parse(input: &[u8]) -> Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(head_bytes) = head.parse(input)? else { return Ok(None) };
        if head.method == Some("GET") {
            return Ok(Some(Self::Stream));
        }
        let length =
            head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let length: usize = std::str::from_utf8(length.ok_or("no length")?.value)?.parse()?;
        let body = head_bytes..head_bytes + length;
        Ok((body.end <= input.len()).then_some(Self::Publish { body }))
    }
}

fn new_context() -> Result<CCtx<'static>> {
    let mut context = CCtx::try_create().ok_or("no memory for a context")?;
    for parameter in [CParameter::CompressionLevel(LEVEL), CParameter::WindowLog(WINDOW_LOG)] {
        context.set_parameter(parameter).map_err(zstd_safe::get_error_name)?;
    }
    Ok(context)
}

/// Appends to the one frame of a stream; the number of bytes.
fn compress(context: &mut CCtx<'_>, event: &[u8], out: &mut [u8]) -> Result<usize> {
    let mut input = InBuffer::around(event);
    let mut output = OutBuffer::around(out);
    let flush = ZSTD_EndDirective::ZSTD_e_flush;
    while context
        .compress_stream2(&mut output, &mut input, flush)
        .map_err(zstd_safe::get_error_name)?
        > 0
    {}
    Ok(output.pos())
}

/// What starts this server.
pub(crate) const COMMAND: &str = "peer";
const LISTENER: Token = Token(usize::MAX);
/// Eight digits, CR LF.
const HEADER_BYTES: usize = 10;
/// The cheapest that still compresses well: starwheel's own level, and the window that zstd needs
/// for blocks of full size.
const LEVEL: i32 = 1;
const WINDOW_LOG: u32 = 17;
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Content-Encoding: zstd\r\nTransfer-Encoding: chunked\r\n\r\n";
const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
