//! What the programs of this package share.

pub mod machine;
pub mod paths;
pub mod results;
pub mod timer_passes;

pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
