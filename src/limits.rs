//! The configurable limits of the crate, with unit, default and reason.

use std::time::Duration;

/// Limits on connections, requests and streams. All fields have defaults; change single ones:
///
/// ```
/// use starwheel::Limits;
/// let mut limits = Limits::default();
/// limits.body_bytes = 64 * 1024;
/// assert_eq!(limits.head_bytes, 16 * 1024);
/// ```
///
/// # Of workers
/// `connections`, `connections_per_ip` and `streams_per_tag` hold for all
/// [`Workers`](crate::Workers) together, exactly: a place is checked and taken in one step. All other
/// limits are those of one connection or request. A worker that has ended leaves its places to the
/// others.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Request line and header fields together; above it 431, or 414 when the request line alone is
    /// longer. 16 KiB, because Datastar carries signals in the URL of a GET.
    pub head_bytes: usize,
    /// Header fields of one request; above it 431. 100, as in hyper and Apache.
    pub header_fields: usize,
    /// Body of one request after de-chunking; above it 413. 1 MiB.
    pub body_bytes: usize,
    /// Framing bytes of one chunked body; above it 400. 8 KiB. Chunk extensions and trailer fields
    /// count. A size line, with the line end after the data, counts as far as it is longer than the
    /// data of its chunk: chunks of five bytes or more cost nothing, and 2,048 chunks of one byte
    /// are allowed. The framing is therefore never longer than the data plus this limit.
    pub chunk_overhead_bytes: usize,
    /// Bytes of responses queued for a client that pipelines requests; above it, further requests
    /// wait in its socket until the client has read some. 64 KiB.
    pub pipelined_bytes: usize,
    /// Bytes queued for one slow client. Sending more to a stream ends it with
    /// [`CloseReason::Slow`](crate::CloseReason::Slow). 256 KiB. The output of one tick, one
    /// response, or the sends of one turn may exceed it if the client had taken everything that was
    /// queued before. The memory for a client's queue is at most twice the bytes in it plus 64 KiB.
    pub outbox_bytes: usize,
    /// From the first byte of a request to the end of its head; after it 408. 10 s. Also from the
    /// start of a connection to the end of its [PROXY protocol
    /// header](crate::ListenOptions::proxy_protocol), if one is required; after it the connection
    /// is closed.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body, in total; after it 408. 30 s.
    pub body_timeout: Duration,
    /// From accepting a connection to the end of its TLS handshake, on [listeners with
    /// TLS](crate::Reactor::listen_tls); after it the connection is closed. 10 s. If a PROXY protocol
    /// header comes first, the time begins with its end. Until the handshake is complete, a client
    /// has up to 8 KB of the server's memory, and what it has sent, at most 64 KiB. Those that are
    /// closed are counted in [`Stats::tls`](crate::Stats::tls).
    pub tls_handshake_timeout: Duration,
    /// Time of one turn that TLS handshakes may take. 1 ms. While more clients connect than that is
    /// enough for, they wait in order, and ticks come in between. There is time for one step in each
    /// turn, however short this is: the answer to a client takes 0.07 ms with an ECDSA key, 0.5 ms
    /// with RSA 2048 and 3 ms with RSA 4096 (one core of an AMD EPYC, `tests/tls/figures.rs`). A
    /// longer time makes ticks later.
    pub tls_handshake_share: Duration,
    /// From the first byte of a TLS record to its last, after the handshake; after it the connection
    /// is closed, and a stream ends with [`CloseReason::Io`](crate::CloseReason::Io). 10 s, like
    /// `head_timeout`: a record has at most 16 KiB. [`Duration::MAX`] turns it off.
    pub tls_record_timeout: Duration,
    /// Received bytes of incomplete TLS records and handshakes of all connections of a reactor
    /// together. A record can be opened only when it is complete, so a client that sends a part of
    /// one takes up to 16 KiB, and up to 64 KiB in its handshake. Above the limit, a connection that
    /// sends more of an incomplete record is closed with the alert `internal_error`; those that send
    /// none are not affected. 64 MiB. Each incomplete record takes about 150 bytes more, and the
    /// memory for its bytes may be twice as long.
    ///
    /// [`Stats::tls`](crate::Stats::tls) has the bytes in use, and counts the connections.
    pub tls_partial_bytes: usize,
    /// From accepting a connection, or from the end of its [PROXY protocol
    /// header](crate::ListenOptions::proxy_protocol) or TLS handshake, to the first byte of its first
    /// request; after it the connection is closed without a response. 15 s. Browsers open connections in advance
    /// that they may never use. Empty lines before a request (RFC 9112 section 2.2) do not start
    /// it.
    ///
    /// An adopted connection counts as new, unless the bytes that were read ahead start a request.
    ///
    /// Tomcat calls this `connectionTimeout`. Other servers have one timeout for this and the head
    /// together: nginx `client_header_timeout`, hyper `header_read_timeout`, Go
    /// `ReadHeaderTimeout`.
    pub first_request_timeout: Duration,
    /// How long a keep-alive connection may be idle between requests before it is closed. 75 s,
    /// because a proxy in front must close idle connections first. Otherwise it may send a request
    /// just as the connection is closed, and its client gets a 502. nginx and the load balancers of
    /// AWS close after 60 s; `docs/proxies.md` lists proxies that wait longer.
    pub idle_timeout: Duration,
    /// How long a client's socket may take no byte of the queued output. After it, a stream ends
    /// with [`CloseReason::Slow`](crate::CloseReason::Slow), and any other response is cut. Each
    /// byte taken restarts the timeout, so a large response may take as long as it needs. A kernel
    /// reports a socket as writable only when a good part of its send buffer is free (Linux: a
    /// third), so a client that reads steadily but very slowly looks like one that does not read.
    /// 60 s, like nginx's `send_timeout`; [`Duration::MAX`] turns it off.
    pub stall_timeout: Duration,
    /// How long the server waits for the client to close its side, after the last byte of a
    /// response or refusal that ends the connection, and the FIN. 30 s. Then the socket is closed,
    /// not reset: the kernel still delivers what it holds for a slow client, and resets the
    /// connection only if the client sends more.
    pub linger_timeout: Duration,
    /// How long an answer that a handler has [promised](crate::Context::later) may take. Then the
    /// client gets a 503 (one that reconnects is asked to do so later), and its connection closes.
    /// 60 s, like nginx's `proxy_read_timeout`; [`Duration::MAX`] turns it off.
    pub answer_timeout: Duration,
    /// Open connections, adopted ones included. Above it, new connections are rejected with 503 as
    /// [`Response::with_retry_after`](crate::Response::with_retry_after) describes, and no handler
    /// is called.
    ///
    /// A connection that closes frees its place for one accepted in the same turn, for example when
    /// a page is reloaded. The same holds for its address in `connections_per_ip`.
    ///
    /// `None`, the default, leaves the limit to the system: when descriptors run out, new
    /// connections wait in the kernel's accept backlog. If the program needs descriptors for other
    /// things (files, a database), set the limit about 500 below the result of
    /// [`raise_descriptor_limit`](crate::raise_descriptor_limit), and 256 lower for each further
    /// worker. Divide it by the number of reactors that you run without [`Workers`](crate::Workers).
    ///
    /// Up to 256 connections over the limits get this response in each reactor: they have
    /// `head_timeout` to send their request and 3 s to read the response. More are reset
    /// immediately.
    pub connections: Option<usize>,
    /// Open connections of one IPv4 address or one IPv6 network of 64 bits; above it, new ones from
    /// there are rejected with 429. `None` by default, because behind a proxy that is not
    /// [trusted](crate::Config::trusted_proxies) all clients share the proxy's address. Set it
    /// (100, say) when clients connect directly, or when your proxies are listed as trusted.
    ///
    /// Connections of a trusted proxy are not counted. Instead, each stream through such a proxy
    /// counts toward the address of its [client](crate::Request::client_ip), together with that
    /// client's direct connections. A stream over the limit is refused with 429. Behind a load
    /// balancer that speaks the [PROXY protocol](crate::ListenOptions::proxy_protocol), a
    /// connection counts toward the address in its header. Unix sockets have no address and are not
    /// counted.
    ///
    /// Costs one hash lookup per connection, about 50 bytes per address, and about 30 bytes per
    /// stream through a trusted proxy; in workers twice that, and a lock.
    pub connections_per_ip: Option<usize>,
    /// Open streams of one [tag](crate::Sse::tag); above it, a new stream is refused with 429, or
    /// replaces the oldest ([`tag_overflow`](Self::tag_overflow)). `None` by default.
    ///
    /// A stream counts from its start, at the end of the turn in which a handler returned it, until
    /// its end is decided, for any reason. Streams start in the order of their requests, so if
    /// several are requested in one turn, the first ones get the remaining places. A handler can
    /// make room with [`Context::close_tagged_on_all`](crate::Context::close_tagged_on_all): the
    /// stream that it returns takes a freed place. With
    /// [`TagOverflow::ReplaceOldest`], the oldest stream makes room.
    pub streams_per_tag: Option<usize>,
    /// What happens to a new stream above `streams_per_tag`. [`TagOverflow::Refuse`].
    pub tag_overflow: TagOverflow,
    /// Minimum delay before a client rejected by one of these three limits should retry. Each
    /// client gets a random delay between this and twice as much. 5 s.
    pub retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            header_fields: 100,
            body_bytes: 1024 * 1024,
            chunk_overhead_bytes: 8 * 1024,
            pipelined_bytes: 64 * 1024,
            outbox_bytes: 256 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            tls_handshake_timeout: Duration::from_secs(10),
            tls_handshake_share: Duration::from_millis(1),
            tls_record_timeout: Duration::from_secs(10),
            tls_partial_bytes: 64 * 1024 * 1024,
            first_request_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            linger_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            connections: None,
            connections_per_ip: None,
            streams_per_tag: None,
            tag_overflow: TagOverflow::Refuse,
            retry_after: Duration::from_secs(5),
        }
    }
}

/// What happens to a new stream whose tag is at [`Limits::streams_per_tag`].
///
/// ```
/// use starwheel::{Config, Router, Sse, TagOverflow, testing::Simulation};
/// let mut config = Config::default();
/// config.limits.streams_per_tag = Some(1);
/// config.limits.tag_overflow = TagOverflow::ReplaceOldest;
/// let router = Router::new().get("/", |_req, _cx| Sse::new().tag("anna").send("hello"));
/// let mut simulation = Simulation::with_config(config, 0, router);
/// let phone = simulation.get("/");
/// let laptop = simulation.get("/");
/// assert_eq!(simulation.events(laptop)[0].data, "hello");
/// assert_eq!((simulation.stats().streams, simulation.stats().closed.replaced), (1, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagOverflow {
    /// It is refused with 429, and its client retries later. The default.
    Refuse,
    /// It starts, and the oldest stream with the tag ends with
    /// [`CloseReason::Replaced`](crate::CloseReason::Replaced), on whichever worker that is. The new
    /// stream has the place from then on: never more than the limit count as open, and no stream is
    /// replaced if another one ends in time.
    ///
    /// The client of the replaced stream does not reconnect, because it would replace the newer one
    /// in turn. Its last event has the name `replaced`, no data, and the id `starwheel-replaced`; a
    /// page may listen for it. Then the stream is finished, which is enough for Datastar. An
    /// `EventSource` reconnects once. It is recognized by that id in its `Last-Event-ID`, and gets a
    /// 204 instead of a stream with a tag; then its `readyState` is `CLOSED`. To be connected again,
    /// the page makes a new `EventSource`. A client of your own must not reconnect after this id
    /// either.
    ///
    /// With a limit above 1, a client that reconnects before its dead connection is noticed may
    /// replace a live stream. Use a tag for each device, or a limit with some spare places.
    ReplaceOldest,
}

/// The last id that the client of a replaced stream gets.
pub(crate) const REPLACED_ID: &str = "starwheel-replaced";
