//! Topics that reactors share.

mod namespace;

pub(crate) use self::namespace::Namespace;
