//! Tensors as a model file holds them: element type, shape, little-endian bytes.

use super::ModelError;

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // The names are the format's own.
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    BF16,
    F32,
    F64,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 1,
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::BF16 => 2,
            Dtype::U32 | Dtype::I32 | Dtype::F32 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 => 8,
        }
    }

    /// The name that safetensors gives the type, such as `F32`.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "BOOL",
            Dtype::U8 => "U8",
            Dtype::I8 => "I8",
            Dtype::U16 => "U16",
            Dtype::I16 => "I16",
            Dtype::U32 => "U32",
            Dtype::I32 => "I32",
            Dtype::U64 => "U64",
            Dtype::I64 => "I64",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
            Dtype::F32 => "F32",
            Dtype::F64 => "F64",
        }
    }

    pub(super) fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        use safetensors::Dtype as Source;
        Some(match dtype {
            Source::BOOL => Dtype::Bool,
            Source::U8 => Dtype::U8,
            Source::I8 => Dtype::I8,
            Source::U16 => Dtype::U16,
            Source::I16 => Dtype::I16,
            Source::U32 => Dtype::U32,
            Source::I32 => Dtype::I32,
            Source::U64 => Dtype::U64,
            Source::I64 => Dtype::I64,
            Source::F16 => Dtype::F16,
            Source::BF16 => Dtype::BF16,
            Source::F32 => Dtype::F32,
            Source::F64 => Dtype::F64,
            _ => return None,
        })
    }
}

/// A tensor to be written to a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Size of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, row-major, little-endian.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of `f32`; `values` are row-major.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Tensor {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes,
        }
    }

    pub(super) fn checked_view(&self, name: &str) -> Result<TensorView<'_>, ModelError> {
        let view = TensorView {
            dtype: self.dtype,
            shape: &self.shape,
            bytes: &self.bytes,
        };
        let expected = self
            .shape
            .iter()
            .try_fold(self.dtype.size(), |bytes, &side| bytes.checked_mul(side));
        if expected == Some(self.bytes.len()) {
            return Ok(view);
        }
        Err(ModelError::WrongTensor {
            name: name.to_owned(),
            found: format!("{} bytes", self.bytes.len()),
            expected: view.describe(),
        })
    }
}

/// A tensor inside a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Size of each dimension; empty for a scalar.
    pub shape: &'a [usize],
    /// The elements, row-major, little-endian; not necessarily aligned.
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    /// The elements as `f32`, row-major; `name` is for the error.
    ///
    /// # Errors
    /// [`ModelError::WrongTensor`] for another element type or another shape than `shape`.
    pub fn to_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        if self.dtype != Dtype::F32 || self.shape != shape {
            return Err(ModelError::WrongTensor {
                name: name.to_owned(),
                found: self.describe(),
                expected: format!("F32 {shape:?}"),
            });
        }
        let quads = self.bytes.as_chunks::<4>().0;
        Ok(quads.iter().map(|&quad| f32::from_le_bytes(quad)).collect())
    }

    /// A copy, to be written to another file.
    pub fn to_tensor(&self) -> Tensor {
        Tensor {
            dtype: self.dtype,
            shape: self.shape.to_vec(),
            bytes: self.bytes.to_vec(),
        }
    }

    /// Type and shape, such as `F32 [64, 3]`.
    pub fn describe(&self) -> String {
        format!("{} {:?}", self.dtype.name(), self.shape)
    }
}
