//! `BITKIN_SIMD` in a real process: the instruction set is chosen once a process, so each value
//! is tried in a child that runs one test of this file.

use std::process::{Command, Output};

use bitkin::{CollectionConfig, Database, Error};

const VALUE_EXPECTED: &str = "BITKIN_TEST_EXPECTS";

/// What the child does: opens a database and compares with what the parent expects.
#[test]
#[ignore = "run by the other tests, in a child process"]
fn child() {
    let Ok(expected) = std::env::var(VALUE_EXPECTED) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    match Database::create(&path) {
        Ok(db) => {
            assert_eq!(db.simd(), expected);
            let collection = db
                .create_collection("c", CollectionConfig::bits(64))
                .unwrap();
            collection.insert(&[1, 2], &[0xff; 16]).unwrap();
            let answer = collection.search(&[0; 8]).run().unwrap();
            assert_eq!(answer.hits[1].distance, 64);
        }
        Err(Error::Kernel(error)) => {
            assert_eq!(expected, "error", "{error}");
            assert!(!path.exists(), "nothing was created");
            assert!(matches!(Database::open(&path), Err(Error::Kernel(_))));
            assert!(matches!(
                Database::open_read_only(&path),
                Err(Error::Kernel(_))
            ));
        }
        Err(error) => panic!("{error}"),
    }
}

fn run(value: &str, expected: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("BITKIN_SIMD", value)
        .env(VALUE_EXPECTED, expected)
        .output()
        .unwrap()
}

#[test]
fn every_value_is_used_or_refused() {
    let available: Vec<&str> = bitkin::kernels::Kernels::available()
        .map(bitkin::kernels::Kernels::name)
        .collect();
    let mut cases = vec![("sse9", "error"), ("", *available.last().unwrap())];
    for name in ["portable", "avx2", "avx512"] {
        cases.push((
            name,
            if available.contains(&name) {
                name
            } else {
                "error"
            },
        ));
    }
    for (value, expected) in cases {
        let output = run(value, expected);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{value}: {said}"
        );
    }
}
