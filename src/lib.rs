#![doc = "An embeddable, single-threaded reactor for very many Server-Sent-Event streams."]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod conn;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "requests will be read through Signals")
)]
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
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the engine will frame and truncate")
)]
mod sse;
#[cfg_attr(not(test), expect(dead_code, reason = "the engine is not built yet"))]
mod wheel;

pub use datastar::{
    AttributeNameError, ById, BySelector, DATASTAR_VERSION, EscapeHtml, ExecuteScript, Namespace,
    PatchElements, PatchMode, PatchSignals, PatchSignalsError, ScriptTag, Signals, SignalsError,
};
pub use error::{BoxError, CloseReason};
pub use http::{Body, Method, Peer, Refusal, Reply, Request, Version};
pub use limits::Limits;
pub use sse::{DataWriter, Encode, Event, EventBuffer, EventError, EventId, EventName};
