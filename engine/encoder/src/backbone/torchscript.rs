//! Any module that PyTorch has compiled to TorchScript: the last resort, for networks that are built otherwise.
//!
//! A TorchScript archive is a program. It is taken over whole, as bytes of the model file, and runs with the
//! rights of the process: only such as one trusts should be imported.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use bitkin::encoder::ImageInput;
use bitkin::model::{Dtype, ModelError, ModelFile, ModelMetadata};
use serde_json::Value;
use tch::{CModule, Device, Kind, TchError, Tensor};

use super::{Architecture, Description};
use crate::error::Error;

/// The tensor with the archive's bytes.
const TENSOR: &str = "backbone.torchscript";

/// The most numbers that a feature vector can have.
const MOST: i64 = 1 << 20;

pub(super) struct TorchScript(CModule);

impl TorchScript {
    /// Loads the module of a model file.
    pub(super) fn load(file: &ModelFile, device: Device) -> Result<TorchScript, Error> {
        let view = file.tensor(TENSOR)?;
        if view.dtype != Dtype::U8 {
            return Err(ModelError::WrongTensor {
                name: TENSOR.into(),
                found: view.describe(),
                expected: "U8".into(),
            }
            .into());
        }
        TorchScript::of_bytes(view.bytes, device)
    }

    fn of_bytes(bytes: &[u8], device: Device) -> Result<TorchScript, Error> {
        let failed = |e: TchError| Error::Backbone(format!("it is no TorchScript module: {e}"));
        let mut module =
            CModule::load_data_on_device(&mut Cursor::new(bytes), device).map_err(failed)?;
        module.f_set_eval().map_err(failed)?;
        Ok(TorchScript(module))
    }

    /// f32 `[n, 3, h, w]` to f32 `[n, numbers]`; what is left of height and width is averaged.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        // An executor that rewrites its program after some runs would change the last bits of features.
        tch::jit::f_set_profiling_mode(false)?;
        tch::jit::f_set_graph_executor_optimize(false)?;
        let y = self.0.forward_ts(&[x])?.f_to_kind(Kind::Float)?;
        match y.size()[..] {
            [_, _] => Ok(y),
            [_, _, _, _] => y.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float),
            _ => Err(TchError::Torch(format!(
                "the module gives a tensor of shape {:?}, not [n, numbers] or [n, numbers, h, w]",
                y.size()
            ))),
        }
    }
}

/// Makes a backbone file of a TorchScript archive that takes f32 `[n, 3, height, width]`, a channel's byte x as
/// `x * scale + shift`, and gives a feature vector each, or maps that are averaged.
///
/// # Errors
/// [`Error::Backbone`] when it is no such module, or fails on a grey picture.
pub fn import(
    path: &Path,
    input: ImageInput,
    scale: [f64; 3],
    shift: [f64; 3],
) -> Result<ModelFile, Error> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let module = TorchScript::of_bytes(&bytes, Device::Cpu)?;
    let shape = [1, 3, i64::from(input.height), i64::from(input.width)];
    let picture = Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?;
    let features = tch::no_grad(|| module.forward(&picture))?.size();
    let dim = match features[..] {
        [1, dim @ 1..=MOST] => dim as u32,
        _ => {
            let what = format!("for one picture it gives a tensor of shape {features:?}");
            return Err(Error::Backbone(what));
        }
    };
    let description = Description {
        architecture: Architecture::TorchScript { dim },
        scale,
        shift,
        input,
    };
    let Ok(Value::Object(backbone)) = serde_json::to_value(&description) else {
        return Err(Error::Backbone("its description is no JSON object".into()));
    };
    let metadata = ModelMetadata {
        backbone: Some(backbone),
        notes: Some("a TorchScript module".into()),
        ..Default::default()
    };
    let tensor = bitkin::model::Tensor {
        dtype: Dtype::U8,
        shape: vec![bytes.len()],
        bytes,
    };
    Ok(ModelFile::build(
        metadata,
        &BTreeMap::from([(TENSOR.to_owned(), tensor)]),
    )?)
}
