//! An embeddable, single-threaded reactor that keeps very many Server-Sent-Event streams alive.
//!
//! A **stream** is one open SSE response. Its **updater** is a closure that the reactor calls at
//! every **interval**. All events of one call leave in one write. All streams share one thread, one
//! timer wheel and one poller.
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
//! * A handler takes a [`Request`] and a [`Context`] and returns a [`Response`] or an [`Sse`]. A
//!   [`Router`] selects the handler by path; any closure can be the [`Handler`] instead.
//! * [`Sse::every`] creates a stream with an updater, which returns a [`Next`]. [`Sse::new`]
//!   creates a stream without one; send to it with [`Context::send`].
//! * [`Event`] is one event. `&str`, `String` and `format_args!` are sent as its data.
//! * [`Handle`] is for other threads: [`Handle::publish`] sends to all subscribers of a [`Topic`],
//!   [`Handle::run`] runs a closure on the reactor's thread. An answer that takes time comes from
//!   another thread as well: [`Context::later`].
//! * [`Reactor::turn`] embeds the reactor in your own event loop.
//! * [`testing`] simulates all of this without sockets and without waiting.
//! * [`Workers`] runs reactors on all cores, as one server.
//! * Warnings and errors go to the crate [`log`](https://docs.rs/log), also where these pages say "is
//!   logged". Install a logger to see them, such as `env_logger`.
//! * `docs/guide.md` is about the program around it: threads, logins, a database, tokio, deploys.
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
//! # Topics
//! A [`Topic`] carries events to many streams: streams subscribe, any thread publishes.
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
//! * An event is encoded once and kept in the topic's log. A subscriber is a cursor into that log.
//! * [`Topic::history`] replays what a client has missed. [`JoinAt::Oldest`] also replays what was
//!   published before it connected. [`Topic::retain`] sends the last event to new subscribers.
//! * [`Backpressure`] decides what happens to a slow subscriber that misses events.
//! * [`Context::drive`] renders a topic once for all subscribers, at an interval, while there are
//!   any.
//! * [`Sse::tag`] and [`Context::tagged`] find the streams of one user.
//!
//! # Rules for every stream
//! * The first tick runs when the stream opens and leaves with the response head ([`FirstTick`]).
//! * Ticks do not drift: each is due one interval after the deadline of the previous one, no matter
//!   how late that one ran. Intervals missed while the process was blocked are skipped and counted.
//! * Ticks are skipped and counted while a client has not read the previous output.
//! * A quiet stream gets a comment every 15 s, or an event that the page can see ([`KeepAlive`]).
//! * Every stream ends for exactly one [`CloseReason`]; `on_disconnect` gets it exactly once.
//! * A closure that panics ends its own stream. All others continue.
//! * Closures may call every method of [`Stream`] and [`Context`] at any time. Hooks of other
//!   streams run after the current closure has returned, so you may keep a `RefCell` borrowed.
//!
//! # Compression
//! A stream is compressed with a coding that the client accepts, in the order of
//! [`Config::compression`]. zstd is built in; the features `brotli` and `gzip` add two more.
//! Browsers accept only gzip on plain http. An event of a topic is compressed once for all
//! subscribers, as a delta to the event before. This costs about 250 bytes per stream, not a
//! compressor. A stream with its own updater keeps its last 32 KiB. An [`Asset`] is compressed once.
//!
//! Do not compress a stream that mixes a secret with text that an attacker can choose: the
//! compressed length reveals the secret (BREACH). [`Sse::compression`] turns compression off for a
//! stream, [`Stream::send_uncompressed`] and [`Context::publish_uncompressed`] for an event. Small
//! events (a hundred bytes) gain little.
//!
//! # On a public address
//! [`Config::hosts`] lists the host names to serve. [`OriginCheck`] rejects state-changing requests
//! from other sites, [`Cors`] allows listed sites to read, and [`Sse::expires_at`] ends a stream
//! when its login expires. Behind proxies, [`Config::trusted_proxies`] makes [`Request::client_ip`]
//! the client's address. Behind TCP load balancers, [`ListenOptions::proxy_protocol`] makes it the
//! peer address. See `docs/security.md` for what else to decide.
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
//! | [`Limits::chunk_overhead_bytes`] | framing of a chunked body in bytes, else 400 | 8 KiB |
//! | [`Limits::head_timeout`], [`body_timeout`](Limits::body_timeout) | time in total, else 408 | 10 s, 30 s |
//! | [`Limits::tls_handshake_timeout`] | time from accept to the end of a TLS handshake, then closed | 10 s |
//! | [`Limits::first_request_timeout`] | time from accept or the end of that to the first byte, then closed | 15 s |
//! | [`Limits::tls_handshake_share`] | time of a turn for TLS handshakes | 1 ms |
//! | [`Limits::tls_record_timeout`] | time from the first byte of a TLS record to its last, then closed | 10 s |
//! | [`Limits::tls_partial_bytes`] | bytes of incomplete TLS records and handshakes of all connections | 64 MiB |
//! | [`Limits::idle_timeout`] | time between requests, then closed | 75 s |
//! | [`Limits::answer_timeout`] | time for an answer that a handler has promised, else 503 | 60 s |
//! | [`Limits::linger_timeout`] | time for the client to read the last response and close, then closed by the server | 30 s |
//! | [`Limits::pipelined_bytes`] | bytes of responses queued before further requests wait | 64 KiB |
//! | **connections** | | |
//! | [PROXY protocol header](ListenOptions::proxy_protocol) | bytes, else 400; time as for a head | 4,096 |
//! | [`Limits::connections`], [`connections_per_ip`](Limits::connections_per_ip) | open ones, else 503, 429 | no limit |
//! | connections over these limits that still get a response | count, else a reset | 256 |
//! | [`Limits::retry_after`] | minimum delay before rejected clients retry | 5 s |
//! | [`TcpOptions::user_timeout`] | time without acknowledgement or window | 20 s |
//! | [`TcpOptions::keep_alive_idle`], [`interval`](TcpOptions::keep_alive_interval), [`probes`](TcpOptions::keep_alive_probes) | of streams without comments: time, time, count | 20 s, 5 s, 3 |
//! | descriptors | a warning below 4,096; [`raise_descriptor_limit`] | the system's |
//! | **streams** | | |
//! | [`Limits::outbox_bytes`] | bytes queued for a slow client, else [`CloseReason::Slow`] | 256 KiB |
//! | [`Limits::stall_timeout`] | time in which the client's socket takes no byte, for responses too, else the same | 60 s |
//! | [`Limits::streams_per_tag`] | open ones, else 429, or the oldest is [replaced](TagOverflow) | no limit |
//! | [`Config::keep_alive`] | quiet time before a comment | 15 s |
//! | [`KeepAlive::Event`] | interval, 0.1 s to 400 s | comments |
//! | [`Sse::max_lifetime`] | age, or range of ages, then dropped | no limit |
//! | [`Sse::slack`] | time a tick may be late | 0, at most 65 s |
//! | [`Event::retry`] | milliseconds; 1 ms to 24 days | |
//! | [`Compression`] | window, level, history of private streams | see there |
//! | **topics and handles** | | |
//! | events that wait for the store of a [`Backplane`]: [`outbox_bytes`](Backplane::outbox_bytes) | bytes | 16 MiB |
//! | log and histories of a [`Backplane`]: [`log_bytes`](Backplane::log_bytes), [`history_for`](Backplane::history_for) | bytes, time since the last event of a topic | 64 MiB, 1 day |
//! | keys of [`Handle::publish_once`] | time; count in a process | 5 minutes; 65,536 |
//! | log of a topic: [`Topic::log`], [`Topic::history`] | events, bytes of encoded events | 1,024, 1 MiB |
//! | history and updater of a topic without subscribers and clones | time since its last use | 1 minute |
//! | commands waiting in a [`Handle`] | count; bytes of their events | 65,536; 16 MiB |
//! | events of handles not yet offered to subscribers | bytes, then commands wait | 1 MiB |
//!
//! The work of one turn is bounded, so that a burst does not delay ticks: 128 accepts per listener,
//! 256 KiB read and 64 requests answered per connection, 128 deliveries, 16,384 commands from
//! handles. The next turn continues with the rest without waiting.
//!
//! A refused request gets its status and the reason, is counted in [`Stats::refused`], and its
//! connection is closed. Temporary refusals (429, 503) say when to retry, in a form that
//! `EventSource` and Datastar understand. [`Response::busy`] does the same for load that a handler
//! sheds.
//!
//! # Features
//! None is on by default; zstd is always built in.
//!
//! | feature | what it is for | what it adds |
//! |---|---|---|
//! | `gzip` | the content coding that browsers accept on plain http ([`Encoding`]) | flate2 with zlib-rs: Rust, no C |
//! | `axum` | `axum::serve`: streams in an axum application, on its port | axum (`http1`, `tokio`), and with it hyper, tower and their packages |
//! | `brotli` | the content coding `br`, for clients without zstd ([`Encoding`]) | brotli |
//! | `dashboard` | `dashboard`: a page for operators that shows streams, lateness, topics and slow clients, live | nothing |
//! | `http` | conversions to and from the types of the crate [`http`](https://docs.rs/http): statuses, methods, versions, requests, responses | http, bytes |
//! | `hyper` | `hyper::LiveService`: the same in other servers that are built on hyper | `http` and `tokio`, http-body, tower-service |
//! | `redis` | [`Backplane`] over Redis or Valkey: topics of several machines | redis-protocol |
//! | `redis-tls` | `rediss://` addresses | rustls with ring |
//! | `rustls-0_23` | `TlsConfig::from_rustls_0_23`: settings that only rustls has | `tls` |
//! | `signals` | [`Reactor::drain_on_signals`](Reactor): SIGTERM and SIGINT drain the server | signal-hook |
//! | `tls` | `Reactor::listen_tls`: HTTPS with TLS 1.3, without a proxy | rustls and ring, which compiles C and assembler |
//! | `tokio` | `tokio::drive`: the reactor inside a tokio runtime, on the same thread | tokio (`net`, `rt`, `time`), pin-project-lite |
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "axum")]
pub mod axum;
mod backplane;
mod compress;
mod conn;
mod cross_site;
#[cfg(feature = "dashboard")]
mod dashboard;
pub mod datastar;
mod engine;
mod error;
mod hsts;
mod http;
#[cfg(feature = "hyper")]
pub mod hyper;
mod limits;
mod proxy_protocol;
mod reactor;
mod router;
mod span;
mod sse;
pub mod testing;
mod time;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tokio")]
pub mod tokio;
mod topic;
mod wheel;
mod workers;

pub use backplane::{Backplane, BackplaneError};
pub use compress::{Compression, CompressionCounts, Encoding};
pub use cross_site::{Cors, OriginCheck, OriginError};
#[cfg(feature = "dashboard")]
pub use dashboard::dashboard;
pub use engine::{
    Alignment, Answer, BackplaneStats, ClosedCounts, Config, Context, DurationHistogram, Ending,
    FailedHandshakes, Feed, FirstTick, Handle, Handler, Histogram, IntoNext, KeepAlive, Later,
    Lifetime, Next, RefusedCounts, Responder, RouteStats, Sse, Stats, Stream, StreamCompression,
    StreamId, TcpOptions, TimerId, TlsStats, TopicStats, TrySendError, Unanswered,
};
pub use error::{BoxError, CloseReason, JsonError};
pub use hsts::Hsts;
#[cfg(feature = "http")]
pub use http::FromHttpError;
pub use http::{
    Asset, Body, DecodeError, Extensions, ForwardedField, HostPatternError, Hosts, IpNetwork,
    IpNetworkError, Method, Peer, Refusal, Request, Response, StatusCode, StatusCodeError,
    TrustedPeers, Version,
};
pub use limits::{Limits, TagOverflow};
pub use reactor::{ListenOptions, Listener, Reactor, ReusePort, Spawned, raise_descriptor_limit};
pub use router::{Router, Routes};
pub use sse::{DataWriter, Encode, Event, EventBuffer, EventError, EventId, EventName};
#[cfg(feature = "tls")]
pub use tls::{Certificate, ClientCertificates, TlsConfig, TlsConfigBuilder, TlsError, TlsProblem};
pub use topic::{Backpressure, JoinAt, Topic};
pub use workers::{Worker, Workers};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;

#[cfg(doctest)]
#[doc = include_str!("../docs/backplane.md")]
struct SeveralMachines;

#[cfg(doctest)]
#[doc = include_str!("../docs/security.md")]
struct Security;

#[cfg(doctest)]
#[doc = include_str!("../docs/proxies.md")]
struct Proxies;
