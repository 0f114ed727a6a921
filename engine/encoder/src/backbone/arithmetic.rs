//! The numbers that a network computes in, and the ways to do it on a device.
//!
//! A model names its arithmetic, which is part of its fingerprint, and no machine computes it in another: bf16
//! rounds every layer's output to eight bits, which turns a few bits of codes in a thousand.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError, Tensor};

use super::residual::Convolve;
use super::{Conv, channels_last};

/// What a network computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Arithmetic {
    /// 32-bit floats.
    #[default]
    F32,
    /// Weights, and what every layer gives, rounded to bfloat16; sums within a layer in f32. Where the
    /// processor (AVX-512 BF16, AMX) or the GPU has it, about twice as fast or more; elsewhere f32 loops
    /// compute it with rounding between them.
    Bf16,
}

impl Arithmetic {
    /// Its name in model files.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::F32 => "f32",
            Arithmetic::Bf16 => "bf16",
        }
    }

    /// The arithmetic of that name.
    pub fn of_name(name: &str) -> Option<Arithmetic> {
        [Arithmetic::F32, Arithmetic::Bf16]
            .into_iter()
            .find(|arithmetic| arithmetic.name() == name)
    }
}

/// How layers are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    F32,
    /// In bf16 by what the device has for it.
    Bf16,
    /// The same, with weights and what flows between layers in oneDNN's own order, which AMX needs to be fast.
    Bf16Packed,
    /// In f32, rounded to bf16 after each layer.
    Rounded,
}

impl Way {
    /// The fastest way on a device; `packs` says whether a network has only such layers as can be packed.
    pub(super) fn best(arithmetic: Arithmetic, device: Device, packs: bool) -> Way {
        match arithmetic {
            Arithmetic::F32 => Way::F32,
            Arithmetic::Bf16 if device != Device::Cpu => Way::Bf16,
            Arithmetic::Bf16 if !processor_has_bf16() => Way::Rounded,
            Arithmetic::Bf16 if packs => Way::Bf16Packed,
            Arithmetic::Bf16 => Way::Bf16,
        }
    }
}

/// Whether bf16 is faster than f32 on this processor. (Those that have AMX have AVX-512 BF16 too.)
fn processor_has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

/// The convolutions of a network, ready to be computed in one way.
pub(super) struct Layers {
    way: Way,
    device: Device,
    layers: BTreeMap<String, Layer>,
}

struct Layer {
    conv: Conv,
    /// Weight and bias in oneDNN's order, which depends on the size of the first picture.
    packed: OnceLock<Conv>,
}

// SAFETY: once made, the tensors are only read, and libtorch allows any number of threads to read a tensor at
// once. No method changes one or hands one out.
unsafe impl Sync for Layers {}

impl Layers {
    pub(super) fn new(
        convs: BTreeMap<String, Conv>,
        way: Way,
        device: Device,
    ) -> Result<Layers, TchError> {
        let stored = |x: &Tensor| match way {
            Way::F32 => Ok(x.shallow_clone()),
            Way::Bf16 => x.f_to_kind(Kind::BFloat16),
            Way::Bf16Packed | Way::Rounded => rounded(x),
        };
        let layers = convs.into_iter().map(|(name, conv)| {
            let conv = Conv {
                weight: channels_last(&stored(&conv.weight)?.f_to_device(device)?),
                bias: stored(&conv.bias)?.f_to_device(device)?,
            };
            let packed = OnceLock::new();
            Ok((name, Layer { conv, packed }))
        });
        let layers = layers.collect::<Result<_, TchError>>()?;
        Ok(Layers {
            way,
            device,
            layers,
        })
    }

    /// What flows into the first layer, out of f32 `[n, channels, h, w]`.
    pub(super) fn enter(&self, x: &Tensor) -> Result<Tensor, TchError> {
        match self.way {
            Way::F32 => Ok(x.shallow_clone()),
            Way::Bf16 => x.f_to_kind(Kind::BFloat16),
            Way::Bf16Packed => x.f_to_mkldnn(Kind::BFloat16),
            Way::Rounded => rounded(x),
        }
    }
}

impl Layer {
    fn packed(
        &self,
        input: &[i64],
        stride: i64,
        padding: [i64; 2],
        groups: i64,
    ) -> Result<&Conv, TchError> {
        if let Some(packed) = self.packed.get() {
            return Ok(packed);
        }
        let weight = self.conv.weight.f_to_mkldnn(Kind::BFloat16)?;
        let conv = Conv {
            weight: weight.f_mkldnn_reorder_conv2d_weight(
                padding,
                [stride, stride],
                [1, 1],
                groups,
                input,
            )?,
            bias: self.conv.bias.f_to_mkldnn(Kind::BFloat16)?,
        };
        // Whichever thread was first: all have made the same.
        Ok(self.packed.get_or_init(|| conv))
    }
}

impl Convolve for Layers {
    fn convolve(
        &self,
        name: &str,
        x: &Tensor,
        stride: i64,
        padding: [i64; 2],
        groups: i64,
    ) -> Result<Tensor, TchError> {
        let layer = &self.layers[name];
        let conv = match self.way {
            Way::Bf16Packed => layer.packed(&x.size(), stride, padding, groups)?,
            _ => &layer.conv,
        };
        let (weight, bias) = (&conv.weight, Some(&conv.bias));
        if self.device == Device::Cpu {
            let y = x.f_conv2d(weight, bias, stride, padding, 1, groups)?;
            return self.settle(y);
        }
        // As conv2d, but never in TF32, and by algorithms that give the same at every call.
        let y = x.f_internal_convolution(
            weight,
            bias,
            [stride, stride],
            padding,
            [1, 1],
            false,
            [0, 0],
            groups,
            false,
            true,
            true,
            false,
        )?;
        self.settle(y)
    }

    fn kernel(&self, name: &str) -> i64 {
        self.layers[name].conv.weight.size()[2]
    }

    fn settle(&self, x: Tensor) -> Result<Tensor, TchError> {
        match self.way {
            Way::Rounded => rounded(&x),
            _ => Ok(x),
        }
    }

    fn leave(&self, x: Tensor) -> Result<Tensor, TchError> {
        match self.way {
            Way::Bf16Packed => x.f_to_dense(Kind::Float, false),
            _ => Ok(x),
        }
    }
}

/// The nearest numbers of bf16, as f32.
fn rounded(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_to_kind(Kind::BFloat16)?.f_to_kind(Kind::Float)
}
