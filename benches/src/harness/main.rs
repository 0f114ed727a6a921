//! Measures searches: Bitkin beside other systems, on the same files, in one run.
//!
//! ```text
//! cargo xtask bench --quick --out results
//! ```
//!
//! What must stay true, so that a rival would accept the figures:
//!
//! - **The same for all**: files, k, threads, rounds, and what counts as found. Every system has a
//!   process of its own, and the rounds of all of them lie next to each other.
//! - **The same border**: Bitkin is measured from Python beside what is called from Python, and
//!   natively beside what is called natively.
//! - **Nothing is hidden**: what fails, times out or is not installed stands in the results.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is its purpose"
)]

mod codes;
mod compare;
mod generate;
mod instructions;
mod limits;
mod peers;
mod plot;
mod quality;
mod record;
mod report;
mod run;
mod serve;
mod system;
#[cfg(test)]
mod tests;
mod truth;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bitkin_benches::{Result, fail, machine};
use clap::{Args, Parser, Subcommand};

use crate::quality::{Labelled, Quality};
use crate::run::Plan;
use crate::system::{SYSTEMS, System};
use crate::work::{Places, Wanted, Work};

/// Measures Bitkin beside other systems.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Line {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the page of a folder of results anew
    Report {
        /// The folder given to --out
        dir: PathBuf,
    },
    /// Print what changed between two files of results, beyond noise
    Compare {
        /// The earlier results.jsonl
        old: PathBuf,
        /// The later one
        new: PathBuf,
    },
    /// Measure how well labelled codes retrieve: mAP and its curves
    Quality(QualityArgs),
    /// Count the instructions of kernels and of a search, which no noise changes (needs valgrind)
    Instructions {
        /// Results of an earlier count, to compare with
        #[arg(long, value_name = "OLD.jsonl")]
        compare: Option<PathBuf>,
    },
    /// Turn a data set of ann-benchmarks (HDF5, Hamming) into rows.npy and queries.npy
    Convert {
        /// The .hdf5 file
        file: PathBuf,
        /// Where the two files go
        dir: PathBuf,
    },
    /// Answer commands as one system
    #[command(hide = true)]
    Serve { system: String },
    /// Run one loop, for callgrind
    #[command(hide = true)]
    Loop {
        which: String,
        bits: u32,
        times: u32,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A few minutes: to see that all works, not to quote
    #[arg(long)]
    quick: bool,
    /// Where results.jsonl and report.html go; a run that was interrupted goes on there
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// What is searched: uniform, clustered, duplicates, planted; orb, pdq, ecfp
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    work: Vec<String>,
    /// Own codes instead: rows and queries, as .npy or .u8bin
    #[arg(long, value_names = ["ROWS", "QUERIES"], num_args = 2, conflicts_with = "work")]
    files: Option<Vec<PathBuf>>,
    /// Widths of generated codes
    #[arg(long, value_name = "BITS", value_delimiter = ',')]
    bits: Vec<u32>,
    /// Numbers of generated rows: 100k, 1M
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = count)]
    rows: Vec<usize>,
    /// Neighbours to find
    #[arg(short, value_name = "K", value_delimiter = ',')]
    k: Vec<usize>,
    /// Distances within which to find all rows
    #[arg(long, value_name = "R", value_delimiter = ',')]
    radius: Vec<u32>,
    /// Only these systems
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    systems: Vec<String>,
    /// Number of queries
    #[arg(long, value_name = "N")]
    queries: Option<usize>,
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Seconds of each measurement in each round
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Seconds after which a system that gives no answer is given up
    #[arg(long, value_name = "S")]
    patience: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print what changed since these results, beyond noise
    #[arg(long, value_name = "OLD.jsonl")]
    compare: Option<PathBuf>,
    /// Where generated codes, truths and the peers are kept
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct QualityArgs {
    /// Codes that are searched (.npy)
    #[arg(long, requires_all = ["row_labels", "queries", "query_labels"])]
    rows: Option<PathBuf>,
    /// Their classes: a text file, one a line
    #[arg(long, requires = "rows")]
    row_labels: Option<PathBuf>,
    /// Codes that are asked for (.npy)
    #[arg(long, requires = "rows")]
    queries: Option<PathBuf>,
    /// Their classes
    #[arg(long, requires = "rows")]
    query_labels: Option<PathBuf>,
    /// A collection of a Bitkin database instead, whose payloads have a label
    #[arg(long, value_names = ["DB", "NAME"], num_args = 2, conflicts_with = "rows")]
    #[arg(required_unless_present = "rows")]
    collection: Option<Vec<String>>,
    /// Another collection of it whose rows are asked for [default: one row in twelve of NAME, which is
    /// then not searched]
    #[arg(long, value_name = "NAME", requires = "collection")]
    asked: Option<String>,
    /// The key of the label in the payloads
    #[arg(long, value_name = "KEY", default_value = "label")]
    label: String,
    /// What these codes are called in the report
    #[arg(long, default_value = "codes")]
    name: String,
    /// The K of mAP@K [default: 1000, or all rows if there are fewer]
    #[arg(short)]
    k: Option<usize>,
    /// The folder of results to which it is added
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
}

/// 100k, 1M, 1.5M, 250000.
fn count(text: &str) -> std::result::Result<usize, String> {
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

fn main() -> ExitCode {
    match main_of(Line::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&*error);
            ExitCode::FAILURE
        }
    }
}

fn main_of(line: Line) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match line.verb {
        None => measure(&line.run, &root),
        Some(Verb::Report { dir }) => {
            let page = write_page(&dir, &peers::commit(&root))?;
            println!("{}", page.display());
            Ok(())
        }
        Some(Verb::Compare { old, new }) => {
            print_changes(&record::read_existing(&old)?, &record::read_existing(&new)?);
            Ok(())
        }
        Some(Verb::Quality(arguments)) => measure_quality(&arguments, &root),
        Some(Verb::Instructions { compare }) => count_instructions(compare.as_deref(), &root),
        Some(Verb::Convert { file, dir }) => convert(&file, &dir, &root),
        Some(Verb::Serve { system }) => serve::serve(&system),
        Some(Verb::Loop { which, bits, times }) => instructions::run_loop(&which, bits, times),
    }
}

/// A work, and what is asked of it.
struct Job {
    /// `None`: the user's own files.
    wanted: Option<Wanted>,
    ks: Vec<usize>,
    radii: Vec<u32>,
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
        let (small, middle, large) = (100_000, 1_000_000, 10_000_000);
        if self.quick {
            return vec![
                group(&["clustered"], &[64, 256], &[small], &[10], &[]),
                group(&["uniform", "duplicates"], &[64], &[small], &[10], &[]),
                group(&["planted"], &[256], &[small], &[], &[31]),
                group(&["pdq", "ecfp"], &[0], &[usize::MAX], &[10], &[]),
            ];
        }
        vec![
            group(
                &["clustered"],
                &[64, 128, 256],
                &[small, middle, large],
                &[10],
                &[],
            ),
            group(&["uniform"], &[64, 256], &[small, middle], &[10], &[]),
            group(&["duplicates"], &[64], &[middle], &[10, 100], &[]),
            group(&["planted"], &[256], &[middle, large], &[], &[31]),
            group(&["pdq", "orb", "ecfp"], &[0], &[usize::MAX], &[10], &[]),
        ]
    }

    /// Every work, with its questions.
    fn jobs(&self) -> Result<Vec<Job>> {
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
                let queries = self.queries.unwrap_or(if self.quick { 200 } else { 1_000 });
                let shapes = bits
                    .iter()
                    .flat_map(|bits| rows.iter().map(move |rows| (bits, rows)));
                jobs.extend(shapes.map(|(&bits, &rows)| Job {
                    wanted: Some(Wanted {
                        name: name.clone(),
                        bits,
                        rows,
                        queries,
                        seed: self.seed,
                    }),
                    ks: group.ks.clone(),
                    radii: group.radii.clone(),
                }));
            }
        }
        Ok(jobs)
    }

    fn systems(&self) -> Result<Vec<System>> {
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

fn measure(arguments: &RunArgs, root: &Path) -> Result<()> {
    let say = |text: &str| eprintln!("  {text}");
    let jobs = arguments.jobs()?;
    let systems = arguments.systems()?;
    let data = std::env::var_os("BITKIN_DATA").map(PathBuf::from);
    let places = Places {
        cache: arguments
            .cache
            .clone()
            .unwrap_or_else(|| root.join("target/bench-cache")),
        data: data.unwrap_or_else(|| root.join("../shared/data")),
    };
    std::fs::create_dir_all(&places.cache).map_err(codes::named(&places.cache))?;
    std::fs::create_dir_all(&arguments.out).map_err(codes::named(&arguments.out))?;
    let commit = peers::commit(root);
    let quick = arguments.quick;
    let mut plan = Plan {
        ks: Vec::new(),
        radii: Vec::new(),
        rounds: arguments.rounds.unwrap_or(if quick { 3 } else { 5 }).max(1),
        seconds: arguments.seconds.unwrap_or(if quick { 0.1 } else { 0.5 }),
        patience: Duration::from_secs(arguments.patience.unwrap_or(if quick { 120 } else { 1800 })),
        quick,
        seed: arguments.seed,
        python: None,
        peers: root.join("benches/peers"),
        commit,
        machine: facts(&places.cache)?,
        results: arguments.out.join("results.jsonl"),
        places,
        systems,
    };
    // All that can be wrong is said before the first long step.
    for job in &jobs {
        if let Some(wanted) = &job.wanted
            && work::is_generated(&wanted.name)?
        {
            run::check(wanted, &job.ks, &job.radii)?;
        }
    }
    let old = arguments
        .compare
        .as_deref()
        .map(record::read_existing)
        .transpose()?;
    record::read(&plan.results)?;
    if plan
        .systems
        .iter()
        .any(|system| system.border == system::Border::Python)
    {
        plan.python = peers::prepare(root, &plan.places.cache, &plan.commit, &say);
    }
    for Job { wanted, ks, radii } in jobs {
        let work = match (&wanted, arguments.files.as_deref()) {
            (Some(wanted), _) => Work::load(wanted, &plan.places)?,
            (None, Some([rows, queries])) => Some(Work::files(rows, queries, &plan.places)?),
            (None, _) => None,
        };
        let Some(work) = work else {
            let name = wanted.map_or(String::new(), |wanted| wanted.name);
            eprintln!(
                "{name}: its codes are not here ({})",
                plan.places.data.display()
            );
            continue;
        };
        eprintln!(
            "{}, {} bits, {} rows",
            work.name,
            work.bits,
            record::short(work.rows.rows())
        );
        (plan.ks, plan.radii) = (ks, radii);
        plan.run(&work, &say)?;
    }
    let lines = record::read(&plan.results)?;
    print!("{}", report::summary(&lines));
    if let Some(old) = old {
        print_changes(&old, &lines);
    }
    println!("{}", write_page(&arguments.out, &plan.commit)?.display());
    Ok(())
}

fn facts(cache: &Path) -> Result<BTreeMap<String, String>> {
    let facts = machine::facts(cache);
    let mut facts: BTreeMap<String, String> = facts
        .into_iter()
        .map(|(name, fact)| (name.to_owned(), fact))
        .collect();
    let simd = bitkin::kernels::Kernels::get()?.name();
    facts.insert("simd".to_owned(), simd.to_owned());
    Ok(facts)
}

/// Writes the page of a folder of results, and returns its path.
fn write_page(dir: &Path, commit: &str) -> Result<PathBuf> {
    let lines = record::read(&dir.join("results.jsonl"))?;
    let quality = quality::read(&dir.join("quality.jsonl"))?;
    if lines.is_empty() && quality.is_empty() {
        return Err(format!("{} has no results", dir.display()).into());
    }
    let page = dir.join("report.html");
    std::fs::write(&page, report::page(&lines, &quality, commit)?).map_err(codes::named(&page))?;
    Ok(page)
}

fn print_changes(old: &[record::Line], new: &[record::Line]) {
    let changes = compare::changes(old, new);
    if changes.is_empty() {
        println!("the two have no measurement in common");
        return;
    }
    let (loud, quiet): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.beyond_noise);
    for change in &loud {
        println!("{:>7.2} times as fast: {}", change.ratio, change.what);
    }
    println!(
        "{} changed beyond noise, {} did not",
        loud.len(),
        quiet.len()
    );
}

fn measure_quality(arguments: &QualityArgs, root: &Path) -> Result<()> {
    let commit = peers::commit(root);
    let files = (
        &arguments.rows,
        &arguments.row_labels,
        &arguments.queries,
        &arguments.query_labels,
    );
    let (rows, queries) = match (files, arguments.collection.as_deref()) {
        ((Some(rows), Some(row_labels), Some(queries), Some(query_labels)), _) => {
            let mut classes = BTreeMap::new();
            (
                Labelled::files(rows, row_labels, &mut classes)?,
                Labelled::files(queries, query_labels, &mut classes)?,
            )
        }
        (_, Some([database, name])) => Labelled::collections(
            Path::new(database),
            name,
            arguments.asked.as_deref(),
            &arguments.label,
        )?,
        _ => return Err("say --rows and --queries with their labels, or --collection".into()),
    };
    let k = arguments.k.unwrap_or(1000.min(rows.len()));
    let found = Quality::measure(&arguments.name, &rows, &queries, k, &commit)?;
    std::fs::create_dir_all(&arguments.out).map_err(codes::named(&arguments.out))?;
    quality::append(&arguments.out.join("quality.jsonl"), &found)?;
    println!(
        "{}: mAP {:.4}, mAP@{} {:.4}, precision within 2 {:.4}",
        found.work, found.map, found.k, found.map_at_k, found.precision_within_2
    );
    println!("{}", write_page(&arguments.out, &commit)?.display());
    Ok(())
}

fn count_instructions(compare: Option<&Path>, root: &Path) -> Result<()> {
    let old = compare
        .map(instructions::read)
        .transpose()?
        .unwrap_or_default();
    instructions::count(&peers::commit(root), |line| {
        println!("{line}");
        let name = instructions::name(&line);
        let before = old.iter().find(|(known, _)| *known == name);
        if let (Some((_, before)), Some(now)) = (before, line["instructions_per_row"].as_f64())
            && (now / before - 1.0).abs() > 0.005
        {
            eprintln!("{name}: {before:.2} -> {now:.2} instructions a row");
        }
    })
}

fn convert(file: &Path, dir: &Path, root: &Path) -> Result<()> {
    if !file.exists() {
        return Err(format!("{} is not there", file.display()).into());
    }
    let cache = root.join("target/bench-cache");
    std::fs::create_dir_all(&cache)?;
    let python = peers::environment(root, &cache, &|text| eprintln!("  {text}"))?;
    std::fs::create_dir_all(dir).map_err(codes::named(dir))?;
    let mut command = std::process::Command::new(python);
    command
        .arg(root.join("benches/peers/convert.py"))
        .arg(file)
        .arg(dir);
    match command.status()?.success() {
        true => Ok(()),
        false => Err("it could not be converted".into()),
    }
}
