//! A blocking client over a real socket that sends any bytes and reads the raw response.
//!
//! A read that takes far too long fails the test instead of hanging it; no correct test waits that
//! long.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

/// One connection, and the bytes received but not yet consumed.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    socket: S,
    raw: Vec<u8>,
    /// Bytes of the stream, out of their chunks.
    events: Vec<u8>,
    ended: bool,
}

/// A complete response with a `Content-Length`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client<TcpStream> {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("a connection"))
    }

    pub(crate) fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::of(socket)
    }

    /// A client that takes little more than `bytes` while it does not read.
    pub(crate) fn connect_with_buffer(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.connect(&address.into()).expect("a connection");
        Self::over(socket.into())
    }

    /// A connection with an open stream on `path`.
    pub(crate) fn streaming(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::connect(address);
        client.open_stream(path);
        client
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends an urgent byte (RFC 6093). It is not part of the data, but the server's reads stop
    /// there.
    pub(crate) fn send_urgent(&self, byte: u8) {
        let sent = SockRef::from(&self.socket).send_out_of_band(&[byte]).unwrap();
        assert_eq!(sent, 1);
    }

    /// Ends the sending half only.
    pub(crate) fn half_close(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// The same, unless the server has already ended the connection.
    pub(crate) fn half_close_if_open(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Falls silent: no packets reach the socket anymore, so it acknowledges nothing, answers no
    /// probe, and does not know that the connection has ended.
    #[cfg(target_os = "linux")]
    pub(crate) fn cut_cable(&self) {
        let drop_everything =
            socket2::SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
        SockRef::from(&self.socket).attach_filter(&[drop_everything]).unwrap();
    }

    /// Disconnects with a reset instead of a FIN.
    pub(crate) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Client<UnixStream> {
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let socket = UnixStream::connect(path).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::of(socket)
    }

    pub(crate) fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

impl<S: Read + Write> Client<S> {
    fn of(socket: S) -> Self {
        Self { socket, raw: Vec::new(), events: Vec::new(), ended: false }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("the server accepts it");
    }

    /// Sends what the server still takes; it may already have ended the connection.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    pub(crate) fn request(&mut self, path: &str) {
        self.send(get(path));
    }

    /// Requests `path` and reads the response.
    pub(crate) fn get(&mut self, path: &str) -> ClientResponse {
        self.request(path);
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> ClientResponse {
        let head = self.head();
        let length: usize = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        while self.raw.len() < length {
            assert!(self.read_more(), "the body is cut: {:?}", self.text());
        }
        let body = self.raw.drain(..length).collect();
        ClientResponse { status: status(&head), head, body: String::from_utf8(body).unwrap() }
    }

    pub(crate) fn open_stream(&mut self, path: &str) {
        self.request(path);
        self.stream_head();
    }

    pub(crate) fn stream_head(&mut self) {
        let head = self.head();
        assert_eq!(status(&head), 200, "{head}");
        assert_eq!(field(&head, "content-type"), Some("text/event-stream"), "{head}");
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
    }

    /// The next event without its blank line; `None` after the last one, however the stream ended.
    pub(crate) fn event(&mut self) -> Option<String> {
        loop {
            if self.events.starts_with(b":\n") {
                self.events.drain(..2);
                continue;
            }
            // The farewell of a draining server is a separate line, possibly before an event.
            if let Some(end) = find(&self.events, b"\n")
                && self.events.starts_with(b"retry: ")
                && self.events.get(end + 1) != Some(&b'\n')
            {
                self.events.drain(..=end);
                continue;
            }
            if let Some(end) = find(&self.events, b"\n\n") {
                let event = self.events.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(event).unwrap());
            }
            if self.ended || !self.next_chunk() {
                self.ended = true;
                assert_eq!(self.events, b"", "an event was torn");
                return None;
            }
        }
    }

    /// The `data` of the next event.
    pub(crate) fn data(&mut self) -> String {
        let event = self.event().expect("another event");
        event.strip_prefix("data: ").unwrap_or_else(|| panic!("no data: {event:?}")).to_owned()
    }

    /// Everything until the end of the connection; a reset is an end too.
    pub(crate) fn rest(&mut self) -> String {
        while self.read_more() {}
        let rest = self.text();
        self.raw.clear();
        rest
    }

    fn head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.raw, b"\r\n\r\n") {
                return String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap();
            }
            assert!(self.read_more(), "the head is cut: {:?}", self.text());
        }
    }

    /// Reads one chunk; false after the last one.
    fn next_chunk(&mut self) -> bool {
        loop {
            if let Some(line_end) = find(&self.raw, b"\r\n") {
                let digits = std::str::from_utf8(&self.raw[..line_end]).unwrap();
                let length = usize::from_str_radix(digits, 16).expect("a chunk size");
                let (start, end) = (line_end + 2, line_end + 2 + length);
                if self.raw.len() >= end + 2 {
                    assert_eq!(self.raw[end..end + 2], *b"\r\n");
                    self.events.extend_from_slice(&self.raw[start..end]);
                    self.raw.drain(..end + 2);
                    return length > 0;
                }
            }
            if !self.read_more() {
                return false;
            }
        }
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(count) => {
                self.raw.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if is_reset(&error) => false,
            Err(error) => panic!("nothing arrived: {error}; before: {:?}", self.text()),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

pub(crate) fn status(head: &str) -> u16 {
    let digits = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no status: {head:?}"))
}

/// The value of a header field, in lower case.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub(crate) fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected
    )
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Asks repeatedly until there is an answer.
pub(crate) fn wait_for<R>(what: &str, mut ask: impl FnMut() -> Option<R>) -> R {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "never true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// After this a test has failed; it is not a measure of speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
