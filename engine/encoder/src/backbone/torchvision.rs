//! ResNets out of torchvision's safetensors files: batch norm folded into the convolutions.

use std::collections::{BTreeMap, BTreeSet};

use bitkin::encoder::{ImageInput, Resize};
use bitkin::model::{ModelError, ModelFile, ModelMetadata, Tensor, TensorView};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;

use super::residual::ResidualPlan;
use super::{Architecture, Description, to_f32_tensor};
use crate::error::Error;

/// Mean and standard deviation of the channels, 0 to 1, to which torchvision's weights are trained.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];

/// What torchvision's batch norm adds to a variance.
const EPS: f64 = 1e-5;

/// Makes a backbone file of a ResNet's weights with torchvision's names; `None` for a file without them.
/// The classifier and the counters of batch norm are left out.
///
/// # Errors
/// [`ModelError::OtherArchitecture`] with the names that are missing or too many, and
/// [`ModelError::WrongTensor`].
pub(super) fn import(file: &SafeTensors<'_>) -> Result<Option<ModelFile>, Error> {
    let has = |name: &str| file.tensor(name).is_ok();
    if !has("conv1.weight") || !has("layer1.0.conv1.weight") {
        return Ok(None);
    }
    let blocks = (0..).take_while(|block| has(&format!("layer3.{block}.conv1.weight")));
    let (bottleneck, blocks) = (has("layer1.0.conv3.weight"), blocks.count());
    // By the stage in which depths differ most; a file of no known depth is compared with the nearest.
    let depth = match (bottleneck, blocks) {
        (false, ..=2) => 18,
        (false, _) => 34,
        (true, ..=6) => 50,
        (true, ..=23) => 101,
        (true, _) => 152,
    };
    let Some(plan) = ResidualPlan::resnet(depth) else {
        return Ok(None);
    };
    let mut expected = BTreeSet::new();
    for conv in plan.convs() {
        let (weight, norm) = names(&conv.name);
        expected.insert(format!("{weight}.weight"));
        expected.extend(NORM.map(|part| format!("{norm}.{part}")));
    }
    let found = file
        .names()
        .into_iter()
        .filter(|name| !name.starts_with("fc.") && !name.ends_with(".num_batches_tracked"));
    let found: BTreeSet<String> = found.map(str::to_owned).collect();
    if found != expected {
        return Err(ModelError::OtherArchitecture {
            architecture: format!("ResNet-{depth}"),
            missing: expected.difference(&found).cloned().collect(),
            extra: found.difference(&expected).cloned().collect(),
        }
        .into());
    }
    let mut tensors = BTreeMap::new();
    for conv in plan.convs() {
        let (weight, norm) = names(&conv.name);
        let shape = [conv.output, conv.input, conv.kernel, conv.kernel].map(|side| side as usize);
        let mut weight = read(file, &format!("{weight}.weight"), &shape)?;
        let mut parts = Vec::new();
        for part in NORM {
            parts.push(read(file, &format!("{norm}.{part}"), &shape[..1])?);
        }
        let filter = weight.len() / shape[0];
        let mut bias = Vec::new();
        for (channel, weight) in weight.chunks_exact_mut(filter).enumerate() {
            let [gamma, beta, mean, variance] =
                [0, 1, 2, 3].map(|part: usize| f64::from(parts[part][channel]));
            if variance < 0.0 {
                return Err(ModelError::WrongTensor {
                    name: format!("{norm}.running_var"),
                    found: format!("{variance}"),
                    expected: "variances, which are not negative".into(),
                }
                .into());
            }
            let scale = gamma / (variance + EPS).sqrt();
            weight
                .iter_mut()
                .for_each(|w| *w = (f64::from(*w) * scale) as f32);
            bias.push((beta - mean * scale) as f32);
        }
        let name = format!("backbone.{}", conv.name);
        tensors.insert(format!("{name}.weight"), Tensor::from_f32(&shape, &weight));
        tensors.insert(format!("{name}.bias"), Tensor::from_f32(&shape[..1], &bias));
    }
    let description = Description {
        architecture: Architecture::ResNet { depth },
        scale: DEVIATION.map(|deviation| 1.0 / (255.0 * deviation)),
        shift: [0, 1, 2].map(|channel| -MEAN[channel] / DEVIATION[channel]),
        input: ImageInput {
            resize: Resize::CenterCrop,
            ..ImageInput::stretch(224, 224)
        },
    };
    let Ok(Value::Object(backbone)) = serde_json::to_value(&description) else {
        return Ok(None);
    };
    let metadata = ModelMetadata {
        backbone: Some(backbone),
        notes: Some(format!(
            "ResNet-{depth}, imported from torchvision's layout"
        )),
        ..Default::default()
    };
    Ok(Some(ModelFile::build(metadata, &tensors)?))
}

/// The tensors of a batch norm.
const NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// torchvision's names of a convolution and of the batch norm behind it.
fn names(conv: &str) -> (String, String) {
    match conv.strip_suffix("downsample") {
        Some(_) => (format!("{conv}.0"), format!("{conv}.1")),
        None => {
            let norm = conv.rfind("conv").map_or_else(String::new, |at| {
                format!("{}bn{}", &conv[..at], &conv[at + 4..])
            });
            (conv.to_owned(), norm)
        }
    }
}

/// A tensor of finite f32 or f16 as f32.
fn read(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
    let view = file.tensor(name).map_err(|_| ModelError::MissingTensor {
        name: name.to_owned(),
    })?;
    let dtype = match view.dtype() {
        Dtype::F32 => bitkin::model::Dtype::F32,
        Dtype::F16 => bitkin::model::Dtype::F16,
        other => {
            return Err(ModelError::WrongTensor {
                name: name.to_owned(),
                found: format!("{other:?} {:?}", view.shape()),
                expected: format!("F32 or F16 {shape:?}"),
            }
            .into());
        }
    };
    let view = TensorView {
        dtype,
        shape: view.shape(),
        bytes: view.data(),
    };
    let shape: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
    let tensor = to_f32_tensor(name, &view, &shape)?;
    Ok(Vec::try_from(tensor.f_reshape([-1])?)?)
}
