//! Trains and evaluates Bitkin's models; `bitkin train` and `bitkin eval` start it.
//!
//! A program of its own, so that `bitkin` never links libtorch.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program speaks to its user"
)]

mod adapt;
mod backbone;
mod common;
mod eval;
mod interrupt;
mod model;
mod report;
mod speed;
mod stability;
mod train;

use std::process::ExitCode;

use bitkin_encoder::Error;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "bitkin-train",
    version,
    about = "Trains and evaluates Bitkin's models"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a compact backbone as a classifier of labelled pictures
    Backbone(backbone::Arguments),
    /// Train a model: pictures to codes. `--method` names the method, each with options of its own
    /// (`train --method ugh --help`); PP + SCDM if it is left out
    Train(train::pp_scdm::Arguments),
    /// Train a library of hash functions from pictures without labels, and select among them (UGH)
    #[command(hide = true, name = "train --method ugh")]
    TrainUgh(train::ugh::Arguments),
    /// Train a KALAHash model, from a few labelled pictures and vectors of their classes
    #[command(hide = true, name = "train --method kalahash")]
    TrainKalaHash(train::kalahash::Arguments),
    /// Train a COMAE model, from labelled pictures and attributes of their classes
    #[command(hide = true, name = "train --method comae")]
    TrainComae(train::comae::Arguments),
    /// Train a PURPLE model, from pictures without labels
    #[command(hide = true, name = "train --method purple")]
    TrainPurple(train::purple::Arguments),
    /// Make a model for new classes out of another, from a handful of labelled pictures
    Adapt(adapt::Arguments),
    /// Measure retrieval: mAP of codes by all methods beside LSH, PCA-ITQ and float features
    Eval(Box<eval::Arguments>),
    /// Take over the weights of a backbone
    Import(model::Import),
    /// Measure how fast a model encodes pictures, step by step and all in
    Speed(speed::Arguments),
    /// Compare a model's codes in f32 with those in bf16, and on the GPU
    Stability(stability::Arguments),
    /// Store a model's weights in another precision, or have it computed in another arithmetic
    Convert(model::Convert),
}

fn main() -> ExitCode {
    interrupt::watch();
    let arguments = match train::by_method(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("error: {what}");
            return ExitCode::from(2);
        }
    };
    let done = match Arguments::parse_from(arguments).command {
        Command::Backbone(arguments) => backbone::run(arguments),
        Command::Train(arguments) => train::pp_scdm::run(arguments),
        Command::TrainUgh(arguments) => train::ugh::run(arguments),
        Command::TrainKalaHash(arguments) => train::kalahash::run(arguments),
        Command::TrainComae(arguments) => train::comae::run(arguments),
        Command::TrainPurple(arguments) => train::purple::run(arguments),
        Command::Adapt(arguments) => adapt::run(arguments),
        Command::Eval(arguments) => eval::run(*arguments),
        Command::Import(arguments) => model::import(arguments),
        Command::Speed(arguments) => speed::run(arguments),
        Command::Stability(arguments) => stability::run(arguments),
        Command::Convert(arguments) => model::convert(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Stopped) => {
            eprintln!("stopped");
            // 128 + SIGINT, as shells report it.
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}
