//! Arguments of the verbs that read: `search`, `explain`, `bench`, `get`, `stats`, `export`.

use bitkin::{Budget, Filter};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

use super::{Format, filter, seconds};

/// Arguments of `search`.
#[derive(Debug, Args)]
#[command(after_help = "\
Results are ordered by distance, then id. With --format json there is one line a query: \
{\"query\", \"ids\", \"distances\", \"certified_radius\", \"exact\"}. The query is the code, the file, or \
the number of the row in FILE.npy. Hits up to the certified radius are certainly right (null: nothing \
is proven).

--where takes a condition in SQL on the fields of the payloads: = <> < <= > >=, [NOT] IN (...), \
BETWEEN x AND y, LIKE and ILIKE with % and _, IS [NOT] NULL, AND, OR, NOT. Texts stand in single \
quotes. A field that is not there is NULL. a.b is the key b of the object a.

--mask and --mask-bits say which bits count: distances are of those bits alone, and so is the certified radius. \
Collections created with --planes are searched fastest so.

--like makes up a category on the spot: pictures of it are encoded, and those bits selected that best tell them \
from those of --unlike, if any, and from rows of the collection. What has these bits as the examples have them is found; with \
--image, what agrees with that picture in them.

--html makes one file that a browser shows anywhere: queries, what was found, distances, payloads, and how \
much of it is certain. The pictures are those that the payloads name as their sources, if they are still there \
and the same; codes without pictures are drawn bit by bit. At most 50 queries and 1,000 rows are shown.

Examples:
  bitkin search photos.bitkin hashes --code 0f1e2d3c4b5a6978
  bitkin search photos.bitkin birds --image wren.jpg -k 5 --show
  bitkin search photos.bitkin birds --image wren.jpg --html wren.html
  bitkin search photos.bitkin hashes --queries q.npy --radius 31 --format json
  bitkin search photos.bitkin hashes --code 0f1e2d3c4b5a6978 --mask-bits 0,3,16-31
  bitkin search photos.bitkin birds --like owls/ --unlike hawks/ --html owls.html
  bitkin search photos.bitkin scans --code 0f1e2d3c4b5a6978 --where \"year >= 2020 and label <> 'cat'\"")]
// Whether `explain` was given a search of its own is told by a group with a member.
#[group(arg = "name")]
pub(crate) struct Search {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// What to search for
    #[command(flatten)]
    pub(crate) query: Query,
    /// Which rows to find
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// Which bits count
    #[command(flatten)]
    pub(crate) mask: Mask,
    /// What unlike pictures there are, and how many bits are selected
    #[command(flatten)]
    pub(crate) likeness: Likeness,
    /// Make a page of the results too, with the pictures in it
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: Option<PathBuf>,
    /// Show the pictures in the terminal too, if it can
    #[arg(long)]
    pub(crate) show: bool,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Searches as `search` does, one query at a time, and tells for each segment (and for the rows in memory) \
whether its tables were asked or its codes were scanned, what either was expected to take, what it took, how \
many shells of keys, buckets and candidates were looked at, and to which distance nothing is missing.

Examples:
  bitkin explain photos.bitkin hashes --code 0f1e2d3c4b5a6978
  bitkin explain photos.bitkin hashes --queries q.npy --radius 31 --format json")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Explain {
    /// The search
    #[command(flatten)]
    plain: Option<Search>,
    /// The search, as it was typed before it was to be explained
    #[command(subcommand)]
    whole: Option<Explained>,
}

/// What can be explained.
#[derive(Debug, Subcommand)]
enum Explained {
    /// The same, put before a whole search
    Search(Search),
}

impl Explain {
    /// The search.
    pub(crate) fn search(&self) -> Option<&Search> {
        let whole = self.whole.as_ref().map(|Explained::Search(search)| search);
        whole.or(self.plain.as_ref())
    }
}

/// What to search for.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Query {
    /// A code: its bytes in the order they are stored, two hexadecimal digits each
    #[arg(long, value_name = "HEX", conflicts_with_all = ["image", "queries", "like"])]
    pub(crate) code: Option<String>,
    /// A picture, encoded by the collection's model
    #[arg(long, value_name = "FILE", conflicts_with = "queries")]
    pub(crate) image: Option<PathBuf>,
    /// Many codes, as for import
    #[arg(long, value_name = "FILE.npy", conflicts_with = "like")]
    pub(crate) queries: Option<PathBuf>,
    /// Pictures of what is sought: folders, .tar archives, pictures (repeatable)
    #[arg(long, value_name = "DIR|FILE", conflicts_with_all = ["mask", "mask_bits"])]
    pub(crate) like: Vec<PathBuf>,
}

/// How bits are selected by examples.
#[derive(Debug, Args)]
pub(crate) struct Likeness {
    /// Pictures of what is not sought, beside rows of the collection (repeatable)
    #[arg(long, value_name = "DIR|FILE", requires = "like")]
    pub(crate) unlike: Vec<PathBuf>,
    /// How many bits are selected [default: as many as add something, at most 64]
    #[arg(long, value_name = "N", requires = "like", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) select_bits: Option<u32>,
}

/// Which bits of the codes count; all of them if nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Mask {
    /// Only the bits that are set in this count: as a code, two hexadecimal digits a byte
    #[arg(long, value_name = "HEX")]
    pub(crate) mask: Option<String>,
    /// Only these bits count, by their numbers, from 0
    #[arg(long, value_name = "1,5,900-950")]
    pub(crate) mask_bits: Option<String>,
}

/// Which rows a search finds.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// How many to find
    #[arg(
        short,
        value_name = "N",
        default_value_t = 10,
        conflicts_with = "radius"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub(crate) k: u32,
    /// Find everything within this distance instead
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub(crate) radius: Option<u32>,
    /// Only among rows for which this is true
    #[arg(long = "where", value_name = "EXPR", value_parser = filter)]
    pub(crate) filter: Option<Filter>,
    /// End each query after so many candidates (20000), or after such a time (50us, 2ms); the certified
    /// radius then says which hits are certainly right
    #[arg(long, value_name = "N|TIME", value_parser = budget)]
    pub(crate) budget: Option<Budget>,
}

/// Candidates, or a time with its unit.
fn budget(text: &str) -> Result<Budget, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let wrong = || "say a number of candidates, or a time as 50us, 2ms or 1s".to_owned();
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    Ok(match unit {
        "" => Budget::Candidates(number),
        "us" => Budget::Time(Duration::from_micros(number)),
        "ms" => Budget::Time(Duration::from_millis(number)),
        "s" => Budget::Time(Duration::from_secs(number)),
        _ => return Err(wrong()),
    })
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Queries are drawn from the rows, with up to a sixteenth of their bits flipped, unless a file has them. \
Asked one by one by one thread, in batches by one, and in batches by all. The first answers are checked \
by brute force: the recall says what share of what there is they found. Nothing is written; a server \
that works beside it is measured with it.

Examples:
  bitkin bench photos.bitkin hashes
  bitkin bench photos.bitkin hashes --radius 31 --queries q.npy --format json")]
pub(crate) struct Bench {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// Queries of your own, as for search [default: drawn from the rows]
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) queries: Option<PathBuf>,
    /// How many to draw
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        conflicts_with = "queries"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// Another seed draws others
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Which rows to find
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// Seconds of each of the three measurements
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Threads of the last measurement [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bitkin get photos.bitkin birds 42
  bitkin get photos.bitkin birds 42 --show
  bitkin get photos.bitkin birds 42 --html bird.html
  bitkin get photos.bitkin birds 42 --format json")]
pub(crate) struct Get {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// The row
    #[arg(allow_negative_numbers = true)]
    pub(crate) id: u64,
    /// Make a page of the results too, with the pictures in it
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: Option<PathBuf>,
    /// Show the pictures in the terminal too, if it can
    #[arg(long)]
    pub(crate) show: bool,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `stats`.
#[derive(Debug, Args)]
#[command(after_help = "\
Bytes a row are those of the segments, over their rows. --format prometheus gives the figures as Prometheus \
reads them, such as from a file of node_exporter's textfile collector.

Examples:
  bitkin stats photos.bitkin
  bitkin stats photos.bitkin birds --format json
  bitkin stats photos.bitkin --format prometheus")]
pub(crate) struct Stats {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// One collection [default: all]
    pub(crate) name: Option<String>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: StatsFormat,
}

/// How figures are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON object a collection, and nothing else.
    Json,
    /// The text format of Prometheus.
    Prometheus,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
The rows are those of one moment, by ascending id, though others write meanwhile. What import reads again is \
the same: ids, codes and payloads. A .npy file holds the codes alone: --ids and --payloads write the rest \
beside it. A .parquet file has the columns id (uint64), code (binary of a fixed size) and payload (JSON as text, \
nullable). A file is there when it is whole, in place of one that was there, or not at all.

Examples:
  bitkin export photos.bitkin hashes rows.parquet
  bitkin export photos.bitkin hashes codes.npy --ids ids.npy --payloads payloads.jsonl
  bitkin export photos.bitkin scans cats.jsonl --where \"label = 'cat'\"
  bitkin export photos.bitkin hashes - | gzip > rows.jsonl.gz")]
pub(crate) struct Export {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// The new file; - writes JSON lines to standard output
    #[arg(value_name = "FILE.npy|FILE.jsonl|FILE.parquet|-")]
    pub(crate) file: PathBuf,
    /// Ids, beside codes in a .npy file
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) ids: Option<PathBuf>,
    /// Payloads, beside codes in a .npy file: a line of JSON for each, null for none
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) payloads: Option<PathBuf>,
    /// Only rows for which this is true
    #[arg(long = "where", value_name = "EXPR", value_parser = filter)]
    pub(crate) filter: Option<Filter>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
