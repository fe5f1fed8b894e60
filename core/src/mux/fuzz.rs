//! The fuzz bodies: headers; two sessions against a model, and one session against any frames.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod cuts;
mod header;
mod pair;

pub use header::header;

/// Reads `data` as a list of operations and checks that nothing panics and all invariants hold.
///
/// # Panics
///
/// If an invariant does not hold: that is the finding.
pub fn run(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut input = Input(data);
    if mode & 1 == 0 { pair::run(&mut input) } else { cuts::run(&mut input) }
}

/// The bytes of an operation list; zero when they are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> usize {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*byte)
    }

    /// Small numbers mostly, and large ones at times.
    fn size(&mut self) -> usize {
        let (base, shift) = (self.byte(), self.byte());
        if shift < 240 { base << (shift % 6) } else { base << 10 }
    }
}

#[cfg(test)]
mod tests {
    use crate::seed::Seed;
    use std::vec::Vec;

    #[test]
    fn pseudo_random_operation_lists_hold_all_invariants() {
        for case in 0..200 {
            let mut rng = Seed::from_u64(case).rng("fuzz", 0);
            let len = rng.below(1500);
            let data: Vec<u8> = (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
            super::run(&data);
            super::header(&data);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config {
            cases: 64,
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn any_operation_list_holds_all_invariants(
            data in proptest::collection::vec(proptest::num::u8::ANY, 0..800),
        ) {
            super::run(&data);
        }
    }
}
