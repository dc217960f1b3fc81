#![doc = "An embeddable, single-threaded reactor for very many Server-Sent-Event streams."]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod conn;
mod datastar;
mod engine;
mod error;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        unused_imports,
        reason = "the connection and engine floors use it"
    )
)]
mod http;
mod limits;
mod reactor;
mod sse;
mod wheel;

pub use error::{BoxError, CloseReason};
pub use http::{Body, Method, Peer, Refusal, Reply, Request, Version};
pub use limits::Limits;
