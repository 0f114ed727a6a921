//! PURPLE: trained without labels on pictures of some kinds of stripes, by a backbone of random weights.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use bitkin::encoder::ImageInput;
use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{Arithmetic, Backbone, torchscript};
use bitkin_encoder::baselines::Projection;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::encoder::{TorchEncoder, build_file};
use bitkin_encoder::evaluate::{Pictures, Split, Store, Wanted, code_map, measure, model_map};
use bitkin_encoder::features::{Extractor, Features};
use bitkin_encoder::hash::{HashModel, Method};
use bitkin_encoder::train::hash::{HashTraining, Prior, TrainingData};
use bitkin_encoder::train::purple::{Losses, Progress, PurpleTraining, Trained, Views, train};
use common::{SIDE, tiny_backbone};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Device;

const INPUT: (u32, u32) = (SIDE, SIDE);

/// Writes `each` pictures of every kind: stripes of its colour and width, wherever and however bright they are.
fn write_pictures(folder: &Path, kinds: u32, each: u32, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for kind in 0..kinds {
        let class = folder.join(format!("kind{kind}"));
        std::fs::create_dir_all(&class).unwrap();
        for number in 0..each {
            let (phase, level) = (
                rng.random_range(0.0..6.0f32),
                rng.random_range(60.0..140.0f32),
            );
            let mut file = format!("P6\n{SIDE} {SIDE}\n255\n").into_bytes();
            for i in 0..SIDE * SIDE {
                let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
                let along = if kind % 2 == 0 { x } else { y };
                let wave = 50.0 * (along * (0.3 + 0.25 * (kind / 2) as f32) + phase).sin();
                for channel in 0..3 {
                    let tint = if channel == kind % 3 { 45.0 } else { 0.0 };
                    file.push((level + wave + tint + rng.random_range(-20.0f32..20.0)) as u8);
                }
            }
            let name = class.join(format!("{number:03}.ppm"));
            std::fs::File::create(name)
                .unwrap()
                .write_all(&file)
                .unwrap();
        }
    }
    Dataset::open(folder.to_str().unwrap()).unwrap()
}

fn extractor(file: &ModelFile) -> Extractor {
    let backbone = Backbone::load(file, Device::Cpu, Arithmetic::F32).unwrap();
    Extractor::new(backbone, ImageInput::stretch(INPUT.0, INPUT.1))
}

fn go_on(_: usize, _: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn small(bits: usize, seed: u64) -> PurpleTraining {
    PurpleTraining {
        prototypes: 12,
        batch: 24,
        epochs: 20,
        head_rate: 1e-2,
        backbone_rate: 1e-3,
        ..PurpleTraining::new(bits, seed)
    }
}

/// Trains, and tells the losses of all steps.
fn learn(
    options: &PurpleTraining,
    file: &ModelFile,
    set: &Dataset,
) -> Result<(Trained, Vec<f64>), Error> {
    let mut extractor = extractor(file);
    let features = extractor.extract(set, go_on)?;
    let mut losses = Vec::new();
    let mut estimates = Vec::new();
    let mut told = |progress| {
        match progress {
            Progress::Step { loss, .. } => losses.push(loss),
            Progress::Estimate { what, bytes, .. } => estimates.push((what, bytes)),
            Progress::Views { .. } => (),
        }
        ControlFlow::Continue(())
    };
    let views = Views::of(options, &extractor, set, &mut told)?;
    let trained = train(options, file, &views, &features, &mut told)?;
    let told: Vec<&str> = estimates.iter().map(|e| e.0).collect();
    assert_eq!(told, ["views", "steps"]);
    assert!(estimates.iter().all(|e| e.1 > 0));
    Ok((trained, losses))
}

fn message(result: Result<impl Sized, Error>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn codes_without_labels_are_better_than_random_ones_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let set = write_pictures(folder.path(), 6, 20, 1);
    let file = tiny_backbone(7);
    let input = ImageInput::stretch(INPUT.0, INPUT.1);
    let made = |seed: u64, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let (trained, losses) = pool.install(|| learn(&small(16, seed), &file, &set).unwrap());
        assert_eq!((trained.model.method, trained.blocks), (Method::Purple, 1));
        let model = build_file(
            &trained.model,
            &trained.backbone,
            input,
            Arithmetic::F32,
            "",
        );
        (trained, losses, model.unwrap())
    };
    let (trained, losses, model) = made(1, 3);
    // Not by assert_eq, which would print them.
    assert!(made(1, 1).2.bytes() == model.bytes());
    assert!(made(2, 3).2.bytes() != model.bytes());

    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..5]), mean(&losses[losses.len() - 5..]));
    assert!(last < first, "{first} {last}");

    // Only the last block has other weights, and the model is one that encodes.
    let tensors = |file: &ModelFile| -> BTreeMap<String, Vec<u8>> {
        let tensors = file.tensors().filter(|t| t.0.starts_with("backbone."));
        tensors
            .map(|(name, view)| (name.to_owned(), view.bytes.to_vec()))
            .collect()
    };
    let (before, after) = (tensors(&file), tensors(&model));
    let changed: Vec<&String> = before
        .keys()
        .filter(|name| before[*name] != after[*name])
        .collect();
    assert!(!changed.is_empty());
    assert!(
        changed
            .iter()
            .all(|name| name.starts_with("backbone.blocks.1.")),
        "{changed:?}"
    );
    TorchEncoder::load(&model, bitkin_encoder::device::DeviceChoice::Cpu).unwrap();

    // Of other pictures of the same kinds.
    let other = tempfile::tempdir().unwrap();
    let other = write_pictures(other.path(), 6, 20, 2);
    let plain = extractor(&file).extract(&other, go_on).unwrap();
    let random: f64 = (1..=3)
        .map(|seed| {
            let codes = Projection::lsh(&plain, 16, seed).codes(&plain).unwrap();
            code_map(&codes, &codes, 16, &plain, &plain) / 3.0
        })
        .sum();
    let tuned = extractor(&trained.backbone).extract(&other, go_on).unwrap();
    let purple = model_map(&trained.model, &tuned, &tuned);
    assert!(purple > random + 0.02, "{purple} {random}");
}

#[test]
fn each_loss_alone_is_lowered_by_the_head_alone_behind_any_backbone() {
    let folder = tempfile::tempdir().unwrap();
    let set = write_pictures(folder.path(), 4, 15, 3);
    let weight = tch::Tensor::arange(20 * 27, (tch::Kind::Float, Device::Cpu)).sin();
    let weight = weight.view([20, 3, 3, 3]);
    let mut compute = |xs: &[tch::Tensor]| {
        vec![
            xs[0]
                .conv2d(&weight, None::<tch::Tensor>, 2, 1, 1, 1)
                .relu(),
        ]
    };
    let sample = [tch::Tensor::zeros(
        [1, 3, 32, 32],
        (tch::Kind::Float, Device::Cpu),
    )];
    let module = tch::CModule::create_by_tracing("M", "forward", &sample, &mut compute).unwrap();
    let path = folder.path().join("module.pt");
    module.save(&path).unwrap();
    let input = ImageInput::stretch(INPUT.0, INPUT.1);
    let file = torchscript::import(&path, input, [1.0 / 255.0; 3], [-0.5; 3]).unwrap();
    let file = ModelFile::from_bytes(file.into_bytes()).unwrap();
    for losses in [Losses::Graph, Losses::Prototypes] {
        // As many prototypes as the width allows of a Hadamard matrix.
        let options = PurpleTraining {
            losses,
            head_rate: 0.05,
            epochs: 40,
            prototypes: 15,
            ..small(16, 1)
        };
        let (trained, told) = learn(&options, &file, &set).unwrap();
        assert_eq!(trained.blocks, 0);
        assert_eq!(trained.backbone.fingerprint(), file.fingerprint());
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&told[..6]), mean(&told[told.len() - 6..]));
        assert!(last < first, "{losses:?}: {first} {last}");
    }
    let options = PurpleTraining {
        blocks: Some(1),
        ..small(16, 1)
    };
    assert!(message(learn(&options, &file, &set)).contains("TorchScript"));

    // One that takes pictures of one size alone.
    let mut compute = |xs: &[tch::Tensor]| vec![xs[0].reshape([-1, 32 * 96]).narrow(1, 0, 8)];
    let module = tch::CModule::create_by_tracing("M", "forward", &sample, &mut compute).unwrap();
    module.save(&path).unwrap();
    let file = torchscript::import(&path, input, [1.0 / 255.0; 3], [-0.5; 3]).unwrap();
    let backbone = Backbone::load(&file, Device::Cpu, Arithmetic::F32).unwrap();
    let mut wrong = Extractor::new(backbone, ImageInput::stretch(20, 24));
    let said = message(wrong.extract(&set, go_on));
    assert!(
        said.contains("20 x 24") && said.contains("32 x 32") && said.contains("--side"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_trained_with_is_refused_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let set = write_pictures(folder.path(), 3, 10, 4);
    let file = tiny_backbone(7);
    let refused = |options: PurpleTraining, set: &Dataset| message(learn(&options, &file, set));
    let plain = || PurpleTraining {
        epochs: 1,
        ..small(16, 1)
    };
    for (options, word) in [
        (
            PurpleTraining {
                prototypes: 31,
                ..plain()
            },
            "smaller --prototypes",
        ),
        (
            PurpleTraining {
                batch: 31,
                ..plain()
            },
            "smaller --batch",
        ),
        (
            PurpleTraining {
                batch: 1,
                ..plain()
            },
            "--batch",
        ),
        (
            PurpleTraining {
                epochs: 0,
                ..plain()
            },
            "--epochs",
        ),
        (
            PurpleTraining {
                views: 1,
                ..plain()
            },
            "--views",
        ),
        (PurpleTraining { bits: 7, ..plain() }, "7 bits"),
        (
            PurpleTraining {
                blocks: Some(3),
                ..plain()
            },
            "2 blocks",
        ),
        (
            PurpleTraining {
                temperature: 0.0,
                ..plain()
            },
            "--temperature",
        ),
        (
            PurpleTraining {
                feature_temperature: f64::NAN,
                ..plain()
            },
            "--feature-temperature",
        ),
        (
            PurpleTraining {
                smoothing: -1.0,
                ..plain()
            },
            "--smoothing",
        ),
        (
            PurpleTraining {
                head_rate: f64::INFINITY,
                ..plain()
            },
            "--head-rate",
        ),
        (
            PurpleTraining {
                backbone_rate: 1e9,
                epochs: 20,
                ..plain()
            },
            "diverged",
        ),
    ] {
        let said = refused(options, &set);
        assert!(said.contains(word), "{said}");
    }
    let one = Dataset {
        pictures: set.pictures[..1].to_vec(),
    };
    assert!(refused(plain(), &one).contains("1 pictures are fewer than the 12"));
    assert!(refused(plain(), &Dataset::default()).contains("no pictures"));
    let alike = Dataset {
        pictures: vec![set.pictures[0].clone(); 30],
    };
    assert!(refused(plain(), &alike).contains("only 1 different pictures"));

    let extractor = extractor(&file);
    let views = Views::of(&plain(), &extractor, &set, |_| ControlFlow::Continue(())).unwrap();
    let mut features = Features {
        dim: 16,
        values: vec![0.5; 30 * 16],
        labels: vec![0; 30],
    };
    features.values[5 * 16] = f32::NAN;
    let of = |features: &Features| {
        message(train(&plain(), &file, &views, features, |_| {
            ControlFlow::Continue(())
        }))
    };
    assert!(of(&features).contains("picture 5 are not finite"));
    features.labels.pop();
    assert!(of(&features).contains("29 pictures with views of 30"));

    // Stopped while views are made, and while it trains.
    let stopped = Views::of(&plain(), &extractor, &set, |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)));
    features.labels.push(0);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    features.values.iter_mut().for_each(|v| *v = rng.random());
    let stopped = train(&plain(), &file, &views, &features, |_| {
        ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(Error::Stopped)));

    std::fs::write(&set.pictures[7].path, b"P6\n32 32\n255\nshort").unwrap();
    let damaged = Views::of(&plain(), &extractor, &set, |_| ControlFlow::Continue(()));
    assert!(matches!(damaged, Err(Error::Picture { path, .. }) if path.ends_with("007.ppm")));
}

/// Features of the database and the queries come from the backbone as it was trained, and one training serves all
/// splits of the same pictures.
#[test]
fn evaluation_trains_once_and_measures_by_the_trained_backbone() {
    let folder = tempfile::tempdir().unwrap();
    let base_set = write_pictures(&folder.path().join("base"), 4, 10, 5);
    let pool = write_pictures(&folder.path().join("pool"), 4, 12, 6);
    let query_set = write_pictures(&folder.path().join("queries"), 4, 3, 7);
    let (adapt_set, unlabelled_set, database_set) = pool.draw(2, 8, 1).unwrap();
    let file = tiny_backbone(7);
    let mut extractor = extractor(&file);
    let mut features = |set: &Dataset| extractor.extract(set, go_on).unwrap();
    let (base, adapt, unlabelled) = (
        features(&base_set),
        features(&adapt_set),
        features(&unlabelled_set),
    );
    let (database, queries) = (features(&database_set), features(&query_set));
    let store = Store::default();
    let steps = std::cell::Cell::new(0);
    let progress = |what: &str, _: f64| {
        steps.set(steps.get() + usize::from(what.starts_with("PURPLE")));
        ControlFlow::Continue(())
    };
    let split = Split {
        training: TrainingData {
            base: &base,
            adapt: &adapt,
            unlabelled: &unlabelled,
        },
        database: &database,
        queries: &queries,
        pictures: Some(Pictures {
            extractor: &extractor,
            backbone: &file,
            base: &base_set,
            adapt: &adapt_set,
            unlabelled: &unlabelled_set,
            database: &database_set,
            queries: &query_set,
            store: &store,
            progress: &progress,
        }),
    };
    let wanted = Wanted {
        methods: vec!["purple".into(), "purple-graph".into()],
        purple: PurpleTraining {
            epochs: 3,
            ..small(8, 9)
        },
        ..Wanted::new(HashTraining::new(16, 1))
    };
    let prior = Prior::of(wanted.options.shrinkage, &base).unwrap();
    let measured = measure(split, &prior, &wanted).unwrap();
    let names: Vec<&str> = measured.iter().map(|m| m.method).collect();
    assert_eq!(names, ["purple", "purple-graph"]);
    // 48 pictures in batches of 24, three times, for each of the methods.
    assert_eq!(steps.get(), 2 * 2 * 3);
    let again = measure(split, &prior, &wanted).unwrap();
    for (again, before) in again.iter().zip(&measured) {
        assert_eq!(again.quality, before.quality);
        assert_eq!(again.training_seconds, before.training_seconds);
    }
    assert_eq!(steps.get(), 2 * 2 * 3);

    // The same, trained by hand.
    let both = Dataset {
        pictures: [&base_set.pictures[..], &unlabelled_set.pictures].concat(),
    };
    let options = PurpleTraining {
        bits: 16,
        seed: 1,
        ..wanted.purple.clone()
    };
    let (trained, _) = learn(&options, &file, &both).unwrap();
    let mut tuned = self::extractor(&trained.backbone);
    let mut features = |set: &Dataset| tuned.extract(set, go_on).unwrap();
    let by_hand = model_map(
        &trained.model,
        &features(&database_set),
        &features(&query_set),
    );
    // What the last block is given was rounded to f16 in one of them.
    assert!((by_hand - measured[0].quality.map).abs() < 0.02);

    let without = Split {
        pictures: None,
        ..split
    };
    let said = message(measure(without, &prior, &wanted));
    assert!(said.contains("purple trains the backbone"), "{said}");
}

/// What is learned from without labels, of the fewest shots, is in no database of more.
#[test]
fn anchors_of_few_shots_are_in_no_database_of_more() {
    let picture = |class: usize, number: usize| bitkin_encoder::dataset::Picture {
        path: format!("{number}").into(),
        member: None,
        label: format!("class{class}"),
    };
    let set = Dataset {
        pictures: (0..400).map(|i| picture(i * i % 7, i)).collect(),
    };
    for seed in 0..20 {
        let (few, _, _) = (set.draw(1, 90, seed).unwrap().1, (), ());
        for shots in [1, 5, 10] {
            let database = set.draw(shots, 90, seed).unwrap().2;
            assert!(few.pictures.iter().all(|p| !database.pictures.contains(p)));
        }
    }
}

/// Signs of a linear head on the features as they are: what a file gives back is what was trained.
#[test]
fn a_model_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let set = write_pictures(folder.path(), 3, 10, 8);
    let file = tiny_backbone(7);
    let options = PurpleTraining {
        epochs: 2,
        ..small(16, 1)
    };
    let (trained, _) = learn(&options, &file, &set).unwrap();
    let input = ImageInput::stretch(INPUT.0, INPUT.1);
    let written = build_file(
        &trained.model,
        &trained.backbone,
        input,
        Arithmetic::F32,
        "",
    )
    .unwrap();
    let read = HashModel::from_file(&written, trained.model.dim()).unwrap();
    assert_eq!(read, trained.model);
    assert!(!read.unit_length && read.centre.iter().all(|c| *c == 0.0));
}
