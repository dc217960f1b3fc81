//! Requests from pages from other origins: layers around a [`Handler`](crate::Handler).
//!
//! Nothing here knows streams or sockets. By default a page from another origin can send what forms
//! and links can send, and cannot read responses. [`OriginCheck`] rejects its state-changing
//! requests; [`Cors`] lets it read, and send what forms cannot.

mod cors;
mod origin_check;
mod origins;

pub use cors::Cors;
pub use origin_check::OriginCheck;
pub use origins::OriginError;
