//! Few-shot adaptation: a model for new classes, out of one that is there and a few pictures of each.
//!
//! `cargo run --release -p bitkin-encoder --example adapt -- MODEL FEW MORE DATABASE`
//!
//! MODEL is what `bitkin train` makes; FEW has a folder with about five pictures for each new class; MORE holds
//! pictures of what will be stored, and is stored.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::ops::ControlFlow;

use bitkin::ingest::{Ingest, PicturePayload, Sources};
use bitkin::model::ModelFile;
use bitkin::{CollectionConfig, Database};
use bitkin_encoder::backbone::{Arithmetic, Backbone};
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::device::DeviceChoice;
use bitkin_encoder::encoder::{TorchEncoder, build_file};
use bitkin_encoder::features::Extractor;
use bitkin_encoder::hash::HashModel;
use bitkin_encoder::train::hash::{HashTraining, adapt};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, few, more, database] = &arguments[..] else {
        return Err("usage: adapt MODEL FEW MORE DATABASE".into());
    };

    // What the backbone sees in the pictures. On the processor, so that the model is the same on any machine.
    let file = ModelFile::read(model)?;
    let arithmetic = file
        .arithmetic()
        .and_then(Arithmetic::of_name)
        .unwrap_or_default();
    let backbone = Backbone::load(&file, tch::Device::Cpu, arithmetic)?;
    let input = file.input().unwrap_or(backbone.input());
    let mut extractor = Extractor::new(backbone, input);
    let (few, more) = (Dataset::open(few)?, Dataset::open(more)?);
    let go_on = |_, _| ControlFlow::Continue(());
    let examples = extractor.extract(&few, go_on)?;
    let unlabelled = extractor.extract(&more, go_on)?;

    // The head learns the new classes, and codes are diffused over the pictures that will be stored.
    let trained = HashModel::from_file(&file, extractor.dim())?;
    let options = HashTraining::new(trained.bits, 1);
    let adapted = adapt(&trained, &options, &examples, &unlabelled, |_, _| {
        ControlFlow::Continue(())
    })?;
    let notes = format!(
        "adapted from {} to {:?}",
        file.fingerprint(),
        few.classes().0
    );
    let adapted = build_file(&adapted, &file, input, arithmetic, &notes)?;
    println!("{notes}");

    // A database keeps the model beside the codes that it made.
    let db = Database::create(database)?;
    let photos = db.create_collection("photos", CollectionConfig::model(&adapted))?;
    let encoder = TorchEncoder::load(&adapted, DeviceChoice::Auto)?;
    let sources = Sources::open(&[&arguments[2]])?;
    let report =
        Ingest::new(&photos, &encoder)?.run(&sources, &mut |_| ControlFlow::Continue(()))?;
    println!("{} pictures of {} bits", report.inserted, photos.bits());

    for picture in &few.pictures {
        let nearest = photos
            .search_image(&encoder, &picture.read()?)?
            .k(1)
            .run()?;
        let Some(hit) = nearest.hits.first() else {
            continue;
        };
        let payload = photos
            .get(hit.id)?
            .and_then(|row| row.payload)
            .unwrap_or_default();
        let found: PicturePayload = serde_json::from_str(&payload)?;
        println!(
            "{}: {} at {}",
            picture.label,
            found.source.unwrap_or_default(),
            hit.distance
        );
    }
    db.close()?;
    Ok(())
}
