//! Photo search: pictures go in, those that look alike come back.
//!
//! `cargo run --release --example photos -- DATABASE PICTURES QUERY [MODEL]`
//!
//! Without a model, codes are perceptual hashes (PDQ), which find copies of a picture. A model, such as
//! `bitkin train` makes, finds pictures of the same kind; that takes the encoder library: build it with
//! `cargo build --release -p bitkin-encoder` and name its file in BITKIN_ENCODER.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::ops::ControlFlow;

use bitkin::encoder::Device;
use bitkin::ingest::{Ingest, PicturePayload, Sources};
use bitkin::model::ModelFile;
use bitkin::{CollectionConfig, Database, FieldKind};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (database, pictures, query, model) = match &arguments[..] {
        [database, pictures, query] => (database, pictures, query, None),
        [database, pictures, query, model] => (database, pictures, query, Some(model)),
        _ => return Err("usage: photos DATABASE PICTURES QUERY [MODEL]".into()),
    };

    let db = Database::open_or_create(database)?;
    let photos = match db.collection("photos") {
        Ok(photos) => photos,
        Err(bitkin::Error::UnknownCollection { .. }) => {
            let config = match model {
                Some(model) => CollectionConfig::model(&ModelFile::read(model)?),
                None => CollectionConfig::pdq(),
            };
            db.create_collection("photos", config.index("label", FieldKind::Text))?
        }
        Err(error) => return Err(error.into()),
    };
    let encoder = photos.open_encoder(&[], Device::Auto)?;

    // Decoded and encoded on all cores; content that is there already is passed over.
    let report =
        Ingest::new(&photos, &*encoder)?.run(&Sources::open(&[pictures])?, &mut |now| {
            eprint!("\r{} of {} files", now.done, now.total);
            ControlFlow::Continue(())
        })?;
    eprintln!();
    for bad in &report.skipped {
        eprintln!("skipped {}: {}", bad.source, bad.reason);
    }
    println!(
        "{} pictures inserted, {} there before",
        report.inserted, report.known
    );

    let file = std::fs::read(query)?;
    let answer = photos.search_image(&*encoder, &file)?.k(5).run()?;
    for hit in &answer {
        let row = photos.get(hit.id)?.ok_or("a row is gone")?;
        let payload = row.payload.unwrap_or_default();
        let picture: PicturePayload = serde_json::from_str(&payload)?;
        println!(
            "{:3} bits  {}",
            hit.distance,
            picture.source.unwrap_or_default()
        );
    }
    db.close()?;
    Ok(())
}
