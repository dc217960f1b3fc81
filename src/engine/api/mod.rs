//! The public types of the engine: options, views and closures. No logic here.

pub(super) mod config;
pub(super) mod context;
pub(super) mod feed;
pub(super) mod handler;
pub(super) mod lifetime;
pub(super) mod next;
pub(super) mod sse;
pub(super) mod stream;
mod topics;

pub use self::{
    config::{Config, TcpOptions},
    context::Context,
    feed::Feed,
    handler::{Answer, Handler},
    lifetime::Lifetime,
    next::{Ending, IntoNext, Next},
    sse::{Alignment, FirstTick, KeepAlive, Sse, StreamCompression},
    stream::Stream,
};

pub(super) use self::sse::interval_ms;
