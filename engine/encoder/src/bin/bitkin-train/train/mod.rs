//! `bitkin-train train`: makes models, one file a method.

use std::ffi::OsString;
use std::path::Path;

use bitkin::encoder::ImageInput;
use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{Arithmetic, Backbone};
use bitkin_encoder::class_vectors::ClassVectors;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::encoder::build_file;
use bitkin_encoder::features::{Extractor, Features};
use bitkin_encoder::hash::{HashModel, Method};
use bitkin_encoder::health::BitHealth;
use clap::Parser;
use tch::Device;

use crate::common::Source;
use crate::interrupt;

pub(crate) mod comae;
pub(crate) mod kalahash;
pub(crate) mod pp_scdm;
pub(crate) mod purple;
pub(crate) mod ugh;

/// Every method has options of its own, so it is a command of its own to the parser: `train --method X` becomes
/// one word, which is also how that command's help calls it, and `train` alone is PP + SCDM.
pub(crate) fn by_method(
    arguments: impl Iterator<Item = OsString>,
) -> Result<Vec<OsString>, String> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.get(1).is_none_or(|verb| verb != "train") {
        return Ok(arguments);
    }
    let Some(place) = arguments.iter().position(|word| {
        let word = word.to_string_lossy();
        word == "--method" || word.starts_with("--method=")
    }) else {
        return Ok(arguments);
    };
    let said = arguments.remove(place).to_string_lossy().into_owned();
    let name = match said.split_once('=') {
        Some((_, name)) => name.to_owned(),
        None if place < arguments.len() => arguments.remove(place).to_string_lossy().into_owned(),
        None => String::new(),
    };
    match Method::of_name(&name) {
        None => {
            let known = Method::ALL.map(Method::name).join(", ");
            Err(format!(
                "--method: there is no method {name:?}: there are {known}"
            ))
        }
        Some(Method::PpScdm) => Ok(arguments),
        Some(method) => {
            arguments[1] = format!("train --method {}", method.name()).into();
            Ok(arguments)
        }
    }
}

/// Options of a method that are given in one word, as they stand at a shell.
pub(crate) fn in_one_word<T: clap::Args>(text: &str) -> Result<T, String> {
    #[derive(Parser)]
    #[command(no_binary_name = true, disable_help_flag = true)]
    struct Words<T: clap::Args> {
        #[command(flatten)]
        options: T,
    }
    let words = Words::<T>::try_parse_from(text.split_whitespace());
    words.map(|words| words.options).map_err(|e| e.to_string())
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

/// Vectors of classes in a file, as they are given at a shell.
pub(crate) struct ClassFile<'a> {
    pub(crate) path: &'a Path,
    /// A file of the names of its rows, one a line.
    pub(crate) names: Option<&'a Path>,
}

impl ClassFile<'_> {
    /// Those of a set's classes, by class number.
    pub(crate) fn of(&self, set: &Dataset) -> Result<ClassVectors, Error> {
        let classes = set.classes().0;
        let names = match self.names {
            None => classes.clone(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
                    path: path.display().to_string(),
                    source,
                })?;
                text.lines().map(|line| line.trim().to_owned()).collect()
            }
        };
        ClassVectors::read(self.path, &names)?.of_classes(&classes)
    }
}

/// What a model is made for.
pub(crate) struct Examples {
    pub(crate) adapt: Features,
    pub(crate) unlabelled: Features,
}

impl Examples {
    /// What is not named is empty.
    pub(crate) fn of(
        source: &mut Source,
        adapt: Option<&str>,
        unlabelled: Option<&str>,
    ) -> Result<Examples, Error> {
        let mut features = |what: &str, from: Option<&str>| match from {
            Some(from) => source.features(what, &Dataset::open(from)?),
            None => Ok(Features {
                dim: source.dim(),
                ..Default::default()
            }),
        };
        Ok(Examples {
            adapt: features("examples", adapt)?,
            unlabelled: features("unlabelled", unlabelled)?,
        })
    }

    /// The pictures that show best what a model's bits are worth.
    pub(crate) fn to_look_at(&self) -> &Features {
        match self.unlabelled.is_empty() {
            true => &self.adapt,
            false => &self.unlabelled,
        }
    }
}

impl std::fmt::Display for Examples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (adapt, unlabelled) = (self.adapt.len(), self.unlabelled.len());
        write!(f, "{adapt} examples, {unlabelled} unlabelled anchors")
    }
}

/// What the bits of a model are worth shows in features by the backbone as training left it: those of some of the
/// pictures, spread over the set.
pub(crate) fn shown_by(
    tuned: &ModelFile,
    source: &Source,
    set: &Dataset,
) -> Result<Features, Error> {
    const MOST: usize = 2000;
    let backbone = Backbone::load(tuned, Device::Cpu, source.arithmetic)?;
    let step = set.pictures.len().div_ceil(MOST);
    let few = Dataset {
        pictures: set.pictures.iter().step_by(step).cloned().collect(),
    };
    Extractor::new(backbone, source.input).extract(&few, |_, _| interrupt::asked())
}

/// A model that was trained, and what goes with it into its file.
pub(crate) struct Made<'a> {
    pub(crate) model: &'a HashModel,
    /// The backbone that its features come from, or a model that has it.
    pub(crate) backbone: &'a ModelFile,
    pub(crate) input: ImageInput,
    pub(crate) arithmetic: Arithmetic,
    /// Features of pictures that show what its bits are worth.
    pub(crate) pictures: &'a Features,
    pub(crate) notes: &'a str,
}

impl Made<'_> {
    /// Writes the model, and says what its bits look like.
    pub(crate) fn write(&self, out: &Path) -> Result<(), Error> {
        let file = build_file(
            self.model,
            self.backbone,
            self.input,
            self.arithmetic,
            self.notes,
        )?;
        file.write(out)?;
        println!(
            "{}: {} bits, model {}",
            out.display(),
            self.model.bits,
            file.fingerprint()
        );
        say_health(&BitHealth::of(self.model, self.pictures));
        Ok(())
    }
}

fn say_health(health: &BitHealth) {
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
}
