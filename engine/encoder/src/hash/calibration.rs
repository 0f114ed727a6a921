//! Class calibration (CLoRA of KALAHash): features are shifted by what is known of the classes that they are
//! nearest to.
//!
//! With the vectors R of classes in feature space, a feature e of length 1 chooses the r rows of R of largest cosine
//! to it, B. Then e' = e + s (e Aᵀ) B / √r: the j-th row of A says how much of the j-th nearest class is added. So
//! the matrix that is added to the identity has rank r, and is another one for every picture; but it follows from
//! the picture alone.

use super::dot;
use super::vectors::{Dot, with_rows};

/// A class calibration.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// R: `[classes, dim]`, row-major.
    pub classes: Vec<f32>,
    /// A: `[rank, dim]`, row-major. The rank is at most the number of classes.
    pub down: Vec<f32>,
    /// s / √r.
    pub scale: f32,
}

impl Calibration {
    /// Classes whose cosine to e is largest, at most `rank` of them, the largest first; of equal ones that with the
    /// lower number. `cosines` are those of all classes, times any positive number.
    pub(crate) fn nearest(cosines: &[f32], rank: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..cosines.len()).collect();
        order.sort_by(|&a, &b| cosines[b].total_cmp(&cosines[a]).then(a.cmp(&b)));
        order.truncate(rank);
        order
    }

    /// For each of several features its cosines to the rows of R, times the feature's length.
    pub(crate) fn cosines(classes: &[f32], all: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let dim = all.first().map_or(1, Vec::len).max(1);
        let lengths: Vec<f32> = classes
            .chunks_exact(dim)
            .map(|row| dot(row, row).sqrt().max(f32::MIN_POSITIVE))
            .collect();
        let mut cosines = with_rows::<Dot>(classes, all);
        for cosines in &mut cosines {
            let lengths = lengths.iter();
            cosines.iter_mut().zip(lengths).for_each(|(c, l)| *c /= l);
        }
        cosines
    }

    /// e' of several features.
    pub(crate) fn apply(&self, all: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let dim = all.first().map_or(1, Vec::len).max(1);
        let amounts = with_rows::<Dot>(&self.down, all);
        let cosines = Calibration::cosines(&self.classes, all);
        let calibrated = all.iter().zip(amounts).zip(cosines);
        let calibrated = calibrated.map(|((e, amounts), cosines)| {
            let mut e = e.clone();
            let nearest = Calibration::nearest(&cosines, amounts.len());
            for (class, amount) in nearest.into_iter().zip(amounts) {
                let row = &self.classes[class * dim..][..dim];
                let amount = amount * self.scale;
                e.iter_mut().zip(row).for_each(|(e, r)| *e += amount * r);
            }
            e
        });
        calibrated.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_formula_read_slowly() {
        let number = |i: usize| ((i * 7919) % 1009) as f32 / 503.0 - 1.0;
        let (dim, count, rank, s) = (5, 4, 2, 0.7f64);
        let calibration = Calibration {
            classes: (0..count * dim).map(|i| number(i + 3)).collect(),
            down: (0..rank * dim).map(|i| number(i + 400)).collect(),
            scale: (s / (rank as f64).sqrt()) as f32,
        };
        let all: Vec<Vec<f32>> = (0..6)
            .map(|p| (0..dim).map(|i| number(100 * p + 13 * i)).collect())
            .collect();
        let wide = |v: &[f32]| -> Vec<f64> { v.iter().map(|&v| f64::from(v)).collect() };
        let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let rows: Vec<Vec<f64>> = calibration.classes.chunks(dim).map(wide).collect();
        let a: Vec<Vec<f64>> = calibration.down.chunks(dim).map(wide).collect();
        for (e, found) in all.iter().zip(calibration.apply(&all)) {
            let e = wide(e);
            let mut order: Vec<usize> = (0..count).collect();
            let cosine = |c: &usize| {
                product(&e, &rows[*c]) / (product(&rows[*c], &rows[*c]) * product(&e, &e)).sqrt()
            };
            order.sort_by(|x, y| cosine(y).total_cmp(&cosine(x)));
            for (i, found) in found.into_iter().enumerate() {
                let mut right = e[i];
                for j in 0..rank {
                    right += s / (rank as f64).sqrt() * product(&e, &a[j]) * rows[order[j]][i];
                }
                assert!((f64::from(found) - right).abs() < 1e-6, "{found} {right}");
            }
        }
        // Alone as among others.
        assert_eq!(calibration.apply(&all[2..3])[0], calibration.apply(&all)[2]);
    }

    #[test]
    fn equal_classes_are_taken_by_number() {
        assert_eq!(Calibration::nearest(&[0.5, 1.0, 1.0, 0.5], 3), [1, 2, 0]);
        // A class without direction is as near as one at a right angle.
        let cosines = Calibration::cosines(&[0.0, 0.0, 1.0, 0.0], &[vec![0.0, 1.0]]);
        assert_eq!(cosines, [[0.0, 0.0]]);
    }
}
