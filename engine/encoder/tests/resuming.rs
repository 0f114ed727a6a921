//! What was interrupted goes on where it stopped, and ends as if it had not been.

mod common;

use std::ops::ControlFlow;
use std::path::Path;

use bitkin::encoder::ImageInput;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{Arithmetic, Backbone, build_file};
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::features::Extractor;
use bitkin_encoder::train::backbone::{
    BackboneTraining, Labelled, Progress, describe, train_compact,
};
use tch::{Kind, Tensor};

const SIDE: i64 = 16;

/// The backbone file that training gives, broken off after so many steps, if at all.
fn train(checkpoint: Option<&Path>, seed: u64, most: usize) -> Result<Vec<u8>, Error> {
    let pixels: Vec<u8> = (0..8 * 3 * SIDE * SIDE)
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    let pixels = Tensor::from_slice(&pixels).view([8, 3, SIDE, SIDE]);
    let labels = Tensor::arange(8, (Kind::Int64, tch::Device::Cpu)).remainder(2);
    let pictures = Labelled {
        pixels: &pixels,
        labels: &labels,
    };
    let options = BackboneTraining {
        schedule: vec![(SIDE, 3)],
        batch: 4,
        seed,
        ..Default::default()
    };
    let mut steps = 0;
    let convs = train_compact(&options, pictures, 2, None, checkpoint, |progress| {
        steps += usize::from(matches!(progress, Progress::Step { .. }));
        match steps > most {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    Ok(build_file(&describe(SIDE as u32), &convs, "")?.into_bytes())
}

#[test]
fn the_training_of_a_backbone_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    let whole = train(None, 1, usize::MAX).unwrap();
    // Two steps are an epoch: once in the middle of the first, once in the middle of the third.
    for most in [0, 4, 0] {
        let stopped = train(Some(&checkpoint), 1, most);
        assert!(matches!(stopped, Err(Error::Stopped)), "{most}");
    }
    assert!(train(Some(&checkpoint), 1, usize::MAX).unwrap() == whole);
    assert!(train(None, 2, usize::MAX).unwrap() != whole);

    let other = train(Some(&checkpoint), 2, usize::MAX).unwrap_err();
    assert!(other.to_string().contains("other options"), "{other}");
    let half = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &half[..half.len() / 2]).unwrap();
    let damaged = train(Some(&checkpoint), 1, usize::MAX).unwrap_err();
    assert!(
        damaged.to_string().contains("no whole checkpoint"),
        "{damaged}"
    );
}

#[test]
fn features_that_were_extracted_before_the_end_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures/class");
    std::fs::create_dir_all(&pictures).unwrap();
    for i in 0..300u32 {
        // Grey pictures of two pixels, each of another shade.
        let shade = [i as u8, (i / 256) as u8];
        let file = [&b"P5 2 1 255\n"[..], &shade].concat();
        std::fs::write(pictures.join(format!("{i:03}.pgm")), file).unwrap();
    }
    let set = Dataset::open(folder.path().join("pictures").to_str().unwrap()).unwrap();
    let cache = folder.path().join("features");
    let extractor = |identity: &str| {
        let backbone = Backbone::load(&common::tiny_backbone(7), tch::Device::Cpu, Arithmetic::F32);
        let input = ImageInput::stretch(common::SIDE, common::SIDE);
        let mut extractor = Extractor::new(backbone.unwrap(), input);
        extractor.keep_in(&cache, identity).map(|()| extractor)
    };
    let mut told = Vec::new();
    let stopped = extractor("one").unwrap().extract(&set, |done, total| {
        told.push((done, total));
        ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(Error::Stopped)));
    let (done, total) = told[0];
    assert!(told.len() == 1 && total == 300 && done < 300, "{told:?}");

    assert_eq!(extractor("one").unwrap().known(), done);
    let go_on = |_: usize, _: usize| ControlFlow::Continue(());
    let features = extractor("one").unwrap().extract(&set, go_on).unwrap();
    assert_eq!(features.len(), 300);
    assert_eq!(extractor("one").unwrap().known(), 300);
    assert_eq!(extractor("another").unwrap().known(), 0);
    std::fs::write(&cache, "junk").unwrap();
    let damaged = extractor("one").err().unwrap().to_string();
    assert!(damaged.contains("delete it"), "{damaged}");
}
