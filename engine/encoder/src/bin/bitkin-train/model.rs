//! `bitkin-train import` and `convert`: backbones out of weights, and models in another precision.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bitkin::encoder::ImageInput;
use bitkin::model::{Dtype, ModelFile, ModelKind};
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{Arithmetic, Backbone, in_precision, read_file, torchscript};
use tch::Device;

use crate::common::ArithmeticName;
use crate::train::check_out;

#[derive(clap::Args)]
pub(crate) struct Import {
    /// The weights (.safetensors): a ResNet with torchvision's names, a MobileNetV1, or a backbone of ours
    #[arg(value_name = "FILE")]
    weights: PathBuf,
    /// The file is a TorchScript archive (torch.jit.save) of a module that takes f32 pictures [n, 3, side, side]
    /// and gives feature vectors, or maps that are averaged. It is a program: import only what you trust
    #[arg(long, requires = "side")]
    torchscript: bool,
    /// Side in pixels of the squares that the module takes
    #[arg(long, value_name = "PIXELS", requires = "torchscript",
          value_parser = clap::value_parser!(u32).range(8..=1024))]
    side: Option<u32>,
    /// What is subtracted from red, green and blue, of 0 to 1, before the module sees them; ImageNet's means, if
    /// left out
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 3, requires = "torchscript",
          default_values_t = [0.485, 0.456, 0.406])]
    mean: Vec<f64>,
    /// What they are then divided by; ImageNet's deviations, if left out
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 3, requires = "torchscript",
          default_values_t = [0.229, 0.224, 0.225])]
    deviation: Vec<f64>,
    /// Where to write the backbone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn import(arguments: Import) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let file = match arguments.side.filter(|_| arguments.torchscript) {
        None => read_file(&arguments.weights)?,
        Some(side) => {
            let (mean, deviation) = (&arguments.mean, &arguments.deviation);
            if deviation.iter().any(|d| !(d.is_finite() && *d > 0.0)) {
                return Err(Error::Data("--deviation: must be above zero".into()));
            }
            torchscript::import(
                &arguments.weights,
                ImageInput::stretch(side, side),
                [0, 1, 2].map(|c| 1.0 / (255.0 * deviation[c])),
                [0, 1, 2].map(|c| -mean[c] / deviation[c]),
            )?
        }
    };
    let backbone = Backbone::load(&file, Device::Cpu, Arithmetic::F32)?;
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
    /// How the backbone's weights are stored
    #[arg(long, value_enum, required_unless_present = "arithmetic")]
    weights: Option<Precision>,
    /// What the backbone computes in: bf16 is faster where the processor or GPU has it
    #[arg(long, value_enum)]
    arithmetic: Option<ArithmeticName>,
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
    let stored = arguments.weights.map(|precision| match precision {
        Precision::F16 => Dtype::F16,
        Precision::F32 => Dtype::F32,
    });
    let mut metadata = file.metadata().clone();
    if let Some(arithmetic) = arguments.arithmetic {
        file.expect_kind(ModelKind::Hash)?;
        let name = Arithmetic::from(arithmetic).name();
        metadata.model.insert("arithmetic".into(), name.into());
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        // Biases are few, and small where batch norm was folded into them.
        let is_weight = name.starts_with("backbone.") && view.shape.len() == 4;
        let dtype = stored.filter(|_| is_weight).unwrap_or(view.dtype);
        tensors.insert(name.to_owned(), in_precision(name, &view, dtype)?);
    }
    let converted = ModelFile::build(metadata, &tensors)?;
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
