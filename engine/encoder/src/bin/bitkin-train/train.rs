//! `bitkin-train train`: makes a PP + SCDM model.

use std::path::PathBuf;

use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::encoder::build_file;
use bitkin_encoder::features::Features;
use bitkin_encoder::train::hash::{HashTraining, TrainingData, train};

use crate::common::{BackboneArguments, progress_bar};

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
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    // Told before the work, not after it.
    let folder = arguments.out.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|p| !p.is_dir()) {
        let folder = folder.display();
        return Err(Error::Data(format!("--out: there is no folder {folder}")));
    }
    let mut source = arguments.backbone.open()?;
    let mut features = |what: &str, from: &str| -> Result<Features, Error> {
        source.features(what, &Dataset::open(from)?)
    };
    let base = features("base pictures", &arguments.base)?;
    let adapt = features("examples", &arguments.adapt)?;
    let unlabelled = match &arguments.unlabelled {
        Some(from) => features("unlabelled", from)?,
        None => Features {
            dim: base.dim,
            ..Default::default()
        },
    };
    let data = TrainingData {
        base: &base,
        adapt: &adapt,
        unlabelled: &unlabelled,
    };
    let options = HashTraining::new(arguments.bits as usize, arguments.seed);
    let bar = progress_bar("training");
    bar.set_length(1000);
    let model = train(&options, data, |done, _| {
        bar.set_position((done * 1000.0) as u64)
    })?;
    bar.finish_and_clear();
    let notes = format!(
        "PP + SCDM, {} base pictures, {} examples, {} unlabelled anchors, seed {}, backbone {}",
        base.len(),
        adapt.len(),
        unlabelled.len(),
        arguments.seed,
        arguments.backbone.name(),
    );
    let file = build_file(&model, &source.file, source.input, &notes)?;
    file.write(&arguments.out)?;
    println!(
        "{}: {} bits, model {}",
        arguments.out.display(),
        model.bits,
        file.fingerprint()
    );
    Ok(())
}
