//! What the bits of a model are worth: some may say the same of every picture, or what another says.

use std::collections::HashSet;
use std::fmt;

use rayon::prelude::*;
use serde::Serialize;

use crate::features::Features;
use crate::hash::{HashModel, pack_signs};

/// A latent this near zero may fall on the other side of it where the features come from other arithmetic,
/// such as a GPU's.
pub const MARGIN: f32 = 1e-4;

/// What the bits of some pictures' codes look like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BitHealth {
    /// Pictures that were looked at.
    pub pictures: usize,
    /// Different codes among theirs.
    pub distinct_codes: usize,
    /// Bits that are set in less than 2 % or more than 98 % of the pictures.
    pub dead: Vec<usize>,
    /// Bits, the dead ones aside, that are set in less than 5 % or more than 95 %.
    pub unbalanced: Vec<usize>,
    /// Bits, dead ones aside, whose correlation with an earlier one is above 0.95 or below -0.95: the earlier,
    /// and the bit.
    pub twins: Vec<(usize, usize)>,
    /// The share of latents within [`MARGIN`] of zero.
    pub near_zero: f64,
}

impl BitHealth {
    /// Looks at the codes of pictures that a model has not learned from, or is to be used on.
    pub fn of(model: &HashModel, pictures: &Features) -> BitHealth {
        let features = pictures.values.par_chunks_exact(pictures.dim.max(1));
        BitHealth::of_codes(
            features
                .map(|feature| Signs::of(&model.latent(feature)))
                .collect(),
            model.bits,
        )
    }

    fn of_codes(pictures: Vec<Signs>, bits: usize) -> BitHealth {
        let near: usize = pictures.iter().map(|signs| signs.near).sum();
        let codes: Vec<Vec<u8>> = pictures.into_iter().map(|signs| signs.code).collect();
        let columns = Columns::of(&codes, bits);
        let alive = columns.alive(0.02);
        let balanced = columns.alive(0.05);
        let dead = (0..bits).filter(|bit| alive.binary_search(bit).is_err());
        let unbalanced = alive.iter().copied();
        BitHealth {
            pictures: codes.len(),
            distinct_codes: codes.iter().collect::<HashSet<_>>().len(),
            unbalanced: unbalanced
                .filter(|bit| balanced.binary_search(bit).is_err())
                .collect(),
            twins: columns.twins(&alive, 0.95),
            dead: dead.collect(),
            near_zero: near as f64 / (codes.len() * bits).max(1) as f64,
        }
    }

    /// Whether nothing is wrong with any bit.
    pub fn is_good(&self) -> bool {
        self.dead.is_empty() && self.unbalanced.is_empty() && self.twins.is_empty()
    }
}

/// The code of a latent, and how many of its numbers are within [`MARGIN`] of zero.
struct Signs {
    code: Vec<u8>,
    near: usize,
}

impl Signs {
    fn of(latent: &[f32]) -> Signs {
        let mut code = vec![0; latent.len().div_ceil(8)];
        pack_signs(latent, &mut code);
        let near = latent.iter().filter(|z| z.abs() < MARGIN).count();
        Signs { code, near }
    }
}

/// Codes of some pictures, bit by bit.
pub(crate) struct Columns {
    /// The pictures in which a bit is set, as words: two bits are compared by counting.
    set: Vec<Vec<u64>>,
    /// The share of pictures in which it is.
    ones: Vec<f64>,
    pictures: usize,
}

impl Columns {
    /// Of packed codes, one a picture.
    pub(crate) fn of(codes: &[Vec<u8>], bits: usize) -> Columns {
        let set: Vec<Vec<u64>> = (0..bits)
            .into_par_iter()
            .map(|bit| {
                let word = |codes: &[Vec<u8>]| {
                    let codes = codes.iter().enumerate();
                    codes.fold(0, |word, (i, code)| {
                        word | u64::from(code[bit / 8] >> (bit % 8) & 1) << i
                    })
                };
                codes.chunks(64).map(word).collect()
            })
            .collect();
        let pictures = codes.len();
        let share = |column: &Vec<u64>| {
            let set: u32 = column.iter().map(|word| word.count_ones()).sum();
            f64::from(set) / pictures.max(1) as f64
        };
        Columns {
            ones: set.iter().map(share).collect(),
            set,
            pictures,
        }
    }

    /// Bits that are set in no less than the share `edge` of the pictures, and no more than all others.
    pub(crate) fn alive(&self, edge: f64) -> Vec<usize> {
        let bits = 0..self.set.len();
        bits.filter(|bit| (edge..=1.0 - edge).contains(&self.ones[*bit]))
            .collect()
    }

    /// Those of the bits whose correlation with an earlier one of them is above `limit` or below `-limit`: the
    /// earlier, and the bit.
    pub(crate) fn twins(&self, bits: &[usize], limit: f64) -> Vec<(usize, usize)> {
        let twins = bits.par_iter().enumerate().filter_map(|(i, &b)| {
            let earlier = bits[..i].iter().copied();
            let mut twins = earlier.filter(|&a| self.correlation_exceeds(a, b, limit));
            Some((twins.next()?, b))
        });
        twins.collect()
    }

    fn correlation_exceeds(&self, a: usize, b: usize, limit: f64) -> bool {
        let (p, q) = (self.ones[a], self.ones[b]);
        let spread = (p * (1.0 - p) * q * (1.0 - q)).sqrt();
        // What the shares allow at most spares most pairs the counting.
        let (most, least) = (p.min(q), (p + q - 1.0).max(0.0));
        if (most - p * q).max(p * q - least) <= limit * spread {
            return false;
        }
        let words = self.set[a].iter().zip(&self.set[b]);
        let both: u32 = words.map(|(x, y)| (x & y).count_ones()).sum();
        let both = f64::from(both) / self.pictures.max(1) as f64;
        (both - p * q).abs() > limit * spread
    }
}

impl fmt::Display for BitHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} different codes of {} pictures; {} bits dead, {} unbalanced, {} alike; {:.4} % of \
             latents within {MARGIN} of zero",
            self.distinct_codes,
            self.pictures,
            self.dead.len(),
            self.unbalanced.len(),
            self.twins.len(),
            100.0 * self.near_zero,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bits_are_told_by_number() {
        // Bit 0 halves the pictures, 1 says the same, 2 the contrary; 3 is set in one of 40, 4 never; 5
        // halves them another way.
        let latents: Vec<Vec<f32>> = (0..40)
            .map(|i| {
                let sign = |set: bool| if set { 1.0 } else { -1.0 };
                let half = sign(i % 2 == 0);
                vec![half, half, -half, sign(i == 7), -1.0, sign(i % 4 < 2)]
            })
            .collect();
        let of_latents = |latents: &[Vec<f32>]| {
            BitHealth::of_codes(latents.iter().map(|z| Signs::of(z)).collect(), 6)
        };
        let health = of_latents(&latents);
        assert_eq!(health.pictures, 40);
        assert_eq!(health.dead, [4]);
        assert_eq!(health.unbalanced, [3]);
        assert_eq!(health.twins, [(0, 1), (0, 2)]);
        assert_eq!(health.distinct_codes, 5);
        assert_eq!(health.near_zero, 0.0);
        assert!(!health.is_good());
        let mut near = latents;
        near[3][5] = -1e-5;
        assert_eq!(of_latents(&near).near_zero, 1.0 / 240.0);
    }
}
