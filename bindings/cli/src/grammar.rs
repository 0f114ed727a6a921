//! The one grammar of the program: verbs, their arguments and their help.
//!
//! A line of the command line and a line typed elsewhere (in a shell, the demo's own steps) go through
//! the same parser. Every verb that works on a database calls it `database` and names it first, so that a
//! shell, which has one open, can put it in for the user: see [`shell`].

mod beside;
mod reading;
pub(crate) mod shell;
mod upkeep;
mod writing;

use bitkin::{Filter, IndexField};
use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use beside::{Completions, Demo, Man, Model, ModelAction, ModelInfo, Passed, Shell};
pub(crate) use reading::{
    Bench, Explain, Export, Get, Likeness, Mask, Search, Stats, StatsFormat, Wanted,
};
pub(crate) use upkeep::{Backup, Compact, Repair, Verify};
pub(crate) use writing::{
    BuiltInEncoder, Create, Dedupe, Delete, Drop, Import, Ingest, RowFiles, Upsert,
};

/// Bitkin finds the kin of any image, or of any binary code, by its bits.
///
/// A database is a directory; it holds collections of binary codes by name. Pictures are turned
/// into codes as they are ingested; searches are exact, by Hamming distance.
#[derive(Debug, Parser)]
#[command(name = "bitkin", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Line {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  bitkin demo                                        the whole story, in a few minutes
  bitkin create photos.bitkin codes --bits 256       a collection of 256-bit codes
  bitkin import photos.bitkin codes hashes.npy       codes from numpy
  bitkin search photos.bitkin codes --code 9f3c...   the ten nearest codes
  bitkin delete photos.bitkin codes --ids 1,5-9      rows that are no longer wanted
  bitkin export photos.bitkin codes rows.parquet     for pandas, polars, DuckDB

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell the whole story on small pictures, and make a page of its results
    Demo(Demo),
    /// Create a collection (and the database, if there is none)
    Create(Create),
    /// Insert codes from a numpy file, JSON lines or Parquet
    Import(Import),
    /// Write rows to a numpy file, JSON lines or Parquet
    Export(Export),
    /// Insert codes, in place of those that have the same ids
    Upsert(Upsert),
    /// Delete rows
    Delete(Delete),
    /// Insert pictures, encoded as they are written
    Ingest(Ingest),
    /// Find the nearest codes
    Search(Search),
    /// Search, and tell how the answers were found
    Explain(Box<Explain>),
    /// Find rows that are near each other, and delete all but one of them
    Dedupe(Dedupe),
    /// Show one row
    Get(Get),
    /// Show what a database holds
    Stats(Stats),
    /// Read everything in a database and check it
    Verify(Verify),
    /// Write segments anew, without the rows that are deleted
    Compact(Compact),
    /// Copy a database while it is used
    Backup(Backup),
    /// Save what is whole of a damaged database into a new one
    Repair(Repair),
    /// Take a collection away, with all its rows
    Drop(Drop),
    /// Measure searches of a collection: queries a second, latencies, recall
    Bench(Bench),
    /// Train a model; the arguments go to bitkin-train
    #[command(after_help = beside::TRAIN)]
    Train(Passed),
    /// Make a model for new classes out of another; the arguments go to bitkin-train
    #[command(after_help = beside::ADAPT)]
    Adapt(Passed),
    /// Measure retrieval, and make a page of it with --html FILE; the other arguments go to bitkin-train
    #[command(after_help = beside::EVAL)]
    Eval(Passed),
    /// Look into model files, and make some
    Model(Model),
    /// Sit down in front of a database: the same verbs, line by line
    Shell(Shell),
    /// Write what makes a shell such as bash complete verbs and options
    Completions(Completions),
    /// Write manual pages
    Man(Man),
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON object a line, and nothing else.
    Json,
}

/// Widths that a collection can have.
fn bits() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(8..=65_536)
}

/// A filter, or what is wrong with it.
fn filter(text: &str) -> Result<Filter, bitkin::Error> {
    Filter::parse(text)
}

/// Seconds: more than none, at most an hour.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s| *s > 0.0 && *s <= 3600.0);
    seconds.ok_or_else(|| "say a number of seconds, at most 3600".to_owned())
}

/// `FIELD:KIND`, or what is wrong with it.
fn index_field(text: &str) -> Result<IndexField, bitkin::Error> {
    text.parse()
}

#[cfg(test)]
mod tests;
