//! MobileNetV1 with width multiplier 1 (Howard et al., arXiv 1704.04861), batch norm folded.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bitkin::encoder::ImageInput;
use bitkin::model::{Dtype, ModelError, ModelFile, ModelMetadata};
use safetensors::SafeTensors;
use serde_json::Value;
use tch::{TchError, Tensor};

use super::{Architecture, ConvShape, Convolve, Description};

/// Numbers in a feature vector.
pub(super) const DIM: usize = 1024;

/// Output channels and stride of each depthwise-separable block.
const BLOCKS: [(i64, i64); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// Output channels of the stem.
const STEM: i64 = 32;

#[derive(Clone)]
pub(super) struct MobileNetV1;

impl MobileNetV1 {
    pub(super) fn convs(&self) -> Vec<ConvShape> {
        let mut shapes = vec![ConvShape {
            name: "stem".into(),
            weight: [STEM, 3, 3, 3],
        }];
        let mut width = STEM;
        for (i, (output, _)) in BLOCKS.into_iter().enumerate() {
            shapes.push(ConvShape {
                name: format!("blocks.{i}.depthwise"),
                weight: [width, 1, 3, 3],
            });
            shapes.push(ConvShape {
                name: format!("blocks.{i}.pointwise"),
                weight: [output, width, 1, 1],
            });
            width = output;
        }
        shapes
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        BLOCKS.len()
    }

    /// Names of the convolutions of the last blocks.
    pub(super) fn convs_of_last(&self, blocks: usize) -> Vec<String> {
        let first = BLOCKS.len().saturating_sub(blocks);
        let names = (first..BLOCKS.len())
            .flat_map(|i| ["depthwise", "pointwise"].map(|part| format!("blocks.{i}.{part}")));
        names.collect()
    }

    /// What comes before the blocks: `[n, 3, h, w]` to what the first of them takes.
    pub(super) fn stem(&self, x: &Tensor, layers: &impl Convolve) -> Result<Tensor, TchError> {
        conv_same(x, layers, "stem", 2, 1)
    }

    /// Some of the blocks; after the last, maps `[n, DIM, h, w]` in the layers' own kind.
    pub(super) fn run(
        &self,
        mut x: Tensor,
        blocks: Range<usize>,
        layers: &impl Convolve,
    ) -> Result<Tensor, TchError> {
        for i in blocks {
            let width = match i {
                0 => STEM,
                i => BLOCKS[i - 1].0,
            };
            let stride = BLOCKS[i].1;
            x = conv_same(&x, layers, &format!("blocks.{i}.depthwise"), stride, width)?;
            x = conv_same(&x, layers, &format!("blocks.{i}.pointwise"), 1, 1)?;
        }
        Ok(x)
    }
}

/// Convolution with TensorFlow's SAME padding, whose odd pixel goes right and below, then ReLU6.
fn conv_same(
    x: &Tensor,
    layers: &impl Convolve,
    name: &str,
    stride: i64,
    groups: i64,
) -> Result<Tensor, TchError> {
    let kernel = layers.kernel(name);
    let missing = |n: i64| (((n + stride - 1) / stride - 1) * stride + kernel - n).max(0);
    let (down, across) = (missing(x.size()[2]), missing(x.size()[3]));
    let mut y = if down % 2 == 0 && across % 2 == 0 {
        layers.convolve(name, x, stride, [down / 2, across / 2], groups)?
    } else {
        let (top, left) = (down / 2, across / 2);
        let x = x.f_constant_pad_nd([left, across - left, top, down - top])?;
        layers.convolve(name, &x, stride, [0, 0], groups)?
    };
    y.f_clamp_(0.0, 6.0)
}

/// Makes a backbone file of a safetensors file that says of itself `arch: mobilenet_v1`, with
/// tensors named `stem`, `blocks.N.depthwise` and `blocks.N.pointwise`; `None` for another file.
///
/// # Errors
/// [`ModelError`] when a tensor of it cannot be taken over.
pub(super) fn import(
    parsed: &SafeTensors<'_>,
    notes: Option<&HashMap<String, String>>,
) -> Result<Option<ModelFile>, ModelError> {
    let Some(notes) = notes.filter(|m| m.get("arch").is_some_and(|a| a == "mobilenet_v1")) else {
        return Ok(None);
    };
    let mut tensors = BTreeMap::new();
    for ConvShape { name, .. } in MobileNetV1.convs() {
        for part in ["weight", "bias"] {
            let name = format!("{name}.{part}");
            let Ok(view) = parsed.tensor(&name) else {
                return Err(ModelError::MissingTensor { name });
            };
            let dtype = match view.dtype() {
                safetensors::Dtype::F16 => Dtype::F16,
                safetensors::Dtype::F32 => Dtype::F32,
                other => {
                    return Err(ModelError::WrongTensor {
                        name,
                        found: format!("{other:?} {:?}", view.shape()),
                        expected: "F16 or F32".into(),
                    });
                }
            };
            let shape = view.shape().to_vec();
            let tensor = bitkin::model::Tensor {
                dtype,
                shape,
                bytes: view.data().to_vec(),
            };
            tensors.insert(format!("backbone.{name}"), tensor);
        }
    }
    let description = Description {
        architecture: Architecture::MobileNetV1,
        scale: [1.0 / 128.0; 3],
        shift: [-1.0; 3],
        input: ImageInput::stretch(224, 224),
    };
    let Ok(Value::Object(backbone)) = serde_json::to_value(&description) else {
        return Ok(None);
    };
    let source = notes.get("source").map_or("", String::as_str);
    let notes = Some(format!("MobileNetV1, pretrained; source: {source}"));
    let metadata = ModelMetadata {
        backbone: Some(backbone),
        notes,
        ..Default::default()
    };
    ModelFile::build(metadata, &tensors).map(Some)
}
