//! Answers that come later: a handler returns [`Later`], and another thread answers through its
//! [`Responder`].

mod oneshot;
mod responder;
mod waiting;

pub(crate) use self::oneshot::{Build, LateAnswer};
pub use self::{
    oneshot::Later,
    responder::{Responder, Unanswered},
};
pub(in crate::engine) use self::{
    oneshot::{Bound, Gone, OnGone, Oneshot},
    waiting::{Promise, Waiting},
};
