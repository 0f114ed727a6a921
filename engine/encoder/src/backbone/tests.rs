//! The ways to compute a network, beside each other; and networks that are built otherwise.

use super::*;

/// A picture of the shipped backbone's size.
fn picture() -> Vec<u8> {
    let input = ImageInput::stretch(64, 64);
    (0..input.bytes())
        .map(|i| (i * 7 + i / 64 * 13 + i * i % 31 * 5) as u8)
        .collect()
}

fn features(way: Way) -> Vec<f32> {
    let backbone = Backbone::load_to_run(&shipped().unwrap(), Device::Cpu, |_| way).unwrap();
    backbone
        .one(&picture(), ImageInput::stretch(64, 64))
        .unwrap()
}

/// The largest difference, in parts of the largest number.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0f32, |most, v| most.max(v.abs()));
    let pairs = a.iter().zip(b);
    pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn every_way_to_compute_in_bf16_gives_the_same_but_for_the_order_of_sums() {
    let exact = features(Way::F32);
    let rounded = features(Way::Rounded);
    let error = apart(&exact, &rounded);
    assert!((1e-4..3e-2).contains(&error), "bf16 is {error} from f32");
    if Way::best(Arithmetic::Bf16, Device::Cpu, true) == Way::Rounded {
        return;
    }
    for way in [Way::Bf16, Way::Bf16Packed] {
        let native = features(way);
        assert!(apart(&exact, &native) > 1e-4, "{way:?} did not round");
        // A sum that falls on the other side of a rounding is off by one part in 256, and goes on from there.
        let between = apart(&rounded, &native);
        assert!(
            between < 1e-2,
            "{way:?} is {between} from what it stands for"
        );
    }
}

#[test]
fn a_torchscript_module_gives_what_it_computes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("module.pt");
    let weight = Tensor::arange(5 * 3, (Kind::Float, Device::Cpu)).view([5, 3, 1, 1]) / 10.0 - 0.6;
    let mut compute =
        |xs: &[Tensor]| vec![xs[0].conv2d(&weight, None::<Tensor>, 1, 0, 1, 1).relu()];
    let sample = [Tensor::zeros([1, 3, 4, 6], (Kind::Float, Device::Cpu))];
    let module = tch::CModule::create_by_tracing("M", "forward", &sample, &mut compute).unwrap();
    module.save(&path).unwrap();

    let input = ImageInput::stretch(6, 4);
    let file = torchscript::import(&path, input, [1.0 / 255.0; 3], [-0.5; 3]).unwrap();
    let file = ModelFile::from_bytes(file.into_bytes()).unwrap();
    let backbone = Backbone::load(&file, Device::Cpu, Arithmetic::F32).unwrap();
    assert_eq!((backbone.dim(), backbone.input()), (5, input));
    let pixels: Vec<u8> = (0..input.bytes()).map(|i| (i * 37 % 256) as u8).collect();
    let expected: Vec<f32> = (0..5)
        .map(|out| {
            let at = |place: &[u8]| -> f32 {
                let sum = place.iter().zip(0..).map(|(byte, channel)| {
                    let weight = (out * 3 + channel) as f32 / 10.0 - 0.6;
                    weight * (f32::from(*byte) / 255.0 - 0.5)
                });
                sum.sum::<f32>().max(0.0)
            };
            pixels.chunks_exact(3).map(at).sum::<f32>() / 24.0
        })
        .collect();
    let found = backbone.one(&pixels, input).unwrap();
    assert!(
        apart(&expected, &found) < 1e-5,
        "{found:?}, not {expected:?}"
    );
    // The same at every run: the executor does not rewrite the program after some of them.
    for _ in 0..4 {
        assert_eq!(backbone.one(&pixels, input).unwrap(), found);
    }

    let refused = Backbone::load(&file, Device::Cpu, Arithmetic::Bf16).err();
    assert!(matches!(refused, Some(Error::Backbone(_))), "{refused:?}");
    std::fs::write(&path, b"PK no archive").unwrap();
    let refused = torchscript::import(&path, input, [1.0; 3], [0.0; 3]).unwrap_err();
    assert!(refused.to_string().contains("TorchScript"), "{refused}");
}

#[test]
fn a_module_that_gives_no_vectors_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("module.pt");
    let mut compute = |xs: &[Tensor]| vec![xs[0].sum(Kind::Float)];
    let sample = [Tensor::zeros([1, 3, 4, 4], (Kind::Float, Device::Cpu))];
    let module = tch::CModule::create_by_tracing("M", "forward", &sample, &mut compute).unwrap();
    module.save(&path).unwrap();
    let input = ImageInput::stretch(4, 4);
    let refused = torchscript::import(&path, input, [1.0; 3], [0.0; 3]).unwrap_err();
    assert!(refused.to_string().contains("shape []"), "{refused}");
}

/// Pixels of [`picture`], as trunks take them.
fn pixels() -> Tensor {
    let pixels = Tensor::from_slice(&picture()).view([1, 64, 64, 3]);
    pixels.permute([0, 3, 1, 2]).to_kind(Kind::Float)
}

#[test]
fn trunk_and_tail_give_what_the_whole_gives() {
    let file = shipped().unwrap();
    let backbone = Backbone::load(&file, Device::Cpu, Arithmetic::F32).unwrap();
    let whole = features(Way::F32);
    for blocks in [0, 1, 2, 6] {
        let tail = Tail::of(&file, blocks).unwrap();
        let maps = tail
            .maps(&backbone.trunk(&pixels(), blocks).unwrap())
            .unwrap();
        let pooled = Vec::try_from(Tail::pooled(&maps).unwrap().reshape([-1])).unwrap();
        assert!(apart(&whole, &pooled) < 1e-5, "{blocks} blocks");
    }
    assert!(Tail::of(&file, 7).is_err());
    assert!(backbone.trunk(&pixels(), 7).is_err());
}

#[test]
fn a_tuned_tail_stands_in_the_file_and_the_rest_stays() {
    let file = shipped().unwrap();
    let backbone = Backbone::load(&file, Device::Cpu, Arithmetic::F32).unwrap();
    let tail = Tail::of(&file, 1).unwrap();
    let trunk = backbone.trunk(&pixels(), 1).unwrap();
    let loss = Tail::pooled(&tail.maps(&trunk).unwrap())
        .unwrap()
        .square()
        .sum(Kind::Float);
    loss.backward();
    tch::no_grad(|| {
        for mut parameter in tail.parameters() {
            let step = parameter.grad() * 1e-3;
            assert!(step.abs().max().double_value(&[]) > 0.0);
            let _ = parameter.g_sub_(&step);
        }
    });
    let tuned = tail.in_file(&file, "tuned").unwrap();
    let changed: Vec<&str> = file
        .tensors()
        .filter(|(name, view)| tuned.tensor(name).unwrap().bytes != view.bytes)
        .map(|(name, _)| name)
        .collect();
    assert!(
        !changed.is_empty()
            && changed
                .iter()
                .all(|name| name.starts_with("backbone.blocks.5"))
    );
    assert_ne!(tuned.fingerprint(), file.fingerprint());
    let again = Backbone::load(&tuned, Device::Cpu, Arithmetic::F32).unwrap();
    let pooled = Tail::pooled(&tail.maps(&trunk).unwrap()).unwrap();
    let pooled: Vec<f32> = Vec::try_from(pooled.detach().reshape([-1])).unwrap();
    let ours = again.one(&picture(), ImageInput::stretch(64, 64)).unwrap();
    // Weights are f16 in files.
    assert!(apart(&pooled, &ours) < 1e-2);
    assert!(apart(&features(Way::F32), &ours) > 1e-3);
}
