//! Events to bytes, as WHATWG HTML 9.2 ("Server-sent events") reads them back.
//!
//! What this floor promises, whatever text goes in:
//!
//! - one event in is one event out: no text can end a line, a field or an event early;
//! - data comes out as it went in, after CRLF and CR have become LF, which is all the standard
//!   can carry;
//! - nothing is allocated per event but the room in the [`EventBuffer`] itself.
//!
//! It knows no HTTP, no chunk, no compression and no Datastar; it does not know when or to whom
//! its bytes are sent.
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
mod place;
mod split;

pub use buffer::{DataWriter, EventBuffer};
pub use encode::Encode;
pub use event::Event;
pub use field::{EventError, EventId, EventName};

pub(crate) use field::Retry;
pub(crate) use place::id_of;
pub(crate) use split::{add_id, each_event, has_id, is_whole, replace_id};

/// The sign of life of a quiet stream: a comment, and no blank line after it, because some clients
/// take every blank line for an event.
pub(crate) const KEEP_ALIVE: &[u8] = b":\n";
