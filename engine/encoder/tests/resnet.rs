//! ResNets with torchvision's names give what PyTorch gives: references/resnet.py made the references.

use std::collections::HashMap;

use bitkin::encoder::ImageInput;
use bitkin::model::ModelError;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{Arithmetic, Backbone, read_file};
use safetensors::tensor::{Dtype, TensorView};
use tch::Device;

const SIDE: u32 = 96;

/// Numbers from 0 to 1 that follow from a name (FNV-1a, then splitmix64).
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (1..=count as u64).map(move |i| {
        let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0
    })
}

fn weights(name: &str, shape: &[usize]) -> Vec<u8> {
    let filter: usize = shape[1..].iter().product();
    let spread = (24.0 / filter as f64).sqrt() as f32;
    let scaled = |u: f32| match shape.len() {
        4 => (u - 0.5) * spread,
        _ if name.ends_with("running_var") || name.ends_with("weight") => u * 0.5 + 0.25,
        _ => (u - 0.5) * 0.2,
    };
    let values = uniform(name, shape.iter().product()).map(scaled);
    values.flat_map(f32::to_le_bytes).collect()
}

/// Names and shapes of a ResNet's tensors as torchvision writes them, but for the classifier.
fn tensors(bottleneck: bool, counts: [usize; 4]) -> Vec<(String, Vec<usize>)> {
    let mut tensors = Vec::new();
    let mut conv = |conv: String, norm: String, shape: [usize; 4]| {
        tensors.push((format!("{conv}.weight"), shape.to_vec()));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{norm}.{part}"), vec![shape[0]]));
        }
    };
    conv("conv1".into(), "bn1".into(), [64, 3, 7, 7]);
    let mut input = 64;
    for (stage, count) in counts.into_iter().enumerate() {
        let width = 64 << stage;
        let output = if bottleneck { 4 * width } else { width };
        for block in 0..count {
            let name = format!("layer{}.{block}", stage + 1);
            let kernels: &[usize] = if bottleneck { &[1, 3, 1] } else { &[3, 3] };
            let mut channels = input;
            for (i, &kernel) in (1..).zip(kernels) {
                let last = i == kernels.len();
                let to = if last { output } else { width };
                let (own, norm) = (format!("{name}.conv{i}"), format!("{name}.bn{i}"));
                conv(own, norm, [to, channels, kernel, kernel]);
                channels = to;
            }
            if block == 0 && (stage > 0 || input != output) {
                let (own, norm) = (
                    format!("{name}.downsample.0"),
                    format!("{name}.downsample.1"),
                );
                conv(own, norm, [output, input, 1, 1]);
            }
            input = output;
        }
    }
    tensors
}

fn file(tensors: &[(String, Vec<usize>)]) -> tempfile::NamedTempFile {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| weights(name, shape))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn picture() -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..SIDE {
        for x in 0..SIDE {
            pixels.extend((0..3).map(|channel| (3 * x + 5 * y + 70 * channel + x * y / 16) as u8));
        }
    }
    pixels
}

#[test]
fn features_are_those_of_pytorch() {
    let references: HashMap<String, Vec<f32>> =
        serde_json::from_str(include_str!("references/resnet.json")).unwrap();
    for (depth, bottleneck, counts) in [(18, false, [2, 2, 2, 2]), (50, true, [3, 4, 6, 3])] {
        let mut tensors = tensors(bottleneck, counts);
        // As in files that torchvision's weights come in.
        tensors.push(("fc.bias".into(), vec![1000]));
        let imported = read_file(file(&tensors).path()).unwrap();
        let backbone = Backbone::load(&imported, Device::Cpu, Arithmetic::F32).unwrap();
        let got = backbone
            .one(&picture(), ImageInput::stretch(SIDE, SIDE))
            .unwrap();
        let expected = &references[&depth.to_string()];
        assert_eq!(
            (got.len(), backbone.dim()),
            (expected.len(), expected.len())
        );
        let most = expected
            .iter()
            .fold(0f32, |most, value| most.max(value.abs()));
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let error = (got - expected).abs() / most;
            assert!(
                error < 1e-5,
                "ResNet-{depth}, feature {i}: {got}, PyTorch {expected}"
            );
        }
    }
}

#[test]
fn weights_of_another_architecture_are_told_by_name() {
    let mut tensors = tensors(false, [2, 2, 2, 2]);
    let at = tensors
        .iter()
        .position(|(name, _)| name == "layer2.0.bn1.running_var");
    tensors.remove(at.unwrap());
    tensors.push(("layer2.0.se.weight".into(), vec![4]));
    let error = read_file(file(&tensors).path()).unwrap_err();
    let text = error.to_string();
    for word in [
        "ResNet-18",
        "lacks layer2.0.bn1.running_var",
        "also has layer2.0.se.weight",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let is_typed = matches!(error, Error::Model(ModelError::OtherArchitecture { .. }));
    assert!(is_typed, "{error:?}");
}
