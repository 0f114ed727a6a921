//! Arguments of the verbs that change rows: `create`, `import`, `upsert`, `delete`, `ingest`, `dedupe`, `drop`.

use bitkin::{Filter, IndexField};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

use super::{Format, bits, filter, index_field};

/// Arguments of `create`.
#[derive(Debug, Args)]
#[command(after_help = "\
A field that is declared with --index gets an index, by which search --where finds rows without \
reading their payloads; what is found is the same. a.b is the key b of the object a.

--planes is for wide codes of which each search looks at some bits (search --mask): the codes are stored once more, \
bit by bit, and such a search reads its bits and no others.

Examples:
  bitkin create photos.bitkin hashes --bits 256
  bitkin create photos.bitkin scans --bits 256 --index year:int --index exif.camera:text
  bitkin create photos.bitkin wide --bits 20000 --planes
  bitkin create photos.bitkin birds --model birds.safetensors
  bitkin create photos.bitkin copies --encoder pdq")]
pub(crate) struct Create {
    /// The database: a directory, made if it does not exist
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The new collection
    pub(crate) name: String,
    /// What its codes are made by
    #[command(flatten)]
    pub(crate) kind: Kind,
    /// A payload field to filter by; KIND is int, float, text or bool (repeatable)
    #[arg(long, value_name = "FIELD:KIND", value_parser = index_field)]
    pub(crate) index: Vec<IndexField>,
    /// Store the codes once more, bit by bit, for search --mask
    #[arg(long)]
    pub(crate) planes: bool,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// What a collection's codes are.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Kind {
    /// Codes of this many bits, made elsewhere
    #[arg(long, value_name = "N", value_parser = bits())]
    pub(crate) bits: Option<u32>,
    /// Codes of pictures, made by this model (.safetensors)
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Codes of pictures, made without a model: pdq finds near-duplicates
    #[arg(long, value_enum)]
    pub(crate) encoder: Option<BuiltInEncoder>,
}

/// Encoders that need no model.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BuiltInEncoder {
    /// Perceptual hashes of 256 bits; pictures within distance 31 are taken for the same one.
    Pdq,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
In a .npy file the codes are a two-dimensional uint8 array of ceil(bits/8) bytes a row, as made by \
np.packbits(bits, axis=1, bitorder=\"little\"). In a .jsonl file each line is a row: \
{\"id\": 7, \"code\": \"0f1e...\", \"payload\": {\"year\": 2020}}; the code is hexadecimal. A .parquet file has \
the columns id (uint64), code (binary) and payload (JSON as text). Id and payload may be left out. \
Without ids the rows get those that follow the largest one. All rows are checked before the first is \
written. - reads JSON lines, or Parquet, from standard input.

Examples:
  bitkin import photos.bitkin hashes pdq.npy
  bitkin import photos.bitkin hashes pdq.npy --ids keys.npy --payloads tags.jsonl
  bitkin import photos.bitkin hashes rows.jsonl
  bitkin import photos.bitkin hashes rows.parquet
  zcat rows.jsonl.gz | bitkin import photos.bitkin hashes -")]
pub(crate) struct Import {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// What to insert
    #[command(flatten)]
    pub(crate) rows: RowFiles,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Files with rows.
#[derive(Debug, Args)]
pub(crate) struct RowFiles {
    /// The codes, or whole rows; - is standard input
    #[arg(value_name = "FILE.npy|FILE.jsonl|FILE.parquet|-")]
    pub(crate) file: PathBuf,
    /// Ids of the codes in a .npy file, one a code
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) ids: Option<PathBuf>,
    /// Payloads of the codes in a .npy file: a line of JSON for each, null for none
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) payloads: Option<PathBuf>,
}

/// Arguments of `upsert`.
#[derive(Debug, Args)]
#[command(after_help = "\
The files are those of import; every row needs an id. A row whose id exists is replaced, with its \
payload; any other is inserted. All rows are checked before the first is written.

Examples:
  bitkin upsert photos.bitkin hashes pdq.npy --ids keys.npy
  bitkin upsert photos.bitkin hashes rows.jsonl")]
pub(crate) struct Upsert {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// What to insert
    #[command(flatten)]
    pub(crate) rows: RowFiles,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
All rows that are named are deleted, or none. Ids that are not there are passed over. The conditions \
of --where are those of bitkin search.

Examples:
  bitkin delete photos.bitkin hashes --ids 1,2,5-9
  bitkin delete photos.bitkin hashes --ids-file keys.npy
  bitkin delete photos.bitkin scans --where \"year < 1990\"")]
pub(crate) struct Delete {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// What to delete
    #[command(flatten)]
    pub(crate) rows: Condemned,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Rows to be deleted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Condemned {
    /// Ids, and ranges of ids
    #[arg(long, value_name = "1,2,5-9", allow_hyphen_values = true)]
    pub(crate) ids: Option<String>,
    /// Many ids
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) ids_file: Option<PathBuf>,
    /// Every row for which this is true
    #[arg(long = "where", value_name = "EXPR", value_parser = filter)]
    pub(crate) filter: Option<Filter>,
}

/// Arguments of `ingest`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each row carries the picture's source, the SHA-256 of its file and its label, the name of the folder \
it lies in. Pictures whose content is already there are passed over, so an interrupted ingest goes on \
where it stopped when it is started again. Pictures that cannot be read are named and left out.

With --watch it stays after that and inserts pictures as they come into the folders, until Ctrl-C. A file is \
taken when nothing was written to it for half a second; one that changes is taken again, as a row of its \
own. Rows stay when their files are deleted or moved: bitkin delete --where \"source like ...\" takes them out. \
The database is open for writing all the while; others can read it.

Examples:
  bitkin ingest photos.bitkin birds ~/pictures/birds
  bitkin ingest photos.bitkin birds birds.tar --strict
  bitkin ingest photos.bitkin birds ~/pictures/incoming --watch")]
pub(crate) struct Ingest {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection, created with --model or --encoder
    pub(crate) name: String,
    /// Folders (searched to their depths), .tar archives, pictures
    #[arg(value_name = "DIR|FILE.tar", required = true)]
    pub(crate) sources: Vec<PathBuf>,
    /// Stop at the first picture that cannot be read
    #[arg(long)]
    pub(crate) strict: bool,
    /// Threads that decode pictures [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Stop after so many pictures
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Go on with what comes into the folders, until Ctrl-C
    #[arg(long, conflicts_with_all = ["strict", "limit"])]
    pub(crate) watch: bool,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `dedupe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every group is a row that is kept, the one with the least id, and rows within the radius of it. Nothing is \
changed without --delete. In a collection made with --encoder pdq the radius is 31 if it is left out, and
without --where pictures whose quality is below 50 are then left alone.

Examples:
  bitkin dedupe photos.bitkin copies
  bitkin dedupe photos.bitkin copies --html duplicates.html
  bitkin dedupe photos.bitkin copies --delete
  bitkin dedupe photos.bitkin hashes --radius 0 --format json")]
pub(crate) struct Dedupe {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// Rows that differ in at most so many bits are taken for the same
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub(crate) radius: Option<u32>,
    /// Only rows for which this is true
    #[arg(long = "where", value_name = "EXPR", value_parser = filter)]
    pub(crate) filter: Option<Filter>,
    /// Delete the rows that are not kept
    #[arg(long)]
    pub(crate) delete: bool,
    /// Make a page of the results too, with the pictures in it
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: Option<PathBuf>,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `drop`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bitkin drop photos.bitkin birds")]
pub(crate) struct Drop {
    /// The database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// The collection
    pub(crate) name: String,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}
