//! Methods that are told of classes: KALAHash, by vectors of their names, and COMAE, by attributes.

mod common;

use std::ops::ControlFlow;

use bitkin::encoder::ImageInput;
use bitkin::model::{ModelFile, Tensor as ModelTensor};
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{Arithmetic, Backbone, Tail};
use bitkin_encoder::class_vectors::ClassVectors;
use bitkin_encoder::encoder::build_file;
use bitkin_encoder::evaluate::model_map;
use bitkin_encoder::features::Features;
use bitkin_encoder::hash::HashModel;
use bitkin_encoder::train::{comae, kalahash};
use common::{DIM, SIDE, clouds};
use tch::{Kind, Tensor};

/// Vectors of so many classes, all different.
fn vectors(classes: usize) -> ClassVectors {
    let number = |i: usize| ((i * 7919 + 5) % 1009) as f32 / 503.0 - 1.0;
    ClassVectors {
        classes: (0..classes).map(|i| format!("class {i}")).collect(),
        columns: (0..6).map(|i| format!("column {i}")).collect(),
        values: (0..classes * 6).map(number).collect(),
    }
}

fn go_on(_: f64, _: f64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn kala(seed: u64, examples: &Features) -> HashModel {
    let options = kalahash::KalaHashTraining {
        rank: 2,
        epochs: 8,
        ..kalahash::KalaHashTraining::new(16, seed, 5)
    };
    kalahash::train(&options, examples, &vectors(5), go_on).unwrap()
}

fn file_of(model: &HashModel, backbone: &ModelFile) -> ModelFile {
    let input = ImageInput::stretch(SIDE, SIDE);
    build_file(model, backbone, input, Arithmetic::F32, "").unwrap()
}

#[test]
fn kalahash_learns_is_kept_in_a_file_and_the_same_again() {
    let examples = clouds(5, 5, DIM, 3);
    let model = kala(1, &examples);
    assert!(model.calibration.is_some());
    let backbone = common::tiny_backbone(7);
    let file = file_of(&model, &backbone);
    assert_eq!(file.method(), Some("kalahash"));
    assert_eq!(HashModel::from_file(&file, DIM).unwrap(), model);
    assert_eq!(
        file_of(&kala(1, &examples), &backbone).bytes(),
        file.bytes()
    );
    assert_ne!(kala(2, &examples), model);

    let pictures = clouds(5, 30, DIM, 3);
    let learned = model_map(&model, &pictures, &pictures);
    let mut unlearned = model.clone();
    unlearned.calibration = None;
    let number = |i: usize| ((i * 7919) % 1009) as f32 / 503.0 - 1.0;
    unlearned.head[0].weight = (0..16 * DIM).map(number).collect();
    unlearned.head[0].bias.fill(0.0);
    let random = model_map(&unlearned, &pictures, &pictures);
    assert!(learned > random + 0.05, "{learned} against {random}");
}

#[test]
fn a_calibration_that_cannot_be_is_refused() {
    let file = file_of(&kala(1, &clouds(5, 5, DIM, 3)), &common::tiny_backbone(7));
    let with = |name: &str, shape: &[usize], value: f32| {
        let mut tensors: std::collections::BTreeMap<_, _> = file
            .tensors()
            .map(|(name, view)| (name.to_owned(), view.to_tensor()))
            .collect();
        let numbers = vec![value; shape.iter().product()];
        tensors.insert(name.to_owned(), ModelTensor::from_f32(shape, &numbers));
        let file = ModelFile::build(file.metadata().clone(), &tensors).unwrap();
        HashModel::from_file(&file, DIM).unwrap_err().to_string()
    };
    let ranks = with("calibration.down", &[6, DIM], 1.0);
    assert!(ranks.contains("at most 5"), "{ranks}");
    let nan = with("calibration.classes", &[5, DIM], f32::NAN);
    assert!(nan.contains("not finite"), "{nan}");
    let shape = with("calibration.classes", &[5, DIM + 1], 1.0);
    assert!(shape.contains("calibration.classes"), "{shape}");
}

#[test]
fn kalahash_refuses_what_it_cannot_learn_from() {
    let options = kalahash::KalaHashTraining::new(16, 1, 5);
    let refused = |options: &_, examples: &Features, text: &ClassVectors, what: &str| {
        let error = kalahash::train(options, examples, text, go_on).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    let examples = clouds(5, 2, DIM, 3);
    refused(&options, &examples, &vectors(4), "vectors of 4 classes");
    refused(&options, &clouds(1, 5, DIM, 3), &vectors(4), "two classes");
    let mut text = vectors(5);
    text.values[8] = f32::NAN;
    refused(&options, &examples, &text, "column 2 of \"class 1\" is NaN");
    let mut nan = examples.clone();
    nan.values[DIM] = f32::NAN;
    refused(&options, &nan, &vectors(5), "picture 1");
    let wild = kalahash::KalaHashTraining {
        learning_rate: 1e30,
        ..options.clone()
    };
    refused(&wild, &examples, &vectors(5), "diverged");
    let wrong = kalahash::KalaHashTraining {
        beta: -1.0,
        ..options.clone()
    };
    refused(&wrong, &examples, &vectors(5), "the beta is -1");
    let stop = |_, _| ControlFlow::Break(());
    let stopped = kalahash::train(&options, &examples, &vectors(5), stop);
    assert!(matches!(stopped, Err(Error::Stopped)));
}

/// What a tiny backbone's last block is given for pictures of six classes.
fn trunks(backbone: &ModelFile) -> (Tensor, Vec<u32>) {
    let network = Backbone::load(backbone, tch::Device::Cpu, Arithmetic::F32).unwrap();
    let pixels = common::pictures(48, 3).concat();
    let side = i64::from(SIDE);
    let pixels = Tensor::from_slice(&pixels).view([48, side, side, 3]);
    let pixels = pixels.permute([0, 3, 1, 2]).to_kind(Kind::Float);
    let trunks = network.trunk(&pixels, 1).unwrap().to_kind(Kind::Half);
    (trunks, (0..48).map(|i| i % 6).collect())
}

fn zero_shot(
    options: &comae::ComaeTraining,
    attributes: &ClassVectors,
) -> Result<(HashModel, ModelFile), Error> {
    let backbone = common::tiny_backbone(7);
    let (trunks, labels) = trunks(&backbone);
    let seen = comae::Seen {
        trunks: &trunks,
        labels: &labels,
        attributes,
    };
    let tail = Tail::of(&backbone, 1)?;
    let model = comae::train(options, seen, &tail, go_on)?;
    Ok((model, tail.in_file(&backbone, "")?))
}

fn short(seed: u64) -> comae::ComaeTraining {
    comae::ComaeTraining {
        epochs: 2,
        batch: 16,
        embedding: 8,
        ..comae::ComaeTraining::new(16, seed)
    }
}

#[test]
fn comae_trains_the_backbone_and_is_the_same_again() {
    let (model, tuned) = zero_shot(&short(1), &vectors(6)).unwrap();
    let file = file_of(&model, &tuned);
    assert_eq!(file.method(), Some("comae"));
    assert_eq!(HashModel::from_file(&file, DIM).unwrap(), model);
    let (again, tuned_again) = zero_shot(&short(1), &vectors(6)).unwrap();
    assert_eq!(file_of(&again, &tuned_again).bytes(), file.bytes());
    let (other, _) = zero_shot(&short(2), &vectors(6)).unwrap();
    assert_ne!(other, model);
    // The attribute losses reach the backbone, each of them.
    for leave_out in 0..3 {
        let mut options = short(1);
        match leave_out {
            0 => options.lambda_point = 0.0,
            1 => options.lambda_pair = 0.0,
            _ => options.lambda_class = 0.0,
        }
        let (_, without) = zero_shot(&options, &vectors(6)).unwrap();
        let weight = |file: &ModelFile| {
            let tensor = file.tensor("backbone.blocks.1.conv2.weight").unwrap();
            tensor.bytes.to_vec()
        };
        assert_ne!(weight(&without), weight(&tuned), "loss {leave_out}");
    }
}

#[test]
fn comae_refuses_what_it_cannot_learn_from() {
    let refused = |options: comae::ComaeTraining, attributes: &ClassVectors, what: &str| {
        let error = zero_shot(&options, attributes).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(short(1), &vectors(5), "vectors of 5 classes");
    let mut constant = vectors(6);
    constant
        .values
        .iter_mut()
        .skip(2)
        .step_by(6)
        .for_each(|v| *v = 3.0);
    refused(short(1), &constant, "column 2: the same for all");
    let mut nan = vectors(6);
    nan.values[7] = f32::NAN;
    refused(short(1), &nan, "column 1 of \"class 1\" is NaN");
    let wild = comae::ComaeTraining {
        learning_rate: 1e30,
        ..short(1)
    };
    refused(wild, &vectors(6), "diverged");
    let wrong = comae::ComaeTraining {
        temperature: 0.0,
        ..short(1)
    };
    refused(wrong, &vectors(6), "temperature is 0");
    let deep = comae::ComaeTraining {
        blocks: 2,
        ..short(1)
    };
    refused(deep, &vectors(6), "a tail of 1 blocks, not 2");
}
