//! `bitkin-train train --method pp-scdm`.

use std::path::PathBuf;

use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::train::hash::{TrainingData, train};

use super::{Examples, Made, check_out};
use crate::common::{BackboneArguments, HashArguments, learning_bar};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Pictures of the base classes: a folder of class folders, FILE.tar:FOLDER, or a text
    /// file with lines `path<TAB>label`
    #[arg(long, value_name = "SOURCE")]
    base: String,
    /// A few labelled pictures of each new class
    #[arg(long, value_name = "SOURCE")]
    adapt: String,
    /// Other pictures of what will be stored and searched; their labels are not used
    #[arg(long, value_name = "SOURCE")]
    unlabelled: Option<String>,
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
    hash: HashArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let mut source = arguments.backbone.open()?;
    let base = source.features("base pictures", &Dataset::open(&arguments.base)?)?;
    let examples = Examples::of(
        &mut source,
        Some(&arguments.adapt),
        arguments.unlabelled.as_deref(),
    )?;
    let data = TrainingData {
        base: &base,
        adapt: &examples.adapt,
        unlabelled: &examples.unlabelled,
    };
    let options = arguments
        .hash
        .options(arguments.bits as usize, arguments.seed);
    let model = train(&options, data, learning_bar("training"))?;
    let notes = format!(
        "PP + SCDM, {} base pictures, {examples}, seed {}, backbone {}",
        base.len(),
        arguments.seed,
        arguments.backbone.name(),
    );
    Made {
        model: &model,
        backbone: &source.file,
        input: source.input,
        arithmetic: source.arithmetic,
        pictures: examples.to_look_at(),
        notes: &notes,
    }
    .write(&arguments.out)
}
