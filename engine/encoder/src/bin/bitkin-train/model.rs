//! `bitkin-train import` and `convert`: backbones out of weights, and models in another precision.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bitkin::model::{Dtype, ModelFile};
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{Backbone, in_precision, read_file};
use tch::Device;

use crate::train::check_out;

#[derive(clap::Args)]
pub(crate) struct Import {
    /// The weights (.safetensors): a ResNet with torchvision's names, a MobileNetV1, or a backbone of ours
    #[arg(value_name = "FILE")]
    weights: PathBuf,
    /// Where to write the backbone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn import(arguments: Import) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let file = read_file(&arguments.weights)?;
    let backbone = Backbone::load(&file, Device::Cpu)?;
    file.write(&arguments.out)?;
    println!(
        "{}: {} numbers a picture, backbone {}",
        arguments.out.display(),
        backbone.dim(),
        file.fingerprint()
    );
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct Convert {
    /// The model or backbone (.safetensors)
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// How the backbone's weights are stored; they are computed with in f32 all the same
    #[arg(long, value_enum)]
    weights: Precision,
    /// Where to write the new file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Precision {
    F16,
    F32,
}

pub(crate) fn convert(arguments: Convert) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let file = ModelFile::read(&arguments.model)?;
    let dtype = match arguments.weights {
        Precision::F16 => Dtype::F16,
        Precision::F32 => Dtype::F32,
    };
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        // Biases are few, and small where batch norm was folded into them.
        let is_weight = name.starts_with("backbone.") && view.shape.len() == 4;
        let dtype = if is_weight { dtype } else { view.dtype };
        tensors.insert(name.to_owned(), in_precision(name, &view, dtype)?);
    }
    let converted = ModelFile::build(file.metadata().clone(), &tensors)?;
    converted.write(&arguments.out)?;
    println!(
        "{}: {} bytes, {}; it was {} bytes, {}",
        arguments.out.display(),
        converted.bytes().len(),
        converted.fingerprint(),
        file.bytes().len(),
        file.fingerprint()
    );
    Ok(())
}
