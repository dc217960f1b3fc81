//! Repeatable randomness: from a seed, or from bytes chosen by a fuzzer.

#![allow(dead_code, reason = "each test program uses a part of it")]

/// A source of choices.
#[derive(Debug, Clone)]
pub(crate) enum Random {
    /// SplitMix64: the same on every machine for the same seed.
    Seeded(u64),
    /// Each choice takes the bytes it needs. After the last byte all choices are the first.
    Chosen { bytes: Vec<u8>, taken: usize },
}

impl Default for Random {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self::Seeded(seed)
    }

    pub(crate) fn chosen(bytes: &[u8]) -> Self {
        Self::Chosen { bytes: bytes.to_vec(), taken: 0 }
    }

    /// Whether all bytes are used up. A seed never is.
    pub(crate) fn is_exhausted(&self) -> bool {
        matches!(self, Self::Chosen { bytes, taken } if *taken >= bytes.len())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.take(8)
    }

    /// From 0 to `bound - 1`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bits = usize::BITS - (bound - 1).leading_zeros();
        (self.take(bits.div_ceil(8)) % bound as u64) as usize
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low) as usize + 1) as u64
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number made from this many of the chosen bytes.
    fn take(&mut self, bytes_needed: u32) -> u64 {
        match self {
            Self::Seeded(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            }
            Self::Chosen { bytes, taken } => {
                let rest = &bytes[(*taken).min(bytes.len())..];
                *taken += bytes_needed as usize;
                let chosen = rest.iter().take(bytes_needed as usize);
                chosen.fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
        }
    }
}
