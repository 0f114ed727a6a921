//! A writer of safetensors whose output depends on nothing but its input.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;

use super::TensorView;

/// The data begin at a multiple of this, in bytes.
const ALIGNMENT: usize = 64;

/// The bytes of a safetensors file.
///
/// The format allows no gap between tensors, so they are laid out by descending element size
/// and then by name: each is then aligned to its elements. The header is padded with spaces, as
/// the format allows, until the data begin at [`ALIGNMENT`].
pub(super) fn safetensors(
    strings: &BTreeMap<&'static str, String>,
    tensors: &BTreeMap<&str, TensorView<'_>>,
) -> Vec<u8> {
    let mut layout: Vec<(&str, &TensorView<'_>)> = tensors
        .iter()
        .map(|(name, tensor)| (*name, tensor))
        .collect();
    layout.sort_by_key(|(name, tensor)| (Reverse(tensor.dtype.size()), *name));

    let quoted = |text: &str| Value::from(text).to_string();
    let metadata: Vec<String> = strings
        .iter()
        .map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)))
        .collect();
    let mut header = format!("{{\"__metadata__\":{{{}}}", metadata.join(","));
    let mut begin = 0;
    for (name, tensor) in &layout {
        let end = begin + tensor.bytes.len();
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        header.push_str(&format!(
            ",{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{begin},{end}]}}",
            quoted(name),
            tensor.dtype.name(),
            shape.join(",")
        ));
        begin = end;
    }
    header.push('}');
    let padded = (8 + header.len()).next_multiple_of(ALIGNMENT) - 8;
    header.extend(std::iter::repeat_n(' ', padded - header.len()));

    let mut file = Vec::with_capacity(8 + header.len() + begin);
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    for (_, tensor) in &layout {
        file.extend_from_slice(tensor.bytes);
    }
    file
}
