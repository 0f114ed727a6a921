//! The loaded MobileNetV1 reproduces its reference embeddings, where the real data are at hand:
//! in the folder named by `BITKIN_DATA`, or in `../shared/data` beside the repository.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a test saw, for a reader"
)]

use std::path::PathBuf;

use bitkin::encoder::ImageInput;
use bitkin_encoder::backbone::{Arithmetic, Backbone, read_file};
use safetensors::SafeTensors;
use tch::Device;

fn data() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let root = std::env::var_os("BITKIN_DATA").map_or_else(|| beside.into(), PathBuf::from);
    let folder = root.join("backbone_mobilenet_v1");
    folder.is_dir().then_some(folder)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn reference_embeddings_are_reproduced() {
    let Some(folder) = data() else {
        eprintln!("not run: no backbone_mobilenet_v1 in $BITKIN_DATA or ../shared/data");
        return;
    };
    let file = read_file(&folder.join("mobilenet_v1_imagenet_f16.safetensors")).unwrap();
    let backbone = Backbone::load(&file, Device::Cpu, Arithmetic::F32).unwrap();
    let references =
        std::fs::read(folder.join("mobilenet_v1_reference_embeddings.safetensors")).unwrap();
    let references = SafeTensors::deserialize(&references).unwrap();
    let mut embeddings = Vec::new();
    for name in ["bird", "sunflower"] {
        let pixels = std::fs::read(folder.join(format!("{name}.rgb"))).unwrap();
        let got = backbone
            .one(&pixels, ImageInput::stretch(224, 224))
            .unwrap();
        let expected: Vec<f32> = references
            .tensor(name)
            .unwrap()
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let cosine = cosine(&got, &expected);
        println!("{name}: cosine {cosine:.7}");
        assert!(cosine >= 0.9999, "{name}: cosine {cosine}");
        embeddings.push(got);
    }
    // Two pictures that are nothing alike must not pass for each other.
    assert!(cosine(&embeddings[0], &embeddings[1]) < 0.9);
}
