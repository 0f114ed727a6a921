//! The code of a picture depends on nothing but the model and the picture.

mod common;

use std::collections::BTreeMap;

use bitkin::encoder::{EncodeError, Encoder};
use bitkin::model::{ModelError, ModelFile, ModelMetadata, Tensor};
use bitkin_encoder::Error;
use bitkin_encoder::device::DeviceChoice;
use bitkin_encoder::encoder::TorchEncoder;
use bitkin_encoder::hash::{HashModel, Layer, Method, Prototypes};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

const BITS: usize = 20;

fn encoder() -> TorchEncoder {
    TorchEncoder::load(&common::tiny_model(BITS), DeviceChoice::Cpu).expect("a valid model")
}

fn encode(encoder: &TorchEncoder, pictures: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let bytes = BITS.div_ceil(8);
    let mut codes = vec![0xff; pictures.len() * bytes];
    encoder
        .encode(&pictures.concat(), &mut codes)
        .expect("encoding works");
    codes.chunks(bytes).map(<[u8]>::to_vec).collect()
}

/// The same model, computed in bf16.
fn in_bf16(file: &ModelFile) -> ModelFile {
    let mut metadata = file.metadata().clone();
    metadata.model.insert("arithmetic".into(), "bf16".into());
    file.with_metadata(metadata).expect("a valid model")
}

#[test]
fn single_equals_batch_equals_shuffled_equals_threads() {
    let file = common::tiny_model(BITS);
    for file in [in_bf16(&file), file] {
        let encoder = TorchEncoder::load(&file, DeviceChoice::Cpu).expect("a valid model");
        codes_depend_on_the_picture_alone(&encoder);
    }
}

fn codes_depend_on_the_picture_alone(encoder: &TorchEncoder) {
    let pictures = common::pictures(60, 5);
    let batch = encode(encoder, &pictures);
    let distinct: std::collections::HashSet<_> = batch.iter().collect();
    assert!(
        distinct.len() > 20,
        "codes that are all alike would prove nothing: {batch:?}"
    );

    for (picture, code) in pictures.iter().zip(&batch) {
        assert_eq!(&encode(encoder, std::slice::from_ref(picture))[0], code);
    }
    let mut order: Vec<usize> = (0..pictures.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(6));
    let shuffled: Vec<Vec<u8>> = order.iter().map(|&i| pictures[i].clone()).collect();
    for (code, &i) in encode(encoder, &shuffled).iter().zip(&order) {
        assert_eq!(code, &batch[i]);
    }
    std::thread::scope(|scope| {
        for quarter in 0..4 {
            let (pictures, batch) = (&pictures, &batch);
            scope.spawn(move || {
                let range = quarter * 15..(quarter + 1) * 15;
                assert_eq!(encode(encoder, &pictures[range.clone()]), batch[range]);
            });
        }
    });
}

/// Every step but the diffusion, with numbers that can be followed by hand.
#[test]
fn a_code_follows_from_its_feature_step_by_step() {
    let layer = |weight: &[f32], bias: &[f32]| Layer {
        weight: weight.to_vec(),
        bias: bias.to_vec(),
    };
    let mut model = HashModel {
        method: Method::PpScdm,
        bits: 3,
        centre: vec![1.0, 0.0],
        whitening: Some(vec![2.0, 0.0, 0.0, 1.0]),
        unit_length: true,
        calibration: None,
        prototypes: Some(Prototypes {
            points: vec![0.6, 0.8, -0.8, 0.6],
            classes: vec![0, 1],
            spread: 0.5,
            mean: vec![1.0, 1.0],
            inverse_deviation: vec![2.0, 1.0],
        }),
        head: vec![
            layer(&[1.0, 0.0, 0.0, 1.0], &[0.0, 0.0]),
            layer(&[1.0, 1.0, 1.0, -1.0, 0.0, 0.0], &[0.0, 0.0, 0.0]),
        ],
        offset: vec![0.0; 3],
        anchors: None,
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let feature = [2.5, 4.0];
    let e = model.normalise(&feature);
    assert!(close(&e, &[0.6, 0.8]), "{e:?}");
    let x = model.embed(&e);
    let far = 2f32.sqrt() - 1.0;
    assert!(close(&x, &[-2.0, far]), "{x:?}");
    // ReLU takes the -2 away.
    let z = model.latent(&feature);
    assert!(close(&z, &[far, -far, 0.0]), "{z:?}");
    let mut code = [0xff];
    model.pack(&z, &mut code);
    assert_eq!(code, [0b101], "a bit is set from zero upwards");
    model.offset = vec![0.5, -0.5, 0.0];
    model.pack(&model.latent(&feature), &mut code);
    assert_eq!(code, [0b110]);
}

#[test]
fn padding_bits_are_zero() {
    let encoder = encoder();
    for code in encode(&encoder, &common::pictures(40, 5)) {
        assert_eq!(
            code[2] & 0xf0,
            0,
            "20 bits leave four padding bits: {code:02x?}"
        );
    }
}

#[test]
fn nothing_to_encode_is_no_error_and_wrong_sizes_are() {
    let encoder = encoder();
    encoder.encode(&[], &mut []).expect("no pictures, no codes");
    let picture = vec![0; encoder.input().bytes()];
    for (pixels, codes) in [(&picture[1..], 3), (&picture[..], 2), (&picture[..], 6)] {
        let refused = encoder.encode(pixels, &mut vec![0; codes]);
        assert!(
            matches!(refused, Err(EncodeError::Shape { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_model_split_and_joined_is_the_same_model() {
    let whole = common::tiny_model(BITS);
    let (head, backbone) = whole.split().expect("self-contained");
    let head = ModelFile::from_bytes(head).expect("a head");
    let backbone = ModelFile::from_bytes(backbone.expect("it has one")).expect("a backbone");
    let alone = TorchEncoder::load(&head, DeviceChoice::Cpu).err();
    assert!(
        matches!(alone, Some(Error::Model(_))),
        "a head alone cannot encode: {alone:?}"
    );
    let joined = ModelFile::join(&head, &backbone).expect("they belong together");
    let (a, b) = (
        encoder(),
        TorchEncoder::load(&joined, DeviceChoice::Cpu).expect("joined"),
    );
    assert_eq!(a.fingerprint(), b.fingerprint());
    let pictures = common::pictures(10, 5);
    assert_eq!(encode(&a, &pictures), encode(&b, &pictures));
}

fn tensors_of(file: &ModelFile) -> BTreeMap<String, Tensor> {
    let tensors = file.tensors();
    tensors
        .map(|(name, view)| (name.to_string(), view.to_tensor()))
        .collect()
}

#[test]
fn files_that_are_no_model_are_refused_by_name() {
    let backbone = TorchEncoder::load(&common::tiny_backbone(1), DeviceChoice::Cpu).err();
    assert!(
        matches!(backbone, Some(Error::Model(ModelError::WrongKind { .. }))),
        "a backbone is no hash model: {backbone:?}"
    );
    let whole = common::tiny_model(BITS);
    let rebuilt = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = tensors_of(&whole);
        change(&mut tensors);
        let file = ModelFile::build(whole.metadata().clone(), &tensors).expect("still a file");
        TorchEncoder::load(&file, DeviceChoice::Cpu)
            .err()
            .expect("refused")
            .to_string()
    };
    for missing in [
        "offset",
        "head.1.weight",
        "anchors.smoothed",
        "backbone.stem.weight",
    ] {
        let message = rebuilt(&|tensors| drop(tensors.remove(missing)));
        assert!(message.contains(missing), "{message}");
    }
    let message = rebuilt(&|tensors| {
        let values = vec![f32::NAN; BITS];
        tensors.insert("offset".into(), Tensor::from_f32(&[BITS], &values));
    });
    assert!(
        message.contains("offset") && message.contains("finite"),
        "{message}"
    );
    // No prototypes at all made every distance to them a panic.
    let message = rebuilt(&|tensors| {
        for (name, shape) in [("points", vec![0, common::DIM]), ("mean", vec![0])] {
            let tensor = Tensor::from_f32(&shape, &[]);
            tensors.insert(format!("prototypes.{name}"), tensor);
        }
    });
    assert!(message.contains("prototypes.mean"), "{message}");
    let message = rebuilt(&|tensors| {
        let negative = Tensor::from_f32(&[1], &[-1.0]);
        tensors.insert("anchors.kernel_width".into(), negative);
    });
    assert!(message.contains("kernel_width"), "{message}");
    let message = rebuilt(&|tensors| {
        tensors.insert("centre".into(), Tensor::from_f32(&[3], &[0.0; 3]));
    });
    assert!(message.contains("centre"), "{message}");
}

/// A program that knew nothing of whitening once read a model that had one, left the step out and
/// stored wrong codes under the model's fingerprint.
#[test]
fn a_step_that_is_not_known_is_refused() {
    let refused = refused_with(|metadata| metadata.model["head"]["sharpening"] = true.into());
    assert!(refused.contains("sharpening"), "{refused}");
    let refused = refused_with(|metadata| {
        let backbone = metadata.backbone.as_mut().expect("it has one");
        backbone.insert("activation".into(), "gelu".into());
    });
    assert!(refused.contains("activation"), "{refused}");
}

#[test]
fn an_arithmetic_that_is_not_known_is_refused() {
    let refused = refused_with(|metadata| metadata.model["arithmetic"] = "int8".into());
    assert!(
        refused.contains("int8") && refused.contains("bf16"),
        "{refused}"
    );
}

#[test]
fn numbers_that_would_take_for_ever_are_refused() {
    let refused = refused_with(|metadata| {
        metadata.model["head"]["diffusion"]["steps"] = u32::MAX.into();
    });
    assert!(refused.contains("steps"), "{refused}");
    let refused = refused_with(|metadata| metadata.model["input"]["width"] = 8192.into());
    assert!(refused.contains("8192"), "{refused}");
}

/// Why a whole model is refused once its metadata are changed.
fn refused_with(change: impl FnOnce(&mut ModelMetadata)) -> String {
    let whole = common::tiny_model(BITS);
    let mut metadata = whole.metadata().clone();
    change(&mut metadata);
    let file = whole.with_metadata(metadata).expect("still a file");
    let refused = TorchEncoder::load(&file, DeviceChoice::Cpu).err();
    refused.expect("refused").to_string()
}
