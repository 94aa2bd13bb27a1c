//! How large the messages of a load are.

use crate::random::Random;

/// Sizes of bodies; the same message has the same size in every run.
#[derive(Clone, Copy, Debug)]
pub enum Sizes {
    /// All alike.
    Each(usize),
    /// What users send together: most up to 1 KiB, one of ten up to 64 KiB, one of five thousand 1 MiB; from one byte
    /// on, 4 KiB on average.
    Mixed,
}

impl Sizes {
    /// Returns the size of the message with an id.
    pub fn of(self, id: u64) -> usize {
        match self {
            Sizes::Each(size) => size,
            Sizes::Mixed => {
                let mut random = Random::nth(0x512e, id);
                match random.below(5_000) {
                    0 => 1 << 20,
                    1..500 => 1 + random.below(64 << 10),
                    _ => 1 + random.below(1 << 10),
                }
            }
        }
    }
}

impl From<usize> for Sizes {
    fn from(size: usize) -> Sizes {
        Sizes::Each(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_sizes_reach_from_one_byte_to_a_mebibyte() {
        let sizes: Vec<usize> = (0..50_000).map(|id| Sizes::Mixed.of(id)).collect();
        assert_eq!(sizes.iter().min(), Some(&1));
        assert_eq!(sizes.iter().max(), Some(&(1 << 20)));
        let average = sizes.iter().sum::<usize>() / sizes.len();
        assert!((3_000..5_000).contains(&average), "{average}");
    }
}
