//! Every bound the crate keeps, with its name, unit, default and reason.

use std::time::Duration;

/// How many connections there may be, and what each may cost. All fields have defaults; change
/// single ones:
///
/// ```
/// use starwheel::Limits;
/// let mut limits = Limits::default();
/// limits.body_bytes = 64 * 1024;
/// assert_eq!(limits.head_bytes, 16 * 1024);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Request line and header fields together; beyond it 431, or 414 when the request line alone
    /// is longer. 16 KiB, because Datastar carries signals in the URL of a GET.
    pub head_bytes: usize,
    /// Header fields of one request; beyond it 431. 100, as in hyper and Apache.
    pub header_fields: usize,
    /// Body of one request after de-chunking; beyond it 413. 1 MiB.
    pub body_bytes: usize,
    /// What one chunked body may have beside its data; beyond it 400. 8 KiB. Chunk extensions and
    /// trailer fields count. Of a size line, with the line end after the data, that counts which is
    /// more than the data of its chunk: chunks of five bytes or more cost nothing, 2,048 of a single
    /// byte are allowed. So the framing is never longer than the data and this limit together.
    pub chunk_overhead_bytes: usize,
    /// Bytes of answers queued for a client that pipelines requests; beyond it, further requests
    /// wait in its socket until it has read some. 64 KiB.
    pub pipelined_bytes: usize,
    /// Bytes queued for one client that does not read fast enough. A stream to which more is sent
    /// ends with [`CloseReason::Slow`](crate::CloseReason::Slow). 256 KiB. What one tick, one response, or
    /// the sends of one turn leave over is kept whole even if it is larger, provided that the client
    /// had taken all that was queued before.
    /// The memory for a client's queue is at most twice the bytes in it plus 64 KiB.
    pub outbox_bytes: usize,
    /// From the first byte of a request to the end of its head; beyond it 408. 10 s. Also from the
    /// start of a connection to the end of its
    /// [PROXY protocol header](crate::ListenOptions::proxy_protocol), if one is required; beyond it the
    /// connection is closed.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body, in total; beyond it 408. 30 s.
    pub body_timeout: Duration,
    /// From accepting a connection, or from the end of its
    /// [PROXY protocol header](crate::ListenOptions::proxy_protocol), to the first byte of its first
    /// request; beyond it, the connection is closed without an answer. 15 s. Browsers open connections in advance that they may never
    /// use. Empty lines before a request (RFC 9112 section 2.2) do not begin it.
    ///
    /// An adopted connection counts as new, unless the bytes that were read ahead begin a request.
    ///
    /// Tomcat calls this `connectionTimeout`. Other servers have one timeout for this and the head
    /// together: nginx `client_header_timeout`, hyper `header_read_timeout`, Go `ReadHeaderTimeout`.
    pub first_request_timeout: Duration,
    /// How long a connection that has had an answer may stay without a further request before it
    /// is closed. 75 s, because a proxy in front must close idle connections first: otherwise it may
    /// send a request in the moment in which the connection is closed, and answers its client with
    /// 502. nginx and the load balancers of AWS do so after 60 s; `docs/proxies.md` has some that
    /// wait longer.
    pub idle_timeout: Duration,
    /// How long a client's socket may refuse what waits for it, without taking a byte: a stream then
    /// ends with [`CloseReason::Slow`](crate::CloseReason::Slow), any other answer is cut. Each byte
    /// taken begins it anew, so a large answer may take as long as it needs. A kernel asks for more
    /// only when a good part of its send buffer is free (Linux: a third), so a client that reads
    /// steadily but very slowly looks like one that does not. 60 s, as nginx's `send_timeout`;
    /// [`Duration::MAX`] is never.
    pub stall_timeout: Duration,
    /// How long the server waits, after the last byte of an answer or refusal that ends the
    /// connection and its FIN, for the client to read it and close its side. 30 s. Then the socket is
    /// closed in order, not reset: the kernel still delivers what it holds for a client that reads
    /// slowly, and answers only what the client sends from then on with a reset.
    pub linger_timeout: Duration,
    /// Open connections, adopted ones included; beyond it, newcomers are turned away with 503 in
    /// the way of [`Response::with_retry_after`](crate::Response::with_retry_after), and no handler is called.
    ///
    /// A connection that is closed in a turn leaves its place to one that is accepted in the same
    /// turn, as when a page is reloaded; so does its address in `connections_per_ip`.
    ///
    /// `None`, the default, leaves the bound to the system: without descriptors, newcomers wait in
    /// the kernel's queue until others leave. Where the program needs descriptors for other things
    /// (files, a database), set it some 500 below what
    /// [`raise_descriptor_limit`](crate::raise_descriptor_limit) says, divided by the number of
    /// reactors.
    ///
    /// To be told so, up to 256 connections beyond the limits have `head_timeout` for their request
    /// and 3 s for the answer; more are reset at once.
    pub connections: Option<usize>,
    /// Open connections of one IPv4 address or one IPv6 network of 64 bits; beyond it, new ones from
    /// there are turned away with 429. `None` by default, because behind a proxy that is not
    /// [trusted](crate::Config::trusted_proxies) everybody has the proxy's address; set it (100, say)
    /// where clients connect themselves, or where you have listed your proxies.
    ///
    /// Connections of a trusted proxy are not counted. What counts instead are the streams that come
    /// through them, each for the address of its [client](crate::Request::client_ip), together with
    /// the connections that this client has without a proxy; a stream beyond the limit is refused
    /// with 429 instead of being born. Behind a balancer that speaks the
    /// [PROXY protocol](crate::ListenOptions::proxy_protocol) a connection counts for the address that
    /// its header announces. Unix sockets have no address and are not counted.
    ///
    /// Costs a hash look-up per connection, some 50 bytes per address, and some 30 bytes per stream
    /// through a trusted proxy.
    pub connections_per_ip: Option<usize>,
    /// Open streams of one [tag](crate::Sse::tag); beyond it, a stream is refused with 429 instead
    /// of being born. `None` by default.
    ///
    /// A stream counts from its birth, at the end of the turn in which a handler answered with it,
    /// until its end is decided, whatever the cause. Streams are born in the order of their
    /// requests, so of several that are requested in one turn the first take the places that are
    /// left. A handler can make room with [`Context::tagged`](crate::Context::tagged) and
    /// [`Context::close`](crate::Context::close): the stream that it answers with takes the place.
    pub streams_per_tag: Option<usize>,
    /// What those who are turned away by one of these three limits are told to wait, at least;
    /// each is told another time between this and twice as much. 5 s.
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
            first_request_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            linger_timeout: Duration::from_secs(30),
            connections: None,
            connections_per_ip: None,
            streams_per_tag: None,
            retry_after: Duration::from_secs(5),
        }
    }
}
