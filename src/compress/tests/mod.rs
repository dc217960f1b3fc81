//! Guarantees of the complete layer: spliced streams decode to what was sent, as it is sent.

mod decoders;
mod joins;
mod negotiation;
mod pieces;
mod reset_block;
mod stories;

use std::env;

use super::*;

/// This many, or more with STARWHEEL_FUZZ=10 in the environment.
fn cases(count: u32) -> u32 {
    let factor = env::var("STARWHEEL_FUZZ").ok().and_then(|factor| factor.parse().ok());
    count * factor.unwrap_or(1)
}

fn codings() -> impl Iterator<Item = Encoding> {
    Encoding::BUILT_IN.iter().copied().filter(|&encoding| encoding != Encoding::Identity)
}

/// Settings of one effort for all codings: a zstd level from -3 to 19.
fn settings(level: i32) -> Compression {
    Compression {
        zstd_level: level,
        gzip_level: level.clamp(1, 9) as u32,
        brotli_quality: level.clamp(2, 4) as u32,
        ..Compression::default()
    }
}

/// What a call appends.
fn appended(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}
