//! The connection that publishes: requests out, answers in.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{Result, clients::unix_ns, receipts::Receipts};

pub struct Publisher {
    socket: TcpStream,
    server: SocketAddr,
    padding: String,
    last_stamp_ns: u64,
    /// Of answers, as far as they are not complete.
    received: Vec<u8>,
}

impl Publisher {
    /// Its events will have `bytes` bytes, or the fewest that a stamp needs.
    pub fn connect(server: SocketAddr, bytes: usize) -> Result<Self> {
        let socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let padding = "x".repeat(bytes.saturating_sub("data: 1234567890123456789 \n\n".len()));
        Ok(Self { socket, server, padding, last_stamp_ns: 0, received: Vec::new() })
    }

    /// Publishes `count` events in one write. The stamp in each of them is the Unix time right
    /// before that write, made different for each.
    pub fn publish(&mut self, count: usize, receipts: &mut Receipts) -> Result<()> {
        let mut requests = String::with_capacity(count * (self.padding.len() + 150));
        for _ in 0..count {
            self.last_stamp_ns = unix_ns().max(self.last_stamp_ns + 1);
            requests += &self.request(&format!("{:019} {}", self.last_stamp_ns, self.padding));
            receipts.expect(self.last_stamp_ns);
        }
        Ok(self.socket.write_all(requests.as_bytes())?)
    }

    /// Publishes one event with this text, which has no stamp of this connection's.
    pub fn publish_text(&mut self, text: &str) -> Result<()> {
        Ok(self.socket.write_all(self.request(text).as_bytes())?)
    }

    fn request(&self, body: &str) -> String {
        format!(
            "POST /publish HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.server,
            body.len()
        )
    }

    /// Waits for `count` answers, all of which must be good.
    pub fn take_answers(&mut self, count: usize) -> Result<()> {
        let mut left = count;
        let mut buffer = [0; 4096];
        while left > 0 {
            while let Some(length) = answer_length(&self.received)? {
                self.received.drain(..length);
                left = left.checked_sub(1).ok_or("more answers than publishes")?;
            }
            if left > 0 {
                match self.socket.read(&mut buffer)? {
                    0 => return Err("the server closed the publishing connection".into()),
                    count => self.received.extend_from_slice(&buffer[..count]),
                }
            }
        }
        Ok(())
    }
}

/// The length of the complete answer that `bytes` begin with.
pub(crate) fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head_length) = head.parse(bytes)? else { return Ok(None) };
    if !matches!(head.code, Some(200..=299)) {
        return Err(format!("a publish was answered with {:?}", head.code).into());
    }
    let body_length = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |field| {
            str::from_utf8(field.value)?
                .parse::<usize>()
                .map_err(Box::<dyn std::error::Error>::from)
        })?;
    let length = head_length + body_length;
    Ok((length <= bytes.len()).then_some(length))
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
