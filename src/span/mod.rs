//! Topics that span reactors: one log with one order for all of them.
//!
//! ```text
//!   publish ──► Sequencer: gives the place, encodes once ──► queue of each member that uses the topic
//!                   │                                           Placed, in the order of places
//!                   └── archives of topics that keep events ──► Hydrate, when a member begins to use one
//! ```
//!
//! A *place* is `generation-n`: `n` counts the events of all topics of a namespace, and a generation is
//! one life of its sequencer. It is the sequence of the event's frame in every reactor, so cursors,
//! merging and `Last-Event-ID` work on any of them.
//!
//! This layer knows no threads, sockets, clocks or engines: queues are a trait, and `now` is an
//! argument. In a process, a lock around a [`Sequencer`] is all that is missing.

mod archive;
mod counts;
mod hub;
mod member;
mod once;
mod outbox;
pub(crate) mod protocol;
mod sequencer;
mod store;

pub(crate) use counts::Audiences;
pub(crate) use hub::{Hub, Inbox, ReactorIndex, Room};
pub(crate) use member::{Member, MemberSettings};
pub(crate) use once::Once;
pub(crate) use sequencer::{Publication, Refused, Sequencer};
#[cfg(test)]
pub(crate) use store::ServerError;
pub(crate) use store::{Key, RoomLeft, Store, Survives};
