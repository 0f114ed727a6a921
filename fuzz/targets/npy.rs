//! Files of codes and of ids, as numpy writes them.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use bitkin::npy::{CodesReader, IdsReader};

/// The readers take files.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = PathBuf::from("/dev/shm");
    let dir = if shared.is_dir() {
        shared
    } else {
        std::env::temp_dir()
    };
    dir.join(format!("bitkin-fuzz-{}.npy", std::process::id()))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = FILE.as_path();
    std::fs::write(path, bytes).expect("a file can be written");
    match CodesReader::open(path) {
        Err(error) => drop(error.to_string()),
        Ok(mut codes) => {
            let mut read = Vec::new();
            loop {
                let piece = codes.read(3).expect("the length was checked");
                if piece.is_empty() {
                    break;
                }
                read.extend(piece);
            }
            assert_eq!(read.len() as u64, codes.rows() * codes.row_bytes() as u64);
            assert!(bytes.ends_with(&read));
        }
    }
    match IdsReader::open(path) {
        Err(error) => drop(error.to_string()),
        Ok(mut ids) => {
            let mut found = 0;
            loop {
                match ids.read(5) {
                    Ok(piece) if piece.is_empty() => {
                        assert_eq!(found, ids.rows());
                        break;
                    }
                    Ok(piece) => found += piece.len() as u64,
                    Err(error) => {
                        drop(error.to_string());
                        break;
                    }
                }
            }
        }
    }
});
