//! Training and inference compute the same thing, and the same seed gives the same model.

#![allow(
    clippy::needless_range_loop,
    reason = "sums as the formulas write them"
)]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use bitkin_encoder::Error;
use bitkin_encoder::backbone::Arithmetic;
use bitkin_encoder::baselines::Projection;
use bitkin_encoder::class_vectors::ClassVectors;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::evaluate::{METHODS, Split, Wanted, code_map, measure, model_map};
use bitkin_encoder::features::Features;
use bitkin_encoder::hash::{GraphSpace, HashModel};
use bitkin_encoder::train::hash::{
    HashLoss, HashTraining, Prior, TrainOn, TrainingData, adapt, train,
};
use bitkin_encoder::train::ugh::{UghTraining, hyper_train};
use common::{clouds, small_model};

#[test]
fn the_same_seed_gives_the_same_model_to_the_byte() {
    let (a, b) = (common::tiny_model(20), common::tiny_model(20));
    assert_eq!(a.bytes(), b.bytes());
    assert_ne!(small_model(20, 8, 1), small_model(20, 8, 2));
}

#[test]
fn a_model_file_gives_back_the_model() {
    let (model, backbone) = (small_model(20, common::DIM, 1), common::tiny_backbone(7));
    let input = bitkin::encoder::ImageInput::stretch(common::SIDE, common::SIDE);
    let file =
        bitkin_encoder::encoder::build_file(&model, &backbone, input, Arithmetic::F32, "notes")
            .unwrap();
    assert_eq!(HashModel::from_file(&file, common::DIM).unwrap(), model);
}

/// The stored Ā must give what running the layers one by one over picture and anchors gives:
/// z ← (1−α) z + α p A and A ← (1−α) A + α P A, six times.
#[test]
fn stored_anchors_equal_explicit_diffusion_layers() {
    let (bits, dim) = (12, 8);
    let model = small_model(bits, dim, 3);
    let anchors = model.anchors.clone().expect("diffusion is on by default");
    let (alpha, steps) = (anchors.diffusion.alpha, anchors.diffusion.steps);
    let undiffused = HashModel {
        anchors: None,
        ..model.clone()
    };

    // What the model stores of anchors is centred and whitened already.
    let whitened = HashModel {
        whitening: None,
        ..undiffused.clone()
    };
    let points: Vec<Vec<f32>> = anchors.points.chunks(dim).map(<[f32]>::to_vec).collect();
    let as_feature =
        |e: &[f32]| -> Vec<f32> { e.iter().zip(&model.centre).map(|(e, c)| e + c).collect() };
    let mut a: Vec<Vec<f64>> = points
        .iter()
        .map(|e| {
            whitened
                .latent(&as_feature(e))
                .iter()
                .map(|&z| f64::from(z))
                .collect()
        })
        .collect();
    // P among anchors, written out plainly.
    let m = points.len();
    let distance = |i: usize, j: usize| -> f64 {
        points[i]
            .iter()
            .zip(&points[j])
            .map(|(x, y)| f64::from(x - y).powi(2))
            .sum()
    };
    let s2 = f64::from(anchors.kernel_width);
    let mut p = vec![vec![0.0; m]; m];
    for i in 0..m {
        let mut order: Vec<usize> = (0..m).filter(|&j| j != i).collect();
        order.sort_by(|&x, &y| distance(i, x).total_cmp(&distance(i, y)));
        for &j in order.iter().take(anchors.diffusion.neighbours) {
            let w = (-distance(i, j) / s2).exp();
            p[i][j] = w;
            p[j][i] = w;
        }
    }
    for row in &mut p {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|w| *w /= sum);
    }
    let pictures = clouds(3, 4, dim, 9);
    let mut z: Vec<Vec<f64>> = pictures
        .rows()
        .map(|f| undiffused.latent(f).iter().map(|&z| f64::from(z)).collect())
        .collect();
    let mix = |weights: &[(usize, f64)], a: &[Vec<f64>], bit: usize| -> f64 {
        weights.iter().map(|(j, w)| w * a[*j][bit]).sum()
    };
    let to_anchors: Vec<Vec<(usize, f64)>> = pictures
        .rows()
        .map(|f| {
            let e = model.normalise(f);
            let distances = anchors.points.chunks_exact(dim).map(|anchor| {
                let terms = anchor.iter().zip(&e);
                terms.map(|(a, b)| (a - b) * (a - b)).sum()
            });
            let weights = anchors.weights(distances.collect());
            weights
                .into_iter()
                .map(|(j, w)| (j, f64::from(w)))
                .collect()
        })
        .collect();
    for _ in 0..steps {
        let before = a.clone();
        for (z, weights) in z.iter_mut().zip(&to_anchors) {
            for bit in 0..bits {
                z[bit] = (1.0 - alpha) * z[bit] + alpha * mix(weights, &before, bit);
            }
        }
        for i in 0..m {
            for bit in 0..bits {
                let spread: f64 = (0..m).map(|j| p[i][j] * before[j][bit]).sum();
                a[i][bit] = (1.0 - alpha) * before[i][bit] + alpha * spread;
            }
        }
    }
    for (f, z) in pictures.rows().zip(&z) {
        for (got, expected) in model.latent(f).iter().zip(z) {
            assert!(
                (f64::from(*got) - expected).abs() < 1e-4,
                "{got} {expected}"
            );
        }
    }
    // And the diffusion does something.
    let f = pictures.rows().next().unwrap();
    assert_ne!(model.latent(f), undiffused.latent(f));
}

#[test]
fn what_base_classes_teach_helps_with_new_ones() {
    let dim = 24;
    let (base, adapt, anchors) = (
        clouds(24, 30, dim, 11),
        clouds(4, 5, dim, 12),
        clouds(4, 40, dim, 12),
    );
    let data = TrainingData {
        base: &base,
        adapt: &adapt,
        unlabelled: &anchors,
    };
    let pictures = clouds(4, 60, dim, 12);
    let map = |space: Option<GraphSpace>| {
        let mut options = HashTraining::new(16, 1);
        match space {
            None => options.diffusion = None,
            Some(space) => options.diffusion.as_mut().unwrap().space = space,
        }
        model_map(
            &train(&options, data, |_, _| ControlFlow::Continue(())).unwrap(),
            &pictures,
            &pictures,
        )
    };
    let lsh = Projection::lsh(&base, 16, 1);
    let codes = lsh.codes(&pictures).unwrap();
    let lsh = code_map(&codes, &codes, 16, &pictures, &pictures);
    for space in [None, Some(GraphSpace::Pp), Some(GraphSpace::Feature)] {
        let map = map(space);
        assert!(map > lsh + 0.05, "{space:?}: {map} against LSH's {lsh}");
    }
}

/// Pictures of all classes vary most along one direction that tells nothing of the class, as
/// photographs do with their light.
#[test]
fn whitening_takes_off_what_varies_within_classes() {
    let dim = 16;
    let lit = |mut features: Features| {
        let width = features.dim;
        for (i, row) in features.values.chunks_exact_mut(width).enumerate() {
            let light = (i as f32 * 0.7).sin() * 2.0;
            row.iter_mut().for_each(|v| *v += light);
        }
        features
    };
    let [base, adapt, pictures] =
        [(12, 30, 21), (4, 5, 22), (4, 40, 22)].map(|(k, n, seed)| lit(clouds(k, n, dim, seed)));
    let none = Features {
        dim,
        ..Default::default()
    };
    let data = TrainingData {
        base: &base,
        adapt: &adapt,
        unlabelled: &none,
    };
    let [with, without] = [Some(1.0), None].map(|shrinkage| {
        let options = HashTraining {
            shrinkage,
            prototypes_per_class: 0,
            diffusion: None,
            base_epochs: 0,
            adapt_steps: 0,
            ..HashTraining::new(64, 1)
        };
        let model = train(&options, data, |_, _| ControlFlow::Continue(())).unwrap();
        model_map(&model, &pictures, &pictures)
    });
    assert!(with > without + 0.1, "{with} against {without}");
}

#[test]
fn itq_codes_lie_nearer_to_the_data_than_lsh_codes() {
    let pictures = clouds(6, 50, 20, 4);
    let itq = Projection::itq(&pictures, 16, 1)
        .unwrap()
        .codes(&pictures)
        .unwrap();
    let lsh = Projection::lsh(&pictures, 16, 1).codes(&pictures).unwrap();
    let map = |codes: &[u8]| code_map(codes, codes, 16, &pictures, &pictures);
    assert!(map(&itq) > map(&lsh), "{} {}", map(&itq), map(&lsh));
    let too_many = Projection::itq(&pictures, 21, 1).err().unwrap().to_string();
    assert!(
        too_many.contains("21") && too_many.contains("20"),
        "{too_many}"
    );
}

/// PCA has no more directions than the features; wider codes once failed at the last step.
#[test]
fn codes_wider_than_the_features_are_measured_without_itq() {
    let (base, adapt, pictures) = (clouds(4, 10, 8, 1), clouds(2, 3, 8, 2), clouds(2, 9, 8, 2));
    let training = TrainingData {
        base: &base,
        adapt: &adapt,
        unlabelled: &pictures,
    };
    let split = Split {
        training,
        database: &pictures,
        queries: &pictures,
        pictures: None,
    };
    let mut small = UghTraining::new(1);
    (small.rounds, small.categories, small.per_category) = (12, 4, 2);
    (small.functions, small.expansion) = (6, 2);
    let library = hyper_train(&small, &base, None, |_| ControlFlow::Continue(())).unwrap();
    let wanted = Wanted {
        bits: vec![8, 9],
        prototypes: vec![2],
        shown: vec![3],
        text: Some(ClassVectors {
            classes: vec!["a".into(), "b".into()],
            columns: vec!["x".into()],
            values: vec![1.0, 2.0],
        }),
        library: Some(Arc::new(library)),
        ..Wanted::new(HashTraining::new(8, 1))
    };
    let prior = Prior::of(wanted.options.shrinkage, &base).unwrap();
    let measured = measure(split, &prior, &wanted).unwrap();
    let of = |method| -> Vec<Option<usize>> {
        let rows = measured
            .iter()
            .filter(|m| m.method == method && m.prototypes.is_none());
        rows.map(|m| m.bits).collect()
    };
    assert_eq!(of("itq"), [Some(8)]);
    assert_eq!(of("lsh"), [Some(8), Some(9)]);
    assert_eq!(of("pp-scdm"), [Some(8), Some(9)]);
    assert_eq!(of("ugh"), [Some(8), Some(9)]);
    assert_eq!(of("ugh-random"), [Some(8), Some(9)]);
    // Those that train the backbone must be named, and need pictures.
    let trains = |method: &str| method.starts_with("purple") || method.starts_with("comae");
    for method in METHODS.iter().map(|m| m.name).filter(|name| !trains(name)) {
        assert!(!of(method).is_empty(), "{method}");
    }
    let few: Vec<_> = measured
        .iter()
        .filter(|m| m.prototypes == Some(2))
        .collect();
    assert_eq!(few.len(), 2);
    // The query is itself in the database.
    let nearest = &few[0].shown[0][0];
    assert_eq!(nearest.distance, 0);
    let one = |name: &str| Wanted {
        methods: vec![name.to_owned()],
        prototypes: Vec::new(),
        ..wanted.clone()
    };
    // Without what a method is told of classes it is left out, and cannot be asked for.
    for (method, what) in [("kalahash", "--text"), ("comae", "--attributes")] {
        let error = measure(
            split,
            &prior,
            &Wanted {
                text: None,
                ..one(method)
            },
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let itq = measure(split, &prior, &one("itq")).unwrap();
    assert_eq!((itq.len(), itq[0].method), (1, "itq"));
    let unknown = measure(split, &prior, &one("best"))
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("best") && unknown.contains("pp-scdm"),
        "{unknown}"
    );
}

/// A model for other classes is made of one that is there, without the pictures it was made of.
#[test]
fn a_model_is_adapted_to_other_classes() {
    let dim = 24;
    let base = clouds(24, 30, dim, 11);
    let [first, second] = [12, 13].map(|seed| (clouds(4, 5, dim, seed), clouds(4, 40, dim, seed)));
    let data = TrainingData {
        base: &base,
        adapt: &first.0,
        unlabelled: &first.1,
    };
    let options = HashTraining::new(16, 1);
    let model = train(&options, data, |_, _| ControlFlow::Continue(())).unwrap();
    let adapted = adapt(&model, &options, &second.0, &second.1, |_, _| {
        ControlFlow::Continue(())
    })
    .unwrap();
    let again = adapt(&model, &options, &second.0, &second.1, |_, _| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(adapted, again);
    assert_eq!(
        (&adapted.whitening, &adapted.prototypes),
        (&model.whitening, &model.prototypes)
    );
    let pictures = clouds(4, 60, dim, 13);
    let map = |model: &HashModel| model_map(model, &pictures, &pictures);
    // As good as one that is trained for these classes from the start.
    let data = TrainingData {
        adapt: &second.0,
        unlabelled: &second.1,
        ..data
    };
    let whole = map(&train(&options, data, |_, _| ControlFlow::Continue(())).unwrap());
    let adapted = map(&adapted);
    assert!(adapted > whole - 0.05, "{adapted} {whole}");

    let wide = clouds(2, 2, dim + 1, 2);
    let none = Features {
        dim,
        ..Default::default()
    };
    let refused = adapt(&model, &options, &wide, &none, |_, _| {
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(refused.to_string().contains("25"), "{refused}");
}

#[test]
fn every_option_makes_another_model_that_works() {
    let dim = 16;
    let (base, adapt, anchors) = (
        clouds(8, 12, dim, 1),
        clouds(3, 5, dim, 2),
        clouds(3, 9, dim, 2),
    );
    let data = TrainingData {
        base: &base,
        adapt: &adapt,
        unlabelled: &anchors,
    };
    let plain = HashTraining::new(16, 1);
    let model =
        |options: &HashTraining| train(options, data, |_, _| ControlFlow::Continue(())).unwrap();
    let original = model(&plain);
    for options in [
        HashTraining {
            hidden: 0,
            ..plain.clone()
        },
        HashTraining {
            train_on: TrainOn::Adapt,
            ..plain.clone()
        },
        HashTraining {
            train_on: TrainOn::Base,
            ..plain.clone()
        },
        HashTraining {
            loss: HashLoss::None,
            ..plain.clone()
        },
        HashTraining {
            prototype_classes: Some(3),
            ..plain.clone()
        },
    ] {
        let other = model(&options);
        assert_ne!(other, original, "{options:?}");
        let latent = other.latent(anchors.rows().next().unwrap());
        assert!(latent.iter().all(|z| z.is_finite()), "{options:?}");
    }
    let few = HashTraining {
        prototype_classes: Some(3),
        prototypes_per_class: 1,
        ..plain
    };
    assert_eq!(model(&few).prototypes.unwrap().mean.len(), 3);
}

/// A link to its own parent once made 2,460 pictures out of 60.
#[cfg(unix)]
#[test]
fn links_to_folders_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("class");
    std::fs::create_dir(&class).unwrap();
    std::fs::write(class.join("a.png"), "").unwrap();
    std::os::unix::fs::symlink("..", class.join("up")).unwrap();
    let set = Dataset::open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!(set.pictures.len(), 1);
}

#[test]
fn data_that_cannot_be_trained_on_are_refused_in_words() {
    let (base, adapt) = (clouds(3, 5, 8, 1), clouds(2, 2, 8, 2));
    let none = Features {
        dim: 8,
        ..Default::default()
    };
    let refused_with = |base: &Features, adapt: &Features, options: HashTraining| {
        let data = TrainingData {
            base,
            adapt,
            unlabelled: &none,
        };
        match train(&options, data, |_, _| ControlFlow::Continue(())) {
            Err(Error::Data(message)) => message,
            other => panic!("not refused: {other:?}"),
        }
    };
    let refused = |base: &Features, adapt: &Features, bits: usize| {
        refused_with(base, adapt, HashTraining::new(bits, 1))
    };
    let options = HashTraining {
        batch: 0,
        ..HashTraining::new(16, 1)
    };
    assert!(refused_with(&base, &adapt, options).contains("batch"));
    let mut short = base.clone();
    short.labels.pop();
    assert!(refused(&short, &adapt, 16).contains("14 rows"));
    for shrinkage in [0.0, -1.0, f64::NAN] {
        let options = HashTraining {
            shrinkage: Some(shrinkage),
            ..HashTraining::new(16, 1)
        };
        assert!(refused_with(&base, &adapt, options).contains("shrinkage"));
    }
    assert!(refused(&clouds(1, 9, 8, 1), &adapt, 16).contains("two classes"));
    assert!(refused(&base, &none, 16).contains("no pictures to adapt"));
    assert!(refused(&base, &clouds(2, 2, 9, 2), 16).contains('9'));
    assert!(refused(&base, &adapt, 7).contains('7'));
    let mut broken = adapt.clone();
    broken.values[8 * 3] = f32::NAN;
    assert!(refused(&base, &broken, 16).contains("picture 3"));
}
