//! What `eval` measured: rows of its table, and the report.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bitkin::metrics::mean;
use bitkin_encoder::Error;
use bitkin_encoder::dataset::{Dataset, Picture};
use bitkin_encoder::evaluate::{CLAIMS, Difference, METHODS, Measured, TOPS, Verdict, spearman};
use serde::Serialize;

/// One row of the result: a method at a width, over all seeds.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) method: &'static str,
    /// What the method is.
    pub(crate) what: &'static str,
    /// What it learned from.
    pub(crate) supervision: &'static str,
    pub(crate) backbone: String,
    /// Whether the backbone may have been trained on the new classes.
    pub(crate) leaky: bool,
    pub(crate) bits: Option<usize>,
    /// Prior prototypes, where their number is what is looked at.
    pub(crate) prototypes: Option<usize>,
    pub(crate) shots: usize,
    pub(crate) seeds: usize,
    pub(crate) map_mean: f64,
    /// Half the width of the 95 % interval over seeds, Student's t; none for one seed.
    pub(crate) map_ci95: Option<f64>,
    /// Of each seed, in order.
    pub(crate) maps: Vec<f64>,
    /// Means over seeds of what else is measured.
    pub(crate) map_at_100: f64,
    /// Number of nearest rows, and their precision.
    pub(crate) precision: Vec<(usize, f64)>,
    pub(crate) precision_within_2: Option<f64>,
    pub(crate) training_seconds: Option<f64>,
    pub(crate) coding_microseconds: Option<f64>,
}

impl Row {
    /// The rows of one place in every seed's measurements.
    pub(crate) fn of(runs: &[Vec<Measured>], place: usize, like: Like<'_>) -> Row {
        let rows: Vec<&Measured> = runs.iter().map(|run| &run[place]).collect();
        let over = |value: &dyn Fn(&Measured) -> f64| mean(rows.iter().map(|row| value(row)));
        let over_some = |value: &dyn Fn(&Measured) -> Option<f64>| {
            let values: Option<Vec<f64>> = rows.iter().map(|row| value(row)).collect();
            values.map(mean)
        };
        let maps: Vec<f64> = rows.iter().map(|row| row.quality.map).collect();
        let (map_mean, map_ci95) = interval(&maps);
        let tops = TOPS.iter().enumerate();
        let described = METHODS.iter().find(|method| method.name == rows[0].method);
        Row {
            method: rows[0].method,
            what: described.map_or("", |method| method.what),
            supervision: described.map_or("", |method| method.supervision),
            backbone: like.backbone.to_owned(),
            leaky: like.leaky,
            bits: rows[0].bits,
            prototypes: rows[0].prototypes,
            shots: like.shots,
            seeds: maps.len(),
            map_mean,
            map_ci95,
            maps,
            map_at_100: over(&|row| row.quality.map_at_100),
            precision: tops
                .map(|(i, &top)| (top, over(&|row| row.quality.precision[i])))
                .collect(),
            precision_within_2: over_some(&|row| row.quality.precision_within_2),
            training_seconds: over_some(&|row| row.training_seconds),
            coding_microseconds: over_some(&|row| row.coding_microseconds),
        }
    }
}

/// What all rows of a table share.
#[derive(Clone, Copy)]
pub(crate) struct Like<'a> {
    pub(crate) backbone: &'a str,
    pub(crate) leaky: bool,
    pub(crate) shots: usize,
}

/// Whether more prototypes retrieve better, at one width.
#[derive(Serialize)]
pub(crate) struct Study {
    pub(crate) study: &'static str,
    pub(crate) backbone: String,
    pub(crate) leaky: bool,
    pub(crate) bits: usize,
    pub(crate) shots: usize,
    pub(crate) seeds: usize,
    /// Spearman's rank correlation of number of prototypes and mAP: mean over seeds, half the width of its 95 %
    /// interval, and the lower bound.
    pub(crate) spearman_mean: f64,
    pub(crate) spearman_ci95: Option<f64>,
    pub(crate) spearman_lower: Option<f64>,
    /// Number of prototypes, and what its mean mAP is of that with the most.
    pub(crate) share_of_most: Vec<(usize, f64)>,
}

impl Study {
    /// Of the rows of one width that have a number of prototypes; none of fewer than three numbers.
    pub(crate) fn of(rows: &[Row], bits: usize, like: Like<'_>) -> Option<Study> {
        let points: Vec<(usize, &Row)> = rows
            .iter()
            .filter(|row| row.bits == Some(bits))
            .filter_map(|row| Some((row.prototypes?, row)))
            .collect();
        let most = points.iter().max_by_key(|(count, _)| *count)?.1.map_mean;
        let seeds = points[0].1.seeds;
        let of_seed = |seed: usize| {
            let pairs = points.iter();
            let pairs: Vec<(f64, f64)> = pairs
                .map(|(count, row)| (*count as f64, row.maps[seed]))
                .collect();
            spearman(&pairs)
        };
        let correlations: Option<Vec<f64>> = (0..seeds).map(of_seed).collect();
        let (spearman_mean, spearman_ci95) = interval(&correlations.filter(|_| points.len() > 2)?);
        Some(Study {
            study: "prototypes",
            backbone: like.backbone.to_owned(),
            leaky: like.leaky,
            bits,
            shots: like.shots,
            seeds,
            spearman_mean,
            spearman_ci95,
            spearman_lower: spearman_ci95.map(|half| spearman_mean - half),
            share_of_most: points
                .iter()
                .map(|(count, row)| (*count, row.map_mean / most))
                .collect(),
        })
    }
}

/// What became of an ordering that a paper claims, at one width.
#[derive(Serialize)]
pub(crate) struct Claimed {
    /// Whose claim it is.
    pub(crate) claim: &'static str,
    pub(crate) better: String,
    pub(crate) worse: String,
    pub(crate) bits: usize,
    pub(crate) shots: usize,
    pub(crate) seeds: usize,
    /// Of mean average precision, with its 95 % interval by paired bootstrap over seeds and queries.
    pub(crate) difference: Difference,
    pub(crate) verdict: Verdict,
}

impl Claimed {
    /// Of all claims whose two methods were measured at this width, over all seeds.
    pub(crate) fn all(runs: &[Vec<Measured>], bits: usize, shots: usize) -> Vec<Claimed> {
        let claims = CLAIMS.iter().filter_map(|claim| {
            let [better, worse] = [claim.better, claim.worse].map(|m| of_queries(runs, m, bits));
            let difference = Difference::of(&better, &worse, DRAWS)?;
            Some(Claimed {
                claim: claim.of,
                better: claim.better.to_owned(),
                worse: claim.worse.to_owned(),
                bits,
                shots,
                seeds: runs.len(),
                difference,
                verdict: difference.verdict(),
            })
        });
        claims.collect()
    }
}

/// Seed of the bootstrap's draws: any will do, as long as it stays the same.
const DRAWS: u64 = 1;

/// Average precision of each query by a method at a width, seed by seed.
fn of_queries<'a>(runs: &'a [Vec<Measured>], method: &str, bits: usize) -> Vec<&'a [f64]> {
    let rows = runs.iter().filter_map(|run| {
        let mut rows = run.iter();
        rows.find(|row| row.method == method && row.bits == Some(bits) && row.prototypes.is_none())
    });
    rows.map(|row| &row.quality.of_queries[..]).collect()
}

/// By how much bits that UGH selects as in the paper retrieve better than bits drawn at random, for each number of examples: the
/// paper has that largest where examples are fewest.
#[derive(Default)]
pub(crate) struct Gains(Vec<Gain>);

struct Gain {
    bits: usize,
    shots: usize,
    /// Of average precision, by seed and query.
    of_queries: Vec<Vec<f64>>,
}

impl Gains {
    const OF: [&str; 2] = ["ugh-sparse", "ugh-random"];

    /// Notes that of one number of examples at one width, where both were measured.
    pub(crate) fn add(&mut self, runs: &[Vec<Measured>], bits: usize, shots: usize) {
        let [selected, drawn] = Self::OF.map(|method| of_queries(runs, method, bits));
        let gains = selected.iter().zip(&drawn);
        let of_queries = gains.map(|(a, b)| a.iter().zip(*b).map(|(a, b)| a - b).collect());
        self.0.push(Gain {
            bits,
            shots,
            of_queries: of_queries.collect(),
        });
    }

    /// That it is larger with fewer examples than with the most, of all widths.
    pub(crate) fn claims(&self) -> Vec<Claimed> {
        let Some(most) = self.0.iter().map(|gain| gain.shots).max() else {
            return Vec::new();
        };
        let fewer = self.0.iter().filter(|gain| gain.shots < most);
        let claims = fewer.filter_map(|few| {
            let many = |gain: &&Gain| gain.shots == most && gain.bits == few.bits;
            let many = self.0.iter().find(many)?;
            let [better, worse] = [few, many].map(|gain| {
                let rows = gain.of_queries.iter();
                rows.map(Vec::as_slice).collect::<Vec<_>>()
            });
            let difference = Difference::of(&better, &worse, DRAWS)?;
            Some(Claimed {
                claim: "UGH",
                better: format!("{} over {}, {} shots", Self::OF[0], Self::OF[1], few.shots),
                worse: format!("{most} shots"),
                bits: few.bits,
                shots: few.shots,
                seeds: few.of_queries.len(),
                difference,
                verdict: difference.verdict(),
            })
        });
        claims.collect()
    }
}

/// A query and what is nearest to it by codes.
#[derive(Serialize)]
pub(crate) struct Shown {
    shown: &'static str,
    pub(crate) bits: Option<usize>,
    pub(crate) prototypes: Option<usize>,
    pub(crate) shots: usize,
    query: Place,
    nearest: Vec<Near>,
}

#[derive(Serialize)]
struct Near {
    #[serde(flatten)]
    place: Place,
    distance: u32,
}

/// A picture: its file, where in it (of an archive: offset and length), and its class.
#[derive(Serialize)]
struct Place {
    path: PathBuf,
    member: Option<(u64, u64)>,
    label: String,
}

impl Place {
    pub(crate) fn of(picture: &Picture) -> Place {
        Place {
            path: picture.path.clone(),
            member: picture.member,
            label: picture.label.clone(),
        }
    }
}

/// A file with everything that was measured.
pub(crate) struct Report {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Report {
    pub(crate) fn create(path: &Path) -> Result<Report, Error> {
        let file = File::create(path).map_err(|source| Error::Io {
            path: path.display().to_string(),
            source,
        })?;
        Ok(Report {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    pub(crate) fn add(&mut self, lines: &[impl Serialize]) -> Result<(), Error> {
        let written = lines
            .iter()
            .try_for_each(|line| writeln!(self.file, "{}", serde_json::json!(line)));
        self.whole(written)
    }

    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let written = self.file.flush();
        self.whole(written)
    }

    fn whole(&self, written: std::io::Result<()>) -> Result<(), Error> {
        written.map_err(|source| Error::Io {
            path: self.path.display().to_string(),
            source,
        })
    }
}

impl Shown {
    /// What was found for each of the queries at `places`.
    pub(crate) fn of(
        measured: &Measured,
        shots: usize,
        queries: &Dataset,
        places: &[usize],
        database: &Dataset,
    ) -> Vec<Shown> {
        let found = places.iter().zip(&measured.shown);
        let shown = found.map(|(&place, found)| Shown {
            shown: measured.method,
            bits: measured.bits,
            prototypes: measured.prototypes,
            shots,
            query: Place::of(&queries.pictures[place]),
            nearest: found
                .iter()
                .map(|found| Near {
                    place: Place::of(&database.pictures[found.row]),
                    distance: found.distance,
                })
                .collect(),
        });
        shown.collect()
    }
}

/// Mean and half width of the 95 % interval by Student's t.
fn interval(values: &[f64]) -> (f64, Option<f64>) {
    const T: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return (mean, None);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let t = T.get(n - 2).copied().unwrap_or(1.96);
    (mean, Some(t * (variance / n as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_compared_with_those_of_the_most_examples() {
        let gain = |bits: usize, shots: usize, of_queries: [f64; 2]| Gain {
            bits,
            shots,
            of_queries: vec![of_queries.to_vec(); 3],
        };
        let gains = Gains(vec![
            gain(16, 1, [0.3, 0.2]),
            gain(16, 5, [0.0, 0.1]),
            gain(16, 10, [0.1, 0.1]),
            gain(32, 5, [0.1, 0.1]),
        ]);
        let claims = gains.claims();
        // Of 32 bits there is nothing to compare with.
        let told: Vec<_> = claims
            .iter()
            .map(|claim| (claim.bits, claim.shots))
            .collect();
        assert_eq!(told, [(16, 1), (16, 5)]);
        assert!((claims[0].difference.mean - 0.15).abs() < 1e-12);
        assert_eq!(claims[0].verdict, Verdict::Held);
        assert_eq!(claims[0].worse, "10 shots");
        assert_eq!(claims[1].verdict, Verdict::Undecided);
        assert!(Gains::default().claims().is_empty());
    }
}
