//! Encodes events as WHATWG HTML 9.2 ("Server-sent events") parses them.
//!
//! Guarantees of this layer for any text:
//!
//! - one event in is one event out: no text can end a line, a field or an event early;
//! - data arrives unchanged, except that CRLF and CR become LF, because the format can carry
//!   nothing else;
//! - nothing is allocated per event except room in the [`EventBuffer`] itself.
//!
//! It knows no HTTP, chunks, compression or Datastar, and not when or to which client its bytes are
//! sent.
//!
//! ```text
//! impl Encode --push--> EventBuffer --as_bytes--> "event: ..\nid: ..\nretry: ..\ndata: ..\n\n"
//!                           ^
//!                           +-- text is split at CRLF, LF and CR, and at nothing else
//! ```

mod buffer;
mod encode;
mod event;
mod field;
mod heartbeat;
mod place;
mod split;

pub use buffer::{DataWriter, EventBuffer};
pub use encode::Encode;
pub use event::Event;
pub use field::{EventError, EventId, EventName};

pub(crate) use field::Retry;
pub(crate) use heartbeat::Heartbeat;
pub(crate) use place::id_of;
pub(crate) use split::{add_id, each_event, has_id, is_whole, replace_id};
