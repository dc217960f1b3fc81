#![doc = "An embeddable, single-threaded reactor for very many Server-Sent-Event streams."]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod conn;
mod datastar;
mod engine;
mod error;
mod http;
mod limits;
mod reactor;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the engine will frame and truncate")
)]
mod sse;
mod wheel;

pub use error::{BoxError, CloseReason};
pub use limits::Limits;
pub use sse::{DataWriter, Encode, Event, EventBuffer, EventError, EventId, EventName};
