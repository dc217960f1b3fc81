//! Answers that come later: a handler returns [`Later`], and another thread answers through its
//! [`Responder`].

mod responder;
mod slot;
mod waiting;

pub(crate) use self::slot::{Build, LateAnswer};
pub use self::{
    responder::{Responder, Unanswered},
    slot::Later,
};
pub(in crate::engine) use self::{
    slot::{Bound, Gone, OnGone, Slot},
    waiting::{Promise, Waiting},
};
