//! Arguments of the verbs beside the database: `demo`, `train`, `adapt`, `eval`, `model`, `shell`, `completions`, `man`.

use clap::{Args, Subcommand, ValueHint};
use clap_complete::Shell as ShellKind;
use std::ffi::OsString;
use std::path::PathBuf;

use super::{Format, bits};

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
    #[command(after_help = MODEL_IMPORT)]
    Import(Passed),
    /// Store a model's weights in another precision; the arguments go to bitkin-train
    #[command(after_help = MODEL_CONVERT)]
    Convert(Passed),
}

/// Arguments of `model info`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bitkin model info birds.safetensors
  bitkin model info birds.safetensors --format json")]
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

/// Help of `train`, behind that of bitkin-train.
pub(super) const TRAIN: &str = "\
base/ has a folder for each class that there are many pictures of, few/ one with about five pictures for each \
class of what is new, more/ any pictures of what will be stored.

Examples:
  bitkin train --base base/ --adapt few/ --unlabelled more/ --bits 64 --out birds.safetensors
  bitkin train --base base/ --adapt few/ --weights backbone.safetensors --out birds.safetensors";

/// Help of `adapt`, behind that of bitkin-train.
pub(super) const ADAPT: &str = "\
Examples:
  bitkin adapt birds.safetensors --examples insects/ --unlabelled more/ --out insects.safetensors";

/// Help of `eval`, behind that of bitkin-train.
pub(super) const EVAL: &str = "\
--html FILE makes a page of it, with curves and what was found.

Examples:
  bitkin eval --base base/ --database novel/train --queries novel/val --bits 16,64 --shots 1,5,10
  bitkin eval --base base/ --database novel/train --queries novel/val --html quality.html";

/// Help of `model import`, behind that of bitkin-train.
const MODEL_IMPORT: &str = "\
Examples:
  bitkin model import resnet18.safetensors --out backbone.safetensors
  bitkin model import module.pt --torchscript --side 224 --out backbone.safetensors";

/// Help of `model convert`, behind that of bitkin-train.
const MODEL_CONVERT: &str = "\
Examples:
  bitkin model convert birds.safetensors --weights f16 --out smaller.safetensors
  bitkin model convert birds.safetensors --arithmetic bf16 --out faster.safetensors";

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
