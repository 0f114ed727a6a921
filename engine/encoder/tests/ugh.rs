//! Hyper-training of libraries, and the selection of bits from them.

mod common;

use std::ops::ControlFlow;
use std::path::Path;

use bitkin::encoder::ImageInput;
use bitkin::selection::{SelectionError, SelectionOptions};
use bitkin_encoder::Error;
use bitkin_encoder::backbone::Arithmetic;
use bitkin_encoder::encoder::build_file;
use bitkin_encoder::evaluate::model_map;
use bitkin_encoder::features::Features;
use bitkin_encoder::hash::HashModel;
use bitkin_encoder::train::ugh::{Library, UghTraining, hyper_train, select, with_bits};
use common::{DIM, clouds};

/// Rounds of a size for tests.
fn options(seed: u64, rounds: usize) -> UghTraining {
    let mut options = UghTraining::new(seed);
    options.rounds = rounds;
    options.subset = 150;
    options.candidates = 5;
    options.categories = 6;
    options.per_category = 4;
    options.functions = 4;
    options.expansion = 8;
    options
}

fn go_on(_: bitkin_encoder::train::ugh::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Trained on so many threads.
fn trained(options: &UghTraining, pool: &Features, threads: usize) -> Library {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let train = || hyper_train(options, pool, None, go_on).unwrap();
    threads.unwrap().install(train)
}

fn none() -> Features {
    Features {
        dim: DIM,
        ..Default::default()
    }
}

#[test]
fn a_seed_gives_the_same_library_on_any_number_of_threads() {
    let pool = clouds(8, 30, DIM, 1);
    let one = trained(&options(5, 6), &pool, 1);
    assert_eq!(one.learned, one.model.bits + one.dead + one.twins);
    assert!(one.model.bits >= 12, "{one:?}");
    assert_eq!(trained(&options(5, 6), &pool, 3).model, one.model);
    assert_ne!(trained(&options(6, 6), &pool, 1).model, one.model);
    // Labels are not looked at, and more rounds begin with the same ones.
    let labels = vec![0; pool.len()];
    let unlabelled = Features { labels, ..pool };
    let more = trained(&options(5, 8), &unlabelled, 2);
    let first: Vec<usize> = (0..one.model.bits).collect();
    assert_eq!(with_bits(&more.model, &first).unwrap(), one.model);
    assert!(more.model.bits > one.model.bits);
}

fn interrupted(path: &Path, options: &UghTraining, pool: &Features, steps: usize) {
    let mut left = steps;
    let stopped = hyper_train(options, pool, Some(path), |_| {
        left -= 1;
        match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
}

#[test]
fn an_interrupted_hyper_training_ends_as_if_it_had_not_been() {
    let pool = clouds(8, 30, DIM, 1);
    let backbone = common::tiny_backbone(7);
    let bytes = |model: &HashModel| {
        let input = ImageInput::stretch(common::SIDE, common::SIDE);
        let file = build_file(model, &backbone, input, Arithmetic::F32, "").unwrap();
        assert_eq!(HashModel::from_file(&file, DIM).unwrap(), *model);
        assert_eq!(file.method(), Some("ugh"));
        file.into_bytes()
    };
    // More rounds than threads do at once.
    let rounds = 6 * rayon::current_num_threads();
    let options = options(5, rounds);
    let whole = hyper_train(&options, &pool, None, go_on).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    interrupted(&path, &options, &pool, 1);
    interrupted(&path, &options, &pool, 1);
    // A kill tears the last record.
    let kept = std::fs::read(&path).unwrap();
    std::fs::write(&path, &kept[..kept.len() - 5]).unwrap();
    let mut first = None;
    let resumed = hyper_train(&options, &pool, Some(&path), |progress| {
        first.get_or_insert(progress);
        ControlFlow::Continue(())
    });
    let resumed = resumed.unwrap();
    let first = first.unwrap();
    assert_eq!(first.done - first.here, rounds / 6 * 4 - 1);
    assert_eq!(resumed.here, rounds / 6 * 2 + 1);
    assert!(bytes(&resumed.model) == bytes(&whole.model));
    // All is there: nothing is left to do.
    let again = hyper_train(&options, &pool, Some(&path), go_on).unwrap();
    assert_eq!((again.here, again.model), (0, whole.model));

    let refused = |options: &UghTraining, pool: &Features| {
        let refused = hyper_train(options, pool, Some(&path), go_on);
        refused.unwrap_err().to_string()
    };
    let mut other = options.clone();
    other.gamma = 2.0;
    let message = refused(&other, &pool);
    assert!(message.contains("other options or pictures"), "{message}");
    let message = refused(&options, &clouds(8, 30, DIM, 2));
    assert!(message.contains("other options or pictures"), "{message}");
    std::fs::write(&path, "somebody's letter").unwrap();
    let message = refused(&options, &pool);
    assert!(message.contains("no checkpoint"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody's letter");
}

#[test]
fn selected_bits_are_bits_of_the_library_and_retrieve_better_than_others() {
    let pool = clouds(20, 30, DIM, 1);
    let library = trained(&options(5, 40), &pool, 2).model;
    let novel = clouds(6, 40, DIM, 9);
    let part = |places: &mut dyn Iterator<Item = usize>| {
        let mut part = none();
        for i in places {
            part.values.extend(&novel.values[i * DIM..][..DIM]);
            part.labels.push(novel.labels[i]);
        }
        part
    };
    let examples = part(&mut (0..novel.len()).filter(|i| i % 8 == 0));
    let rest = part(&mut (0..novel.len()).filter(|i| i % 8 != 0));
    let bits = 12;
    let (model, selection) =
        select(&library, &examples, &none(), &SelectionOptions::new(bits)).unwrap();
    assert_eq!((model.bits, selection.bits.len()), (bits, bits));
    let picture = &novel.values[..DIM];
    let (all, few) = (library.latent(picture), model.latent(picture));
    for (place, bit) in selection.bits.iter().enumerate() {
        assert_eq!(few[place], all[bit.bit as usize]);
    }
    let found = model_map(&model, &rest, &rest);
    let others: Vec<f64> = (0..library.bits / bits)
        .map(|k| {
            let bits: Vec<usize> = (k * bits..(k + 1) * bits).collect();
            model_map(&with_bits(&library, &bits).unwrap(), &rest, &rest)
        })
        .collect();
    let mean = others.iter().sum::<f64>() / others.len() as f64;
    assert!(found > mean, "{found} {others:?}");
    // The paper's way, and without labels: with other pictures of what is searched alone.
    let sparse = select(
        &library,
        &examples,
        &none(),
        &SelectionOptions::sparse(bits),
    );
    let sparse = model_map(&sparse.unwrap().0, &rest, &rest);
    assert!(sparse > mean && sparse != found, "{sparse} {others:?}");
    let similar = |others: &Features, options: SelectionOptions| {
        select(&library, &none(), others, &options).map(|(model, _)| model)
    };
    let alone = similar(&rest, SelectionOptions::new(bits)).unwrap();
    let alone = model_map(&alone, &rest, &rest);
    assert!(alone > mean, "{alone} {others:?}");
    for (others, options, which) in [
        (none(), SelectionOptions::new(bits), "codes"),
        (rest.clone(), SelectionOptions::sparse(bits), "examples"),
    ] {
        let nothing = SelectionError::NoExamples { which };
        let refused = similar(&others, options);
        assert!(matches!(refused, Err(Error::Selection(e)) if e == nothing));
    }

    // Of one class, others stand for what it is not.
    let one = part(&mut (0..novel.len()).filter(|i| novel.labels[*i] == 2).take(5));
    let options = SelectionOptions::new(4);
    let alone = select(&library, &one, &none(), &options);
    let one_class = SelectionError::OneClass { examples: 5 };
    assert!(matches!(alone, Err(Error::Selection(e)) if e == one_class));
    assert_eq!(select(&library, &one, &pool, &options).unwrap().0.bits, 4);
}

#[test]
fn what_cannot_be_hyper_trained_or_selected_is_refused() {
    let pool = clouds(8, 30, DIM, 1);
    let refused = |options: &UghTraining, pool: &Features| {
        let refused = hyper_train(options, pool, None, go_on);
        refused.unwrap_err().to_string()
    };
    // The paper's sizes ask for 30 times 56 pictures.
    let message = refused(&UghTraining::new(1), &pool);
    let remedy = message.contains("240 pictures are too few") && message.contains("1680");
    assert!(remedy && message.contains("--expansion"), "{message}");
    let mut small = options(1, 1);
    small.subset = 60;
    let message = refused(&small, &pool);
    assert!(message.contains("larger --subset"), "{message}");

    type Change = fn(&mut UghTraining);
    let changes: [(Change, &str); 9] = [
        (|o| o.rounds = 0, "rounds"),
        (|o| o.categories = 1, "categories"),
        (|o| o.per_category = 1, "per-category"),
        (|o| o.functions = 0, "functions"),
        (|o| o.functions = 24, "24 functions"),
        (|o| o.expansion = 1, "expansion"),
        (|o| o.lambda1 = 0.0, "lambda1"),
        (|o| o.lambda2 = Some(f64::NAN), "lambda2"),
        (|o| o.duplicate = 0.0, "duplicate"),
    ];
    for (change, named) in changes {
        let mut options = options(1, 1);
        change(&mut options);
        let message = refused(&options, &pool);
        assert!(message.contains(named), "{named}: {message}");
    }
    let mut odd = pool.clone();
    odd.values[3 * DIM + 1] = f32::NAN;
    let message = refused(&options(1, 1), &odd);
    assert!(message.contains("picture 3"), "{message}");
    // The same picture over and over: no function parts them.
    let same = Features {
        values: pool.values[..DIM].repeat(pool.len()),
        ..pool.clone()
    };
    let message = refused(&options(1, 1), &same);
    assert!(message.contains("too uniform"), "{message}");

    let other = common::small_model(12, DIM, 3);
    let message = select(&other, &pool, &none(), &SelectionOptions::new(4)).unwrap_err();
    assert!(message.to_string().contains("--method ugh"), "{message}");
    let library = trained(&options(1, 2), &pool, 1).model;
    assert!(with_bits(&library, &[library.bits]).is_err());
    let wide = clouds(3, 4, DIM + 1, 1);
    let message = select(&library, &wide, &none(), &SelectionOptions::new(4)).unwrap_err();
    assert!(message.to_string().contains("17 numbers"), "{message}");
}
