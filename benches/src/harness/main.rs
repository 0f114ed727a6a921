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

mod arguments;
mod codes;
mod compare;
mod generate;
mod instructions;
mod limits;
mod masks;
mod peers;
mod plot;
mod quality;
mod record;
mod report;
mod run;
mod serve;
mod system;
mod targets;
#[cfg(test)]
mod tests;
mod truth;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitkin_benches::{Result, fail, machine};
use clap::{Parser, Subcommand};

use crate::arguments::{Job, Pace, QualityArgs, RunArgs, TargetArgs};
use crate::compare::Kind;
use crate::masks::MaskArgs;
use crate::quality::{Labelled, Quality};
use crate::run::{Modes, Plan};
use crate::system::System;
use crate::work::{Places, Work};

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
    /// Measure all that is aimed at, and print how far each aim is reached
    Targets(TargetArgs),
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
    /// Measure searches that look at few bits of wide codes, beside reading those bits and scanning all
    Masks(MaskArgs),
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
        Some(Verb::Targets(arguments)) => measure_targets(&arguments, &root),
        Some(Verb::Report { dir }) => {
            let page = write_page(&dir, &peers::commit(&root))?;
            println!("{}", page.display());
            Ok(())
        }
        Some(Verb::Compare { old, new }) => {
            print_changes(&record::read_existing(&old)?, &record::read_existing(&new)?)
        }
        Some(Verb::Quality(arguments)) => measure_quality(&arguments, &root),
        Some(Verb::Masks(arguments)) => masks::measure(&arguments),
        Some(Verb::Instructions { compare }) => count_instructions(compare.as_deref(), &root),
        Some(Verb::Convert { file, dir }) => convert(&file, &dir, &root),
        Some(Verb::Serve { system }) => serve::serve(&system),
        Some(Verb::Loop { which, bits, times }) => instructions::run_loop(&which, bits, times),
    }
}

/// How everything is measured in one run.
fn plan(pace: &Pace, quick: bool, systems: Vec<System>, root: &Path) -> Result<Plan> {
    let data = std::env::var_os("BITKIN_DATA").map(PathBuf::from);
    let places = Places {
        cache: pace
            .cache
            .clone()
            .unwrap_or_else(|| root.join("target/bench-cache")),
        data: data.unwrap_or_else(|| root.join("../shared/data")),
    };
    std::fs::create_dir_all(&places.cache).map_err(codes::named(&places.cache))?;
    std::fs::create_dir_all(&pace.out).map_err(codes::named(&pace.out))?;
    let results = pace.out.join("results.jsonl");
    // What is unreadable is said before the first long step.
    record::read(&results)?;
    Ok(Plan {
        ks: Vec::new(),
        radii: Vec::new(),
        modes: Modes::All,
        rounds: pace.rounds.unwrap_or(if quick { 4 } else { 6 }) as usize,
        seconds: pace.seconds.unwrap_or(if quick { 0.1 } else { 0.25 }),
        patience: Duration::from_secs(pace.patience.unwrap_or(if quick { 120 } else { 1800 })),
        quick,
        seed: pace.seed,
        python: None,
        peers: root.join("benches/peers"),
        commit: peers::commit(root),
        machine: facts(&places.cache)?,
        results,
        run: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_millis() as u64),
        build: build()?,
        places,
        systems,
    })
}

fn measure(arguments: &RunArgs, root: &Path) -> Result<()> {
    let say = |text: &str| eprintln!("  {text}");
    let jobs = arguments.jobs()?;
    let systems = arguments.systems()?;
    let mut plan = plan(&arguments.pace, arguments.quick, systems, root)?;
    // All that can be wrong is said before the first long step; making codes is not one of them.
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
    let mut works = Vec::new();
    for job in jobs {
        if let Some(work) = load(&job, arguments, &plan.places)? {
            run::check(&work.as_wanted(), &job.ks, &job.radii)?;
            works.push((work, job.ks, job.radii));
        }
    }
    if plan
        .systems
        .iter()
        .any(|system| system.border == system::Border::Python)
    {
        plan.python = peers::prepare(root, &plan.places.cache, &plan.commit, &say);
    }
    let mut failed = 0;
    for (work, ks, radii) in works {
        eprintln!(
            "{}, {} bits, {} rows",
            work.name,
            work.bits,
            record::short(work.rows.rows())
        );
        (plan.ks, plan.radii) = (ks, radii);
        // The others are worth measuring still.
        if let Err(error) = plan.run(&work, &say) {
            fail(&*error);
            failed += 1;
        }
    }
    let lines = record::read(&plan.results)?;
    print!("{}", report::summary(&lines));
    println!(
        "{}",
        write_page(&arguments.pace.out, &plan.commit)?.display()
    );
    if let Some(old) = old {
        print_changes(&old, &lines)?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} works could not be measured").into()),
    }
}

/// Measures what every target needs, and prints how far each is reached.
fn measure_targets(arguments: &TargetArgs, root: &Path) -> Result<()> {
    let say = |text: &str| eprintln!("  {text}");
    let mut plan = plan(&arguments.pace, false, Vec::new(), root)?;
    plan.python = peers::prepare(root, &plan.places.cache, &plan.commit, &say);
    let table = targets::measure(&mut plan, arguments, &say)?;
    print!("{table}");
    let file = arguments.pace.out.join("targets.md");
    std::fs::write(&file, table).map_err(codes::named(&file))?;
    println!(
        "{}",
        write_page(&arguments.pace.out, &plan.commit)?.display()
    );
    Ok(())
}

/// The work of a job, made or read; `None` and a word why if its codes are not here.
fn load(job: &Job, arguments: &RunArgs, places: &Places) -> Result<Option<Work>> {
    let row_bytes = arguments.row_bytes.map(|bytes| bytes as usize);
    let work = match (&job.wanted, arguments.files.as_deref()) {
        (Some(wanted), _) => Work::load(wanted, places)?,
        (None, Some([rows, queries])) => Some(Work::files(rows, queries, row_bytes, places)?),
        (None, _) => None,
    };
    if work.is_none() {
        let name = job.wanted.as_ref().map_or("", |wanted| &wanted.name);
        eprintln!("{name}: its codes are not here ({})", places.data.display());
    }
    Ok(work)
}

/// Hash of this program.
fn build() -> Result<String> {
    let program = std::env::current_exe()?;
    let bytes = std::fs::read(&program).map_err(codes::named(&program))?;
    Ok(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes)))
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

/// Prints what changed, and fails if anything is worse.
fn print_changes(old: &[record::Line], new: &[record::Line]) -> Result<()> {
    let changes = compare::changes(old, new)?;
    for change in &changes {
        let what = &change.what;
        match change.kind {
            Kind::Gone => println!("gone, or failed: {what}"),
            Kind::FindsLess(old, new) | Kind::FindsMore(old, new) => {
                println!("recall {old:.4} -> {new:.4}: {what}");
            }
            Kind::Slower(ratio) | Kind::Faster(ratio) => {
                println!("{ratio:.2} times as fast: {what}");
            }
            Kind::Same => {}
        }
    }
    let same = changes
        .iter()
        .filter(|change| change.kind == Kind::Same)
        .count();
    println!(
        "{} changed beyond noise, {same} did not",
        changes.len() - same
    );
    match changes
        .iter()
        .filter(|change| change.kind.is_worse())
        .count()
    {
        0 => Ok(()),
        worse => Err(format!("{worse} are worse than before").into()),
    }
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
