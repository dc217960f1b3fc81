//! What the programs of this package share.

pub mod paths;
pub mod timer_passes;
