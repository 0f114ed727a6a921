//! `bitkin-train train --method kalahash`.

use std::path::PathBuf;

use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::train::kalahash::{KalaHashTraining, shots, train};

use super::{ClassFile, Made, check_out, in_one_word};
use crate::common::{BackboneArguments, estimating_bar};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A few labelled pictures of each class: a folder of class folders, FILE.tar:FOLDER, or a text file with
    /// lines `path<TAB>label`
    #[arg(long, value_name = "SOURCE")]
    images: String,
    /// A vector for each class, such as an embedding of its name: .csv with a header line and the class first, or
    /// .npy, `float32` or `float64` of shape (classes, numbers), its rows in the order of the sorted class names
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// The classes of a .npy file's rows, one a line, where their order is another or there are more of them
    #[arg(long, value_name = "FILE")]
    text_names: Option<PathBuf>,
    #[command(flatten)]
    backbone: BackboneArguments,
    /// Width of the codes in bits
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    bits: u32,
    /// Seed of weights, first codes and order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    training: Training,
}

/// What is left out is as the authors chose for as many pictures of each class.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct Training {
    /// Rank r of the calibration: classes that each picture takes; 0 leaves the calibration out
    #[arg(long, value_name = "N")]
    rank: Option<usize>,
    /// Scale s of the calibration
    #[arg(long, value_name = "S")]
    scale: Option<f64>,
    /// Weight α of what is known of the classes in the training pictures' codes; 0 leaves it out
    #[arg(long, value_name = "WEIGHT")]
    alpha: Option<f64>,
    /// Weight β of the quantisation loss
    #[arg(long, value_name = "WEIGHT")]
    beta: Option<f64>,
    /// Weight γ of the pairwise loss
    #[arg(long, value_name = "WEIGHT")]
    gamma: Option<f64>,
    /// Passes over the pictures [default: 100]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Pictures a step [default: 8]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Learning rate of SGD [default: 0.01]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Momentum of SGD [default: 0.9]
    #[arg(long, value_name = "SHARE")]
    momentum: Option<f64>,
    /// L2 penalty [default: 0.00001]
    #[arg(long, value_name = "WEIGHT")]
    weight_decay: Option<f64>,
    /// Length to which the gradient of a step is cut; 0 leaves it as it is [default: 1]
    #[arg(long, value_name = "LENGTH")]
    clip: Option<f64>,
    /// Times that the bits of the training pictures' codes are gone over after each epoch [default: 10]
    #[arg(long, value_name = "N")]
    sweeps: Option<usize>,
}

impl Training {
    pub(crate) fn over(&self, mut options: KalaHashTraining) -> KalaHashTraining {
        for (count, said) in [
            (&mut options.rank, self.rank),
            (&mut options.epochs, self.epochs),
            (&mut options.batch, self.batch),
            (&mut options.sweeps, self.sweeps),
        ] {
            *count = said.unwrap_or(*count);
        }
        for (number, said) in [
            (&mut options.scale, self.scale),
            (&mut options.alpha, self.alpha),
            (&mut options.beta, self.beta),
            (&mut options.gamma, self.gamma),
            (&mut options.learning_rate, self.learning_rate),
            (&mut options.momentum, self.momentum),
            (&mut options.weight_decay, self.weight_decay),
            (&mut options.clip, self.clip),
        ] {
            *number = said.unwrap_or(*number);
        }
        options
    }
}

/// Options in one word, for `eval`.
pub(crate) fn options(text: &str) -> Result<Training, String> {
    in_one_word(text)
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let set = Dataset::open(&arguments.images)?;
    let text = ClassFile {
        path: &arguments.text,
        names: arguments.text_names.as_deref(),
    };
    let text = text.of(&set)?;
    let mut source = arguments.backbone.open()?;
    let pictures = source.features("pictures", &set)?;
    let shots = shots(&pictures);
    let options = KalaHashTraining::new(arguments.bits as usize, arguments.seed, shots);
    let options = arguments.training.over(options);
    let memory = 4 * pictures.values.len() * 2;
    let model = train(
        &options,
        &pictures,
        &text,
        estimating_bar("training", memory),
    )?;
    // Not where it lies: a model does not depend on that.
    let text_file = arguments.text.file_name().unwrap_or_default();
    let text_file = text_file.to_string_lossy();
    let notes = format!(
        "KALAHash, {} pictures of {} classes, at least {shots} each, vectors {} of {} numbers, seed {}, backbone {}",
        pictures.len(),
        text.classes.len(),
        text_file,
        text.dim(),
        arguments.seed,
        arguments.backbone.name(),
    );
    Made {
        model: &model,
        backbone: &source.file,
        input: source.input,
        arithmetic: source.arithmetic,
        pictures: &pictures,
        notes: &notes,
    }
    .write(&arguments.out)
}
