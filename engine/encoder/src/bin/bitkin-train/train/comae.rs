//! `bitkin-train train --method comae`.

use std::path::PathBuf;

use bitkin_encoder::Error;
use bitkin_encoder::backbone::Tail;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::train::comae::{ComaeTraining, Seen, train};

use super::{ClassFile, Made, check_out, in_one_word, shown_by};
use crate::common::{BackboneArguments, counting_bar, estimating_bar};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Pictures of the seen classes: a folder of class folders, FILE.tar:FOLDER, or a text file with lines
    /// `path<TAB>label`
    #[arg(long, value_name = "SOURCE")]
    base: String,
    /// Attributes of each class: .csv with a header line and the class first, or .npy, `float32` or `float64` of
    /// shape (classes, attributes), its rows in the order of the sorted class names
    #[arg(long, value_name = "FILE")]
    attributes: PathBuf,
    /// The classes of a .npy file's rows, one a line, where their order is another or there are more of them
    #[arg(long, value_name = "FILE")]
    attribute_names: Option<PathBuf>,
    #[command(flatten)]
    backbone: BackboneArguments,
    /// Width of the codes in bits
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    bits: u32,
    /// Seed of weights and order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    training: Training,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Training")]
struct Training {
    /// Last blocks of the backbone that learn [default: 1]
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
    /// Train from only so many of the pictures, drawn by the seed
    #[arg(long, value_name = "N")]
    pictures: Option<usize>,
    /// Passes over the pictures [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Pictures a step [default: 64]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Learning rate of Adam, of the backbone's blocks [default: 0.0001]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// The same of all that begins at random [default: 0.0001]
    #[arg(long, value_name = "RATE")]
    head_rate: Option<f64>,
    /// L2 penalty [default: 0.0005]
    #[arg(long, value_name = "WEIGHT")]
    weight_decay: Option<f64>,
    /// Weight λ₁ of the point-wise loss; 0 leaves it out [default: 10]
    #[arg(long, value_name = "WEIGHT")]
    lambda_point: Option<f64>,
    /// Weight λ₂ of the pair-wise loss; 0 leaves it out [default: 1]
    #[arg(long, value_name = "WEIGHT")]
    lambda_pair: Option<f64>,
    /// Weight λ₃ of the class-wise loss; 0 leaves it out [default: 10]
    #[arg(long, value_name = "WEIGHT")]
    lambda_class: Option<f64>,
    /// Difference of a standardised attribute under which two pictures are a pair, ε [default: 0.9]
    #[arg(long, value_name = "DEVIATIONS")]
    threshold: Option<f64>,
    /// Other pictures beside the pairs that each picture is compared with [default: 16]
    #[arg(long, value_name = "N")]
    negatives: Option<usize>,
    /// Temperature τ of the pair-wise loss [default: 0.1]
    #[arg(long, value_name = "TEMPERATURE")]
    temperature: Option<f64>,
    /// Numbers in the embedding of an attribute's map [default: 128]
    #[arg(long, value_name = "N")]
    embedding: Option<usize>,
    /// Scale s of the hypersphere loss [default: 10]
    #[arg(long, value_name = "S")]
    scale: Option<f64>,
    /// Margin m of the hypersphere loss [default: 0.2]
    #[arg(long, value_name = "M")]
    margin: Option<f64>,
    /// Weight of what drives that loss's centres apart; 0 leaves it out [default: 1]
    #[arg(long, value_name = "WEIGHT")]
    apart: Option<f64>,
}

impl Training {
    fn over(&self, mut options: ComaeTraining) -> ComaeTraining {
        for (count, said) in [
            (&mut options.blocks, self.blocks),
            (&mut options.epochs, self.epochs),
            (&mut options.batch, self.batch),
            (&mut options.negatives, self.negatives),
            (&mut options.embedding, self.embedding),
        ] {
            *count = said.unwrap_or(*count);
        }
        for (number, said) in [
            (&mut options.learning_rate, self.learning_rate),
            (&mut options.head_rate, self.head_rate),
            (&mut options.weight_decay, self.weight_decay),
            (&mut options.lambda_point, self.lambda_point),
            (&mut options.lambda_pair, self.lambda_pair),
            (&mut options.lambda_class, self.lambda_class),
            (&mut options.threshold, self.threshold),
            (&mut options.temperature, self.temperature),
            (&mut options.scale, self.scale),
            (&mut options.margin, self.margin),
            (&mut options.apart, self.apart),
        ] {
            *number = said.unwrap_or(*number);
        }
        options.pictures = self.pictures;
        options
    }
}

/// Options in one word, for `eval`; width and seed are set there.
pub(crate) fn options(text: &str) -> Result<ComaeTraining, String> {
    let training: Training = in_one_word(text)?;
    Ok(training.over(ComaeTraining::new(64, 1)))
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let base = Dataset::open(&arguments.base)?;
    let attributes = ClassFile {
        path: &arguments.attributes,
        names: arguments.attribute_names.as_deref(),
    };
    let attributes = attributes.of(&base)?;
    // Told before the pictures are gone through, not after it.
    attributes.standardised()?;
    let options = ComaeTraining {
        bits: arguments.bits as usize,
        seed: arguments.seed,
        ..arguments.training.over(ComaeTraining::new(64, 1))
    };
    let source = arguments.backbone.open()?;
    let tail = Tail::of(&source.file, options.blocks)?;
    // Class numbers are those of the whole set.
    let numbers = base.classes().1;
    let places = options.drawn(base.pictures.len());
    let labels: Vec<u32> = places.iter().map(|&i| numbers[i]).collect();
    let base = Dataset {
        pictures: places.iter().map(|&i| base.pictures[i].clone()).collect(),
    };
    let trunks = source
        .extractor
        .trunk(&base, options.blocks, counting_bar("base pictures"))?;
    let seen = Seen {
        trunks: &trunks,
        labels: &labels,
        attributes: &attributes,
    };
    let memory = trunks.numel() * 2;
    let model = train(&options, seen, &tail, estimating_bar("training", memory))?;
    // Not where it lies: a model does not depend on that.
    let attributes_file = arguments.attributes.file_name().unwrap_or_default();
    let attributes_file = attributes_file.to_string_lossy();
    let notes = format!(
        "COMAE, {} pictures of {} classes, attributes {} ({}), {} blocks trained, seed {}, backbone {}",
        labels.len(),
        attributes.classes.len(),
        attributes_file,
        attributes.dim(),
        options.blocks,
        arguments.seed,
        arguments.backbone.name(),
    );
    let tuned = tail.in_file(&source.file, &notes)?;
    let shown = shown_by(&tuned, &source, &base)?;
    Made {
        model: &model,
        backbone: &tuned,
        input: source.input,
        arithmetic: source.arithmetic,
        pictures: &shown,
        notes: &notes,
    }
    .write(&arguments.out)
}
