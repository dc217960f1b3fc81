//! [`Config`]: what holds for all connections of a reactor.

use std::time::Duration;

use crate::{compress::Compression, limits::Limits};

/// Settings of a reactor; each field has a default.
///
/// ```
/// use starwheel::{Config, Reply, Reactor, Request, Context};
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.keep_alive = Some(Duration::from_secs(30));
/// config.limits.body_bytes = 64 * 1024;
/// let reactor = Reactor::with_config(config, |_: &Request, _: &mut Context<'_>| Reply::text("hi"))?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// What one connection may cost.
    pub limits: Limits,
    /// How long a stream may be quiet before a comment proves it alive; `None` is never. 15 s,
    /// which is below the idle limits of the usual proxies (60 s) and NAT boxes.
    pub keep_alive: Option<Duration>,
    /// Connections to make room for at the start, so that no table is moved while it grows. Costs
    /// about 150 bytes of address space each, and memory only once they come. None by default.
    pub expected_connections: usize,
    /// Which content codings are offered, and what they may cost.
    pub compression: Compression,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            keep_alive: Some(Duration::from_secs(15)),
            expected_connections: 0,
            compression: Compression::default(),
        }
    }
}
