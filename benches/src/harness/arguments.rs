//! What the command line says, and the grid of works that follows from it.

use std::path::PathBuf;

use bitkin_benches::Result;
use clap::Args;

use super::system::{SYSTEMS, System};
use super::work::{self, Wanted};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A few minutes: to see that all works, not to quote
    #[arg(long)]
    pub(crate) quick: bool,
    /// What is searched: uniform, clustered, duplicates, planted; orb, pdq, ecfp, pdq-grown
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) work: Vec<String>,
    /// Own codes instead: rows and queries, as .npy, .u8bin or raw rows
    #[arg(long, value_names = ["ROWS", "QUERIES"], num_args = 2, conflicts_with = "work")]
    pub(crate) files: Option<Vec<PathBuf>>,
    /// Bytes of a row, for files of raw rows
    #[arg(long, value_name = "N", requires = "files", value_parser = positive)]
    pub(crate) row_bytes: Option<u64>,
    /// Widths of generated codes
    #[arg(long, value_name = "BITS", value_delimiter = ',')]
    pub(crate) bits: Vec<u32>,
    /// Numbers of generated rows: 100k, 1M
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = count)]
    pub(crate) rows: Vec<usize>,
    /// Neighbours to find
    #[arg(short, value_name = "K", value_delimiter = ',')]
    pub(crate) k: Vec<usize>,
    /// Distances within which to find all rows
    #[arg(long, value_name = "R", value_delimiter = ',')]
    pub(crate) radius: Vec<u32>,
    /// Only these systems
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) systems: Vec<String>,
    /// Number of queries
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) queries: Option<u64>,
    /// Print what changed since these results, beyond noise
    #[arg(long, value_name = "OLD.jsonl")]
    pub(crate) compare: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// What all that is measured in turns has in common.
#[derive(Debug, Args)]
pub(crate) struct Pace {
    /// Where the results and the page go; a run that was interrupted goes on there
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) out: PathBuf,
    /// How often everything is measured, in turns
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) rounds: Option<u64>,
    /// Seconds of each measurement in each round
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// Seconds after which a system that gives no answer is given up
    #[arg(long, value_name = "S", value_parser = positive)]
    pub(crate) patience: Option<u64>,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where generated codes, truths and the peers are kept
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Leave out works of more rows than these: 1M, 10M
    #[arg(long, value_name = "ROWS", default_value = "10M", value_parser = count)]
    pub(crate) most_rows: usize,
    /// Only the targets whose names begin so
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

#[derive(Debug, Args)]
pub(crate) struct QualityArgs {
    /// Codes that are searched (.npy)
    #[arg(long, requires_all = ["row_labels", "queries", "query_labels"])]
    pub(crate) rows: Option<PathBuf>,
    /// Their classes: a text file, one a line
    #[arg(long, requires = "rows")]
    pub(crate) row_labels: Option<PathBuf>,
    /// Codes that are asked for (.npy)
    #[arg(long, requires = "rows")]
    pub(crate) queries: Option<PathBuf>,
    /// Their classes
    #[arg(long, requires = "rows")]
    pub(crate) query_labels: Option<PathBuf>,
    /// A collection of a Bitkin database instead, whose payloads have a label
    #[arg(long, value_names = ["DB", "NAME"], num_args = 2, conflicts_with = "rows")]
    #[arg(required_unless_present = "rows")]
    pub(crate) collection: Option<Vec<String>>,
    /// Another collection of it whose rows are asked for [default: one row in twelve of NAME, which is
    /// then not searched]
    #[arg(long, value_name = "NAME", requires = "collection")]
    pub(crate) asked: Option<String>,
    /// The key of the label in the payloads
    #[arg(long, value_name = "KEY", default_value = "label")]
    pub(crate) label: String,
    /// What these codes are called in the report
    #[arg(long, default_value = "codes")]
    pub(crate) name: String,
    /// The K of mAP@K [default: 1000, or all rows if there are fewer]
    #[arg(short)]
    pub(crate) k: Option<usize>,
    /// The folder of results to which it is added
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) out: PathBuf,
}

/// A number from 1 to a million.
fn positive(text: &str) -> std::result::Result<u64, String> {
    let number = text.parse().ok().filter(|n| (1..=1_000_000).contains(n));
    number.ok_or_else(|| "say a number from 1 to 1000000".to_owned())
}

/// Seconds: more than none, at most an hour.
fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse().ok().filter(|s| *s > 0.0 && *s <= 3600.0);
    seconds.ok_or_else(|| "say a number of seconds, at most 3600".to_owned())
}

/// 100k, 1M, 1.5M, 250000.
pub(crate) fn count(text: &str) -> std::result::Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let value: f64 = digits.parse().map_err(|_| format!("{text} is no number"))?;
    let value = value * unit;
    if !(1.0..=1e9).contains(&value) || value.fract() != 0.0 {
        return Err(format!("{text} is no number of rows up to 1000M"));
    }
    Ok(value as usize)
}

/// A work, and what is asked of it.
#[derive(PartialEq)]
pub(crate) struct Job {
    /// `None`: the user's own files.
    pub(crate) wanted: Option<Wanted>,
    pub(crate) ks: Vec<usize>,
    pub(crate) radii: Vec<u32>,
}

/// One group of a grid: works of the same widths, numbers of rows and questions.
struct Group {
    works: Vec<String>,
    bits: Vec<u32>,
    rows: Vec<usize>,
    ks: Vec<usize>,
    radii: Vec<u32>,
}

impl RunArgs {
    /// What is measured: what the arguments say, or else the grid of a quick or full run.
    fn groups(&self) -> Vec<Group> {
        let own = |given: &[usize], otherwise: &[usize]| match given {
            [] => otherwise.to_vec(),
            given => given.to_vec(),
        };
        let group = |works: &[&str], bits: &[u32], rows: &[usize], ks: &[usize], radii: &[u32]| {
            let wanted =
                |name: &&&str| self.work.is_empty() || self.work.iter().any(|w| w == **name);
            Group {
                works: works
                    .iter()
                    .filter(wanted)
                    .map(|name| (*name).to_owned())
                    .collect(),
                bits: if self.bits.is_empty() {
                    bits.to_vec()
                } else {
                    self.bits.clone()
                },
                rows: own(&self.rows, rows),
                ks: match (self.k.is_empty(), self.radius.is_empty()) {
                    (true, true) => ks.to_vec(),
                    _ => self.k.clone(),
                },
                radii: match (self.k.is_empty(), self.radius.is_empty()) {
                    (true, true) => radii.to_vec(),
                    _ => self.radius.clone(),
                },
            }
        };
        let (small, middle) = (100_000, 1_000_000);
        if self.quick {
            // Of what is asked for by name, all; otherwise few, since every work takes a minute.
            let named = |few: &[&'static str], all: &[&'static str]| match self.work.is_empty() {
                true => few.to_vec(),
                false => all.to_vec(),
            };
            let real = named(&["pdq"], &["pdq", "orb", "ecfp"]);
            let generated = named(&[], &["uniform", "duplicates"]);
            return vec![
                group(&["clustered"], &[64, 256], &[small], &[10], &[]),
                group(&generated, &[64], &[small], &[10], &[]),
                group(&["planted"], &[256], &[small], &[], &[31]),
                group(&real, &[0], &[usize::MAX], &[10], &[]),
            ];
        }
        vec![
            group(&["clustered"], &[64], &[small, middle], &[10], &[]),
            group(&["clustered"], &[256], &[middle], &[10], &[]),
            group(&["uniform", "duplicates"], &[64], &[small], &[10], &[]),
            group(&["planted"], &[256], &[middle], &[], &[31]),
            group(&["pdq", "orb", "ecfp"], &[0], &[usize::MAX], &[10], &[]),
        ]
    }

    /// Every work, with its questions.
    pub(crate) fn jobs(&self) -> Result<Vec<Job>> {
        if self.files.is_some() {
            let neither = self.k.is_empty() && self.radius.is_empty();
            return Ok(vec![Job {
                wanted: None,
                ks: if neither { vec![10] } else { self.k.clone() },
                radii: self.radius.clone(),
            }]);
        }
        for name in &self.work {
            work::is_generated(name)?;
        }
        let mut jobs = Vec::new();
        for group in self.groups() {
            for name in &group.works {
                let generated = work::is_generated(name)?;
                let bits: &[u32] = if generated { &group.bits } else { &[0] };
                let rows: &[usize] = if generated {
                    &group.rows
                } else {
                    &[usize::MAX]
                };
                let queries = self.queries.unwrap_or(if self.quick { 200 } else { 400 });
                let shapes = bits
                    .iter()
                    .flat_map(|bits| rows.iter().map(move |rows| (bits, rows)));
                for (&bits, &rows) in shapes {
                    let job = Job {
                        wanted: Some(Wanted {
                            name: name.clone(),
                            bits,
                            rows,
                            queries: queries as usize,
                            seed: self.pace.seed,
                        }),
                        ks: group.ks.clone(),
                        radii: group.radii.clone(),
                    };
                    // Groups whose widths or rows were given instead of their own may be alike.
                    if !jobs.contains(&job) {
                        jobs.push(job);
                    }
                }
            }
        }
        Ok(jobs)
    }

    pub(crate) fn systems(&self) -> Result<Vec<System>> {
        match self.systems.is_empty() {
            true => Ok(SYSTEMS.to_vec()),
            false => self
                .systems
                .iter()
                .map(|name| System::named(name))
                .collect(),
        }
    }
}
