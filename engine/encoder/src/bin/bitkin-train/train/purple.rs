//! `bitkin-train train --method purple`.

use std::path::PathBuf;

use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::train::purple::{Losses, Progress, PurpleTraining, Views, train};

use super::{Made, check_out, in_one_word, shown_by};
use crate::common::{BackboneArguments, duration, progress_bar};
use crate::interrupt;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Pictures to learn from: a folder, FILE.tar:FOLDER, or a text file with lines `path<TAB>label`; labels are
    /// not used
    #[arg(long, value_name = "SOURCE")]
    images: String,
    #[command(flatten)]
    backbone: BackboneArguments,
    /// Width of the codes in bits
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    bits: u32,
    /// Seed of prototypes, weights, order and augmentation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    training: Training,
}

/// Options of PURPLE; what is left out is as [`PurpleTraining::new`] has it, and says why.
#[derive(clap::Args)]
#[command(next_help_heading = "Training")]
struct Training {
    /// Passes over the pictures [default: 30]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Train on no more than so many of the pictures, drawn by the seed
    #[arg(long, value_name = "N")]
    pictures: Option<usize>,
    /// Augmented views made of every picture, of which each step draws two [default: 4]
    #[arg(long, value_name = "N")]
    views: Option<usize>,
    /// Last blocks of the backbone that are trained, 0 for the head alone [default: 1, of a TorchScript module 0]
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
    /// Pictures a step [default: 48]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Learning rate of the head [default: 0.01; the paper's 0.001 needs many more epochs]
    #[arg(long, value_name = "RATE")]
    head_rate: Option<f64>,
    /// Learning rate of the backbone [default: 0.00001]
    #[arg(long, value_name = "RATE")]
    backbone_rate: Option<f64>,
    /// Momentum of SGD [default: 0.9]
    #[arg(long, value_name = "SHARE")]
    momentum: Option<f64>,
    /// Which losses are trained with
    #[arg(long, value_enum, default_value = "both")]
    losses: LossesName,
    /// M, feature prototypes and hashing prototypes each [default: 50]
    #[arg(long, value_name = "N")]
    prototypes: Option<usize>,
    /// τ of both losses [default: 0.5]
    #[arg(long, value_name = "TAU")]
    temperature: Option<f64>,
    /// τ of the pseudo-labels [default: 0.05; at the paper's 0.5 none reach the threshold]
    #[arg(long, value_name = "TAU")]
    feature_temperature: Option<f64>,
    /// T, at which the pseudo-labels of two pictures count as the same [default: 0.8]
    #[arg(long, value_name = "T")]
    threshold: Option<f64>,
    /// γ, smoothing of the assignment to hashing prototypes [default: 0.05]
    #[arg(long, value_name = "GAMMA")]
    smoothing: Option<f64>,
    /// Iterations of the assignment [default: 3]
    #[arg(long, value_name = "N")]
    iterations: Option<usize>,
    /// Least share of a picture's area that a view shows [default: 0.3]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    least_area: Option<f32>,
    /// How often a view has other colours [default: 0.8]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    jitter: Option<f32>,
    /// How often it has none [default: 0.2]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    grey: Option<f32>,
    /// How often it is blurred [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    blur: Option<f32>,
    /// By how much contrast and saturation change at most, up or down [default: 0.4]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    contrast: Option<f32>,
    /// By how much brightness does, in parts of white [default: 0.2]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    brightness: Option<f32>,
    /// By how much each of red, green and blue does [default: 0.1]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    balance: Option<f32>,
    /// Largest deviation of the blur, in parts of the width [default: 0.0089, 2 pixels of 224]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    blur_width: Option<f32>,
}

fn share(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|n| (0.0..=1.0).contains(n));
    number.ok_or_else(|| "expected a number of 0 to 1".into())
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LossesName {
    Both,
    Graph,
    Prototypes,
}

impl Training {
    fn options(&self, bits: usize, seed: u64) -> PurpleTraining {
        let mut options = PurpleTraining::new(bits, seed);
        options.losses = match self.losses {
            LossesName::Both => Losses::Both,
            LossesName::Graph => Losses::Graph,
            LossesName::Prototypes => Losses::Prototypes,
        };
        options.blocks = self.blocks;
        options.pictures = self.pictures;
        for (count, said) in [
            (&mut options.epochs, self.epochs),
            (&mut options.views, self.views),
            (&mut options.batch, self.batch),
            (&mut options.prototypes, self.prototypes),
            (&mut options.iterations, self.iterations),
        ] {
            *count = said.unwrap_or(*count);
        }
        for (number, said) in [
            (&mut options.head_rate, self.head_rate),
            (&mut options.backbone_rate, self.backbone_rate),
            (&mut options.momentum, self.momentum),
            (&mut options.temperature, self.temperature),
            (&mut options.feature_temperature, self.feature_temperature),
            (&mut options.threshold, self.threshold),
            (&mut options.smoothing, self.smoothing),
        ] {
            *number = said.unwrap_or(*number);
        }
        let augmentation = &mut options.augmentation;
        for (number, said) in [
            (&mut augmentation.least_area, self.least_area),
            (&mut augmentation.jitter, self.jitter),
            (&mut augmentation.grey, self.grey),
            (&mut augmentation.blur, self.blur),
            (&mut augmentation.brightness, self.brightness),
            (&mut augmentation.balance, self.balance),
            (&mut augmentation.blur_width, self.blur_width),
        ] {
            *number = said.unwrap_or(*number);
        }
        if let Some(by) = self.contrast {
            augmentation.contrast = (1.0 - by, 1.0 + by);
            augmentation.saturation = augmentation.contrast;
        }
        options
    }
}

/// Options in one word, for `eval`; width, seed and losses are set there.
pub(crate) fn options(text: &str) -> Result<PurpleTraining, String> {
    let training: Training = in_one_word(text)?;
    Ok(training.options(64, 1))
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    /// Seconds of steps above which it is worth saying how they get fewer.
    const LONG: f64 = 120.0;
    check_out(&arguments.out)?;
    let options = arguments
        .training
        .options(arguments.bits as usize, arguments.seed);
    let set = options.drawn(&Dataset::open(&arguments.images)?);
    let count = set.pictures.len();
    options.check(count)?;
    let mut source = arguments.backbone.open()?;
    let features = source.features("features", &set)?;
    let bar = progress_bar("views");
    let mut told = |progress| {
        match progress {
            Progress::Estimate {
                what,
                seconds,
                bytes,
            } => bar.suspend(|| {
                let (time, memory) = (duration(seconds), bytes.div_ceil(1_000_000));
                eprintln!("{what} of {count} pictures: about {time}, {memory} MB of memory");
                if what == "steps" && seconds > LONG {
                    eprintln!(
                        "(--blocks 0 trains the head alone, --pictures N on fewer: both take less)"
                    );
                }
            }),
            Progress::Views { done, of } => {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            }
            Progress::Step { done, steps, loss } => {
                bar.set_prefix("training");
                bar.set_length(steps as u64);
                bar.set_position(done as u64);
                bar.set_message(format!("loss {loss:.4}"));
            }
        }
        interrupt::asked()
    };
    let views = Views::of(&options, &source.extractor, &set, &mut told)?;
    let trained = train(&options, &source.file, &views, &features, &mut told)?;
    bar.finish_and_clear();
    let notes = format!(
        "PURPLE, {count} pictures without labels, {} epochs, {} of the backbone's blocks trained, seed {}, backbone {}",
        options.epochs,
        trained.blocks,
        arguments.seed,
        arguments.backbone.name(),
    );
    let shown = shown_by(&trained.backbone, &source, &set)?;
    Made {
        model: &trained.model,
        backbone: &trained.backbone,
        input: source.input,
        arithmetic: source.arithmetic,
        pictures: &shown,
        notes: &notes,
    }
    .write(&arguments.out)
}
