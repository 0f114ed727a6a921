//! What the commands share: where pictures and backbones come from, and progress.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bitkin::encoder::ImageInput;
use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{self, Arithmetic, Backbone};
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::device::{DeviceChoice, resolve};
use bitkin_encoder::features::{Extractor, Features};
use bitkin_encoder::hash::{GraphSpace, HashModel};
use bitkin_encoder::train::hash::{HashLoss, HashTraining, TrainOn};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt;

/// Options that choose a backbone and how pictures are shown to it.
#[derive(clap::Args)]
pub(crate) struct BackboneArguments {
    /// Backbone to use (.safetensors): one of ours, a ResNet with torchvision's names, or a MobileNetV1; the
    /// shipped one if left out
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Side in pixels of the square that pictures are resized to; the backbone's own if left out
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(8..=1024))]
    side: Option<u32>,
    /// What the backbone computes in: bf16 is faster where the processor or GPU has it
    #[arg(long, value_enum, default_value = "f32")]
    arithmetic: ArithmeticName,
    /// Keep features in this file, and take those already there
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
}

/// Options of training a hashing model; what is left out is as measurements chose.
#[derive(clap::Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct HashArguments {
    /// What the head learns from
    #[arg(long, value_enum, default_value = "base-then-adapt")]
    train_on: TrainOnName,
    /// What labels are used for: dpsh draws codes of one class together, none leaves self-consistency
    #[arg(long, value_enum, default_value = "dpsh")]
    loss: LossName,
    /// Prior prototypes of each base class: one is its mean, more are clusters of it; 0 leaves them out
    #[arg(long, value_name = "N")]
    prototypes_per_class: Option<usize>,
    /// Prototypes of only so many base classes, drawn by the seed
    #[arg(long, value_name = "N")]
    prototype_classes: Option<usize>,
    /// Width of the head's hidden layer; 0 makes the head linear
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Passes over the base pictures
    #[arg(long, value_name = "N")]
    base_epochs: Option<usize>,
    /// Steps on the labelled examples
    #[arg(long, value_name = "N")]
    adapt_steps: Option<usize>,
    /// Base pictures a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Adam's learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Weight of the self-consistency loss
    #[arg(long, value_name = "WEIGHT")]
    lambda_consistency: Option<f64>,
    /// Weight of the quantisation loss
    #[arg(long, value_name = "WEIGHT")]
    lambda_quantisation: Option<f64>,
    /// Weight of the bit balance loss
    #[arg(long, value_name = "WEIGHT")]
    lambda_balance: Option<f64>,
    /// Shrinkage of the whitening; 0 leaves it out
    #[arg(long, value_name = "SHARE")]
    shrinkage: Option<f64>,
    /// Leave the diffusion out
    #[arg(long, conflicts_with_all = ["alpha", "steps", "neighbours", "graph_space"])]
    no_diffusion: bool,
    /// Step length of the diffusion, between 0 and 1
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f64>,
    /// Steps of the diffusion
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Neighbours of a picture among the anchors
    #[arg(long, value_name = "N")]
    neighbours: Option<usize>,
    /// Where neighbours are sought: among features, or among distances to prototypes
    #[arg(long, value_enum)]
    graph_space: Option<SpaceName>,
}

/// [`Arithmetic`], as it is said at a shell.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum ArithmeticName {
    F32,
    Bf16,
}

impl From<ArithmeticName> for Arithmetic {
    fn from(name: ArithmeticName) -> Arithmetic {
        match name {
            ArithmeticName::F32 => Arithmetic::F32,
            ArithmeticName::Bf16 => Arithmetic::Bf16,
        }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum TrainOnName {
    Adapt,
    Base,
    BaseThenAdapt,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LossName {
    Dpsh,
    None,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SpaceName {
    Feature,
    Pp,
}

impl HashArguments {
    pub(crate) fn options(&self, bits: usize, seed: u64) -> HashTraining {
        self.over(HashTraining::new(bits, seed))
    }

    /// Options for adapting a model, which keeps what it has: its own diffusion, if nothing else is said.
    pub(crate) fn to_adapt(&self, model: &HashModel, seed: u64) -> Result<HashTraining, Error> {
        for (said, name) in [
            (self.hidden.is_some(), "--hidden"),
            (self.base_epochs.is_some(), "--base-epochs"),
            (
                self.prototypes_per_class.is_some(),
                "--prototypes-per-class",
            ),
            (self.prototype_classes.is_some(), "--prototype-classes"),
            (self.shrinkage.is_some(), "--shrinkage"),
            (
                matches!(self.train_on, TrainOnName::Base),
                "--train-on base",
            ),
        ] {
            if said {
                let what =
                    format!("{name} cannot be said of a model that is there: train a new one");
                return Err(Error::Data(what));
            }
        }
        let plain = HashTraining::new(model.bits, seed);
        let own = model.anchors.as_ref().map(|anchors| anchors.diffusion);
        let says = self.alpha.is_some() || self.steps.is_some() || self.neighbours.is_some();
        let says = says || self.graph_space.is_some();
        Ok(self.over(HashTraining {
            diffusion: own.or(plain.diffusion.filter(|_| says)),
            ..plain
        }))
    }

    fn over(&self, mut options: HashTraining) -> HashTraining {
        options.train_on = match self.train_on {
            TrainOnName::Adapt => TrainOn::Adapt,
            TrainOnName::Base => TrainOn::Base,
            TrainOnName::BaseThenAdapt => TrainOn::BaseThenAdapt,
        };
        options.loss = match self.loss {
            LossName::Dpsh => HashLoss::Pairwise,
            LossName::None => HashLoss::None,
        };
        options.prototype_classes = self.prototype_classes;
        for (count, said) in [
            (&mut options.prototypes_per_class, self.prototypes_per_class),
            (&mut options.hidden, self.hidden),
            (&mut options.base_epochs, self.base_epochs),
            (&mut options.adapt_steps, self.adapt_steps),
            (&mut options.batch, self.batch),
        ] {
            *count = said.unwrap_or(*count);
        }
        for (number, said) in [
            (&mut options.learning_rate, self.learning_rate),
            (&mut options.lambda_consistency, self.lambda_consistency),
            (&mut options.lambda_quantisation, self.lambda_quantisation),
            (&mut options.lambda_balance, self.lambda_balance),
        ] {
            *number = said.unwrap_or(*number);
        }
        if let Some(shrinkage) = self.shrinkage {
            options.shrinkage = Some(shrinkage).filter(|shrinkage| *shrinkage != 0.0);
        }
        options.diffusion = options.diffusion.filter(|_| !self.no_diffusion);
        if let Some(diffusion) = &mut options.diffusion {
            diffusion.alpha = self.alpha.unwrap_or(diffusion.alpha);
            diffusion.steps = self.steps.unwrap_or(diffusion.steps);
            diffusion.neighbours = self.neighbours.unwrap_or(diffusion.neighbours);
            diffusion.space = match self.graph_space {
                Some(SpaceName::Feature) => GraphSpace::Feature,
                Some(SpaceName::Pp) => GraphSpace::Pp,
                None => diffusion.space,
            };
        }
        options
    }
}

/// A backbone ready to extract features.
pub(crate) struct Source {
    pub(crate) file: ModelFile,
    pub(crate) input: ImageInput,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) extractor: Extractor,
}

impl BackboneArguments {
    pub(crate) fn open(&self) -> Result<Source, Error> {
        let file = match &self.weights {
            Some(path) => backbone::read_file(path)
                .map_err(|e| Error::Data(format!("{}: {e}", path.display())))?,
            None => backbone::shipped()?,
        };
        Source::new(
            file,
            self.side,
            self.arithmetic.into(),
            self.cache.as_deref(),
        )
    }

    /// A short name of the backbone for tables.
    pub(crate) fn name(&self) -> String {
        let stem = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned());
        self.weights
            .as_deref()
            .and_then(stem)
            .unwrap_or_else(|| "compact".into())
    }
}

impl Source {
    /// Features by the backbone of a file, for pictures of the size that it was made for, or squares.
    pub(crate) fn new(
        file: ModelFile,
        side: Option<u32>,
        arithmetic: Arithmetic,
        cache: Option<&Path>,
    ) -> Result<Source, Error> {
        // Features are always taken on the CPU here, so that a model does not depend on whether
        // a GPU was at hand when it was trained.
        let device = resolve(DeviceChoice::Cpu).ok_or(Error::Device)?;
        let backbone = Backbone::load(&file, device, arithmetic)?;
        let input = match side {
            Some(side) => ImageInput::stretch(side, side),
            None => file.input().unwrap_or(backbone.input()),
        };
        let fingerprint = file
            .backbone_fingerprint()
            .map(|f| f.to_string())
            .unwrap_or_default();
        let mut extractor = Extractor::new(backbone, input);
        if let Some(path) = cache {
            let (input, arithmetic) = (serde_json::json!(input), arithmetic.name());
            extractor.keep_in(path, &format!("{fingerprint} {input} {arithmetic}"))?;
        }
        Ok(Source {
            file,
            input,
            arithmetic,
            extractor,
        })
    }

    /// Whether the backbone may have seen what it is measured on: any that was not trained by `backbone`.
    pub(crate) fn is_leaky(&self) -> bool {
        let notes = self.file.metadata().notes.as_deref();
        !notes.is_some_and(|notes| notes.starts_with("Trained by `bitkin-train backbone`"))
    }

    /// Numbers in a feature vector.
    pub(crate) fn dim(&self) -> usize {
        self.extractor.dim()
    }

    pub(crate) fn features(&mut self, what: &str, set: &Dataset) -> Result<Features, Error> {
        self.extractor.extract(set, counting_bar(what))
    }
}

/// A progress bar for a training, told the share of steps done and the loss.
pub(crate) fn learning_bar(what: &str) -> impl FnMut(f64, f64) -> ControlFlow<()> {
    const SHOWN: f64 = 1000.0;
    let bar = progress_bar(what);
    bar.set_length(SHOWN as u64);
    move |done, loss| {
        bar.set_position((done * SHOWN) as u64);
        bar.set_message(format!("loss {loss:.4}"));
        if done >= 1.0 {
            bar.finish_and_clear();
        }
        interrupt::asked()
    }
}

/// The same for a training that may be long, which holds so many bytes of pictures: says on standard error, once two
/// steps are done, what all will take.
pub(crate) fn estimating_bar(what: &str, bytes: usize) -> impl FnMut(f64, f64) -> ControlFlow<()> {
    let mut bar = learning_bar(what);
    let what = what.to_owned();
    // The first step takes longer than others.
    let mut first = None;
    let mut told = false;
    move |done, loss| {
        match first {
            None => first = Some((Instant::now(), done)),
            Some((start, before)) if !told => {
                told = true;
                let left = start.elapsed().as_secs_f64() / (done - before) * (1.0 - done);
                let (time, memory) = (duration(left), bytes.div_ceil(1_000_000));
                eprintln!("{what}: about {time}, {memory} MB of memory for the pictures");
            }
            Some(_) => {}
        }
        bar(done, loss)
    }
}

/// A time, as people say it.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// A progress bar for going through pictures, told how many are done, and how many there are.
pub(crate) fn counting_bar(what: &str) -> impl FnMut(usize, usize) -> ControlFlow<()> {
    let bar = progress_bar(what);
    move |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done >= total {
            bar.finish_and_clear();
        }
        interrupt::asked()
    }
}

/// A progress bar on standard error; drawn only when that is a terminal.
pub(crate) fn progress_bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{prefix} {wide_bar} {pos}/{len} {per_sec} {eta} left {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_string());
    bar
}
