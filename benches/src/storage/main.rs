//! Measures the storage engine: one command for each figure, and `all` for all of them.
//!
//! ```text
//! cargo run --release -p bitkin-benches --bin storage -- ingest
//! ```
//!
//! Every figure comes with what it is to be judged by, measured in the same run and in turns with
//! it: a plain file with the same bytes and syncs, or another database. Times are of a monotonic
//! clock; where something is measured again and again, the median stands with the least and the most.
//! Each command works in a temporary folder, by default in the current one, so on its file system,
//! and removes it.

#![allow(clippy::print_stdout, reason = "printing is its purpose")]

mod amplification;
mod commits;
mod counting;
mod data;
mod ingest;
mod log;
mod open;
mod plain;
mod readers;
mod report;
mod size;

use std::path::PathBuf;
use std::process::ExitCode;

use bitkin_benches::{Result, fail, machine};
use clap::{Args, Parser, ValueEnum};
use tempfile::TempDir;

use crate::report::Report;

/// Measures the storage engine of Bitkin.
#[derive(Debug, Parser)]
#[command(name = "storage", max_term_width = 100)]
struct Line {
    /// What to measure
    figure: Figure,
    #[command(flatten)]
    extent: Extent,
    /// Where the temporary folder is made, and so on which file system [default: here]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Print JSON objects, one a line, instead of tables
    #[arg(long)]
    json: bool,
}

/// The figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Durable ingest in batches of 10,000, until all is flushed and merged
    Ingest,
    /// The log alone, beside a plain file
    Log,
    /// Single-row commits a second, beside SQLite and redb
    Commits,
    /// Time to open a database
    Open,
    /// Bytes on disk a row, by part
    Size,
    /// Bytes written, and bytes on disk, for each byte of rows, over a mixed run
    Amplification,
    /// Latency of readers while a merge runs, and while none does
    Readers,
    /// All of the above, in that order
    All,
}

/// How much is measured; what is not given is each figure's own.
#[derive(Clone, Copy, Debug, Args)]
struct Extent {
    /// Rows, or operations; for `open`, rows of the largest database
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// How often a measurement is taken, in turns with what it is compared with
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Seconds of a measurement, where it is time that bounds it
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Take half a minute at most: to see that all works, not to quote
    #[arg(long)]
    quick: bool,
}

impl Extent {
    fn rows(&self, whole: u64, quick: u64) -> u64 {
        let own = if self.quick { quick } else { whole };
        self.rows.unwrap_or(own).max(1)
    }

    fn rounds(&self, whole: usize, quick: usize) -> usize {
        let own = if self.quick { quick } else { whole };
        self.rounds.unwrap_or(own).max(1)
    }

    fn seconds(&self, whole: f64, quick: f64) -> f64 {
        let own = if self.quick { quick } else { whole };
        self.seconds.unwrap_or(own).max(0.001)
    }
}

/// What every measurement is given.
struct Bench {
    extent: Extent,
    report: Report,
    dir: TempDir,
}

impl Bench {
    /// A path in the temporary folder at which there is nothing.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn main() -> ExitCode {
    let line = Line::parse();
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(line: Line) -> Result<()> {
    let parent = line.dir.map_or_else(std::env::current_dir, Ok)?;
    let dir = tempfile::Builder::new()
        .prefix("bitkin-storage-bench-")
        .tempdir_in(&parent)?;
    let bench = Bench {
        extent: line.extent,
        report: Report::new(line.json),
        dir,
    };
    bench.report.machine(&machine::facts(bench.dir.path()));
    let figures: &[fn(&Bench) -> Result<()>] = match line.figure {
        Figure::Ingest => &[ingest::measure],
        Figure::Log => &[log::measure],
        Figure::Commits => &[commits::measure],
        Figure::Open => &[open::measure],
        Figure::Size => &[size::measure],
        Figure::Amplification => &[amplification::measure],
        Figure::Readers => &[readers::measure],
        Figure::All => &[
            ingest::measure,
            log::measure,
            commits::measure,
            open::measure,
            size::measure,
            amplification::measure,
            readers::measure,
        ],
    };
    for measure in figures {
        measure(&bench)?;
    }
    bench.dir.close()?;
    Ok(())
}
