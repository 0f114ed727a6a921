//! Arguments of the verbs that keep a whole database in order: `verify`, `compact`, `backup`, `repair`.

use clap::Args;
use std::path::PathBuf;

use super::Format;

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads every byte, checks every checksum and every reference between files, changes nothing. The exit \
code is 1 if anything is wrong.

Examples:
  bitkin verify photos.bitkin")]
pub(crate) struct Verify {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `compact`.
#[derive(Debug, Args)]
#[command(after_help = "\
Deleted and replaced rows are in no file of the database any more when this is done, save in files that \
another process still reads. Searches are fastest then, too. Needs as much free disk as the collection \
takes.

Examples:
  bitkin compact photos.bitkin
  bitkin compact photos.bitkin birds")]
pub(crate) struct Compact {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// One collection [default: all]
    pub(crate) name: Option<String>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
The copy is of one moment, though other processes read and write meanwhile. Files that never change are \
hard links where both directories are on one file system: that takes no space, but protects against \
mistakes only, not against a failing disk.

Examples:
  bitkin backup photos.bitkin /mnt/backup/photos-2026-11-21.bitkin")]
pub(crate) struct Backup {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The copy: a directory, made if it does not exist; else it must be empty
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `repair`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is written to the damaged database. Every row whose bytes pass their checksums is taken over, \
even where the manifest is gone; what is lost is listed, a line each. The exit code is 1 if anything is.

Examples:
  bitkin repair photos.bitkin saved.bitkin")]
pub(crate) struct Repair {
    /// The damaged database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The new one: a directory, made if it does not exist; else it must be empty
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
