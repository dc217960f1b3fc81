//! Makes the event ids of one reactor unique.
//!
//! An id is `epoch-sequence`. If two reactors had the same epoch, one would accept the ids of the
//! other, and a client would lose events without a gap event. An epoch therefore has 64 random bits
//! from the operating system, drawn for each reactor. A clock would not do: two reactors can read
//! it at the same time.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use super::system::random_bits;
use crate::engine::ReactorNumber;

/// A new epoch: 11 letters and digits. Among a million reactors, two have the same one with a
/// probability of 3 in 10^8.
pub(crate) fn draw() -> io::Result<String> {
    let bits = random_bits().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read random bytes from the system: {error}"))
    })?;
    Ok(in_base_62(bits))
}

/// The next number of a reactor in this process. They repeat after four billion.
pub(super) fn next_number() -> ReactorNumber {
    static REACTORS: AtomicU32 = AtomicU32::new(0);
    ReactorNumber(REACTORS.fetch_add(1, Ordering::Relaxed))
}

/// The shortest form that needs no escape in a URL, because each event of a topic with a history
/// carries it. Always of the same length, so that no epoch is a prefix of another.
fn in_base_62(mut bits: u64) -> String {
    let mut digits = [0; 11];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(bits % 62) as usize];
        bits /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_epoch_has_64_random_bits() {
        let draws: Vec<_> = (0..1_000).map(|_| random_bits().unwrap()).collect();
        for bit in 0..64 {
            // Each is a fair coin; 1,000 tosses stray this far with a probability below 10^-20.
            let ones = draws.iter().filter(|bits| **bits >> bit & 1 == 1).count();
            assert!((350..650).contains(&ones), "bit {bit} was set {ones} times in 1,000");
        }
        let different: HashSet<_> = (0..1_000).map(|_| draw().unwrap()).collect();
        assert_eq!(different.len(), 1_000);
    }

    #[test]
    fn no_bit_is_lost_on_the_way_into_an_id() {
        for (bits, text) in [
            (0, "00000000000"),
            (61, "0000000000z"),
            (62, "00000000010"),
            (u64::MAX, "LygHa16AHYF"),
        ] {
            assert_eq!(in_base_62(bits), text);
        }
        let single_bits: HashSet<_> = (0..64).map(|bit| in_base_62(1 << bit)).collect();
        assert_eq!(single_bits.len(), 64);
    }
}
