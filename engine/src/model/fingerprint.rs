//! What a fingerprint is taken over.
//!
//! Every string is preceded by its length in bytes and every list by its length (u64,
//! little-endian), so that no two models run into the same byte stream.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{BACKBONE_PREFIX, TensorEntry};
use crate::encoder::Fingerprint;

/// Fingerprint of a hash model: its metadata, the tensors of its head in name order, and the
/// fingerprint of its backbone.
pub(super) fn of_model(
    metadata: &Map<String, Value>,
    tensors: &BTreeMap<String, TensorEntry>,
    file: &[u8],
    backbone: Option<Fingerprint>,
) -> Fingerprint {
    let mut stream = Stream::new("bitkin model 1");
    stream.string(canonical_json(metadata).as_bytes());
    stream.tensors(
        tensors
            .iter()
            .filter(|(name, _)| !name.starts_with(BACKBONE_PREFIX)),
        file,
    );
    match backbone {
        Some(fingerprint) => stream.string(&fingerprint.0),
        None => stream.string(b""),
    }
    stream.finish()
}

/// Fingerprint of a backbone: its description and its tensors in name order.
pub(super) fn of_backbone(
    description: &Map<String, Value>,
    tensors: &BTreeMap<String, TensorEntry>,
    file: &[u8],
) -> Fingerprint {
    let mut stream = Stream::new("bitkin backbone 1");
    stream.string(canonical_json(description).as_bytes());
    stream.tensors(
        tensors
            .iter()
            .filter(|(name, _)| name.starts_with(BACKBONE_PREFIX)),
        file,
    );
    stream.finish()
}

struct Stream(Sha256);

impl Stream {
    fn new(domain: &str) -> Self {
        let mut stream = Stream(Sha256::new());
        stream.string(domain.as_bytes());
        stream
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    fn tensors<'a>(
        &mut self,
        tensors: impl Iterator<Item = (&'a String, &'a TensorEntry)> + Clone,
        file: &[u8],
    ) {
        self.number(tensors.clone().count());
        for (name, tensor) in tensors {
            self.string(name.as_bytes());
            self.string(tensor.dtype.name().as_bytes());
            self.number(tensor.shape.len());
            for &side in &tensor.shape {
                self.number(side);
            }
            self.string(&file[tensor.range.clone()]);
        }
    }

    fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

/// JSON without white space, keys of every object sorted by their bytes.
///
/// Sorted here and not left to `serde_json`'s map: its order depends on a feature that any crate
/// of a build may turn on.
pub(super) fn canonical_json(object: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_object(object, &mut text);
    text
}

fn write_object(object: &Map<String, Value>, text: &mut String) {
    let sorted: BTreeMap<&String, &Value> = object.iter().collect();
    text.push('{');
    for (i, (key, value)) in sorted.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        write_value(value, text);
    }
    text.push('}');
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => write_object(object, text),
        Value::Array(values) => {
            text.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write_value(value, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}
