//! Pictures into a collection, with an encoder that is simple enough to check by eye.
#![cfg(feature = "images")]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bitkin::encoder::{EncodeError, Encoder, Fingerprint, ImageInput, Prepared, check_batch};
use bitkin::image::{ImageError, Limits, RgbImage, fit};
use bitkin::ingest::{Ingest, IngestReport, PicturePayload, Sources, ingest};
use bitkin::model::{ModelFile, ModelMetadata, Tensor};
use bitkin::{Collection, CollectionConfig, Database, Error, Filter};
use serde_json::json;

const INPUT: (u32, u32) = (4, 4);

fn model() -> ModelFile {
    let model = json!({
        "method": "mean-colour", "bits": 24, "arithmetic": "u8",
        "input": ImageInput::stretch(INPUT.0, INPUT.1),
    });
    let metadata = ModelMetadata {
        model: model.as_object().unwrap().clone(),
        ..ModelMetadata::default()
    };
    let tensors = [("nothing".to_owned(), Tensor::from_f32(&[0], &[]))];
    ModelFile::build(metadata, &tensors.into()).unwrap()
}

/// The code of a picture is its mean colour, 8 bits a channel. It counts its batches, and can
/// fail at one of them.
struct MeanColour {
    fingerprint: Fingerprint,
    batch: usize,
    fails_at: usize,
    calls: AtomicUsize,
}

impl MeanColour {
    fn new() -> Self {
        MeanColour {
            fingerprint: model().fingerprint(),
            batch: 3,
            fails_at: usize::MAX,
            calls: AtomicUsize::new(0),
        }
    }

    fn failing_at(call: usize) -> Self {
        MeanColour {
            fails_at: call,
            ..MeanColour::new()
        }
    }
}

impl Encoder for MeanColour {
    fn bits(&self) -> u32 {
        24
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn preferred_batch(&self) -> usize {
        self.batch
    }

    fn prepared_bytes(&self) -> usize {
        ImageInput::stretch(INPUT.0, INPUT.1).bytes()
    }

    fn prepare(&self, picture: &RgbImage) -> Result<Prepared, ImageError> {
        Ok(Prepared {
            bytes: fit(picture, &ImageInput::stretch(INPUT.0, INPUT.1))?,
            quality: None,
        })
    }

    fn encode(&self, pixels: &[u8], codes: &mut [u8]) -> Result<(), EncodeError> {
        let pictures = check_batch(self, pixels, codes)?;
        assert!(pictures <= self.batch, "{pictures} pictures in one batch");
        if self.calls.fetch_add(1, Ordering::Relaxed) == self.fails_at {
            codes.fill(0xaa);
            return Err(EncodeError::Failed("out of memory".to_owned()));
        }
        let size = self.prepared_bytes();
        for (picture, code) in pixels.chunks_exact(size).zip(codes.chunks_exact_mut(3)) {
            for (channel, mean) in code.iter_mut().enumerate() {
                let sum: usize = picture
                    .iter()
                    .skip(channel)
                    .step_by(3)
                    .map(|&v| v as usize)
                    .sum();
                *mean = (sum * 3 / size) as u8;
            }
        }
        Ok(())
    }
}

/// The bytes of a PNG of one colour.
fn png(colour: [u8; 3]) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(7, 5, image::Rgb(colour))
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

struct Fixture {
    directory: tempfile::TempDir,
    db: Database,
    collection: Collection,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let collection = db
            .create_collection("c", CollectionConfig::model(&model()))
            .unwrap();
        Fixture {
            directory,
            db,
            collection,
        }
    }

    fn pictures(&self) -> PathBuf {
        self.directory.path().join("pictures")
    }

    /// `count` pictures in folders of ten, each of its own colour; as many colours in order.
    fn fill(&self, count: u8) -> Vec<[u8; 3]> {
        let colours: Vec<[u8; 3]> = (0..count).map(|i| [i, 255 - i, i / 2]).collect();
        for (i, &colour) in colours.iter().enumerate() {
            write(
                self.pictures().join(format!("{:02}/{i:03}.png", i / 10)),
                png(colour),
            );
        }
        colours
    }

    /// (code, payload) of every row, by id.
    fn rows(&self) -> Vec<(Vec<u8>, PicturePayload)> {
        let rows = self.collection.rows().unwrap().map(Result::unwrap);
        rows.map(|row| {
            (
                row.code,
                serde_json::from_str(&row.payload.unwrap()).unwrap(),
            )
        })
        .collect()
    }

    fn codes(&self) -> Vec<Vec<u8>> {
        self.rows().into_iter().map(|(code, _)| code).collect()
    }
}

fn counts(report: &IngestReport) -> (u64, u64, usize, u64) {
    (
        report.inserted,
        report.known,
        report.skipped.len(),
        report.ignored,
    )
}

#[test]
fn a_directory_goes_in_in_order_whatever_the_threads() {
    for threads in [1, 4] {
        let fixture = Fixture::new();
        let colours = fixture.fill(47);
        write(fixture.pictures().join("00/readme.txt"), "not a picture");
        write(fixture.pictures().join("00/hidden"), png([9, 9, 9])); // by its first bytes
        let encoder = MeanColour::new();
        let sources = Sources::open(&[fixture.pictures()]).unwrap();
        assert_eq!(sources.count(), 49);
        let mut seen = Vec::new();
        let report = Ingest::new(&fixture.collection, &encoder)
            .unwrap()
            .threads(threads)
            .commit_rows(10)
            .run(&sources, &mut |progress| {
                seen.push(*progress);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(counts(&report), (48, 0, 0, 1));
        let last = seen.last().unwrap();
        assert_eq!((last.done, last.total, last.inserted), (49, 49, 48));
        assert!(
            seen.iter().any(|p| p.inserted > 0 && p.inserted < 48),
            "commits in between"
        );

        let rows = fixture.rows();
        let expected: Vec<Vec<u8>> = colours[..10]
            .iter()
            .chain(&[[9, 9, 9]])
            .chain(&colours[10..])
            .map(|colour| colour.to_vec())
            .collect();
        assert_eq!(
            rows.iter()
                .map(|(code, _)| code.clone())
                .collect::<Vec<_>>(),
            expected
        );
        let (_, payload) = &rows[12];
        let path = fixture.pictures().join("01/011.png");
        assert_eq!(payload.source.as_deref(), path.to_str());
        assert_eq!(payload.label.as_deref(), Some("01"));
        assert_eq!(payload.sha256.len(), 64);
    }
}

#[test]
fn what_is_known_is_passed_over() {
    let fixture = Fixture::new();
    fixture.fill(20);
    let encoder = MeanColour::new();
    let first = ingest(&fixture.collection, &encoder, &[fixture.pictures()]).unwrap();
    assert_eq!(counts(&first), (20, 0, 0, 0));
    // Two new files with one content, one of which is also new.
    write(fixture.pictures().join("new/a.png"), png([200, 0, 200]));
    write(fixture.pictures().join("new/b.png"), png([200, 0, 200]));
    let calls = encoder.calls.load(Ordering::Relaxed);
    let second = ingest(&fixture.collection, &encoder, &[fixture.pictures()]).unwrap();
    assert_eq!(counts(&second), (1, 21, 0, 0));
    assert_eq!(
        encoder.calls.load(Ordering::Relaxed),
        calls + 1,
        "nothing known is encoded"
    );
    assert_eq!(fixture.collection.len().unwrap(), 21);
}

#[test]
fn what_was_deleted_may_come_again() {
    let fixture = Fixture::new();
    fixture.fill(20);
    let encoder = MeanColour::new();
    let again = || ingest(&fixture.collection, &encoder, &[fixture.pictures()]).unwrap();
    assert_eq!(counts(&again()), (20, 0, 0, 0));
    fixture.db.flush().unwrap();
    assert_eq!(fixture.collection.delete(&[0, 7]).unwrap(), 2);
    assert_eq!(counts(&again()), (2, 18, 0, 0));
    // And of a row that is still in memory.
    assert_eq!(fixture.collection.delete(&[20]).unwrap(), 1);
    assert_eq!(counts(&again()), (1, 19, 0, 0));
    let pictures = Filter::parse("source is not null").unwrap();
    assert_eq!(fixture.collection.count(&pictures).unwrap(), 20);
}

#[test]
fn bad_pictures_are_skipped_by_name_and_the_rest_goes_in() {
    let fixture = Fixture::new();
    let good = png([1, 2, 3]);
    let file = |name: &str| fixture.pictures().join(name);
    write(file("a.png"), &good);
    write(file("b.png"), &good[..good.len() / 2]);
    write(file("c.jpg"), "this is text");
    write(file("d.png"), "");
    let mut bomb = good.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]); // 60000 x 60000
    write(file("e.png"), bomb);
    let mut flat = good.clone();
    flat[16..20].fill(0);
    write(file("f.png"), flat);
    write(file("g.png"), png([4, 5, 6]));

    let encoder = MeanColour::new();
    let report = ingest(&fixture.collection, &encoder, &[fixture.pictures()]).unwrap();
    assert_eq!(counts(&report), (2, 0, 5, 0));
    assert_eq!(fixture.codes(), [[1, 2, 3], [4, 5, 6]]);
    let names: Vec<&str> = report
        .skipped
        .iter()
        .map(|s| s.source.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(names, ["b.png", "c.jpg", "d.png", "e.png", "f.png"]);
    let reasons: Vec<&ImageError> = report.skipped.iter().map(|s| &s.reason).collect();
    assert!(matches!(
        reasons[0],
        ImageError::Truncated | ImageError::Undecodable { .. }
    ));
    assert_eq!(reasons[1], &ImageError::UnknownFormat);
    assert_eq!(reasons[2], &ImageError::Empty);
    assert!(matches!(
        reasons[3],
        ImageError::TooLarge {
            width: 60_000,
            height: 60_000,
            ..
        }
    ));
    assert!(matches!(reasons[4], ImageError::ZeroSized { .. }));

    let strict = Fixture::new();
    let sources = Sources::open(&[fixture.pictures()]).unwrap();
    let failed = Ingest::new(&strict.collection, &encoder)
        .unwrap()
        .strict(true)
        .run(&sources, &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(
        matches!(&*failed.error, Error::Picture { source_name, .. } if source_name.ends_with("b.png")),
        "{failed}"
    );
    assert_eq!(
        (failed.report.inserted, strict.codes()),
        (1, vec![vec![1, 2, 3]])
    );
}

#[test]
fn files_over_the_limit_are_not_read() {
    let fixture = Fixture::new();
    write(fixture.pictures().join("a.png"), vec![0; 5000]);
    let mut limits = Limits::default();
    limits.max_file_bytes = 4999;
    let encoder = MeanColour::new();
    let sources = Sources::open(&[fixture.pictures()]).unwrap();
    let ingest = Ingest::new(&fixture.collection, &encoder)
        .unwrap()
        .limits(limits);
    let report = ingest
        .run(&sources, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let expected = ImageError::FileTooLarge {
        bytes: 5000,
        limit: 4999,
    };
    assert_eq!(report.skipped[0].reason, expected);
}

#[test]
fn a_limit_and_a_caller_who_has_enough_end_an_ingest_with_all_of_it_kept() {
    let encoder = MeanColour::new();
    let limited = Fixture::new();
    let colours = limited.fill(40);
    let sources = Sources::open(&[limited.pictures()]).unwrap();
    let ingest = Ingest::new(&limited.collection, &encoder).unwrap().limit(7);
    let mut go_on = |_: &_| ControlFlow::Continue(());
    let first = ingest.run(&sources, &mut go_on).unwrap();
    assert_eq!((first.inserted, first.stopped), (7, true));
    let expected: Vec<Vec<u8>> = colours[..7].iter().map(|c| c.to_vec()).collect();
    assert_eq!(limited.codes(), expected);
    // The next run goes on after what is there; the last one has nothing left to stop at.
    let next = ingest.run(&sources, &mut go_on).unwrap();
    assert_eq!((next.inserted, next.known, next.stopped), (7, 7, true));
    let rest = Ingest::new(&limited.collection, &encoder)
        .unwrap()
        .limit(40);
    let rest = rest.run(&sources, &mut go_on).unwrap();
    assert!(!rest.stopped);

    let broken_off = Fixture::new();
    broken_off.fill(40);
    let sources = Sources::open(&[broken_off.pictures()]).unwrap();
    let report = Ingest::new(&broken_off.collection, &encoder)
        .unwrap()
        .run(&sources, &mut |now| match now.done {
            11 => ControlFlow::Break(()),
            done => {
                assert!(done < 11, "went on after it was broken off");
                ControlFlow::Continue(())
            }
        })
        .unwrap();
    assert_eq!((report.inserted, report.stopped), (11, true));
    assert_eq!(broken_off.codes().len(), 11);
}

#[test]
fn an_encoder_that_fails_loses_nothing_that_was_acknowledged() {
    for fails_at in [0, 1, 4, 9] {
        let fixture = Fixture::new();
        let colours = fixture.fill(40);
        let encoder = MeanColour::failing_at(fails_at);
        let sources = Sources::open(&[fixture.pictures()]).unwrap();
        let mut acknowledged = 0;
        let failed = Ingest::new(&fixture.collection, &encoder)
            .unwrap()
            .commit_rows(10)
            .run(&sources, &mut |progress| {
                acknowledged = progress.inserted;
                ControlFlow::Continue(())
            })
            .unwrap_err();
        assert!(
            matches!(&*failed.error, Error::Encode(EncodeError::Failed(_))),
            "{failed}"
        );
        // Every batch before the failing one, in order, and nothing of that one.
        let expected: Vec<Vec<u8>> = colours[..3 * fails_at]
            .iter()
            .map(|colour| colour.to_vec())
            .collect();
        assert_eq!(fixture.codes(), expected);
        assert_eq!(failed.report.inserted, 3 * fails_at as u64);
        assert!(acknowledged <= failed.report.inserted);

        // Once the encoder works again, the rest follows.
        let report = ingest(
            &fixture.collection,
            &MeanColour::new(),
            &[fixture.pictures()],
        )
        .unwrap();
        assert_eq!(report.inserted + failed.report.inserted, 40);
        let all: Vec<Vec<u8>> = colours.iter().map(|colour| colour.to_vec()).collect();
        assert_eq!(fixture.codes(), all);
    }
}

fn tar_of(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn archives_are_read_in_their_order_and_by_folder() {
    let fixture = Fixture::new();
    let archive = fixture.directory.path().join("x.tar");
    let members = [
        ("set/novel/cat/2.png", png([2, 0, 0])),
        ("set/novel/cat/1.png", png([1, 0, 0])),
        ("set/novel/notes.txt", b"text".to_vec()),
        ("set/base/dog/3.png", png([3, 0, 0])),
        ("set/base/dog/bad.png", png([3, 0, 0])[..40].to_vec()),
        ("top.png", png([4, 0, 0])),
    ];
    write(&archive, tar_of(&members));
    let encoder = MeanColour::new();
    let report = ingest(&fixture.collection, &encoder, &[&archive]).unwrap();
    assert_eq!(counts(&report), (4, 0, 1, 1));
    assert!(
        report.skipped[0]
            .source
            .ends_with("x.tar:set/base/dog/bad.png")
    );
    let rows = fixture.rows();
    assert_eq!(
        fixture.codes(),
        [[2, 0, 0], [1, 0, 0], [3, 0, 0], [4, 0, 0]]
    );
    let labels: Vec<Option<&str>> = rows.iter().map(|(_, p)| p.label.as_deref()).collect();
    assert_eq!(labels, [Some("cat"), Some("cat"), Some("dog"), None]);
    let source = format!("{}:set/novel/cat/2.png", archive.display());
    assert_eq!(rows[0].1.source.as_deref(), Some(source.as_str()));

    let part = Fixture::new();
    let folder = format!("{}:set/novel", archive.display());
    let report = ingest(&part.collection, &encoder, &[&folder]).unwrap();
    assert_eq!(
        (counts(&report), part.codes()),
        ((2, 0, 0, 1), vec![vec![2, 0, 0], vec![1, 0, 0]])
    );
    // A folder's name is matched whole.
    let prefix = format!("{}:set/nov", archive.display());
    assert_eq!(Sources::open(&[&prefix]).unwrap().count(), 0);
}

#[test]
fn archives_that_are_damaged_end_the_ingest_with_their_name() {
    let fixture = Fixture::new();
    let archive = fixture.directory.path().join("x.tar");
    write(&archive, vec![b'x'; 2048]);
    let error = Sources::open(&[&archive]).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path == &archive),
        "{error}"
    );
    let missing = Sources::open(&["/no/such/folder"]).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }));
}

#[test]
fn an_archive_that_is_cut_off_is_told_after_what_it_still_holds() {
    let mut noise = 1u32;
    let long = image::RgbImage::from_fn(40, 40, |_, _| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([noise.to_be_bytes()[0]; 3])
    });
    let mut second = std::io::Cursor::new(Vec::new());
    long.write_to(&mut second, image::ImageFormat::Png).unwrap();
    let members = [
        ("a/1.png", png([1, 0, 0])),
        ("a/2.png", second.into_inner()),
        ("b/3.png", png([3, 0, 0])),
    ];
    let whole = tar_of(&members);
    let member = |i: usize| 512 + members[i].1.len().next_multiple_of(512);
    let (one, two) = (member(0), member(0) + member(1));
    let all = two + member(2);
    assert_eq!(all + 1024, whole.len());
    assert!(member(1) > 2048, "long enough to be cut inside");
    let encoder = MeanColour::new();
    let run = |bytes: &[u8], folder: &str| {
        let fixture = Fixture::new();
        let archive = fixture.directory.path().join("x.tar");
        write(&archive, bytes);
        let sources = Sources::open(&[format!("{}{folder}", archive.display())]).unwrap();
        let outcome = Ingest::new(&fixture.collection, &encoder)
            .unwrap()
            .run(&sources, &mut |_| ControlFlow::Continue(()));
        let outcome = outcome.map_err(|stopped| match *stopped.error {
            Error::Io { path, source } => {
                assert_eq!(path, archive);
                assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
                assert!(source.to_string().contains("cut off"), "{source}");
            }
            other => panic!("{other}"),
        });
        (outcome.is_ok(), fixture.codes().len())
    };
    for (length, rows) in [
        (0, 0),
        (300, 0),         // inside the first header
        (one, 1),         // between members
        (one + 300, 1),   // inside a header
        (one + 512, 1),   // behind a header
        (one + 2000, 1),  // inside a member
        (two - 1, 1 + 1), // inside a member's padding
        (two, 2),
        (all, 3),
        (all + 511, 3), // inside the end mark
    ] {
        assert_eq!(run(&whole[..length], ""), (false, rows), "cut at {length}");
    }
    // One block of zeros is enough, as it is for GNU tar.
    assert_eq!(run(&whole[..all + 512], ""), (true, 3));
    assert_eq!(run(&whole, ""), (true, 3));
    // With a folder too, whether the cut is in it or not.
    for (length, folder, rows) in [
        (all, ":a", 2),
        (two + 600, ":a", 2),
        (one + 2000, ":b", 0),
        (all, ":b", 1),
    ] {
        assert_eq!(
            run(&whole[..length], folder),
            (false, rows),
            "cut at {length}"
        );
    }
    assert_eq!(run(&whole, ":b"), (true, 1));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.pictures()).unwrap();
    for name in ["p.jpg", "p.tar"] {
        let pipe = fixture.pictures().join(name);
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let error = Sources::open(&[&pipe]).unwrap_err();
        assert!(
            matches!(&error, Error::Io { path, .. } if path == &pipe)
                && error.to_string().contains("not a regular file"),
            "{error}"
        );
    }
    assert_eq!(Sources::open(&[fixture.pictures()]).unwrap().count(), 0);
    // A file that becomes a pipe after it was found is skipped.
    let file = fixture.pictures().join("q.jpg");
    write(&file, png([1, 2, 3]));
    let sources = Sources::open(&[&file]).unwrap();
    fs::rename(fixture.pictures().join("p.jpg"), &file).unwrap();
    let encoder = MeanColour::new();
    let report = Ingest::new(&fixture.collection, &encoder)
        .unwrap()
        .run(&sources, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(counts(&report), (0, 0, 1, 0));
    // A link to a file is as good as the file.
    let link = fixture.pictures().join("link.png");
    write(fixture.directory.path().join("real.png"), png([1, 2, 3]));
    std::os::unix::fs::symlink(fixture.directory.path().join("real.png"), &link).unwrap();
    let report = ingest(&fixture.collection, &encoder, &[&link]).unwrap();
    assert_eq!(report.inserted, 1);
}

#[test]
fn only_the_collections_own_encoder_is_let_in() {
    let fixture = Fixture::new();
    let stranger = MeanColour {
        fingerprint: Fingerprint([1; 32]),
        ..MeanColour::new()
    };
    let error = Ingest::new(&fixture.collection, &stranger).err().unwrap();
    assert!(
        matches!(error, Error::ModelMismatch { found: Fingerprint(found), .. } if found == [1; 32])
    );
    let error = fixture
        .collection
        .search_image(&stranger, &png([1, 1, 1]))
        .err()
        .unwrap();
    assert!(matches!(error, Error::ModelMismatch { .. }));
    let codes = fixture
        .db
        .create_collection("codes", CollectionConfig::bits(24))
        .unwrap();
    let error = Ingest::new(&codes, &MeanColour::new()).err().unwrap();
    assert!(matches!(error, Error::NoModel { .. }));
}

#[test]
fn single_pictures_go_in_and_are_found() {
    let fixture = Fixture::new();
    let (collection, encoder) = (&fixture.collection, MeanColour::new());
    let files: Vec<Vec<u8>> = (0..8).map(|i| png([1 << i, 0, 0])).collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    assert_eq!(
        collection
            .insert_image(&encoder, None, files[0], None)
            .unwrap(),
        0
    );
    let id = collection.insert_image(&encoder, Some(70), files[1], Some(r#"{"year":1999}"#));
    assert_eq!(id.unwrap(), 70);
    assert_eq!(
        collection
            .insert_images(&encoder, None, &files[2..], &[])
            .unwrap()
            .len(),
        6
    );
    let payload = collection.get(70).unwrap().unwrap().payload.unwrap();
    let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(
        (&payload["year"], payload["sha256"].as_str().unwrap().len()),
        (&json!(1999), 64)
    );

    let answer = collection
        .search_image(&encoder, files[1])
        .unwrap()
        .k(1)
        .run()
        .unwrap();
    assert_eq!((answer.hits[0].id, answer.hits[0].distance), (70, 0));

    let before = collection.len().unwrap();
    let bad = collection.insert_images(&encoder, None, &[files[0], b"text"], &[]);
    assert!(matches!(bad, Err(Error::Image(ImageError::UnknownFormat))));
    let twice = collection.insert_image(&encoder, Some(70), files[3], None);
    assert!(matches!(twice, Err(Error::DuplicateId { id: 70, .. })));
    // What is wrong with a payload is told before anything is encoded.
    let calls = encoder.calls.load(Ordering::Relaxed);
    let list = collection.insert_image(&encoder, None, files[3], Some("[1]"));
    assert!(matches!(list, Err(Error::InvalidPayload { row: 0, .. })));
    assert_eq!(encoder.calls.load(Ordering::Relaxed), calls);
    assert_eq!(collection.len().unwrap(), before);
}
