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
mod router;
mod sse;
pub mod testing;
mod wheel;

pub use datastar::{
    AttributeNameError, ById, BySelector, DATASTAR_VERSION, EscapeHtml, ExecuteScript, Namespace,
    PatchElements, PatchMode, PatchSignals, PatchSignalsError, ScriptTag, Signals, SignalsError,
};
pub use engine::{
    Alignment, Closed, Config, Context, Ending, FirstTick, Handler, IntervalTooShort, IntoNext,
    KeepAlive, Next, Response, Sse, Stats, Stream, StreamId, TimerId,
};
pub use error::{BoxError, CloseReason};
pub use http::{Body, Method, Peer, Refusal, Reply, Request, Version};
pub use limits::Limits;
pub use reactor::{Full, Handle, Listener, Reactor, ReusePort};
pub use router::Router;
pub use sse::{DataWriter, Encode, Event, EventBuffer, EventError, EventId, EventName};
