//! The one grammar of the program: verbs, their arguments and their help.
//!
//! A line of the command line and a line typed elsewhere (in a shell, the demo's own steps) go through
//! the same parser. Every verb that works on a database calls it `database` and names it first, so that a
//! shell, which has one open, can put it in for the user: see [`shell`].

mod reading;
pub(crate) mod shell;

use bitkin::{Filter, IndexField};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell as ShellKind;
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) use reading::{
    Bench, Explain, Get, Likeness, Mask, Search, Stats, StatsFormat, Verify, Wanted,
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
    Train(Passed),
    /// Make a model for new classes out of another; the arguments go to bitkin-train
    Adapt(Passed),
    /// Measure retrieval, and make a page of it with --html FILE; the other arguments go to bitkin-train
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

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Pictures of your own: --images DIR holds a folder for each class, or two folders base/ and novel/ \
that hold the folders of the classes. Without base/ and novel/ the classes are split by name: in \
sorted order, the last 40 % are novel (at least two), the others base (at least two). A class needs \
15 pictures; of large classes 150 are drawn by chance.

Examples:
  bitkin demo
  bitkin demo --images ~/birds --bits 128 --out birds-demo
  bitkin demo --weights mobilenet.safetensors --seed 7")]
pub(crate) struct Demo {
    /// Pictures of your own, a folder for each class [default: the demo draws its own]
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// A backbone (.safetensors) [default: the one that ships with Bitkin]
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Where pictures, model, database and page are left
    #[arg(long, value_name = "DIR", default_value = "bitkin-demo")]
    pub(crate) out: PathBuf,
    /// Another seed: other pictures, other examples
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Width of the codes
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = bits())]
    pub(crate) bits: u32,
    /// How strongly the drawn pictures are disturbed, from 0 to 1
    #[arg(long, value_name = "X", hide = true, default_value_t = crate::demo::STRENGTH)]
    pub(crate) strength: f32,
}

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
    #[arg(long, value_name = "1,2,5-9")]
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
    #[arg(long, value_name = "R")]
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

/// Arguments of `model`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bitkin model info birds.safetensors
  bitkin model import resnet18.safetensors --out backbone.safetensors
  bitkin model convert birds.safetensors --weights f16 --out smaller.safetensors")]
pub(crate) struct Model {
    /// What to do
    #[command(subcommand)]
    pub(crate) action: ModelAction,
}

/// What is done with model files.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelAction {
    /// Say what a model file holds
    Info(ModelInfo),
    /// Take over the weights of a backbone; the arguments go to bitkin-train
    Import(Passed),
    /// Store a model's weights in another precision; the arguments go to bitkin-train
    Convert(Passed),
}

/// Arguments of `model info`.
#[derive(Debug, Args)]
pub(crate) struct ModelInfo {
    /// The model file (.safetensors)
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How results are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Arguments of `shell`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every line is a verb of bitkin, without the name of the database: search birds --image wren.jpg -k 5. In a \
terminal there are completion (Tab), a history (arrow up, Ctrl-R) and hints; Ctrl-C cancels what runs. \
Otherwise, and with -c, lines are run until one fails, and the exit code is that line's; # begins a \
comment. A line that begins with bitkin is a whole command line, of another database if it names one.

The database is opened to write if it can be, otherwise to read; in the latter case every line sees what \
others have written before it. The history is kept in bitkin/history in the folder for state of the user \
($XDG_STATE_HOME), or in $BITKIN_HISTORY; lines that begin with a space are not.

Examples:
  bitkin shell photos.bitkin
  bitkin shell photos.bitkin -c stats -c 'search birds --image wren.jpg -k 5'
  bitkin shell photos.bitkin --read-only --keep-going < questions.txt")]
pub(crate) struct Shell {
    /// The database; create makes it if it does not exist
    #[arg(value_name = "DB", value_hint = ValueHint::DirPath)]
    pub(crate) database: PathBuf,
    /// Run this line instead of reading any (repeatable)
    #[arg(short = 'c', value_name = "LINE", allow_hyphen_values = true)]
    pub(crate) lines: Vec<String>,
    /// Open the database to read, though nobody writes it
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Go on with the next line when one fails
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Tell how long each line took, as in a terminal
    #[arg(long)]
    pub(crate) timing: bool,
    /// Neither read the history nor write it
    #[arg(long)]
    pub(crate) no_history: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bitkin completions bash > ~/.local/share/bash-completion/completions/bitkin
  bitkin completions zsh > ~/.zfunc/_bitkin
  bitkin completions fish > ~/.config/fish/completions/bitkin.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: ShellKind,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes bitkin.1 and a page for each verb. man reads them from man1 in the folders of its path.

Examples:
  bitkin man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Where the pages are written: a directory, made if it does not exist
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

/// Arguments that another program understands.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Passed {
    /// Arguments of bitkin-train (--help shows them)
    #[arg(
        value_name = "ARGUMENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) arguments: Vec<OsString>,
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
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.command)
    }

    #[test]
    fn the_grammar_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn every_verb_has_a_help_with_examples() {
        for verb in Line::command().get_subcommands() {
            if matches!(verb.get_name(), "train" | "adapt" | "eval") {
                continue; // Their help is bitkin-train's.
            }
            let help = verb.clone().render_help().to_string();
            assert!(
                help.contains(&format!("Examples:\n  bitkin {}", verb.get_name())),
                "{help}"
            );
        }
    }

    /// The command lines among the examples of a verb's help, without what a shell does with them.
    fn examples(verb: &clap::Command) -> Vec<String> {
        let help = verb
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let lines = help
            .split_once("Examples:\n")
            .map(|(_, lines)| lines.to_owned());
        let lines = lines.unwrap_or_default();
        let commands = lines.lines().filter_map(|line| {
            let parts = line.trim().split(['|', '<', '>']);
            // Conditions hold such signs, too, within quotes.
            match line.contains('"') {
                true => Some(line.trim().to_owned()),
                false => parts
                    .map(str::trim)
                    .find(|part| part.starts_with("bitkin "))
                    .map(str::to_owned),
            }
        });
        commands.collect()
    }

    #[test]
    fn every_example_is_understood() {
        let shell = shell::grammar(std::path::Path::new("photos.bitkin"));
        let mut count = 0;
        for verb in Line::command().get_subcommands() {
            for example in examples(verb) {
                let words = shell_words::split(&example).unwrap();
                let parsed = Line::try_parse_from(&words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
                count += 1;
            }
        }
        assert!(count > 30, "{count}");
        for verb in shell.get_subcommands() {
            let help = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(!help.contains(" photos.bitkin"), "{help}");
            let lines = help
                .split_once("Examples:\n")
                .map_or("", |(_, lines)| lines);
            for line in lines
                .lines()
                .filter(|line| !line.contains(['|', '>']) || line.contains('"'))
            {
                let words = shell_words::split(line).unwrap();
                let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
                let parsed = shell::parse(&shell, &words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn a_whole_search_can_be_explained() {
        for line in [
            "bitkin explain db c --code ff -k 3",
            "bitkin explain search db c --code ff -k 3",
        ] {
            let Ok(Command::Explain(explain)) = parse(line) else {
                panic!("no explanation: {line}");
            };
            let search = explain.search().unwrap();
            assert_eq!((&*search.name, search.wanted.k), ("c", 3));
        }
        assert!(parse("bitkin explain db").is_err());
        assert!(parse("bitkin explain").is_err());
    }

    #[test]
    fn k_and_radius_exclude_each_other() {
        assert!(parse("bitkin search db c --code ff -k 3").is_ok());
        assert!(parse("bitkin search db c --code ff --radius 3").is_ok());
        let both = parse("bitkin search db c --code ff --radius 3 -k 3").unwrap_err();
        assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_search_has_exactly_one_kind_of_query() {
        let none = parse("bitkin search db c").unwrap_err();
        assert_eq!(none.kind(), ErrorKind::MissingRequiredArgument);
        let two = parse("bitkin search db c --code ff --image x.png").unwrap_err();
        assert_eq!(two.kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_collection_has_exactly_one_kind_of_code() {
        assert!(parse("bitkin create db c").is_err());
        assert!(parse("bitkin create db c --bits 8 --model m").is_err());
        assert!(parse("bitkin create db c --bits 7").is_err());
        assert!(parse("bitkin create db c --bits 65537").is_err());
        assert!(parse("bitkin create db c --bits 65536").is_ok());
    }

    #[test]
    fn a_delete_has_exactly_one_kind_of_rows() {
        assert!(parse("bitkin delete db c").is_err());
        assert!(parse("bitkin delete db c --ids 1 --where ok").is_err());
        assert!(parse("bitkin delete db c --ids 1,4-6").is_ok());
        assert!(parse("bitkin delete db c --where ok").is_ok());
    }

    #[test]
    fn fields_are_declared_with_their_kinds() {
        let field = index_field("a:b.\"c\":float");
        assert!(field.is_ok_and(|field| field.field == "a:b.\"c\""));
        for bad in ["year", "year:integer", ":int", "a..b:int"] {
            assert!(index_field(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn training_takes_its_own_options() {
        let Ok(Command::Train(passed)) = parse("bitkin train --base b --help -x") else {
            panic!("not a train command");
        };
        assert_eq!(passed.arguments, ["--base", "b", "--help", "-x"]);
    }
}
