//! `bitkin-train adapt`: makes a model for new classes out of one that is there.

use std::path::PathBuf;

use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::Arithmetic;
use bitkin_encoder::hash::{HashModel, Method};
use bitkin_encoder::train::hash::adapt;

use crate::common::{HashArguments, Source, learning_bar};
use crate::train::ugh::{self, SelectionArguments};
use crate::train::{Examples, Made, check_out};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model to begin with, made by `train`
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// A few labelled pictures of each new class: a folder of class folders, FILE.tar:FOLDER, or a text
    /// file with lines `path<TAB>label`
    #[arg(long, value_name = "SOURCE", required_unless_present = "unlabelled")]
    examples: Option<String>,
    /// Other pictures of what will be stored and searched; their labels are not used. For a library of `train
    /// --method ugh` they are enough alone
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
    selection: SelectionArguments,
    #[command(flatten)]
    hash: HashArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let file = ModelFile::read(&arguments.model)?;
    let arithmetic = file.arithmetic().and_then(Arithmetic::of_name);
    let arithmetic = arithmetic.unwrap_or_default();
    let mut source = Source::new(file.clone(), None, arithmetic, arguments.cache.as_deref())?;
    let model = HashModel::from_file(&file, source.dim())?;
    if arguments.examples.is_none() && model.method != Method::Ugh {
        let what = "--examples are missing: only a library that `train --method ugh` made is adapted to pictures \
                    without labels";
        return Err(Error::Data(what.into()));
    }
    let examples = Examples::of(
        &mut source,
        arguments.examples.as_deref(),
        arguments.unlabelled.as_deref(),
    )?;
    let (adapted, how) = match model.method {
        Method::Ugh => {
            let examples = (&examples.adapt, &examples.unlabelled);
            ugh::adapted(&model, examples, arguments.selection)?
        }
        _ => {
            if arguments.selection.is_given() {
                let what = "--bits and --selection select from a library that `train --method ugh` made: the \
                            codes of other models stay as wide as they are";
                return Err(Error::Data(what.into()));
            }
            let options = arguments.hash.to_adapt(&model, arguments.seed)?;
            let adapted = adapt(
                &model,
                &options,
                &examples.adapt,
                &examples.unlabelled,
                learning_bar("adapting"),
            )?;
            (
                adapted,
                format!("adapted with {examples}, seed {}", arguments.seed),
            )
        }
    };
    let notes = format!(
        "{how}, from model {}; that one: {}",
        file.fingerprint(),
        file.metadata().notes.as_deref().unwrap_or("no notes"),
    );
    Made {
        model: &adapted,
        backbone: &file,
        input: source.input,
        arithmetic: source.arithmetic,
        pictures: examples.to_look_at(),
        notes: &notes,
    }
    .write(&arguments.out)
}
