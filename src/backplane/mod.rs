//! Topics that reactors share: those of one process, and those of several machines.
//!
//! ```text
//!   Reactor, Workers ──► Namespace: a lock around ──► Sequencer   events get their places here
//!                            ▲                  or ──► Member      events get their places from a store
//!                            │ Membership                            ▲
//!                            └──── a thread with the connections ────┘ requests and replies
//! ```

mod error;
mod join;
mod memory;
mod namespace;
#[cfg(feature = "redis")]
mod redis;
mod status;

pub use self::error::BackplaneError;
pub(crate) use self::namespace::Namespace;

use std::{sync::Arc, time::Duration};

use self::memory::Memory;
use crate::span::MemberSettings;

/// What connects the topics of several machines: events that are published on any of them reach the
/// subscribers on all, in one order and with the same ids, so a client that reconnects to another
/// machine gets exactly what it has missed, or a gap event.
///
/// ```no_run
/// # #[cfg(feature = "redis")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use starwheel::{Backplane, Router, Sse, Topic, Workers};
///
/// let workers = Workers::new(Workers::per_core(), |_worker| {
///     Router::new().get("/news", |_req, _cx| {
///         Sse::new().subscribe(&Topic::new("news").history(200, 256 * 1024))
///     })
/// })?;
/// workers.join(&Backplane::redis("redis://10.0.0.5:6379")?.namespace("shop"))?;
/// println!("http://{}", workers.listen("0.0.0.0:8080")?);
/// workers.run()?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "redis"))]
/// # fn main() {}
/// ```
///
/// # What changes for the program
/// - [`Context::publish`](crate::Context::publish) and [`Handle::publish`](crate::Handle::publish) put
///   events into an outbox. They reach all machines, this one included, when the store has given them
///   their places: a moment later, or when the store comes back. If the outbox is full, publishers get
///   [`TrySendError::Full`](crate::TrySendError::Full).
/// - A stream whose topics keep events waits until the histories have come, when it is the first on its
///   machine. Without the store it waits as long as that is away, and is kept alive meanwhile.
/// - [Local](crate::Topic::local) and [driven](crate::Context::drive) topics, streams with updaters and
///   timers do not notice the store.
///
/// # What is promised
/// - One order of all events on all topics of the namespace, on every machine.
/// - An id stands for one position in the log, and never for another one.
/// - A client that comes back to any machine gets what it has missed, or a [gap
///   event](crate::Topic::gap_event): when it was away for longer than the history, or when the store has
///   lost events.
/// - What this process sends again, because an answer was lost, comes once as long as the store keeps its
///   data.
///
/// Not promised: what the store has acknowledged and lost while the publishing process ended too; events
/// that were still in the outbox of a process that ended; that a publisher who tries again publishes
/// once, unless it gives a [key](crate::Handle::publish_once).
///
/// The docs of the project have a page about Redis: when it is needed, how to size and secure it, and how
/// to roll out a new release.
#[derive(Debug, Clone)]
pub struct Backplane {
    store: Store,
    namespace: Box<str>,
    settings: MemberSettings,
}

/// Where the events of a namespace get their places. Sealed until there is a third: what it needs is in
/// `span/protocol.rs`, a series without gaps, batches that are applied once, and a log to read after a
/// place.
#[derive(Debug, Clone)]
enum Store {
    Memory(Arc<Memory>),
    #[cfg(feature = "redis")]
    Redis(redis::Options),
}

impl Backplane {
    /// A store in this process, for development and tests: everything is as with Redis, also that
    /// events come back a moment later. Clones of the value share it. It keeps nothing when the
    /// process ends, and its [namespace](Self::namespace) has no meaning. It was made to be simple:
    /// a publish costs time in proportion to the number of topics with a history.
    ///
    /// ```
    /// use starwheel::{Backplane, Reactor, Router};
    /// let backplane = Backplane::memory();
    /// let (mut one, mut other) = (Reactor::new(Router::new())?, Reactor::new(Router::new())?);
    /// one.join(&backplane)?;
    /// other.join(&backplane)?; // As two machines.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn memory() -> Self {
        Self::of(Store::Memory(Arc::default()))
    }

    /// A Redis or Valkey server; feature `redis`. Nothing is connected before the backplane is joined.
    ///
    /// | address | |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | all but the host may be missing |
    /// | `rediss://host:6380` | encrypted; feature `redis-tls` |
    /// | `unix:///run/redis.sock?db=1` | |
    /// | `redis+sentinel://a:26379,b,c/master-name/0` | the master that these Sentinels name |
    ///
    /// User and password are percent-encoded where they contain `@`, `:`, `/` or `%`.
    ///
    /// ```
    /// use starwheel::Backplane;
    /// let backplane = Backplane::redis("redis://:secret@10.0.0.5:6379")?.namespace("shop");
    /// assert!(!format!("{backplane:?}").contains("secret"));
    /// # Ok::<(), starwheel::BackplaneError>(())
    /// ```
    ///
    /// # Errors
    /// [`BackplaneError::Address`] when the address cannot be understood. It never shows the password.
    #[cfg(feature = "redis")]
    pub fn redis(address: &str) -> Result<Self, BackplaneError> {
        Ok(Self::of(Store::Redis(redis::Options::parse(address)?)))
    }

    /// Certificates in PEM that `rediss://` trusts, instead of the authorities that browsers trust: for a
    /// Redis with a certificate of your own. No effect on other addresses.
    ///
    /// ```no_run
    /// use starwheel::Backplane;
    /// let roots = std::fs::read("ca.pem")?;
    /// let backplane =
    ///     Backplane::redis("rediss://10.0.0.5:6380")?.tls_roots(roots).tls_name("redis.internal");
    /// # let _ = backplane;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// What is wrong with them is an error of [`Reactor::join`](crate::Reactor::join).
    #[cfg(feature = "redis-tls")]
    #[must_use]
    pub fn tls_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        if let Store::Redis(options) = &mut self.store {
            options.trust(pem.into());
        }
        self
    }

    /// The name in the certificate of the server, if it is not the host of the address.
    #[cfg(feature = "redis-tls")]
    #[must_use]
    pub fn tls_name(mut self, name: &str) -> Self {
        if let Store::Redis(options) = &mut self.store {
            options.expect_name(name);
        }
        self
    }

    fn of(store: Store) -> Self {
        let settings = MemberSettings {
            outbox_bytes: 16 * 1024 * 1024,
            log_bytes: 64 * 1024 * 1024,
            history_s: 24 * 60 * 60,
        };
        Self { store, namespace: "starwheel".into(), settings }
    }

    /// What all machines of one application name alike, and no other application that uses the same
    /// store; `starwheel` by default. The keys in Redis begin with it. 1 to 100 letters, digits, and
    /// `-_.:/`; [`Reactor::join`](crate::Reactor::join) reports other names.
    ///
    /// ```
    /// use starwheel::Backplane;
    /// use std::time::Duration;
    /// let backplane = Backplane::memory()
    ///     .namespace("shop")
    ///     .log_bytes(256 << 20)
    ///     .outbox_bytes(4 << 20)
    ///     .history_for(Duration::from_secs(7 * 24 * 3600));
    /// # let _ = backplane;
    /// ```
    #[must_use]
    pub fn namespace(self, name: &str) -> Self {
        Self { namespace: name.into(), ..self }
    }

    /// How much of the log the store keeps, approximately: 64 MiB by default, and at least 1,000 events. A
    /// machine that is away for longer has missed events, and the [policies](crate::Backpressure) of their
    /// topics apply. See [`namespace`](Self::namespace) for an example.
    #[must_use]
    pub fn log_bytes(self, bytes: u64) -> Self {
        let settings = MemberSettings { log_bytes: bytes, ..self.settings };
        Self { settings, ..self }
    }

    /// How much may wait in this process while the store is away or slow: 16 MiB by default, with topics
    /// and keys. Publishers then get [`TrySendError::Full`](crate::TrySendError::Full). Up to a quarter of
    /// it is needed in addition, for what was stored in the last ten seconds.
    ///
    /// A call that publishes more than 32 MiB gets the same, and an error is logged: no machine could read
    /// that at once. For the same reason a topic keeps at most 32 MiB and 200,000 events in the store.
    #[must_use]
    pub fn outbox_bytes(self, bytes: usize) -> Self {
        let settings = MemberSettings { outbox_bytes: bytes, ..self.settings };
        Self { settings, ..self }
    }

    /// How long the store keeps the [history](crate::Topic::history) of a topic after its last event:
    /// a day by default. Whole seconds, at least one.
    #[must_use]
    pub fn history_for(self, time: Duration) -> Self {
        let history_s = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
        let settings = MemberSettings { history_s, ..self.settings };
        Self { settings, ..self }
    }
}
