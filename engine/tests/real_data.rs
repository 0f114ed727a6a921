//! Real codes and real photographs, where there are some: in `$BITKIN_DATA`, or in
//! `shared/data` beside the repository. Each test says so when its file is not there.
#![allow(clippy::print_stderr)]

mod common;

use std::path::PathBuf;

use bitkin::{CollectionConfig, Database};
use common::naive;

fn data(name: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let directory = std::env::var_os("BITKIN_DATA").map_or(beside, PathBuf::from);
    let path = directory.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("not run: there is no {}", path.display());
    None
}

/// Searches for every `step`-th row among all of them, and compares with a full sort.
fn search_like_the_oracle(name: &str, bits: u32, step: usize) {
    let Some(path) = data(name) else { return };
    let codes = std::fs::read(path).unwrap();
    let stride = bits as usize / 8;
    let rows: Vec<(u64, Vec<u8>)> = (0..)
        .zip(codes.chunks(stride).map(<[u8]>::to_vec))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db
        .create_collection("c", CollectionConfig::bits(bits))
        .unwrap();
    for (batch, codes) in codes.chunks(50_000 * stride).enumerate() {
        collection.append(codes).unwrap();
        if batch == 1 {
            db.flush().unwrap();
        }
    }
    let queries: Vec<u8> = codes
        .chunks(stride)
        .step_by(step)
        .flatten()
        .copied()
        .collect();
    let nearest = collection.search_batch(&queries).k(20).run().unwrap();
    let within = collection.search_batch(&queries).radius(31).run().unwrap();
    assert!(!nearest.is_empty());
    for ((query, nearest), within) in queries.chunks(stride).zip(nearest).zip(within) {
        assert_eq!(nearest, naive(&rows, query, Some(20), None));
        assert_eq!(within, naive(&rows, query, None, Some(31)));
        assert_eq!(nearest.hits[0].distance, 0);
    }
}

#[test]
fn pdq_hashes_of_video_frames() {
    search_like_the_oracle("codes_pdq/vpdq_256.bin", 256, 1000);
}

#[test]
fn orb_descriptors() {
    search_like_the_oracle("codes_orb/dev_db_256.bin", 256, 40_000);
}

/// No photograph of a real data set may be taken for a damaged one.
#[cfg(feature = "images")]
#[test]
fn photographs_are_all_decoded() {
    use bitkin::ingest::{Ingest, PicturePayload, Sources};
    use bitkin::{CollectionConfig, Database};

    let Some(archive) = data("tinyimagenet.tar") else {
        return;
    };
    let folder = format!("{}:tinyimagenet/novel", archive.display());
    let sources = Sources::open(&[folder]).unwrap();
    assert_eq!(sources.count(), 5_950);
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let pictures = db
        .create_collection("pictures", CollectionConfig::pdq())
        .unwrap();
    let report = Ingest::new(&pictures, &bitkin::pdq::Pdq)
        .unwrap()
        .strict(true)
        .threads(2)
        .run(&sources, &mut |_| std::ops::ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(report.inserted + report.known, 5_950);
    let mut labels = std::collections::BTreeMap::new();
    for row in pictures.rows().unwrap() {
        let payload = row.unwrap().payload.unwrap();
        let payload: PicturePayload = serde_json::from_str(&payload).unwrap();
        *labels.entry(payload.label.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(labels.len(), 17);
    assert_eq!(labels.values().sum::<u64>(), report.inserted);
}
