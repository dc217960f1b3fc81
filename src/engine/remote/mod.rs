//! What other threads may do: [`Handle`] and its queue of commands.

mod command;
mod crew;
mod finish;
mod handle;
mod late;
mod mailbox;
mod of_workers;
mod outlet;
#[cfg(feature = "tls")]
mod tls;
mod try_send;

pub(crate) use self::{
    command::{Adoption, Command, First},
    crew::Crew,
    mailbox::{Mailbox, Wake},
    outlet::Outlet,
};
pub use self::{handle::Handle, try_send::TrySendError};
