//! What the public interface promises beside what it finds: which types cross threads, orders, conveniences,
//! kinds of errors.

use std::io;

use bitkin::encoder::{EncodeError, Fingerprint};
use bitkin::model::ModelError;
use bitkin::{
    Budget, Collection, CollectionConfig, Database, Error, ErrorKind, FieldKind, Filter, Hit,
    IndexField, Row, SearchOptions, StorageError, Way,
};

/// A change that takes one of these away breaks applications that compile today.
#[test]
fn handles_cross_threads() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Database>();
    shared::<bitkin::DatabaseOptions>();
    shared::<Collection>();
    shared::<CollectionConfig>();
    shared::<bitkin::Snapshot>();
    shared::<bitkin::Batch>();
    shared::<bitkin::Rows>();
    shared::<Row>();
    shared::<Filter>();
    shared::<SearchOptions>();
    shared::<bitkin::Search<'static>>();
    shared::<bitkin::BatchSearch<'static>>();
    shared::<bitkin::Answer>();
    shared::<bitkin::Explanation>();
    shared::<Error>();
    shared::<bitkin::model::ModelFile>();
    #[cfg(feature = "images")]
    {
        shared::<bitkin::encoder::EncoderLibrary>();
        shared::<bitkin::encoder::LibraryEncoder>();
        shared::<bitkin::ingest::Ingest<'static>>();
        shared::<bitkin::ingest::Sources>();
        shared::<bitkin::ingest::PictureWriter>();
        moved::<bitkin::ingest::Ticket>();
    }
    moved::<bitkin::jsonl::JsonlReader>();
    moved::<bitkin::npy::CodesReader>();
    // Its progress is the caller's, and stays on the caller's thread: PairSearch is neither.
    fn lives<T: 'static>() {}
    lives::<Database>();
    lives::<bitkin::Snapshot>();
    lives::<bitkin::Rows>();
}

fn database() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::create(folder.path().join("db")).unwrap();
    (folder, db)
}

fn eight(db: &Database, name: &str) -> Collection {
    db.create_collection(name, CollectionConfig::bits(8))
        .unwrap()
}

#[test]
fn hits_are_ordered_as_answers_are() {
    let hit = |id, distance| Hit { id, distance };
    let mut hits = vec![hit(1, 3), hit(9, 0), hit(2, 3), hit(3, 1)];
    hits.sort();
    assert_eq!(hits, [hit(9, 0), hit(3, 1), hit(1, 3), hit(2, 3)]);
}

#[test]
fn an_answer_is_its_hits() {
    let (_folder, db) = database();
    let codes = eight(&db, "codes");
    codes.insert(&[4, 5, 6], &[0x00, 0x01, 0xff]).unwrap();
    let answer = codes.search(&[0x00]).k(2).run().unwrap();
    assert_eq!(answer.ids().collect::<Vec<_>>(), [4, 5]);
    let mut distances = Vec::new();
    for hit in &answer {
        distances.push(hit.distance);
    }
    assert_eq!(distances, [0, 1]);
    assert_eq!(answer.certain(), answer.hits);

    let mut doubtful = answer.clone();
    doubtful.certified_radius = Some(0);
    assert_eq!(doubtful.certain(), &answer.hits[..1]);
    doubtful.certified_radius = None;
    assert_eq!(doubtful.certain(), []);
    assert_eq!(answer.clone().into_iter().collect::<Vec<_>>(), answer.hits);
}

/// Whatever is set one by one can be set at once, and the last word counts.
#[test]
fn options_say_what_a_search_is_told() {
    let (_folder, db) = database();
    let codes = eight(&db, "codes");
    let payloads: Vec<String> = (0..100).map(|n| format!("{{\"n\": {n}}}")).collect();
    let payloads: Vec<Option<&str>> = payloads.iter().map(|p| Some(p.as_str())).collect();
    let rows: Vec<u8> = (0..100).collect();
    codes.insert_with_payloads(None, &rows, &payloads).unwrap();
    let odd = Filter::parse("n >= 50").unwrap();
    let options = SearchOptions::new()
        .k(5)
        .radius(4)
        .filter(&odd)
        .way(Way::Scan)
        .threads(1)
        .budget(Budget::Candidates(1_000));
    let one_by_one = codes
        .search(&[7])
        .k(5)
        .radius(4)
        .filter(&odd)
        .way(Way::Scan)
        .threads(1)
        .budget(Budget::Candidates(1_000));
    let expected = one_by_one.run().unwrap();
    assert!(!expected.hits.is_empty() && expected.ids().all(|id| id >= 50));
    let at_once = codes.search(&[7]).k(1).options(&options).run().unwrap();
    assert_eq!(at_once, expected);
    let batch = codes.search_batch(&[7, 7]).options(&options).run().unwrap();
    assert_eq!(batch, [expected.clone(), expected.clone()]);
    let k_later = codes.search(&[7]).options(&options).k(1).run().unwrap();
    assert_eq!(k_later.hits, expected.hits[..1]);
    // Of pairs, the filter.
    let pairs = codes.pairs(1).options(&options).run().unwrap();
    assert_eq!(pairs, codes.pairs(1).filter(&odd).run().unwrap());
    assert!(pairs.iter().all(|pair| pair.a >= 50) && !pairs.is_empty());
}

#[test]
fn a_batch_is_all_there_or_not_at_all() {
    let (_folder, db) = database();
    let (a, b) = (eight(&db, "a"), eight(&db, "b"));
    a.insert(&[1, 2], &[1, 2]).unwrap();

    let mut batch = db.batch();
    assert!(batch.is_empty());
    batch.delete(&a, &[1, 1, 77]).upsert(&a, &[2], &[22]);
    batch
        .insert(&b, &[1], &[1])
        .append(&b, &[8, 9])
        .insert_with_payloads(&b, None, &[10], &[Some("{\"last\": true}")]);
    assert_eq!((batch.rows(), batch.is_empty()), (5, false));
    let committed = batch.commit().unwrap();
    assert_eq!((committed.deleted, committed.replaced), (1, 1));
    assert_eq!(committed.assigned, [None, None, Some(2..4), Some(4..5)]);
    assert_eq!((a.len().unwrap(), b.len().unwrap()), (1, 4));
    assert_eq!(a.get(2).unwrap().unwrap().code, [22]);
    let last = b.get(4).unwrap().unwrap();
    assert_eq!(
        (last.code, last.payload.as_deref()),
        (vec![10], Some("{\"last\": true}"))
    );

    // One call that cannot be, anywhere, and nothing is written.
    type Spoil<'a> = &'a dyn Fn(&mut bitkin::Batch);
    let refused: [(Spoil<'_>, ErrorKind); 4] = [
        (
            &|batch| {
                batch.insert(&b, &[1], &[1]);
            },
            ErrorKind::AlreadyExists,
        ),
        (
            &|batch| {
                batch.insert(&b, &[50, 51], &[1]);
            },
            ErrorKind::InvalidInput,
        ),
        (
            &|batch| {
                batch.insert_with_payloads(&b, None, &[1], &[Some("{")]);
            },
            ErrorKind::InvalidInput,
        ),
        (
            &|batch| {
                batch.delete(&a, &[60]);
            },
            ErrorKind::InvalidInput,
        ),
    ];
    for (spoil, kind) in refused {
        let mut batch = db.batch();
        batch.insert(&a, &[60], &[6]);
        spoil(&mut batch);
        batch.delete(&b, &[1]);
        assert_eq!(batch.commit().unwrap_err().kind(), kind);
        assert_eq!((a.len().unwrap(), b.len().unwrap()), (1, 4));
    }

    // The first collection of another database has the same number and width.
    let (_other, elsewhere) = database();
    let stranger = eight(&elsewhere, "stranger");
    let mut batch = db.batch();
    batch.append(&stranger, &[1]);
    let error = batch.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("stranger"), "{error}");
    assert_eq!(a.len().unwrap(), 1);
}

#[test]
fn a_database_is_opened_or_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let made = Database::open_or_create(&path).unwrap();
    eight(&made, "codes");
    let again = Database::open_or_create(&path).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Locked);
    made.close().unwrap();
    let opened = Database::open_or_create(&path).unwrap();
    assert_eq!(opened.collections().unwrap().len(), 1);

    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("letter.txt"), "dear").unwrap();
    let error = Database::open_or_create(&home).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotADatabase);
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1);
}

#[test]
fn declared_fields_are_shown_as_they_are_parsed() {
    for (text, kind) in [
        ("year:int", FieldKind::Int),
        ("exif.iso:float", FieldKind::Float),
        ("label:text", FieldKind::Text),
        ("a:b:bool", FieldKind::Bool),
    ] {
        let Ok(field) = text.parse::<IndexField>() else {
            panic!("{text}")
        };
        assert_eq!((field.to_string().as_str(), field.kind), (text, kind));
    }
}

/// What programs do about an error hangs on its kind, in all languages.
#[test]
fn errors_are_of_a_kind() {
    use ErrorKind::*;
    let name = || "codes".to_owned();
    let io = || io::Error::from(io::ErrorKind::PermissionDenied);
    let fingerprint = Fingerprint([0; 32]);
    let errors = [
        (Error::ReadOnly, ReadOnly),
        (Error::Closed, Closed),
        (Error::BadBits { bits: 7 }, InvalidInput),
        (Error::NoModel { collection: name() }, InvalidInput),
        (
            Error::ModelMismatch {
                collection: name(),
                expected: fingerprint,
                found: fingerprint,
            },
            InvalidInput,
        ),
        (Error::Encode(EncodeError::Failed(name())), Other),
        (
            Error::Model(ModelError::NewerFormat {
                found: 2,
                supported: 1,
            }),
            UnknownFormat,
        ),
        (
            Error::Model(ModelError::Io {
                path: "m".into(),
                source: io(),
            }),
            Disk,
        ),
        (
            Error::Model(ModelError::MissingKey { key: name() }),
            InvalidInput,
        ),
        (
            Error::Io {
                path: "p".into(),
                source: io(),
            },
            Disk,
        ),
        (
            Error::Storage(StorageError::Poisoned { cause: name() }),
            Disk,
        ),
        (
            Error::Storage(StorageError::MissingFile { file: name() }),
            Corrupt,
        ),
    ];
    for (error, kind) in errors {
        assert_eq!(error.kind(), kind, "{error:?}");
    }
    let npy = |bytes: Option<&[u8]>| {
        let file = tempfile::NamedTempFile::new().unwrap();
        match bytes {
            Some(bytes) => std::fs::write(file.path(), bytes).unwrap(),
            None => std::fs::remove_file(file.path()).unwrap(),
        }
        Error::from(bitkin::npy::CodesReader::open(file.path()).unwrap_err()).kind()
    };
    assert_eq!((npy(Some(b"junk")), npy(None)), (InvalidInput, Disk));
    #[cfg(feature = "images")]
    {
        use bitkin::encoder::LibraryError;
        use bitkin::image::{ImageError, Limits, decode};
        let missing = LibraryError::Missing { places: Vec::new() };
        assert_eq!(Error::from(missing).kind(), NoEncoder);
        assert_eq!(
            Error::from(LibraryError::Model(name())).kind(),
            InvalidInput
        );
        let bad: ImageError = decode(b"junk", &Limits::default()).unwrap_err();
        assert_eq!(Error::from(bad).kind(), BadPicture);
    }
}
