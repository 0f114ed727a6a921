//! What a ranking of the database for each query is worth.

use bitkin::metrics::{
    expected_average_precision_of_ties, expected_average_precision_of_ties_at,
    expected_precision_of_ties_at, mean,
};
use rayon::prelude::*;
use serde::Serialize;

use crate::features::Features;

/// The numbers of nearest rows of which the precision is taken.
pub const TOPS: [usize; 6] = [1, 5, 10, 50, 100, 500];

/// Rows at one distance, and those of the query's class among them.
type Ties = Vec<(u64, u64)>;

/// Retrieval quality: means over queries, and over all orders of rows at one distance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Mean average precision over the whole ranking, 0 to 1.
    pub map: f64,
    /// Mean average precision of the 100 nearest.
    pub map_at_100: f64,
    /// Precision of the [`TOPS`] nearest.
    pub precision: [f64; TOPS.len()],
    /// Precision of what is within a distance of 2 bits, a query without any counted as 0; none for floats.
    pub precision_within_2: Option<f64>,
    /// Average precision of each query, of which `map` is the mean.
    #[serde(skip)]
    pub of_queries: Vec<f64>,
}

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its place in the database.
    pub row: usize,
    /// Its distance in bits.
    pub distance: u32,
}

impl Quality {
    fn of(all: &[Ties]) -> Quality {
        let over = |value: &dyn Fn(&Ties) -> f64| mean(all.iter().map(value));
        let precision = |ties: &Ties| expected_average_precision_of_ties(ties.iter().copied());
        let of_queries: Vec<f64> = all.iter().map(precision).collect();
        Quality {
            map: mean(of_queries.iter().copied()),
            of_queries,
            map_at_100: over(&|ties| {
                expected_average_precision_of_ties_at(ties.iter().copied(), 100)
            }),
            precision: TOPS.map(|top| {
                over(&|ties| expected_precision_of_ties_at(ties.iter().copied(), top as u64))
            }),
            precision_within_2: None,
        }
    }
}

/// Of packed codes by Hamming distance. Class numbers are those of the features; and what is nearest to the
/// queries at the places of `shown`.
pub(super) fn of_codes(
    (database, rows): (&[u8], &Features),
    (queries, asked): (&[u8], &Features),
    bits: usize,
    shown: &[usize],
) -> (Quality, Vec<Vec<Found>>) {
    let bytes = bits.div_ceil(8);
    let distances = |query: &[u8]| -> Vec<u32> {
        let codes = database.chunks_exact(bytes);
        let distance = |row: &[u8]| {
            let pairs = row.iter().zip(query);
            pairs.map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        codes.map(distance).collect()
    };
    let all: Vec<Ties> = queries
        .par_chunks_exact(bytes)
        .zip(&asked.labels)
        .map(|(query, label)| {
            let mut ties = vec![(0, 0); bits + 1];
            for (distance, row_label) in distances(query).into_iter().zip(&rows.labels) {
                let tie: &mut (u64, u64) = &mut ties[distance as usize];
                tie.0 += 1;
                tie.1 += u64::from(row_label == label);
            }
            ties
        })
        .collect();
    let within = |ties: &Ties| {
        let near = ties.iter().take(3);
        let (rows, right) = near.fold((0, 0), |sum, tie| (sum.0 + tie.0, sum.1 + tie.1));
        right as f64 / rows.max(1) as f64
    };
    let quality = Quality {
        precision_within_2: Some(mean(all.iter().map(within))),
        ..Quality::of(&all)
    };
    let shown = shown.iter().filter_map(|&place| {
        let query = queries.chunks_exact(bytes).nth(place)?;
        Some(nearest(&distances(query)))
    });
    (quality, shown.collect())
}

/// What is searched for under a mask, and its class.
pub(super) struct Masked {
    pub(super) mask: Vec<u8>,
    pub(super) code: Vec<u8>,
    pub(super) label: u32,
}

/// Of packed codes by the Hamming distance under each query's own mask.
pub(super) fn of_masked(
    (database, rows): (&[u8], &Features),
    queries: &[Masked],
    width: usize,
) -> Quality {
    let of_query = |query: &Masked| -> Ties {
        let mut ties = vec![(0, 0); width + 1];
        let codes = database.chunks_exact(width.div_ceil(8));
        for (row, row_label) in codes.zip(&rows.labels) {
            let bytes = row.iter().zip(&query.code).zip(&query.mask);
            let distance: u32 = bytes.map(|((a, b), m)| ((a ^ b) & m).count_ones()).sum();
            let tie: &mut (u64, u64) = &mut ties[distance as usize];
            tie.0 += 1;
            tie.1 += u64::from(*row_label == query.label);
        }
        ties
    };
    Quality::of(&queries.par_iter().map(of_query).collect::<Vec<_>>())
}

/// The ten nearest rows, by (distance, place).
fn nearest(distances: &[u32]) -> Vec<Found> {
    const MOST: usize = 10;
    let rows = distances.iter().enumerate();
    let mut found: Vec<Found> = rows
        .map(|(row, &distance)| Found { row, distance })
        .collect();
    found.sort_by_key(|found| (found.distance, found.row));
    found.truncate(MOST);
    found
}

/// Of embedded pictures by a score, greatest first.
pub(super) fn of_rankings(
    (database, rows): (&[Vec<f32>], &Features),
    (queries, asked): (&[Vec<f32>], &Features),
    nearness: impl Fn(&[f32], &[f32]) -> f32 + Sync,
) -> Quality {
    let all: Vec<Ties> = queries
        .par_iter()
        .zip(&asked.labels)
        .map(|(query, label)| {
            let mut ranked: Vec<(f32, bool)> = database
                .iter()
                .zip(&rows.labels)
                .map(|(row, row_label)| (nearness(row, query), row_label == label))
                .collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            let ties = ranked.chunk_by(|a, b| a.0 == b.0);
            ties.map(|tie| {
                let right = tie.iter().filter(|row| row.1).count();
                (tie.len() as u64, right as u64)
            })
            .collect()
        })
        .collect();
    Quality::of(&all)
}

/// Spearman's rank correlation of pairs; equal numbers share the mean of their ranks. None where either side is
/// all equal.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let ranks = |values: Vec<f64>| -> Vec<f64> {
        let rank = |value: &f64| {
            let below = values.iter().filter(|other| *other < value).count();
            let equal = values.iter().filter(|other| *other == value).count();
            below as f64 + (equal as f64 - 1.0) / 2.0
        };
        values.iter().map(rank).collect()
    };
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (a, b) = (ranks(a), ranks(b));
    let middle = (pairs.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        let terms = x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle));
        terms.sum()
    };
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    (spread > 0.0).then(|| product(&a, &b) / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(labels: &[u32]) -> Features {
        Features {
            dim: 0,
            values: Vec::new(),
            labels: labels.to_vec(),
        }
    }

    #[test]
    fn codes_are_worth_what_counting_by_hand_says() {
        let (rows, asked) = (labelled(&[1, 1, 2, 2]), labelled(&[1]));
        // At distances 0, 3, 3 and 8.
        let database = [0b0000_0000, 0b0000_0111, 0b0111_0000, 0b1111_1111];
        let (quality, shown) = of_codes((&database, &rows), (&[0], &asked), 8, &[0, 7]);
        // The second right row is second or third.
        let map = (1.0 + (2.0 / 2.0 + 2.0 / 3.0) / 2.0) / 2.0;
        assert!((quality.map - map).abs() < 1e-12 && quality.map == quality.map_at_100);
        assert_eq!(quality.precision, [1.0, 0.4, 0.2, 0.04, 0.02, 0.004]);
        assert_eq!(quality.precision_within_2, Some(1.0));
        let found = [(0, 0), (1, 3), (2, 3), (3, 8)];
        let found = found.map(|(row, distance)| Found { row, distance });
        assert_eq!(shown, [found]);

        let [database, query] =
            [&database[..], &[0]].map(|codes| codes.iter().map(|c| vec![f32::from(*c)]).collect());
        let (database, query): (Vec<_>, Vec<_>) = (database, query);
        let near = |a: &[f32], b: &[f32]| -(a[0] - b[0]).abs();
        let floats = of_rankings((&database, &rows), (&query, &asked), near);
        assert_eq!(floats.map, 1.0);
    }

    #[test]
    fn spearman_is_that_of_textbooks() {
        let close = |found: Option<f64>, right: f64| {
            assert!((found.unwrap() - right).abs() < 1e-12, "{found:?}");
        };
        close(spearman(&[(5.0, 0.1), (10.0, 0.2), (50.0, 0.21)]), 1.0);
        close(spearman(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), -1.0);
        // 1 - 6 (1 + 1) / (4 (16 - 1)).
        close(
            spearman(&[(1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (4.0, 4.0)]),
            0.8,
        );
        // With ranks 0, 1.5, 1.5, 3 on one side: Pearson's of the ranks.
        close(
            spearman(&[(1.0, 1.0), (2.0, 2.0), (3.0, 2.0), (4.0, 3.0)]),
            0.9486832980505138,
        );
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, 2.0)]), None);
    }
}
