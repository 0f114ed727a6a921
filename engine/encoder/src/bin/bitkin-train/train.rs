//! `bitkin-train train`: makes a PP + SCDM model.

use std::path::{Path, PathBuf};

use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::encoder::build_file;
use bitkin_encoder::features::Features;
use bitkin_encoder::hash::HashModel;
use bitkin_encoder::health::BitHealth;
use bitkin_encoder::train::hash::{TrainingData, train};

use crate::common::{BackboneArguments, HashArguments, Source, learning_bar};

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
        &arguments.adapt,
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
    write(
        &model,
        &source.file,
        &source,
        &examples,
        &notes,
        &arguments.out,
    )
}

/// Tells before the work, not after it, that its result cannot be written.
pub(crate) fn check_out(out: &Path) -> Result<(), Error> {
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty());
    match folder.filter(|p| !p.is_dir()) {
        None => Ok(()),
        Some(folder) => {
            let folder = folder.display();
            Err(Error::Data(format!("--out: there is no folder {folder}")))
        }
    }
}

/// What a model is made for.
pub(crate) struct Examples {
    pub(crate) adapt: Features,
    pub(crate) unlabelled: Features,
}

impl Examples {
    pub(crate) fn of(
        source: &mut Source,
        adapt: &str,
        unlabelled: Option<&str>,
    ) -> Result<Examples, Error> {
        let adapt = source.features("examples", &Dataset::open(adapt)?)?;
        let unlabelled = match unlabelled {
            Some(from) => source.features("unlabelled", &Dataset::open(from)?)?,
            None => Features {
                dim: adapt.dim,
                ..Default::default()
            },
        };
        Ok(Examples { adapt, unlabelled })
    }
}

impl std::fmt::Display for Examples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (adapt, unlabelled) = (self.adapt.len(), self.unlabelled.len());
        write!(f, "{adapt} examples, {unlabelled} unlabelled anchors")
    }
}

/// Writes a model, and says what its bits look like on the pictures that it was made for.
pub(crate) fn write(
    model: &HashModel,
    backbone: &ModelFile,
    source: &Source,
    examples: &Examples,
    notes: &str,
    out: &Path,
) -> Result<(), Error> {
    let file = build_file(model, backbone, source.input, source.arithmetic, notes)?;
    file.write(out)?;
    println!(
        "{}: {} bits, model {}",
        out.display(),
        model.bits,
        file.fingerprint()
    );
    let pictures = match examples.unlabelled.is_empty() {
        true => &examples.adapt,
        false => &examples.unlabelled,
    };
    let health = BitHealth::of(model, pictures);
    println!("{health}");
    /// Of fewer pictures, most of all of those that were learned from, bits are alike for no fault of theirs.
    const ENOUGH: usize = 100;
    if !health.is_good() && health.pictures >= ENOUGH {
        let numbers = |bits: &[usize]| {
            bits.iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !health.dead.is_empty() {
            eprintln!("warning: dead bits: {}", numbers(&health.dead));
        }
        if !health.twins.is_empty() {
            let second: Vec<usize> = health.twins.iter().map(|(_, second)| *second).collect();
            eprintln!(
                "warning: bits that say what another says: {}",
                numbers(&second)
            );
        }
    }
    Ok(())
}
