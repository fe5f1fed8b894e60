//! The one source of chance: a seed that the driver gives, split into labelled streams (P2).

use core::fmt;

/// Thirty-two bytes from which every random choice of a node follows.
///
/// Each machine derives a stream of its own by label and id, so a new draw in one machine does
/// not shift another's. Nothing secret is made of it: keys come from the secure channel.
///
/// ```
/// use headwater_core::seed::Seed;
///
/// let seed = Seed::from_u64(1);
/// let mut one = seed.rng("backoff", 7);
/// let mut two = seed.rng("backoff", 7);
/// assert_eq!(one.next_u64(), two.next_u64());
/// assert_ne!(seed.rng("backoff", 8).next_u64(), seed.rng("backoff", 7).next_u64());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from 32 bytes of the operating system's randomness, or of a test's choice.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed from a number, for tests and replays.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        let mut rng = Rng { state: number };
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
        Self(bytes)
    }

    /// The stream of random numbers that belongs to `label` and `id`.
    #[must_use]
    pub fn rng(&self, label: &str, id: u64) -> Rng {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        let bytes = self.0.iter().chain(label.as_bytes());
        for byte in bytes.copied().chain(id.to_le_bytes()) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut rng = Rng { state };
        rng.next_u64();
        rng
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A stream of numbers that look random; small and fast, not for cryptography.
///
/// This is `SplitMix64` (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()).wrapping_mul(u128::from(bound));
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_label_and_by_id() {
        let seed = Seed::from_u64(42);
        let draw = |label, id| seed.rng(label, id).next_u64();
        assert_eq!(draw("a", 1), draw("a", 1));
        assert_ne!(draw("a", 1), draw("b", 1));
        assert_ne!(draw("a", 1), draw("a", 2));
        assert_ne!(draw("a", 1), Seed::from_u64(43).rng("a", 1).next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Seed::from_u64(0).rng("test", 0);
        let mut seen = [false; 7];
        for _ in 0..500 {
            seen[usize::try_from(rng.below(7)).unwrap()] = true;
        }
        assert!(seen.iter().all(|s| *s));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn the_seed_is_not_in_its_debug_text() {
        assert_eq!(std::format!("{:?}", Seed::from_u64(1)), "Seed(..)");
    }
}
