//! Hashing models in model files.

use std::collections::BTreeMap;

use bitkin::model::{ModelError, ModelFile, Tensor};
use serde::{Deserialize, Serialize};

use super::{Anchors, Calibration, Diffusion, GraphSpace, HashModel, Layer, Method, Prototypes};
use crate::error::Error;

/// What stands in a model file under `bitkin`, beside the keys that every model has. A key that is
/// not known is refused: it may be a step that this program would leave out of the codes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    whitening: bool,
    unit_length: bool,
    calibration: bool,
    prototypes: bool,
    layers: usize,
    diffusion: Option<Diffusion>,
}

impl HashModel {
    /// Tensors and metadata for a model file.
    pub(crate) fn to_tensors(&self) -> (BTreeMap<String, Tensor>, serde_json::Value) {
        let mut tensors = BTreeMap::new();
        let mut put = |name: &str, rows: usize, values: &[f32]| {
            let shape = match rows {
                0 => vec![values.len()],
                n => vec![n, values.len() / n],
            };
            tensors.insert(name.to_string(), Tensor::from_f32(&shape, values));
        };
        put("centre", 0, &self.centre);
        put("offset", 0, &self.offset);
        if let Some(whitening) = &self.whitening {
            put("whitening", self.dim(), whitening);
        }
        if let Some(c) = &self.calibration {
            put(
                "calibration.classes",
                c.classes.len() / self.dim(),
                &c.classes,
            );
            put("calibration.down", c.down.len() / self.dim(), &c.down);
            put("calibration.scale", 0, &[c.scale]);
        }
        if let Some(p) = &self.prototypes {
            put("prototypes.points", p.mean.len(), &p.points);
            put("prototypes.mean", 0, &p.mean);
            let classes: Vec<f32> = p.classes.iter().map(|&class| class as f32).collect();
            put("prototypes.classes", 0, &classes);
            put("prototypes.spread", 0, &[p.spread]);
            put("prototypes.inverse_deviation", 0, &p.inverse_deviation);
        }
        for (i, layer) in self.head.iter().enumerate() {
            put(&format!("head.{i}.weight"), layer.bias.len(), &layer.weight);
            put(&format!("head.{i}.bias"), 0, &layer.bias);
        }
        if let Some(a) = &self.anchors {
            let count = a.smoothed.len() / self.bits;
            put("anchors.points", count, &a.points);
            put("anchors.smoothed", count, &a.smoothed);
            put("anchors.kernel_width", 0, &[a.kernel_width]);
        }
        let description = Description {
            whitening: self.whitening.is_some(),
            unit_length: self.unit_length,
            calibration: self.calibration.is_some(),
            prototypes: self.prototypes.is_some(),
            layers: self.head.len(),
            diffusion: self.anchors.as_ref().map(|a| a.diffusion),
        };
        (tensors, serde_json::json!(description))
    }

    /// Reads the model out of a file, for a backbone whose features have `dim` numbers.
    ///
    /// # Errors
    /// [`ModelError`] naming the tensor or key that is missing, of another shape or not finite.
    pub fn from_file(file: &ModelFile, dim: usize) -> Result<HashModel, Error> {
        file.expect_kind(bitkin::model::ModelKind::Hash)?;
        let bits = file.bits().unwrap_or(0) as usize;
        let invalid = |key: &str, reason: String| ModelError::InvalidMetadata {
            key: key.to_string(),
            reason,
        };
        let method = file.method().unwrap_or_default();
        let method = Method::of_name(method).ok_or_else(|| {
            let known = Method::ALL.map(Method::name).join(", ");
            let reason = format!("{method:?}; this version runs {known}");
            invalid("bitkin.method", reason)
        })?;
        let json = file
            .metadata()
            .model
            .get("head")
            .ok_or(ModelError::MissingKey {
                key: "bitkin.head".into(),
            })?;
        let description: Description = serde_json::from_value(json.clone())
            .map_err(|e| invalid("bitkin.head", e.to_string()))?;
        if !(1..=8).contains(&description.layers) {
            let reason = format!("{} layers, expected 1 to 8", description.layers);
            return Err(invalid("bitkin.head.layers", reason).into());
        }
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>, ModelError> {
            let values = file.tensor(name)?.to_f32(name, shape)?;
            match values.iter().all(|v| v.is_finite()) {
                true => Ok(values),
                false => Err(ModelError::WrongTensor {
                    name: name.to_string(),
                    found: "numbers that are not finite".into(),
                    expected: "finite numbers".into(),
                }),
            }
        };
        // A count that only the file knows; everything else must agree with it.
        let rows = |name: &str| -> Result<usize, ModelError> {
            let shape = file.tensor(name)?.shape;
            match shape.first() {
                Some(&count) if count > 0 => Ok(count),
                _ => Err(ModelError::WrongTensor {
                    name: name.to_string(),
                    found: format!("shape {shape:?}"),
                    expected: "at least one row".into(),
                }),
            }
        };
        let whitening = match description.whitening {
            false => None,
            true => Some(read("whitening", &[dim, dim])?),
        };
        let calibration = match description.calibration {
            false => None,
            true => {
                let (classes, rank) = (rows("calibration.classes")?, rows("calibration.down")?);
                if rank > classes {
                    return Err(ModelError::WrongTensor {
                        name: "calibration.down".into(),
                        found: format!("{rank} rows"),
                        expected: format!("at most {classes}, one a class"),
                    }
                    .into());
                }
                Some(Calibration {
                    classes: read("calibration.classes", &[classes, dim])?,
                    down: read("calibration.down", &[rank, dim])?,
                    scale: read("calibration.scale", &[1])?[0],
                })
            }
        };
        let prototypes = match description.prototypes {
            false => None,
            true => {
                let count = rows("prototypes.mean")?;
                Some(Prototypes {
                    points: read("prototypes.points", &[count, dim])?,
                    // Small whole numbers, which f32 holds exactly; others are only other labels.
                    classes: read("prototypes.classes", &[count])?
                        .into_iter()
                        .map(|class| class as u32)
                        .collect(),
                    spread: read("prototypes.spread", &[1])?[0].max(0.0),
                    mean: read("prototypes.mean", &[count])?,
                    inverse_deviation: read("prototypes.inverse_deviation", &[count])?,
                })
            }
        };
        let embedding = prototypes.as_ref().map_or(dim, |p| p.mean.len());
        let mut head = Vec::new();
        let mut width = embedding;
        for i in 0..description.layers {
            let (weight, bias) = (format!("head.{i}.weight"), format!("head.{i}.bias"));
            let output = if i + 1 == description.layers {
                bits
            } else {
                rows(&bias)?
            };
            head.push(Layer {
                weight: read(&weight, &[output, width])?,
                bias: read(&bias, &[output])?,
            });
            width = output;
        }
        let anchors = match description.diffusion {
            None => None,
            Some(diffusion) => {
                if let Err(reason) = diffusion.check() {
                    return Err(invalid("bitkin.head.diffusion", reason).into());
                }
                let kernel_width = read("anchors.kernel_width", &[1])?[0];
                if kernel_width <= 0.0 {
                    return Err(ModelError::WrongTensor {
                        name: "anchors.kernel_width".into(),
                        found: kernel_width.to_string(),
                        expected: "a width above 0".into(),
                    }
                    .into());
                }
                let count = rows("anchors.points")?;
                let width = match diffusion.space {
                    GraphSpace::Feature => dim,
                    GraphSpace::Pp => embedding,
                };
                Some(Anchors {
                    points: read("anchors.points", &[count, width])?,
                    smoothed: read("anchors.smoothed", &[count, bits])?,
                    diffusion,
                    kernel_width,
                })
            }
        };
        let centre = read("centre", &[dim])?;
        let offset = read("offset", &[bits])?;
        Ok(HashModel {
            method,
            bits,
            centre,
            whitening,
            unit_length: description.unit_length,
            calibration,
            prototypes,
            head,
            offset,
            anchors,
        })
    }
}
