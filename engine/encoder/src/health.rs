//! What the bits of a model are worth: some may say the same of every picture, or what another says.

use std::collections::HashSet;
use std::fmt;

use rayon::prelude::*;
use serde::Serialize;

use crate::features::Features;
use crate::hash::HashModel;

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
        let latents: Vec<Vec<f32>> = pictures
            .values
            .par_chunks_exact(pictures.dim.max(1))
            .map(|feature| model.latent(feature))
            .collect();
        BitHealth::of_latents(&latents, model.bits)
    }

    fn of_latents(latents: &[Vec<f32>], bits: usize) -> BitHealth {
        let n = latents.len();
        let codes: Vec<Vec<bool>> = latents
            .iter()
            .map(|z| z.iter().map(|value| *value >= 0.0).collect())
            .collect();
        // The pictures in which a bit is set, as words: two bits are compared by counting.
        let columns: Vec<Vec<u64>> = (0..bits)
            .into_par_iter()
            .map(|bit| {
                let set = codes.chunks(64);
                set.map(|rows| {
                    let rows = rows.iter().enumerate();
                    rows.fold(0, |word, (i, code)| word | u64::from(code[bit]) << i)
                })
                .collect()
            })
            .collect();
        let count = |words: &mut dyn Iterator<Item = u64>| -> f64 {
            words.map(|word| f64::from(word.count_ones())).sum()
        };
        let ones: Vec<f64> = columns
            .iter()
            .map(|column| count(&mut column.iter().copied()) / n.max(1) as f64)
            .collect();
        let outside = |bit: &usize, edge: f64| !(edge..=1.0 - edge).contains(&ones[*bit]);
        let (dead, alive): (Vec<usize>, Vec<usize>) = (0..bits).partition(|bit| outside(bit, 0.02));
        let unbalanced = alive.iter().copied().filter(|bit| outside(bit, 0.05));
        let twins = alive.par_iter().enumerate().filter_map(|(i, &b)| {
            let spread = |bit: usize| (ones[bit] * (1.0 - ones[bit])).sqrt();
            let is_twin = |a: usize| {
                let mut both = columns[a].iter().zip(&columns[b]).map(|(x, y)| x & y);
                let both = count(&mut both) / n.max(1) as f64;
                let correlation = (both - ones[a] * ones[b]) / (spread(a) * spread(b));
                correlation.abs() > 0.95
            };
            let earlier = alive[..i].iter().copied();
            Some((earlier.into_iter().find(|a| is_twin(*a))?, b))
        });
        let near = latents.iter().flatten().filter(|z| z.abs() < MARGIN);
        BitHealth {
            pictures: n,
            distinct_codes: codes.iter().collect::<HashSet<_>>().len(),
            unbalanced: unbalanced.collect(),
            twins: twins.collect(),
            dead,
            near_zero: near.count() as f64 / (n * bits).max(1) as f64,
        }
    }

    /// Whether nothing is wrong with any bit.
    pub fn is_good(&self) -> bool {
        self.dead.is_empty() && self.unbalanced.is_empty() && self.twins.is_empty()
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
        let health = BitHealth::of_latents(&latents, 6);
        assert_eq!(health.pictures, 40);
        assert_eq!(health.dead, [4]);
        assert_eq!(health.unbalanced, [3]);
        assert_eq!(health.twins, [(0, 1), (0, 2)]);
        assert_eq!(health.distinct_codes, 5);
        assert_eq!(health.near_zero, 0.0);
        assert!(!health.is_good());
        let mut near = latents;
        near[3][5] = -1e-5;
        assert_eq!(BitHealth::of_latents(&near, 6).near_zero, 1.0 / 240.0);
    }
}
