//! `bitkin-train adapt`: makes a model for new classes out of one that is there.

use std::path::PathBuf;

use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::hash::HashModel;
use bitkin_encoder::train::hash::adapt;

use crate::common::{HashArguments, Source, progress_bar};
use crate::train::{Examples, check_out, write};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model to begin with, made by `train`
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// A few labelled pictures of each new class: a folder of class folders, FILE.tar:FOLDER, or a text
    /// file with lines `path<TAB>label`
    #[arg(long, value_name = "SOURCE")]
    examples: String,
    /// Other pictures of what will be stored and searched; their labels are not used
    #[arg(long, value_name = "SOURCE")]
    unlabelled: Option<String>,
    /// Keep features in this file, and take those already there
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
    /// Seed of the order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the new model
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    hash: HashArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let file = ModelFile::read(&arguments.model)?;
    let mut source = Source::new(file.clone(), None, arguments.cache)?;
    let model = HashModel::from_file(&file, source.dim())?;
    let examples = Examples::of(
        &mut source,
        &arguments.examples,
        arguments.unlabelled.as_deref(),
    )?;
    let options = arguments.hash.to_adapt(&model, arguments.seed)?;
    let bar = progress_bar("adapting");
    bar.set_length(1000);
    let adapted = adapt(
        &model,
        &options,
        &examples.adapt,
        &examples.unlabelled,
        |done, loss| {
            bar.set_position((done * 1000.0) as u64);
            bar.set_message(format!("loss {loss:.4}"));
        },
    )?;
    bar.finish_and_clear();
    let notes = format!(
        "adapted from model {} with {examples}, seed {}; that one: {}",
        file.fingerprint(),
        arguments.seed,
        file.metadata().notes.as_deref().unwrap_or("no notes"),
    );
    write(&adapted, &file, &source, &examples, &notes, &arguments.out)
}
