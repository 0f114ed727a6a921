//! Whether orderings of methods that papers claim hold here.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

/// One method retrieves better than another, as a paper says, its parts imply, or we hope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the better method.
    pub better: &'static str,
    /// Name of the other.
    pub worse: &'static str,
    /// Whose claim it is.
    pub of: &'static str,
}

const fn claim(of: &'static str, better: &'static str, worse: &'static str) -> Claim {
    Claim { better, worse, of }
}

/// What no paper claims, but our own changes to a method are made for.
const OURS: &str = "ours";

/// The orderings that are looked at, where both methods are measured.
pub const CLAIMS: [Claim; 30] = [
    claim("PP + SCDM", "pp-scdm", "scdm"),
    claim("PP + SCDM", "pp-scdm", "pp"),
    claim("PP + SCDM", "pp-scdm", "itq"),
    claim("PP + SCDM", "pp-scdm", "ugh"),
    claim("PP + SCDM", "pp-scdm", "purple"),
    claim("PP + SCDM", "pp-scdm", "comae"),
    claim("PP + SCDM", "pp-scdm", "kalahash"),
    claim("UGH", "ugh-sparse", "ugh-random"),
    claim("UGH", "ugh-random", "lsh"),
    claim("UGH", "ugh-sparse", "itq"),
    claim("UGH", "like-sparse", "like-random"),
    claim(OURS, "ugh", "ugh-sparse"),
    claim(OURS, "ugh", "ugh-similar"),
    claim(OURS, "ugh", "itq"),
    claim(OURS, "ugh-similar", "ugh-random"),
    claim(OURS, "ugh-similar", "itq"),
    claim(OURS, "ugh-similar", "purple"),
    claim(OURS, "like", "like-sparse"),
    claim(OURS, "like", "like-random"),
    claim("PURPLE", "purple", "purple-graph"),
    claim("PURPLE", "purple", "purple-prototypes"),
    claim("PURPLE", "purple-graph", "purple-prototypes"),
    claim("PURPLE", "purple-prototypes", "lsh"),
    claim("COMAE", "comae", "itq"),
    claim("COMAE", "comae", "comae-no-point"),
    claim("COMAE", "comae", "comae-no-pair"),
    claim("COMAE", "comae", "comae-no-class"),
    claim("KALAHash", "kalahash", "kalahash-uncalibrated"),
    claim("KALAHash", "kalahash", "kalahash-no-text"),
    claim("KALAHash", "kalahash", "lsh"),
];

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval of the difference lies above zero.
    Held,
    /// It lies below zero.
    Reversed,
    /// It contains zero: seeds and queries are too few to tell.
    Undecided,
}

/// A difference of mean average precision, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Of all seeds and queries.
    pub mean: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Difference {
    /// What it says of a claim.
    pub fn verdict(&self) -> Verdict {
        match (self.low > 0.0, self.high < 0.0) {
            (true, _) => Verdict::Held,
            (_, true) => Verdict::Reversed,
            _ => Verdict::Undecided,
        }
    }

    /// By paired bootstrap: of the average precision of every query with every seed, `[seed][query]`, seeds and
    /// queries are drawn anew with replacement, the same for both methods. With one seed only queries vary. None
    /// where the two were not measured with the same seeds and queries.
    pub fn of(better: &[&[f64]], worse: &[&[f64]], seed: u64) -> Option<Difference> {
        const DRAWS: u64 = 10_000;
        let differences: Vec<Vec<f64>> = better
            .iter()
            .zip(worse)
            .map(|(a, b)| a.iter().zip(*b).map(|(a, b)| a - b).collect())
            .collect();
        let queries = differences.first()?.len();
        let same =
            better.len() == worse.len() && better.iter().chain(worse).all(|of| of.len() == queries);
        if queries == 0 || !same {
            return None;
        }
        let seeds = differences.len();
        let total = (seeds * queries) as f64;
        let mean = differences.iter().flatten().sum::<f64>() / total;
        let draw = |number: u64| -> f64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number);
            let mut times = vec![0u32; seeds];
            (0..seeds).for_each(|_| times[rng.random_range(0..seeds)] += 1);
            // What a query adds each time that it is drawn.
            let of_query: Vec<f64> = (0..queries)
                .map(|query| {
                    let rows = differences.iter().zip(&times);
                    rows.map(|(row, times)| f64::from(*times) * row[query])
                        .sum()
                })
                .collect();
            let sum: f64 = (0..queries)
                .map(|_| of_query[rng.random_range(0..queries)])
                .sum();
            sum / total
        };
        let mut means: Vec<f64> = (0..DRAWS).into_par_iter().map(draw).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[(share * (DRAWS - 1) as f64).round() as usize];
        Some(Difference {
            mean,
            low: at(0.025),
            high: at(0.975),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(better: &[Vec<f64>], worse: &[Vec<f64>]) -> Option<Difference> {
        let [better, worse] =
            [better, worse].map(|rows| rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
        Difference::of(&better, &worse, 1)
    }

    #[test]
    fn the_interval_is_that_of_theory_where_theory_knows_it() {
        // Independent differences of one seed: half the width is 1.96 σ / √n.
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let n = 900;
        let a: Vec<f64> = (0..n).map(|_| rng.random_range(0.0..1.0)).collect();
        let b: Vec<f64> = a
            .iter()
            .map(|a| a - 0.1 + rng.random_range(-0.5..0.5))
            .collect();
        let (a, b) = ([a], [b]);
        let found = differ(&a, &b).unwrap();
        let half = 1.96 * (1.0f64 / 12.0).sqrt() / f64::from(n).sqrt();
        assert!((found.mean - 0.1).abs() < 2.0 * half);
        assert!(
            ((found.high - found.low) / 2.0 / half - 1.0).abs() < 0.1,
            "{found:?}"
        );
        assert_eq!(found.verdict(), Verdict::Held);
        assert_eq!(differ(&b, &a).unwrap().verdict(), Verdict::Reversed);
    }

    /// Queries alone, of which there are many, would make any difference between two seeds certain.
    #[test]
    fn seeds_that_disagree_leave_a_claim_undecided() {
        let (up, down) = (vec![0.9; 500], vec![0.1; 500]);
        let found = differ(&[up.clone(), down.clone()], &[down, up]).unwrap();
        assert!(found.mean.abs() < 1e-12);
        assert_eq!(found.verdict(), Verdict::Undecided);
        assert!(found.low < -0.7 && found.high > 0.7);
    }

    #[test]
    fn what_was_not_measured_alike_is_not_compared() {
        assert_eq!(differ(&[vec![1.0, 2.0]], &[vec![1.0]]), None);
        assert_eq!(differ(&[vec![1.0], vec![1.0]], &[vec![1.0]]), None);
        assert_eq!(differ(&[], &[]), None);
    }
}
