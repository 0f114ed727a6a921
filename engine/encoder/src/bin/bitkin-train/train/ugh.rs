//! `bitkin-train train --method ugh`.

use std::path::{Path, PathBuf};

use bitkin::selection::{Criterion, SelectionOptions};
use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::features::Features;
use bitkin_encoder::hash::HashModel;
use bitkin_encoder::train::ugh::{Library, UghTraining, hyper_train, select};

use super::{Made, check_out};
use crate::common::{BackboneArguments, progress_bar};
use crate::interrupt;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Pictures to learn hash functions from; no labels are used: a folder, FILE.tar:FOLDER, or a text file with
    /// lines `path<TAB>label`
    #[arg(long, value_name = "SOURCE")]
    images: String,
    /// A few labelled pictures of each new class, which choose --bits functions; without them, --unlabelled and
    /// --bits the model is a library of all functions, for `bitkin adapt` and for searches with masks
    #[arg(long, value_name = "SOURCE")]
    adapt: Option<String>,
    /// Other pictures of what will be stored, on which functions are chosen, too; their labels are not used
    /// [default: some of --images]
    #[arg(long, value_name = "SOURCE")]
    unlabelled: Option<String>,
    #[command(flatten)]
    backbone: BackboneArguments,
    #[command(flatten)]
    chosen: SelectionArguments,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where finished rounds are kept until the end [default: OUT.checkpoint]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    options: UghArguments,
}

// How functions of a library are chosen. No doc comment, which would become the command's own description.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct SelectionArguments {
    /// Width of codes in bits that are selected from a library of hash functions [default: 64]
    #[arg(long, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    pub(crate) bits: Option<u32>,
    /// What makes a function worth selecting: that distances follow what all functions together have learned from
    /// the examples (`aligned`), or its weight in an L1-regularised SVM, as the paper has it (`sparse`), which
    /// retrieved less [default: aligned]
    #[arg(long, value_enum, value_name = "HOW")]
    selection: Option<How>,
    /// For `aligned`: weight of the squared weights in what all functions learn [default: 0.03]
    #[arg(long, value_name = "WEIGHT")]
    selection_ridge: Option<f64>,
    /// For `sparse`: cost of an example on the wrong side, in parts of the least at which any bit is selected
    /// [default: 3]
    #[arg(long, value_name = "COST")]
    selection_cost: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum How {
    Aligned,
    Sparse,
}

impl SelectionArguments {
    pub(crate) fn is_given(&self) -> bool {
        let how = self.selection.is_some();
        self.bits.is_some()
            || how
            || self.selection_ridge.is_some()
            || self.selection_cost.is_some()
    }

    fn options(&self) -> Result<SelectionOptions, Error> {
        let bits = self.bits.unwrap_or(64) as usize;
        let sparse = self.selection == Some(How::Sparse);
        let mut options = match sparse {
            true => SelectionOptions::sparse(bits),
            false => SelectionOptions::new(bits),
        };
        let other = |option: &str, how: &str| {
            let what = format!("{option} goes with --selection {how}");
            Err(Error::Data(what))
        };
        match (
            &mut options.criterion,
            self.selection_ridge,
            self.selection_cost,
        ) {
            (Criterion::Alignment { .. }, _, Some(_)) => {
                return other("--selection-cost", "sparse");
            }
            (Criterion::Sparse { .. }, Some(_), _) => return other("--selection-ridge", "aligned"),
            (Criterion::Alignment { ridge }, Some(given), _) => *ridge = given,
            (Criterion::Sparse { cost, .. }, _, Some(given)) => *cost = given,
            _ => {}
        }
        options.criterion.check()?;
        Ok(options)
    }
}

// Options of hyper-training; the defaults are the paper's, where it says them.
#[derive(clap::Args)]
#[command(next_help_heading = "Hyper-training")]
pub(crate) struct UghArguments {
    /// Rounds D, each of which learns --functions
    #[arg(long, value_name = "N", default_value_t = 2000)]
    rounds: usize,
    /// Pictures M that a round sees; all, if there are fewer
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    subset: usize,
    /// Sets m of seeds drawn, of which the one that lies farthest apart is kept
    #[arg(long, value_name = "N", default_value_t = 50)]
    candidates: usize,
    /// Pseudo-categories C of a round
    #[arg(long, value_name = "N", default_value_t = 30)]
    categories: usize,
    /// Pictures T of each pseudo-category at first
    #[arg(long, value_name = "N", default_value_t = 6)]
    per_category: usize,
    /// Hash functions K that a round learns
    #[arg(long, value_name = "N", default_value_t = 10)]
    functions: usize,
    /// Pictures F that are added to each pseudo-category, a tenth of them to calibrate with
    #[arg(long, value_name = "N", default_value_t = 50)]
    expansion: usize,
    /// Weight of the hinge loss
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0)]
    lambda1: f64,
    /// Weight of distances between categories; if left out, pairs within and between weigh the same in all
    #[arg(long, value_name = "WEIGHT")]
    lambda2: Option<f64>,
    /// Weight of the squared weights
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0)]
    gamma: f64,
    /// Turns of labels and machines; the paper does not say how many
    #[arg(long, value_name = "N", default_value_t = 5)]
    turns: usize,
    /// Passes of a machine over its examples in a turn, at most; the paper does not say how many
    #[arg(long, value_name = "N", default_value_t = 20)]
    passes: usize,
    /// Leave out functions whose bits correlate by more than this with an earlier one's; 1 keeps all, as the paper
    /// does
    #[arg(long, value_name = "CORRELATION", default_value_t = 0.95)]
    duplicate: f64,
}

impl UghArguments {
    pub(crate) fn options(&self, seed: u64) -> UghTraining {
        let mut options = UghTraining::new(seed);
        options.rounds = self.rounds;
        options.subset = self.subset;
        options.candidates = self.candidates;
        options.categories = self.categories;
        options.per_category = self.per_category;
        options.functions = self.functions;
        options.expansion = self.expansion;
        options.lambda1 = self.lambda1;
        options.lambda2 = self.lambda2;
        options.gamma = self.gamma;
        options.turns = self.turns;
        options.passes = self.passes;
        options.duplicate = self.duplicate;
        options
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let chosen = arguments.chosen;
    if matches!(chosen.options()?.criterion, Criterion::Sparse { .. }) && arguments.adapt.is_none()
    {
        let what = "--selection sparse goes with --adapt: without examples there is nothing that a machine could tell \
                    apart";
        return Err(Error::Data(what.into()));
    }
    let mut source = arguments.backbone.open()?;
    let pool = source.features("pictures", &Dataset::open(&arguments.images)?)?;
    // Read first: hyper-training is long.
    let mut features = |what: &str, from: &Option<String>| match from {
        Some(from) => Ok(Some(source.features(what, &Dataset::open(from)?)?)),
        None => Ok::<_, Error>(None),
    };
    let examples = features("examples", &arguments.adapt)?;
    let unlabelled = features("unlabelled", &arguments.unlabelled)?;
    let is_library = examples.is_none() && unlabelled.is_none() && !chosen.is_given();
    let checkpoint = arguments.checkpoint.unwrap_or_else(|| {
        let mut name = arguments.out.clone().into_os_string();
        name.push(".checkpoint");
        PathBuf::from(name)
    });
    let options = arguments.options.options(arguments.seed);
    let library = hyper_trained(&options, &pool, Some(&checkpoint))?;
    let mut notes = format!(
        "UGH, {} functions of {} rounds on {} pictures without labels, seed {}, backbone {}",
        library.model.bits,
        options.rounds,
        pool.len(),
        arguments.seed,
        arguments.backbone.name(),
    );
    let model = match is_library {
        true => library.model,
        false => {
            let examples = examples.unwrap_or_else(|| none(&pool));
            let others = unlabelled.unwrap_or_else(|| some(&pool));
            let (model, chosen) = adapted(&library.model, (&examples, &others), chosen)?;
            notes = format!("{chosen} of {notes}");
            model
        }
    };
    let pictures = some(&pool);
    Made {
        model: &model,
        backbone: &source.file,
        input: source.input,
        arithmetic: source.arithmetic,
        pictures: &pictures,
        notes: &notes,
    }
    .write(&arguments.out)?;
    // Of no use any more; and if it stays, the next training says whose it is.
    let _ = std::fs::remove_file(&checkpoint);
    Ok(())
}

/// Hyper-trains, and says on standard error how long it will take, and how fast it went.
pub(crate) fn hyper_trained(
    options: &UghTraining,
    pool: &Features,
    checkpoint: Option<&Path>,
) -> Result<Library, Error> {
    let memory = options.memory(pool.len(), pool.dim, rayon_threads());
    let bar = progress_bar("hyper-training");
    let mut told = false;
    let library = hyper_train(options, pool, checkpoint, |progress| {
        bar.set_length(progress.rounds as u64);
        bar.set_position(progress.done as u64);
        if !told {
            told = true;
            let left = progress.rounds - progress.done;
            let seconds = progress.seconds / progress.here as f64 * left as f64;
            let before = match progress.done - progress.here {
                0 => String::new(),
                before => format!(" {before} of them done before,"),
            };
            bar.suspend(|| {
                eprintln!(
                    "{} rounds on {} pictures,{before} about {seconds:.0} s left; {} MB of memory",
                    progress.rounds,
                    pool.len(),
                    memory.div_ceil(1 << 20),
                );
            });
        }
        interrupt::asked()
    })
    .inspect_err(|error| {
        if let (Error::Stopped, Some(path)) = (error, checkpoint) {
            let path = path.display();
            eprintln!("finished rounds are kept in {path}: the same command goes on after them");
        }
    })?;
    bar.finish_and_clear();
    eprintln!(
        "{} functions: of {} learned, {} said the same of nearly all pictures and {} what another said",
        library.model.bits, library.learned, library.dead, library.twins
    );
    if library.here > 0 {
        let rounds = library.here as f64 / library.seconds;
        let functions = rounds * library.learned as f64 / options.rounds as f64;
        eprintln!(
            "{:.1} s: {rounds:.2} rounds a second, {functions:.1} functions a second",
            library.seconds
        );
    }
    Ok(library)
}

fn rayon_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn none(like: &Features) -> Features {
    Features {
        dim: like.dim,
        ..Default::default()
    }
}

/// As many pictures as show what bits are worth, spread over the set: a library has many bits, and every two are
/// compared.
pub(crate) fn some(pictures: &Features) -> Features {
    const ENOUGH: usize = 1024;
    let step = pictures.len().div_ceil(ENOUGH).max(1);
    Features {
        dim: pictures.dim,
        values: pictures.rows().step_by(step).flatten().copied().collect(),
        labels: pictures.labels.iter().step_by(step).copied().collect(),
    }
}

/// The model of the functions of a library that are chosen, and what is to be said of it. Without examples, the others
/// choose alone.
pub(crate) fn adapted(
    library: &HashModel,
    (examples, others): (&Features, &Features),
    arguments: SelectionArguments,
) -> Result<(HashModel, String), Error> {
    let options = arguments.options()?;
    let sparse = matches!(options.criterion, Criterion::Sparse { .. });
    let (model, selection) = select(library, examples, others, &options)?;
    let (needed, filled) = (selection.informative, model.bits - selection.informative);
    let told = format!(
        "{} bits selected{} by {} examples beside {} unlabelled pictures ({needed} that these needed, {filled} that \
         fill up)",
        model.bits,
        if sparse { ", as sparse," } else { "" },
        examples.len(),
        others.len(),
    );
    eprintln!("{told}");
    Ok((model, told))
}
