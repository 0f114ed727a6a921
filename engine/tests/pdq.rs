//! Pictures into a collection of perceptual hashes, and their near-duplicates out of it.
#![cfg(feature = "images")]

use std::io::Cursor;
use std::path::Path;

use bitkin::encoder::Encoder;
use bitkin::ingest::{PicturePayload, ingest};
use bitkin::pdq::{BITS, Pdq, RADIUS};
use bitkin::{CollectionConfig, Database, Error, Filter};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, imageops};

/// Smooth hills whose places depend on the number.
fn scene(number: u32) -> DynamicImage {
    let hills: Vec<(f32, f32, f32)> = (0..12)
        .map(|hill| {
            let place = |step: u32| ((number * 131 + hill * step) % 97) as f32 / 97.0;
            (place(37), place(59), 0.05 + place(83) / 6.0)
        })
        .collect();
    DynamicImage::ImageRgb8(RgbImage::from_fn(320, 240, |x, y| {
        let (x, y) = (x as f32 / 320.0, y as f32 / 240.0);
        let height = |(cx, cy, size): &(f32, f32, f32)| {
            let squared = (x - cx).powi(2) + (y - cy).powi(2);
            (-squared / (size * size)).exp()
        };
        let sum: f32 = hills.iter().map(height).sum();
        Rgb([
            (sum * 120.0) as u8,
            (sum * 90.0) as u8,
            (40.0 + 80.0 * sum) as u8,
        ])
    }))
}

fn file(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A scene as it was, compressed and scaled.
fn versions(number: u32) -> [Vec<u8>; 3] {
    let picture = scene(number);
    let half = picture.resize(160, 120, imageops::FilterType::Triangle);
    [
        file(&picture, ImageFormat::Png),
        file(&picture, ImageFormat::Jpeg),
        file(&half, ImageFormat::Png),
    ]
}

fn write(path: impl AsRef<Path>, bytes: &[u8]) {
    std::fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn versions_of_a_picture_are_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let pictures = directory.path().join("pictures");
    for number in 0..4 {
        for (version, bytes) in versions(number).iter().enumerate() {
            write(pictures.join(format!("{number}/{version}.img")), bytes);
        }
    }
    let plain = DynamicImage::ImageRgb8(RgbImage::from_pixel(90, 60, Rgb([200, 10, 10])));
    write(
        pictures.join("plain/0.png"),
        &file(&plain, ImageFormat::Png),
    );
    let tiny = DynamicImage::ImageRgb8(RgbImage::new(3, 3));
    write(pictures.join("tiny/0.png"), &file(&tiny, ImageFormat::Png));

    let path = directory.path().join("db");
    let db = Database::create(&path).unwrap();
    let collection = db.create_collection("c", CollectionConfig::pdq()).unwrap();
    assert_eq!(collection.bits(), BITS);
    let report = ingest(&collection, &Pdq, &[&pictures]).unwrap();
    assert_eq!((report.inserted, report.skipped.len()), (13, 1));
    let reason = report.skipped[0].reason.to_string();
    assert!(
        reason.contains("3 x 3") && reason.contains("5 x 5"),
        "{reason}"
    );
    db.close().unwrap();

    let db = Database::open(&path).unwrap();
    let collection = db.collection("c").unwrap();
    let encoder = collection.built_in_encoder().unwrap();
    assert_eq!(collection.model(), Some(encoder.fingerprint()));
    assert_eq!(encoder.fingerprint(), Pdq.fingerprint());
    let groups = collection.pairs(RADIUS).groups().unwrap();
    let groups: Vec<(u64, Vec<u64>)> = groups
        .iter()
        .map(|group| {
            (
                group.id,
                group.duplicates.iter().map(|row| row.id).collect(),
            )
        })
        .collect();
    // Rows are in the order of the files; a picture's versions lie side by side.
    let expected: Vec<(u64, Vec<u64>)> = (0..4)
        .map(|n| (3 * n, vec![3 * n + 1, 3 * n + 2]))
        .collect();
    assert_eq!(groups, expected);

    let quality = |id| -> Option<u8> {
        let row = collection.get(id).unwrap().unwrap();
        let payload: PicturePayload = serde_json::from_str(&row.payload.unwrap()).unwrap();
        payload.quality
    };
    assert_eq!(quality(12), Some(0));
    let judged = Filter::parse("quality >= 1").unwrap();
    assert_eq!(collection.count(&judged).unwrap(), 12);

    let id = collection
        .insert_image(encoder, None, &versions(9)[0], None)
        .unwrap();
    assert!(quality(id).unwrap() > 0);
    let search = collection.search_image(encoder, &versions(9)[1]).unwrap();
    let hits = search.radius(RADIUS).run().unwrap().hits;
    assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [id]);
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn hashes_go_into_no_other_collection() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let codes = db
        .create_collection("codes", CollectionConfig::bits(BITS))
        .unwrap();
    assert!(codes.built_in_encoder().is_none());
    let refused = codes.insert_image(&Pdq, None, &versions(0)[0], None);
    assert!(matches!(refused, Err(Error::NoModel { .. })), "{refused:?}");
}
