//! What the Rust peers share: where they listen, what their events say.

use std::{
    array, env,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

/// Listens on `PORT` of 127.0.0.1, which may be 0, without blocking.
pub fn listen() -> io::Result<TcpListener> {
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The first line on stdout, by which a load generator finds the server.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    println!("listening on http://{address}");
    io::stdout().flush()
}

/// The data of one tick, for an event of so many bytes: the Unix time in nanoseconds and padding.
pub fn tick_data(bytes: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let padding = bytes.saturating_sub("data: 1234567890123456789 \n\n".len());
    format!("{:019} {}", now.as_nanos(), &PADDING[..padding.min(PADDING.len())])
}

/// An event with one line of data, as it is on the wire.
pub fn event(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// The query of `/tick`, `/page` and `/private`.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub interval: Duration,
    pub bytes: usize,
}

impl Pace {
    /// Reads `ms=..&bytes=..`.
    pub fn parse(query: &str) -> Self {
        let number = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
        };
        let interval = Duration::from_millis(number("ms").unwrap_or(1000).max(1));
        Self { interval, bytes: number("bytes").unwrap_or(100) as usize }
    }
}

/// How many events a subscriber may lag behind a publisher.
pub const CHANNEL_EVENTS: usize = 1024;

/// A table of 200 rows, about 20 KB, of which ten change each time: the page of starwheel's testbed.
pub struct Dashboard {
    values: [u32; ROWS],
    changes: u32,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self { values: array::from_fn(|row| 1000 + 37 * row as u32 % 900), changes: 0 }
    }
}

impl Dashboard {
    pub fn change(&mut self) {
        for step in 0..10 {
            self.changes = self.changes.wrapping_add(1);
            let row = (self.changes.wrapping_mul(2_654_435_761) >> 8) as usize % ROWS;
            self.values[row] = self.values[row].wrapping_mul(31).wrapping_add(step) % 10_000;
        }
    }

    /// The next state of the table as the data of a Datastar patch-elements event.
    pub fn next_patch(&mut self) -> String {
        self.change();
        let mut data = String::with_capacity(HTML_BYTES);
        for line in self.render().lines() {
            data.push_str("elements ");
            data.push_str(line);
            data.push('\n');
        }
        data
    }

    /// From a template, as cheaply as can be: what is measured by it is the server.
    pub fn render(&self) -> String {
        let mut html = String::with_capacity(HTML_BYTES);
        html.push_str("<table id=\"dashboard\">\n<tr><td colspan=\"3\">for everybody</td></tr>\n");
        let mut digits = itoa::Buffer::new();
        for (start, &value) in ROW_STARTS.iter().zip(&self.values) {
            html.push_str(start);
            html.push_str(digits.format(value));
            html.push_str("</td><td class=\"unit\">units</td></tr>\n");
        }
        html.push_str("</table>");
        html
    }
}

static ROW_STARTS: LazyLock<[String; ROWS]> = LazyLock::new(|| {
    array::from_fn(|row| {
        format!(
            "<tr id=\"row-{row}\"><td class=\"name\">instrument {row:03}</td><td class=\"value\">"
        )
    })
});
/// A little more than it takes.
const HTML_BYTES: usize = 28 * 1024;
const ROWS: usize = 200;
static PADDING: &str = match std::str::from_utf8(&[b'x'; 1 << 17]) {
    Ok(padding) => padding,
    Err(_) => unreachable!(),
};
