//! Bad input: each gives its typed error, and nothing is changed by it.

use std::fs;
use std::path::Path;

use bitkin::encoder::ImageInput;
use bitkin::model::{ModelError, ModelFile, ModelMetadata, Tensor};
use bitkin::{CollectionConfig, Database, Error, FieldKind};
use serde_json::json;

struct Fixture {
    directory: tempfile::TempDir,
    db: Database,
}

impl Fixture {
    /// A database with one collection of 12 bits and two rows.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::create(directory.path().join("db")).unwrap();
        let collection = db
            .create_collection("codes", CollectionConfig::bits(12))
            .unwrap();
        collection.insert(&[1, 2], &[1, 0, 2, 0]).unwrap();
        Fixture { directory, db }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("db")
    }

    /// Everything that can be seen of it.
    fn contents(&self) -> Vec<(String, Vec<bitkin::Row>)> {
        let collections = self.db.collections().unwrap();
        collections
            .iter()
            .map(|c| {
                (
                    c.name().to_owned(),
                    c.rows().unwrap().map(Result::unwrap).collect(),
                )
            })
            .collect()
    }

    /// Runs `attempt`, which must fail and change nothing, neither now nor after reopening.
    fn refuses(self, attempt: impl FnOnce(&Database) -> Error) -> Error {
        let before = self.contents();
        let error = attempt(&self.db);
        assert_eq!(self.contents(), before, "{error}");
        let (path, directory) = (self.path(), self.directory);
        self.db.close().unwrap();
        let reopened = Fixture {
            directory,
            db: Database::open(path).unwrap(),
        };
        assert_eq!(reopened.contents(), before, "{error}");
        assert!(reopened.db.verify().unwrap().is_clean());
        error
    }
}

#[test]
fn codes_of_the_wrong_width() {
    for codes in [&[0u8; 3][..], &[0; 1], &[0; 6], &[]] {
        let error = Fixture::new().refuses(|db| {
            db.collection("codes")
                .unwrap()
                .insert(&[8, 9], codes)
                .unwrap_err()
        });
        assert!(
            matches!(&error, Error::WrongWidth { bits: 12, expected: 2, found, .. } if *found == codes.len()),
            "{error}"
        );
    }
    let error =
        Fixture::new().refuses(|db| db.collection("codes").unwrap().append(&[0; 3]).unwrap_err());
    assert!(matches!(error, Error::WrongWidth { rows: None, .. }));
    for query in [&[0u8; 1][..], &[0; 3], &[0; 4], &[]] {
        let error = Fixture::new().refuses(|db| {
            db.collection("codes")
                .unwrap()
                .search(query)
                .k(1)
                .run()
                .unwrap_err()
        });
        assert!(
            matches!(error, Error::WrongWidth { rows: Some(1), .. }),
            "{error}"
        );
    }
    let error = Fixture::new().refuses(|db| {
        db.collection("codes")
            .unwrap()
            .search_batch(&[0; 5])
            .run()
            .unwrap_err()
    });
    assert!(matches!(error, Error::WrongWidth { .. }));
}

#[test]
fn pairs_within_a_mask() {
    let error = Fixture::new().refuses(|db| {
        let masked = bitkin::SearchOptions::new().mask(&[1, 0]);
        let pairs = db.collection("codes").unwrap().pairs(3);
        pairs.options(&masked).run().unwrap_err()
    });
    assert!(matches!(error, Error::MaskedPairs { .. }), "{error}");
}

#[test]
fn bits_beyond_the_width() {
    let error = Fixture::new().refuses(|db| {
        db.collection("codes")
            .unwrap()
            .insert(&[8, 9], &[0, 0, 0, 0x10])
            .unwrap_err()
    });
    assert!(
        matches!(
            error,
            Error::PaddingBits {
                bits: 12,
                row: 1,
                ..
            }
        ),
        "{error}"
    );
    let error = Fixture::new().refuses(|db| {
        db.collection("codes")
            .unwrap()
            .search(&[0, 0x80])
            .run()
            .unwrap_err()
    });
    assert!(
        matches!(error, Error::PaddingBits { row: 0, .. }),
        "{error}"
    );
}

#[test]
fn ids_that_cannot_be() {
    let insert = |ids: &'static [u64]| {
        Fixture::new().refuses(move |db| {
            db.collection("codes")
                .unwrap()
                .insert(ids, &vec![0; 2 * ids.len()])
                .unwrap_err()
        })
    };
    assert!(matches!(insert(&[3, 2]), Error::DuplicateId { id: 2, .. }));
    assert!(matches!(
        insert(&[3, 4, 3]),
        Error::RepeatedId { id: 3, .. }
    ));
    assert!(matches!(
        insert(&[3, bitkin::RESERVED_ID]),
        Error::ReservedId { .. }
    ));
}

#[test]
fn payloads_that_are_no_json() {
    let error = Fixture::new().refuses(|db| {
        let collection = db.collection("codes").unwrap();
        let payloads = [Some("{}"), Some("{\"a\": ")];
        collection
            .insert_with_payloads(None, &[0; 4], &payloads)
            .unwrap_err()
    });
    assert!(
        matches!(error, Error::InvalidPayload { row: 1, .. }),
        "{error}"
    );
    let error = Fixture::new().refuses(|db| {
        let collection = db.collection("codes").unwrap();
        collection
            .insert_with_payloads(None, &[0; 4], &[None])
            .unwrap_err()
    });
    assert!(matches!(error, Error::Storage(_)), "{error}");
}

#[test]
fn collections_that_are_not_there_or_there_already() {
    let error = Fixture::new().refuses(|db| db.collection("kodes").unwrap_err());
    assert!(
        matches!(&error, Error::UnknownCollection { name, existing }
            if name == "kodes" && existing == &["codes"]),
        "{error}"
    );
    assert!(error.to_string().contains("codes"));
    let error = Fixture::new().refuses(|db| {
        db.create_collection("codes", CollectionConfig::bits(64))
            .unwrap_err()
    });
    assert!(matches!(error, Error::CollectionExists { .. }), "{error}");
    for bits in [0, 7, 65_537] {
        let error = Fixture::new().refuses(|db| {
            db.create_collection("x", CollectionConfig::bits(bits))
                .unwrap_err()
        });
        assert!(matches!(error, Error::BadBits { .. }), "{error}");
    }
}

#[test]
fn databases_that_cannot_be_opened() {
    let fixture = Fixture::new();
    assert!(matches!(
        Database::open(fixture.path()),
        Err(Error::Locked { .. })
    ));
    let inside = fixture.path().join("copies/new");
    for refused in [
        bitkin::backup(fixture.path(), &inside).map(drop),
        bitkin::repair(fixture.path(), &inside).map(drop),
        bitkin::backup(fixture.path(), fixture.path()).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::WithinItself { .. })));
    }
    let elsewhere = fixture.directory.path().join("nothing");
    fs::create_dir(&elsewhere).unwrap();
    assert!(matches!(
        Database::open(&elsewhere),
        Err(Error::NotADatabase { .. })
    ));
    assert!(Database::create(fixture.path()).is_err());

    let reader = Database::open_read_only(fixture.path()).unwrap();
    let collection = reader.collection("codes").unwrap();
    assert!(matches!(
        collection.insert(&[9], &[0, 0]),
        Err(Error::ReadOnly)
    ));
    let created = reader.create_collection("x", CollectionConfig::bits(8));
    assert!(matches!(created, Err(Error::ReadOnly)));
}

#[test]
fn a_database_of_another_format_version() {
    let fixture = Fixture::new();
    let (path, _directory) = (fixture.path(), fixture.directory);
    fixture.db.close().unwrap();
    let manifest = path.join("MANIFEST");
    let whole = fs::read(&manifest).unwrap();
    // The version follows the eight bytes that say what file this is.
    let mut other = whole.clone();
    other[8] = other[8].wrapping_add(1);
    fs::write(&manifest, other).unwrap();
    for opened in [Database::open(&path), Database::open_read_only(&path)] {
        let error = opened.unwrap_err();
        assert!(
            matches!(&error, Error::FormatVersion { file, .. } if file == "MANIFEST"),
            "{error}"
        );
    }
    fs::write(&manifest, whole).unwrap();
    assert_eq!(
        Database::open(&path)
            .unwrap()
            .collection("codes")
            .unwrap()
            .len()
            .unwrap(),
        2
    );
}

fn model(weight: f32) -> ModelFile {
    let metadata = ModelMetadata {
        model: json!({
            "method": "test", "bits": 16, "arithmetic": "f32",
            "input": ImageInput::stretch(4, 4),
        })
        .as_object()
        .unwrap()
        .clone(),
        backbone: Some(json!({"architecture": "none"}).as_object().unwrap().clone()),
        ..ModelMetadata::default()
    };
    let tensors = [
        ("head".to_owned(), Tensor::from_f32(&[1], &[weight])),
        (
            "backbone.stem".to_owned(),
            Tensor::from_f32(&[2], &[1.0, 2.0]),
        ),
    ];
    ModelFile::build(metadata, &tensors.into()).unwrap()
}

#[test]
fn a_model_is_kept_whole_and_backbones_are_shared() {
    let fixture = Fixture::new();
    for (name, weight) in [("a", 1.0), ("b", 2.0)] {
        let config = CollectionConfig::model(&model(weight)).index("year", FieldKind::Int);
        let collection = fixture.db.create_collection(name, config).unwrap();
        assert_eq!((collection.bits(), collection.code_bytes()), (16, 2));
    }
    let models = fs::read_dir(fixture.path().join("models")).unwrap().count();
    assert_eq!(models, 3, "two heads and one backbone");

    let (path, _directory) = (fixture.path(), fixture.directory);
    fixture.db.close().unwrap();
    let db = Database::open(&path).unwrap();
    let a = db.collection("a").unwrap();
    assert_eq!(a.model(), Some(model(1.0).fingerprint()));
    assert_eq!(a.model_file().unwrap().bytes(), model(1.0).bytes());
    assert_eq!(a.index()[0].field, "year");
    let codes = db.collection("codes").unwrap();
    assert_eq!(codes.model(), None);
    assert!(matches!(codes.model_file(), Err(Error::NoModel { .. })));
    assert!(db.verify().unwrap().is_clean());
}

#[test]
fn models_that_cannot_be_used() {
    let models = |path: &Path| fs::read_dir(path.join("models")).map_or(0, Iterator::count);
    let fixture = Fixture::new();
    let head = ModelFile::from_bytes(model(1.0).split().unwrap().0).unwrap();
    let backbone = ModelFile::from_bytes(model(1.0).split().unwrap().1.unwrap()).unwrap();
    let create = |model: &ModelFile| {
        fixture
            .db
            .create_collection("m", CollectionConfig::model(model))
            .unwrap_err()
    };
    let error = create(&head);
    assert!(
        matches!(error, Error::Model(ModelError::NotSelfContained { .. })),
        "{error}"
    );
    let error = create(&backbone);
    assert!(
        matches!(error, Error::Model(ModelError::WrongKind { .. })),
        "{error}"
    );
    assert_eq!(models(&fixture.path()), 0);
    // An existing name is refused before the model is copied.
    let taken = fixture
        .db
        .create_collection("codes", CollectionConfig::model(&model(1.0)));
    assert!(matches!(taken, Err(Error::CollectionExists { .. })));
    assert_eq!(models(&fixture.path()), 0);
}

#[test]
fn ids_left_out_follow_the_largest() {
    let fixture = Fixture::new();
    let collection = fixture.db.collection("codes").unwrap();
    assert_eq!(collection.append(&[0; 6]).unwrap(), 3..6);
    collection.insert(&[100], &[0; 2]).unwrap();
    let payloads = [Some(r#"{"a":1}"#), None];
    assert_eq!(
        collection
            .insert_with_payloads(None, &[0; 4], &payloads)
            .unwrap(),
        [101, 102]
    );
    assert_eq!(
        collection
            .insert_with_payloads(Some(&[50]), &[0; 2], &[])
            .unwrap(),
        [50]
    );
    let row = collection.get(101).unwrap().unwrap();
    assert_eq!(row.payload.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(collection.get(102).unwrap().unwrap().payload, None);
    assert!(collection.append(&[]).unwrap().is_empty());
}

#[test]
fn a_collection_that_was_dropped_is_unknown() {
    let fixture = Fixture::new();
    let dropped = fixture.db.collection("codes").unwrap();
    fixture.db.drop_collection("codes").unwrap();
    fixture
        .db
        .create_collection("other", CollectionConfig::bits(8))
        .unwrap();
    let search = dropped.search(&[0, 0]).run().map(drop);
    for refused in [search, dropped.len().map(drop), dropped.stats().map(drop)] {
        match refused {
            Err(Error::UnknownCollection { name, existing }) => {
                assert_eq!(
                    (name.as_str(), existing),
                    ("codes", vec!["other".to_owned()])
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
