//! [`Sse`]: what a handler returns to open a stream.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::engine::{
    api::context::Context,
    api::lifetime::Lifetime,
    api::next::{Ending, IntoNext},
    api::stream::Stream,
    calls::{Hooks, Updater},
    keys::StreamId,
};
use crate::{
    error::CloseReason,
    http::{HeaderLines, StatusCode},
    sse::{Encode, EventBuffer},
    time::millis,
    topic::{JoinAt, Topic},
};

/// A response that opens a Server-Sent-Event stream.
///
/// The handler returns immediately. The stream starts at the end of the same turn, and from then on
/// the reactor calls its updater from the timer wheel. Use it for a stream that lives for months as
/// well as for one that sends two events and ends.
///
/// ```
/// use starwheel::{Ending, Event, Sse};
/// use std::time::Duration;
///
/// // An endless stream: an updater once a second.
/// let mut count = 0;
/// let endless = Sse::every(Duration::from_secs(1), move |stream| {
///     count += 1;
///     stream.send(format_args!("{count}"));
/// });
///
/// // One shot: two events, then the end.
/// let one_shot = Sse::new().send("first").send(Event::new("second")).ending(Ending::Finish);
/// # let _ = (endless, one_shot);
/// ```
pub struct Sse {
    pub(in crate::engine) interval: Option<Duration>,
    pub(in crate::engine) updater: Option<Updater>,
    pub(in crate::engine) hooks: Hooks,
    pub(in crate::engine) first_events: EventBuffer,
    pub(in crate::engine) header_lines: HeaderLines,
    pub(in crate::engine) keep_alive: KeepAlive,
    pub(in crate::engine) first_tick: FirstTick,
    pub(in crate::engine) alignment: Alignment,
    pub(in crate::engine) slack: Duration,
    pub(in crate::engine) max_lifetime: Option<Lifetime>,
    pub(in crate::engine) expires_at: Option<SystemTime>,
    pub(in crate::engine) ending: Option<Ending>,
    pub(in crate::engine) subscriptions: Vec<(Topic, JoinAt)>,
    pub(in crate::engine) tag: Option<Arc<str>>,
    pub(in crate::engine) compress: StreamCompression,
}

/// What keeps a quiet stream alive, and when it is sent.
///
/// ```
/// use starwheel::{KeepAlive, Sse};
/// use std::time::Duration;
/// let stream = Sse::new().keep_alive(KeepAlive::Every(Duration::from_secs(30)));
/// # let _ = stream;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepAlive {
    /// As the reactor's [`Config`](crate::Config) says: comments, after 15 s unless changed.
    Default,
    /// A comment after this much quiet time, in every content coding. With a short interval,
    /// compressed streams soon share full frames instead of deltas: an event after four or more
    /// comments is compressed without reference to the previous one. From 1 ms to 24 days; a longer
    /// time turns comments off.
    Every(Duration),
    /// An event this often, whether the stream is quiet or not:
    ///
    /// ```text
    /// event: keep-alive
    /// data:
    /// ```
    ///
    /// A page can listen for it and notice that the stream is dead; an `EventSource` hides comments.
    /// It is sent at fixed times, because a page does not see events of types that it does not listen
    /// for. [`Asset::live_source`](crate::Asset::live_source) is a script that uses it.
    ///
    /// It has no id, so the client resumes from where it was. `onmessage` does not get it, nor does
    /// Datastar act on it. Clients that pass on all events pass it on too. Compressed like comments:
    /// from four of them on, streams share a full frame. While a client does not read, it is sent
    /// none; when it reads again, it is sent one.
    ///
    /// From 0.1 s to 400 s, rounded up to tenths of a second; shorter and longer intervals are set
    /// to these limits. The first one may come up to 0.1 s early.
    Event(Duration),
    /// No comments, except the one in the response head of a stream that starts without an event.
    /// Proxies and NAT boxes may then cut a quiet stream. A vanished client is noticed by the next
    /// event, or by the probes of [`Tcp::keep_alive_idle`](crate::TcpOptions::keep_alive_idle).
    Off,
}

/// Whether a stream may be compressed.
///
/// Do not compress a stream that contains both a secret (a token, another user's data) and text
/// that an attacker can choose: the compressed length reveals the secret (BREACH). Turn compression
/// off, or send the secret with [`Stream::send_uncompressed`](crate::Stream::send_uncompressed).
///
/// ```
/// use starwheel::{StreamCompression, Sse};
/// let stream = Sse::new().send("a token").compression(StreamCompression::Off);
/// # let _ = stream;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamCompression {
    /// With a coding that the client accepts, in the server's order of preference; the default.
    Negotiated,
    /// Never.
    Off,
}

/// When the first tick of an updater runs.
///
/// ```
/// use starwheel::{FirstTick, Sse};
/// use std::time::Duration;
/// let stream = Sse::every(Duration::from_secs(60), |stream| stream.send("a minute has passed"))
///     .first_tick(FirstTick::AfterInterval);
/// # let _ = stream;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstTick {
    /// At birth: response head and first event leave in one write. The default.
    Now,
    /// One interval after birth.
    AfterInterval,
}

/// How the ticks of streams with equal intervals are aligned.
///
/// ```
/// use starwheel::{Alignment, Sse};
/// use std::time::Duration;
/// let stream = Sse::every(Duration::from_secs(1), |stream| stream.send("on the full second"))
///     .alignment(Alignment::Shared);
/// # let _ = stream;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alignment {
    /// Each stream ticks relative to its own start, which spreads the load. The default.
    Own,
    /// All streams with the same interval tick together, at multiples of it since the reactor
    /// started. Saves wake-ups (about 40 % of the CPU per tick at 1,000 streams); the streams
    /// served last tick later.
    Shared,
}

impl Sse {
    /// A stream without an updater: it carries what is sent to it and keep-alive comments.
    ///
    /// If no event is sent with the response head, a comment is, so that proxies forward something
    /// and the client knows that the stream is open.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: None,
            updater: None,
            hooks: Hooks::default(),
            first_events: EventBuffer::new(),
            header_lines: HeaderLines::new(),
            keep_alive: KeepAlive::Default,
            first_tick: FirstTick::Now,
            alignment: Alignment::Own,
            slack: Duration::ZERO,
            max_lifetime: None,
            expires_at: None,
            ending: None,
            subscriptions: Vec::new(),
            tag: None,
            compress: StreamCompression::Negotiated,
        }
    }

    /// A stream whose `updater` runs immediately and then every `interval`, without drift.
    ///
    /// All events of one run leave in one write. While the client has not taken the previous
    /// output, ticks are skipped and counted, not queued. After a pause of the process there is one
    /// late tick, not a burst.
    ///
    /// Intervals are whole milliseconds, from 1 ms to 49 days. Shorter and longer ones are set to
    /// these limits.
    #[must_use]
    pub fn every<N: IntoNext>(
        interval: Duration,
        mut updater: impl FnMut(&mut Stream<'_>) -> N + 'static,
    ) -> Self {
        Self {
            interval: Some(interval),
            updater: Some(Box::new(move |stream| updater(stream).into_next())),
            ..Self::new()
        }
    }

    /// Sends an event before everything else, gap events included, in one write with the response
    /// head. May be called several times.
    ///
    /// The order is: these events, gap events of the topics given to
    /// [`subscribe`](Self::subscribe), the output of `on_connect` and the first tick, the bookmark,
    /// then the topics' events. If a topic has a [history](Topic::history) and you send an id, a
    /// bookmark follows it, so that clients still resume from the position of the stream.
    #[must_use]
    pub fn send(mut self, event: impl Encode) -> Self {
        self.first_events.push(&event);
        self
    }

    /// Subscribes the stream to a topic. It gets what is published from its start on. If the topic
    /// [retains](Topic::retain) its last event, that comes first. If the client reconnects with a
    /// `Last-Event-ID` and the topic has a [history](Topic::history), it gets what it has missed.
    ///
    /// May be called for several topics. Their events arrive in the order of publishing, and one
    /// event id covers all of them. Events from [`Sse::send`] and `on_connect` come first, so a
    /// snapshot sent there and the following events fit together without a gap.
    #[must_use]
    pub fn subscribe(self, topic: &Topic) -> Self {
        self.subscribe_at(topic, JoinAt::Live)
    }

    /// Like [`subscribe`](Self::subscribe), with a choice of where in the topic's log the stream
    /// starts. A client that reconnects with a `Last-Event-ID` to a topic with a history resumes
    /// after that event instead.
    #[must_use]
    pub fn subscribe_at(mut self, topic: &Topic, join_at: JoinAt) -> Self {
        self.subscriptions.push((topic.clone(), join_at));
        self
    }

    /// Tags the stream with a name of your own, such as a user or session key, under which
    /// [`Context::tagged`] finds it. Several streams may share a tag. Costs about 150 bytes.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Arc<str>>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Whether the stream is compressed if the client accepts it; see [`StreamCompression`].
    #[must_use]
    pub fn compression(mut self, compression: StreamCompression) -> Self {
        self.compress = compression;
        self
    }

    /// Ends the stream right after its first output, for a single response.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = Some(ending);
        self
    }

    /// Adds a response header, such as a cookie or a CORS permission. A name or value that HTTP
    /// forbids (RFC 9110, 5.1 and 5.5) turns the response into a 500. An error response in place of
    /// the stream keeps the other fields.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.header_lines.push(name, value);
        self
    }

    /// What keeps a quiet stream alive; see [`KeepAlive`].
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// When the first tick runs; see [`FirstTick`].
    #[must_use]
    pub fn first_tick(mut self, first_tick: FirstTick) -> Self {
        self.first_tick = first_tick;
        self
    }

    /// Whether ticks are spread or aligned; see [`Alignment`].
    #[must_use]
    pub fn alignment(mut self, alignment: Alignment) -> Self {
        self.alignment = alignment;
        self
    }

    /// Allows each tick to be up to `slack` late, so that streams share wake-ups. 10 ms saves about
    /// a fifth of the CPU per tick at 1,000 streams. At most 65 s; the schedule does not drift.
    ///
    /// Ticks run at multiples of `slack` on the reactor's clock. If `slack` is longer than the
    /// interval, the ticks between two multiples become one run, and none of them counts as missed.
    #[must_use]
    pub fn slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// Drops the stream at this age, so that the client reconnects. The close reason is
    /// [`CloseReason::Lifetime`].
    ///
    /// With a range, each stream gets an age of its own, spread evenly. Prefer it: clients that
    /// connected together, after a restart for example, would otherwise reconnect together each
    /// time.
    ///
    /// ```
    /// use starwheel::Sse;
    /// use std::time::Duration;
    /// let minutes = |count: u64| Duration::from_secs(60 * count);
    /// let stream = Sse::new().max_lifetime(minutes(50)..=minutes(70));
    /// # let _ = (stream, Sse::new().max_lifetime(minutes(60)));
    /// ```
    #[must_use]
    pub fn max_lifetime(mut self, age: impl Into<Lifetime>) -> Self {
        self.max_lifetime = Some(age.into());
        self
    }

    /// Drops the stream at this time, when its login or token expires. The close reason is
    /// [`CloseReason::Lifetime`]. The client reconnects, and your handler answers 401.
    ///
    /// A stream that has expired before it starts is answered with 403 instead. The remaining time
    /// is computed once, at the start, from [`Context::system_time`] in whole seconds: the stream
    /// may end up to a second late, and later changes of the clock have no effect. Together with
    /// [`max_lifetime`](Self::max_lifetime), the earlier of the two applies.
    ///
    /// ```
    /// use starwheel::{Context, Request, Response, Sse, StatusCode};
    /// use std::time::{Duration, SystemTime};
    /// # struct Token { user: String, expires_s: u64 }
    /// # fn verify(_: Option<&str>) -> Option<Token> { None }
    /// fn news(req: &Request, cx: &mut Context<'_>) -> Result<Sse, Response> {
    ///     let token = verify(req.cookie("token")).ok_or_else(|| Response::error(StatusCode::UNAUTHORIZED, "log in first"))?;
    ///     // The `exp` of a JSON Web Token (RFC 7519 section 4.1.4) is such a number.
    ///     let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(token.expires_s);
    ///     if expires <= cx.system_time() {
    ///         return Err(Response::error(StatusCode::UNAUTHORIZED, "your login has expired"));
    ///     }
    ///     Ok(Sse::new().tag(token.user).expires_at(expires))
    /// }
    /// ```
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// Sends nothing on a tick whose output equals that of the previous tick. Stores a 64-bit hash,
    /// not the bytes; costs about 1 ns per byte.
    #[must_use]
    pub fn skip_unchanged(mut self) -> Self {
        self.hooks.last_output = Some(0);
        self
    }

    /// Runs once when the stream starts. What it sends leaves with the response head.
    #[must_use]
    pub fn on_connect(mut self, hook: impl FnOnce(&mut Stream<'_>) + 'static) -> Self {
        self.hooks.on_connect = Some(Box::new(hook));
        self
    }

    /// Runs exactly once when the stream has ended, with the reason.
    #[must_use]
    pub fn on_disconnect(
        mut self,
        hook: impl FnOnce(&mut Context<'_>, StreamId, CloseReason) + 'static,
    ) -> Self {
        self.hooks.on_disconnect = Some(Box::new(hook));
        self
    }

    /// Why this stream cannot be opened at this time, if so: the status and the reason.
    pub(in crate::engine) fn refusal(
        &self,
        time: SystemTime,
    ) -> Option<(StatusCode, &'static str)> {
        if self.header_lines.fault().is_some() {
            return Some((
                StatusCode::INTERNAL_SERVER_ERROR,
                "a header of this stream cannot be sent",
            ));
        }
        // Not 401, which has to name a way to log in (RFC 9110 section 15.5.2).
        let has_expired = self.expires_at.is_some_and(|expiry| expiry <= time);
        has_expired
            .then_some((StatusCode::FORBIDDEN, "the permission to open this stream has expired"))
    }

    /// Maximum age of the stream if it starts at this time, as the nth with a maximum.
    pub(in crate::engine) fn lifetime_ms(&self, time: SystemTime, nth: u64) -> Option<u64> {
        let age_ms = self.max_lifetime.map(|ages| ages.age_ms(nth));
        let left = self.expires_at.map(|expiry| expiry.duration_since(time).unwrap_or_default());
        age_ms.into_iter().chain(left.map(millis)).min()
    }

    pub(in crate::engine) fn interval_ms(&self) -> u32 {
        self.interval.map_or(0, interval_ms)
    }
}

/// An interval in the unit and range of the wheel: at least one tick.
pub(in crate::engine) fn interval_ms(interval: Duration) -> u32 {
    u32::try_from(millis(interval).max(1)).unwrap_or(u32::MAX - 1)
}

impl Default for Sse {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse")
            .field("interval", &self.interval)
            .field("keep_alive", &self.keep_alive)
            .field("max_lifetime", &self.max_lifetime)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}
