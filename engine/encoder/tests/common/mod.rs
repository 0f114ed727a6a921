//! A small model for tests: a backbone of random weights, and a head trained on random features.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bitkin::encoder::ImageInput;
use bitkin::model::ModelFile;
use bitkin_encoder::backbone::{self, Architecture, Arithmetic, Backbone, Conv, Description};
use bitkin_encoder::encoder::build_file;
use bitkin_encoder::features::Features;
use bitkin_encoder::hash::HashModel;
use bitkin_encoder::train::hash::{HashTraining, TrainingData, train};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

pub(crate) const SIDE: u32 = 32;
pub(crate) const DIM: usize = 16;

/// A compact backbone of two stages with random weights.
pub(crate) fn tiny_backbone(seed: u64) -> ModelFile {
    let description = Description {
        architecture: Architecture::Compact {
            stages: vec![(8, 1), (DIM as i64, 1)],
        },
        scale: [1.0 / 64.0; 3],
        shift: [-2.0; 3],
        input: ImageInput::stretch(SIDE, SIDE),
    };
    let shapes: [(&str, [i64; 4]); 6] = [
        ("stem", [8, 3, 3, 3]),
        ("blocks.0.conv1", [8, 8, 3, 3]),
        ("blocks.0.conv2", [8, 8, 3, 3]),
        ("blocks.1.conv1", [16, 8, 3, 3]),
        ("blocks.1.conv2", [16, 16, 3, 3]),
        ("blocks.1.shortcut", [16, 8, 1, 1]),
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = |shape: &[i64]| {
        let count = shape.iter().product::<i64>();
        let values: Vec<f32> = (0..count).map(|_| rng.random_range(-0.3..0.3)).collect();
        Tensor::from_slice(&values).view(shape)
    };
    let convs: BTreeMap<String, Conv> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let conv = Conv {
                weight: uniform(&shape),
                bias: uniform(&shape[..1]),
            };
            (name.to_string(), conv)
        })
        .collect();
    backbone::build_file(&description, &convs, "random weights").expect("a valid backbone")
}

/// `classes` clouds of `each` feature vectors; class numbers start at 0. Classes differ in the
/// first third of the dimensions only, the others are louder noise: what there is to learn from
/// one set of classes that helps with others.
pub(crate) fn clouds(classes: u32, each: usize, dim: usize, seed: u64) -> Features {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let telling = dim.div_ceil(3);
    let mut features = Features {
        dim,
        ..Default::default()
    };
    for class in 0..classes {
        let centre: Vec<f32> = (0..telling).map(|_| rng.random_range(-1.0..1.0)).collect();
        for _ in 0..each {
            features
                .values
                .extend(centre.iter().map(|c| c + rng.random_range(-0.4f32..0.4)));
            features
                .values
                .extend((telling..dim).map(|_| rng.random_range(-1.0f32..1.0)));
            features.labels.push(class);
        }
    }
    features
}

/// A model of `bits` bits for features of `dim` numbers.
pub(crate) fn small_model(bits: usize, dim: usize, seed: u64) -> HashModel {
    let sets = [
        clouds(6, 20, dim, 1),
        clouds(3, 4, dim, 2),
        clouds(3, 10, dim, 3),
    ];
    model_of(&sets, bits, seed)
}

fn model_of([base, adapt, unlabelled]: &[Features; 3], bits: usize, seed: u64) -> HashModel {
    let options = HashTraining {
        adapt_steps: 5,
        hidden: 24,
        ..HashTraining::new(bits, seed)
    };
    let data = TrainingData {
        base,
        adapt,
        unlabelled,
    };
    train(&options, data, |_, _| ControlFlow::Continue(())).expect("training data are sound")
}

/// `count` pictures of `SIDE` x `SIDE` pixels: coloured ramps and noise, each of its own kind.
pub(crate) fn pictures(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let side = SIDE as usize;
    (0..count)
        .map(|_| {
            let slope: [[f32; 3]; 2] = rng.random();
            let (level, noise) = (rng.random_range(0.0..100.0), rng.random_range(1.0..80.0));
            let wave = rng.random_range(0.05f32..1.5);
            let mut pixels = Vec::with_capacity(side * side * 3);
            for i in 0..side * side {
                let (x, y) = ((i % side) as f32, (i / side) as f32);
                for (along_x, along_y) in slope[0].into_iter().zip(slope[1]) {
                    let ramp = along_x * x * 4.0 + along_y * y * 4.0;
                    let ripple = 60.0 * (wave * (x + along_y * y)).sin();
                    pixels.push((level + ramp + ripple + rng.random_range(0.0..noise)) as u8);
                }
            }
            pixels
        })
        .collect()
}

/// A self-contained model file of `bits` bits, trained on features of [`pictures`].
pub(crate) fn tiny_model(bits: usize) -> ModelFile {
    let backbone = tiny_backbone(7);
    let input = ImageInput::stretch(SIDE, SIDE);
    let network =
        Backbone::load(&backbone, tch::Device::Cpu, Arithmetic::F32).expect("a valid backbone");
    let sets = [(60, 1), (12, 2), (40, 3)].map(|(count, seed)| Features {
        dim: DIM,
        values: pictures(count, seed)
            .iter()
            .flat_map(|p| network.one(p, input).expect("features"))
            .collect(),
        labels: (0..count as u32).map(|i| i % 6).collect(),
    });
    build_file(
        &model_of(&sets, bits, 1),
        &backbone,
        input,
        Arithmetic::F32,
        "",
    )
    .expect("a valid model")
}
