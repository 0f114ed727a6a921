//! Pictures from many threads: each gets its own outcome, and batches form by themselves.
#![cfg(feature = "images")]

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitkin::encoder::{EncodeError, Encoder, Fingerprint, Prepared};
use bitkin::image::{ImageError, RgbImage};
use bitkin::ingest::{Picture, Ticket};
use bitkin::pdq::{self, Pdq};
use bitkin::{Collection, CollectionConfig, Database, Error};

/// PDQ, which counts its batches, waits while it is held, and cannot encode one code, or panics at it.
#[derive(Default)]
struct Watched {
    batches: AtomicUsize,
    held: Mutex<()>,
    fails_at: Option<[u8; 32]>,
    panics: bool,
}

impl Encoder for Watched {
    fn bits(&self) -> u32 {
        Pdq.bits()
    }

    fn fingerprint(&self) -> Fingerprint {
        Pdq.fingerprint()
    }

    fn preferred_batch(&self) -> usize {
        8
    }

    fn prepared_bytes(&self) -> usize {
        Pdq.prepared_bytes()
    }

    fn prepare(&self, picture: &RgbImage) -> Result<Prepared, ImageError> {
        Pdq.prepare(picture)
    }

    fn encode(&self, prepared: &[u8], codes: &mut [u8]) -> Result<(), EncodeError> {
        let _held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(codes.len() <= 8 * 32, "more than a batch");
        self.batches.fetch_add(1, Ordering::Relaxed);
        if prepared
            .chunks(32)
            .any(|code| Some(code) == self.fails_at.as_ref().map(|c| &c[..]))
        {
            assert!(!self.panics, "a fault of the encoder");
            return Err(EncodeError::Failed("not this one".to_owned()));
        }
        Pdq.encode(prepared, codes)
    }
}

fn drawn(number: u32) -> image::RgbImage {
    image::RgbImage::from_fn(40, 30, |x, y| {
        let value = (x * (x + 3 * number) / 7 + y * y * (number % 7 + 1) / 11) % 256;
        image::Rgb([value as u8, (value / 2) as u8, 90])
    })
}

fn picture(number: u32) -> Picture {
    let mut file = Cursor::new(Vec::new());
    drawn(number)
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    Picture {
        file: file.into_inner(),
        ..Picture::default()
    }
}

fn code(number: u32) -> [u8; 32] {
    let picture = RgbImage::new(40, 30, drawn(number).into_raw()).unwrap();
    pdq::hash(&picture).unwrap().code
}

fn collection() -> (tempfile::TempDir, Database, Collection) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::create(directory.path().join("db")).unwrap();
    let collection = db.create_collection("c", CollectionConfig::pdq()).unwrap();
    (directory, db, collection)
}

fn stored(collection: &Collection, id: u64) -> Vec<u8> {
    collection.get(id).unwrap().unwrap().code
}

#[test]
fn threads_share_batches_and_each_gets_its_own_id() {
    let (_directory, _db, collection) = collection();
    let encoder = Arc::new(Watched::default());
    let writer = collection.picture_writer(encoder.clone(), 3).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (writer, collection) = (&writer, &collection);
            scope.spawn(move || {
                for number in (thread * 10)..(thread * 10 + 10) {
                    let id = writer.insert(picture(number)).unwrap();
                    assert_eq!(stored(collection, id), code(number));
                }
            });
        }
    });
    assert_eq!(collection.len().unwrap(), 80);
    assert!(encoder.batches.load(Ordering::Relaxed) < 80);
}

#[test]
fn order_is_kept_and_nothing_submitted_is_lost() {
    let (_directory, _db, collection) = collection();
    let writer = collection.picture_writer(Arc::new(Pdq), 4).unwrap();
    let tickets: Vec<Ticket> = (0..60)
        .map(|n| writer.submit(picture(n)).unwrap())
        .collect();
    drop(writer);
    for (number, ticket) in (0..).zip(tickets) {
        let id = ticket.wait().unwrap();
        assert_eq!(id, u64::from(number));
        assert_eq!(stored(&collection, id), code(number));
    }
}

#[test]
fn an_error_meets_only_the_picture_it_is_about() {
    let (_directory, _db, collection) = collection();
    collection.insert(&[7], &[0; 32]).unwrap();
    let encoder = Watched {
        fails_at: Some(code(3)),
        ..Watched::default()
    };
    let writer = collection.picture_writer(Arc::new(encoder), 2).unwrap();
    let with = |number: u32, id: u64, payload: &str| Picture {
        id: Some(id),
        payload: Some(payload.to_owned()),
        ..picture(number)
    };
    let broken = Picture {
        file: b"no picture".to_vec(),
        ..Picture::default()
    };
    let tickets = [
        with(0, 100, r#"{"year": 2020}"#),
        broken,
        with(1, 7, "{}"),
        with(2, 101, "[1]"),
        with(3, 102, "{}"),
        with(4, 103, "{}"),
        picture(5),
    ]
    .map(|picture| writer.submit(picture).unwrap());
    let [good, broken, taken, payload, failed, other, following] = tickets.map(Ticket::wait);
    assert_eq!(good.unwrap(), 100);
    assert!(
        matches!(broken, Err(Error::Image(ImageError::UnknownFormat))),
        "{broken:?}"
    );
    assert!(taken.unwrap_err().to_string().contains('7'));
    assert!(
        matches!(payload, Err(Error::InvalidPayload { .. })),
        "{payload:?}"
    );
    assert!(failed.unwrap_err().to_string().contains("not this one"));
    assert_eq!(other.unwrap(), 103);
    assert_eq!(following.unwrap(), 104);
    let row = collection.get(100).unwrap().unwrap();
    let payload: serde_json::Value = serde_json::from_str(&row.payload.unwrap()).unwrap();
    assert_eq!(payload["year"], 2020);
    assert_eq!(payload["sha256"].as_str().unwrap().len(), 64);
    assert!(payload["quality"].is_u64());
    assert_eq!(collection.len().unwrap(), 4);
}

#[test]
fn submitting_waits_while_many_are_under_way() {
    let (_directory, _db, collection) = collection();
    let encoder = Arc::new(Watched::default());
    let writer = collection.picture_writer(encoder.clone(), 2).unwrap();
    let submitted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let held = encoder.held.lock().unwrap();
        let all = scope.spawn(|| {
            let tickets = (0..200).map(|number| {
                let ticket = writer.submit(picture(number)).unwrap();
                submitted.fetch_add(1, Ordering::SeqCst);
                ticket
            });
            tickets.collect::<Vec<_>>()
        });
        // Until it does not go on any more.
        let mut seen = 0;
        while seen == 0 || submitted.load(Ordering::SeqCst) != seen {
            seen = submitted.load(Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(seen < 50, "{seen}");
        drop(held);
        for ticket in all.join().unwrap() {
            ticket.wait().unwrap();
        }
    });
    assert_eq!(collection.len().unwrap(), 200);
}

/// Tickets behind a batch at which the encoder panicked once waited for ever.
#[test]
fn an_encoder_that_panics_leaves_nobody_waiting() {
    let (_directory, _db, collection) = collection();
    let encoder = Watched {
        fails_at: Some(code(3)),
        panics: true,
        ..Watched::default()
    };
    let writer = collection.picture_writer(Arc::new(encoder), 1).unwrap();
    let tickets: Vec<Ticket> = (0..40)
        .map(|number| writer.submit(picture(number)).unwrap())
        .collect();
    let outcomes: Vec<_> = tickets.into_iter().map(Ticket::wait).collect();
    assert!(
        matches!(outcomes[3], Err(Error::Closed)),
        "{:?}",
        outcomes[3]
    );
    let good = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(good >= 32, "only a batch is lost: {good}");
    assert_eq!(collection.len().unwrap(), good as u64);
}
