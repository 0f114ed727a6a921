//! `bitkin-train backbone`: trains the compact architecture.

use std::path::PathBuf;

use bitkin::encoder::ImageInput;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::build_file;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::train::backbone::{
    BackboneTraining, EpochReport, Labelled, Progress, describe, train_compact,
};
use tch::Tensor;

use crate::common::progress_bar;
use crate::interrupt;
use crate::train::check_out;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Labelled pictures to train on: a folder of class folders, or FILE.tar:FOLDER
    #[arg(long, value_name = "SOURCE")]
    images: String,
    /// Labelled pictures of the same classes to report accuracy on
    #[arg(long, value_name = "SOURCE")]
    held_out: Option<String>,
    /// Where to write the backbone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Epochs at each side length: SIDExEPOCHS, comma-separated
    #[arg(long, value_name = "LIST", default_value = "40x22,64x9", value_parser = schedule)]
    schedule: Schedule,
    /// Seed of weights, order and augmentation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep in this file what is needed to go on after an interruption; it is taken away in the end. OUT with
    /// `.checkpoint` behind it, if left out
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// What the pictures are and their terms of use; stored in the file
    #[arg(long, value_name = "TEXT")]
    terms: String,
}

#[derive(Clone, Debug)]
struct Schedule(Vec<(i64, usize)>);

fn schedule(text: &str) -> Result<Schedule, String> {
    let stage = |stage: &str| {
        let (side, epochs) = stage.split_once('x')?;
        let (side, epochs) = (side.parse().ok()?, epochs.parse().ok()?);
        (16..=512).contains(&side).then_some((side, epochs))
    };
    let stages: Option<Vec<_>> = text.split(',').map(stage).collect();
    stages
        .map(Schedule)
        .ok_or_else(|| "expected SIDExEPOCHS, such as 40x22,64x9".into())
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    check_out(&arguments.out)?;
    let side = arguments.schedule.0.iter().map(|s| s.0).max().unwrap_or(64);
    let set = Dataset::open(&arguments.images)?;
    let (classes, labels) = set.classes();
    if classes.len() < 2 {
        return Err(Error::Data(
            "one class only: a backbone needs at least two".into(),
        ));
    }
    let pixels = load(&set, side)?;
    let held_out = match &arguments.held_out {
        None => None,
        Some(source) => {
            let held_out = Dataset::open(source)?;
            let (names, labels) = held_out.classes();
            if names != classes {
                return Err(Error::Data(
                    "the held-out pictures have other classes".into(),
                ));
            }
            Some((load(&held_out, side)?, label_tensor(&labels)))
        }
    };
    let options = BackboneTraining {
        schedule: arguments.schedule.0.clone(),
        seed: arguments.seed,
        ..Default::default()
    };
    eprintln!(
        "{} pictures of {} classes",
        set.pictures.len(),
        classes.len()
    );
    let checkpoint = arguments.checkpoint.unwrap_or_else(|| {
        let mut name = arguments.out.clone().into_os_string();
        name.push(".checkpoint");
        PathBuf::from(name)
    });
    let labels = label_tensor(&labels);
    let pictures = Labelled {
        pixels: &pixels,
        labels: &labels,
    };
    let held_out = held_out
        .as_ref()
        .map(|(pixels, labels)| Labelled { pixels, labels });
    let mut accuracy = None;
    let bar = progress_bar("training");
    let convs = train_compact(
        &options,
        pictures,
        classes.len() as i64,
        held_out,
        Some(&checkpoint),
        |progress| {
            match progress {
                Progress::Step { done, steps, loss } => {
                    bar.set_length(steps as u64);
                    bar.set_position(done as u64);
                    bar.set_message(format!("loss {loss:.4}"));
                }
                Progress::Epoch(report) => {
                    accuracy = report.accuracy;
                    bar.suspend(|| told(&report));
                }
            }
            interrupt::asked()
        },
    )
    .inspect_err(|error| {
        if matches!(error, Error::Stopped) && checkpoint.exists() {
            eprintln!(
                "whole epochs are kept in {}: the same command goes on after them",
                checkpoint.display()
            );
        }
    })?;
    bar.finish_and_clear();
    let notes = format!(
        "Trained by `bitkin-train backbone` on {} pictures of {} classes ({}), schedule {:?}, seed \
         {}; accuracy on held-out pictures of those classes: {}.",
        set.pictures.len(),
        classes.len(),
        arguments.terms,
        options.schedule,
        options.seed,
        accuracy.map_or("not measured".into(), |a| format!("{a:.4}")),
    );
    let file = build_file(&describe(side as u32), &convs, &notes)?;
    file.write(&arguments.out)?;
    // Of no use any more; and if it stays, the next training says whose it is.
    let _ = std::fs::remove_file(&checkpoint);
    println!("{} ({} bytes)", arguments.out.display(), file.bytes().len());
    Ok(())
}

fn told(report: &EpochReport) {
    let left = report.seconds / report.here as f64 * (report.epochs - report.epoch) as f64;
    let accuracy = report.accuracy;
    let accuracy = accuracy.map_or(String::new(), |a| format!(", held-out {a:.4}"));
    eprintln!(
        "epoch {}/{}: loss {:.4}{accuracy}, {:.0} s, about {left:.0} s left",
        report.epoch, report.epochs, report.loss, report.seconds
    );
}

fn label_tensor(labels: &[u32]) -> Tensor {
    Tensor::from_slice(&labels.iter().map(|&l| i64::from(l)).collect::<Vec<_>>())
}

/// u8 `[n, 3, side, side]`.
fn load(set: &Dataset, side: i64) -> Result<Tensor, Error> {
    let input = ImageInput::stretch(side as u32, side as u32);
    let mut pixels = Vec::with_capacity(set.pictures.len() * input.bytes());
    for picture in &set.pictures {
        pixels.extend(picture.pixels(&picture.read()?, &input)?);
    }
    let shape = [set.pictures.len() as i64, side, side, 3];
    Ok(Tensor::from_slice(&pixels)
        .f_view(shape)?
        .f_permute([0, 3, 1, 2])?
        .f_contiguous()?)
}
