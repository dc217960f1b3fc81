//! An embeddable, single-threaded reactor that keeps very many Server-Sent-Event streams alive.
//!
//! A **stream** is one open SSE response. Its **updater** is a closure that the reactor calls every
//! **interval**; what the closure sends leaves in one write. All streams share one thread, one
//! timer wheel and one poller.
//!
//! ```text
//!              your closures                          other threads
//!      handler   updater   hooks   timers                  │ Handle
//!         ▲         ▲        ▲        ▲                    ▼
//!   ┌─────┴─────────┴────────┴────────┴──────┐      ┌─────────────┐
//!   │ Engine: connections, streams, closures │◄─────┤ Reactor     │◄── listeners, sockets,
//!   │         one timer wheel, no clock      │ turn │ mio, clocks │    AsFd for your own loop
//!   └────────────────────────────────────────┘      └─────────────┘
//! ```
//!
//! # Start here
//! ```no_run
//! use starwheel::{Reactor, Response, Router, Sse};
//! use std::time::Duration;
//!
//! let router = Router::new()
//!     .get("/", |_req, _cx| Response::html("<h1>hello</h1>"))
//!     .get("/load", |_req, _cx| {
//!         Sse::every(Duration::from_secs(1), |stream| {
//!             stream.send(std::fs::read_to_string("/proc/loadavg")?);
//!             Ok(())
//!         })
//!     });
//! let mut reactor = Reactor::new(router)?;
//! println!("http://{}", reactor.listen("127.0.0.1:8080")?);
//! reactor.run()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! * A handler gets a [`Request`] and a [`Context`] and answers with a [`Response`] or an [`Sse`].
//!   A [`Router`] finds it; any closure can be the [`Handler`] instead.
//! * [`Sse::every`] gives a stream an updater; [`Sse::new`] makes one that only carries what is
//!   sent to it with [`Context::send`]. [`Next`] is what an updater answers.
//! * [`Event`] is one event; `&str`, `String` and `format_args!` are sent as its data.
//! * [`Handle`] lets other threads in: [`Handle::publish`] sends to all subscribers of a [`Topic`],
//!   [`Handle::run`] runs a closure on the reactor's thread.
//! * [`Reactor::turn`] embeds the reactor into a loop of your own.
//! * [`testing`] runs all of it without sockets and without waiting.
//!
//! # Topics
//! Events from outside reach all clients through a [`Topic`]: streams subscribe, anybody publishes.
//! ```no_run
//! use starwheel::{Reactor, Router, Sse, Topic};
//!
//! let news = Topic::new("news");
//! let watched = news.clone();
//! let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched));
//! let mut reactor = Reactor::new(router)?;
//! reactor.listen("127.0.0.1:8080")?;
//! let handle = reactor.handle();
//! std::thread::spawn(move || {
//!     for line in std::io::stdin().lines().map_while(Result::ok) {
//!         if let Err(error) = handle.publish(&news, line) {
//!             eprintln!("not published: {error}");
//!         }
//!     }
//! });
//! reactor.run()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//! * An event is encoded once and kept in the topic's log; a subscriber costs a cursor on it.
//! * [`Topic::history`] replays what a client has missed, [`JoinAt::Oldest`] what was before it came;
//!   [`Topic::retain`] gives those who join the last event at once.
//! * [`Backpressure`] says what becomes of a subscriber that the log has passed by.
//! * [`Context::drive`] renders a topic once for all, at an interval, while somebody listens.
//! * [`Sse::tag`] and [`Context::tagged`] find the streams of one user.
//!
//! # The rules a stream lives by
//! * The first tick runs at birth and leaves with the response head ([`FirstTick`]).
//! * Ticks do not drift: each is due one interval after the deadline of the one before, however
//!   late that ran. Periods that passed while the process was held up are dropped and counted.
//! * While a client has not taken the last output, its ticks are skipped and counted.
//! * A quiet stream gets a comment every 15 s ([`KeepAlive`]).
//! * Every stream ends for one [`CloseReason`], which `on_disconnect` is told exactly once.
//! * A closure that panics costs its own stream and nobody else's.
//! * Closures may do everything through [`Stream`] and [`Context`] at any time; hooks of other
//!   streams run when they have returned, so a `RefCell` of yours may stay borrowed.
//!
//! # Compression
//! Streams are compressed with what the client accepts and [`Config::compression`] prefers: zstd,
//! and with the features `brotli` and `gzip` these too, which matters because browsers offer only
//! gzip on plain http. An event of a topic is compressed once for all subscribers, as what has
//! changed since the event before; a stream costs some 250 bytes more, not a compressor. A stream
//! with an updater of its own keeps its last 32 KiB.
//!
//! Do not compress where a secret and text that an attacker may choose share a stream, because
//! the length of the bytes gives the secret away (BREACH): [`Sse::compression`] switches it off for a
//! stream, [`Stream::send_uncompressed`] and [`Context::publish_uncompressed`] for an event. Small
//! events (a hundred bytes) gain little.
//!
//! # On a public address
//! [`Config::hosts`] says for which names the server answers, [`OriginCheck`] refuses commands of
//! foreign pages, [`Cors`] lets listed ones read, [`Sse::expires_at`] ends a stream with its login.
//! Behind proxies, [`Config::trusted_proxies`] makes [`Request::client_ip`] the client's address;
//! behind balancers that pass TCP on, [`ListenOptions::proxy_protocol`] makes it the peer's.
//! `docs/security.md` says what else to decide.
//!
//! # Units and limits
//! | what | unit, range | default |
//! |---|---|---|
//! | intervals, delays | milliseconds; 1 ms to 49 days | |
//! | lateness of a tick | some 10 us on Linux; up to 1 ms elsewhere | |
//! | [`Config::slow_call`] | run of a closure before it is counted and named | 100 ms |
//! | memory | bytes per idle stream, without closures | 152 |
//! | **requests** | | |
//! | [`Limits::head_bytes`] | bytes, else 431, or 414 for the request line | 16 KiB |
//! | [`Limits::header_fields`] | count, else 431 | 100 |
//! | [`Limits::body_bytes`] | bytes, else 413 | 1 MiB |
//! | [`Limits::chunk_overhead_bytes`] | what a chunked body may have beside its data, else 400 | 8 KiB |
//! | [`Limits::head_timeout`], [`body_timeout`](Limits::body_timeout) | time in total, else 408 | 10 s, 30 s |
//! | [`Limits::first_request_timeout`] | time from accept to a first byte, then a close | 15 s |
//! | [`Limits::idle_timeout`] | time between requests, then a close | 75 s |
//! | [`Limits::linger_timeout`] | time to read the last answer and close, then our socket is closed | 30 s |
//! | [`Limits::pipelined_bytes`] | bytes of answers before requests wait | 64 KiB |
//! | **connections** | | |
//! | [PROXY protocol header](ListenOptions::proxy_protocol) | bytes, else 400; time as for a head | 4,096 |
//! | [`Limits::connections`], [`connections_per_ip`](Limits::connections_per_ip) | open ones, else 503, 429 | no limit |
//! | connections beyond these that are told so | open ones, else a reset | 256 |
//! | [`Limits::retry_after`] | least delay of those who are told so | 5 s |
//! | [`TcpOptions::user_timeout`] | time without acknowledgement or window | 20 s |
//! | [`TcpOptions::keep_alive_idle`], [`interval`](TcpOptions::keep_alive_interval), [`probes`](TcpOptions::keep_alive_probes) | of streams without comments: time, time, count | 20 s, 5 s, 3 |
//! | descriptors | a warning below 4,096; [`raise_descriptor_limit`] | the system's |
//! | **streams** | | |
//! | [`Limits::outbox_bytes`] | bytes queued for a slow client, else [`CloseReason::Slow`] | 256 KiB |
//! | [`Limits::stall_timeout`] | time in which its socket takes no byte, for answers too, else the same | 60 s |
//! | [`Limits::streams_per_tag`] | open ones, else 429 | no limit |
//! | [`Config::keep_alive`] | quiet time before a comment | 15 s |
//! | [`Sse::max_lifetime`] | age, then a drop | no limit |
//! | [`Sse::slack`] | time a tick may be late | 0, at most 65 s |
//! | [`Event::retry`] | milliseconds; 1 ms to 24 days | |
//! | [`Compression`] | window, level, history of private streams | see there |
//! | **topics and handles** | | |
//! | log of a topic: [`Topic::log`], [`Topic::history`] | events, bytes of encoded events | 1,024, 1 MiB |
//! | history and updater of a topic without subscribers and clones | time since its last use | 1 minute |
//! | commands waiting in a [`Handle`] | count; bytes of their events | 65,536; 16 MiB |
//! | events of handles not yet offered to subscribers | bytes, then commands wait | 1 MiB |
//!
//! One turn does a bounded share of everything, so that a rush here does not make ticks late there:
//! 128 accepts per listener, 256 KiB read and 64 requests answered per connection, 128 deliveries,
//! 16,384 commands of handles. What is left is the next turn's, which does not wait.
//!
//! A request that is refused is answered with its status and the reason, counted in
//! [`Stats::refused`], and its connection is closed. Refusals that pass (429, 503) say when to come
//! back, in a form that `EventSource` and Datastar survive; [`Response::busy`] does the same for load
//! that a handler sheds.
//!
//! # Features
//! None is on by default; zstd is always built in.
//!
//! | feature | what it is for | what it adds |
//! |---|---|---|
//! | `gzip` | the content coding that browsers accept on plain http ([`Encoding`]) | flate2 with zlib-rs: Rust, no C |
//! | `brotli` | the content coding `br`, for clients without zstd ([`Encoding`]) | brotli |
//! | `http` | conversions to and from the types of the crate [`http`](https://docs.rs/http): statuses, methods, versions, requests, responses | http, bytes |
//! | `signals` | [`Reactor::drain_on_signals`](Reactor): SIGTERM and SIGINT drain the server | signal-hook |
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod compress;
mod conn;
mod cross_site;
pub mod datastar;
mod engine;
mod error;
mod http;
mod limits;
mod proxy_protocol;
mod reactor;
mod router;
mod sse;
pub mod testing;
mod time;
mod topic;
mod wheel;

pub use compress::{Compression, CompressionCounts, Encoding};
pub use cross_site::{Cors, OriginCheck, OriginError};
pub use engine::{
    Alignment, Answer, ClosedCounts, Config, Context, Ending, Feed, FirstTick, Handler, Histogram,
    IntoNext, KeepAlive, Next, RefusedCounts, Sse, Stats, Stream, StreamCompression, StreamId,
    TcpOptions, TimerId,
};
pub use error::{BoxError, CloseReason, JsonError};
#[cfg(feature = "http")]
pub use http::FromHttpError;
pub use http::{
    Body, DecodeError, Extensions, ForwardedField, HostPatternError, Hosts, IpNetwork,
    IpNetworkError, Method, Peer, Refusal, Request, Response, StatusCode, StatusCodeError,
    TrustedPeers, Version,
};
pub use limits::Limits;
pub use reactor::{
    Handle, ListenOptions, Listener, Reactor, ReusePort, TrySendError, raise_descriptor_limit,
};
pub use router::{Router, Routes};
pub use sse::{DataWriter, Encode, Event, EventBuffer, EventError, EventId, EventName};
pub use topic::{Backpressure, JoinAt, Topic};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/security.md")]
struct Security;

#[cfg(doctest)]
#[doc = include_str!("../docs/proxies.md")]
struct Proxies;
