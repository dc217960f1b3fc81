//! What applications hold: options, views and closures. No logic is here.

pub(super) mod config;
pub(super) mod context;
pub(super) mod feed;
pub(super) mod handler;
pub(super) mod next;
pub(super) mod sse;
pub(super) mod stream;

pub use self::{
    config::{Config, Tcp},
    context::{Context, IntervalTooShort},
    feed::Feed,
    handler::{Handler, Response},
    next::{Ending, IntoNext, Next},
    sse::{Alignment, Compress, FirstTick, KeepAlive, Sse},
    stream::Stream,
};

pub(super) use self::sse::interval_ms;
