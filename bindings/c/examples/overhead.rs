//! What a call of the C interface adds to that of the engine, for a search of the 10 nearest among codes of
//! 64 bits: in one process, query by query in turns.
//!
//! `cargo run --release -p bitkin-c --example overhead -- [ROWS] [QUERIES]`
//!
//! Prints the medians over all queries, and "added", the median of the differences, with its quartiles.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::ffi::CString;
use std::hint::black_box;
use std::ptr::{null, null_mut};
use std::time::Instant;

use bitkin::{CollectionConfig, Database};
use bitkin_c as c;

const K: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |word| word.parse());
    let (rows, queries) = (number(1_000_000)?, number(20_000)?);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("db");
    let db = Database::create(&path)?;
    let codes = db.create_collection("codes", CollectionConfig::bits(64))?;
    // Codes that crowd around 1,000 centres, as learned ones do: about every eighth bit is another.
    let mut random = Random(1);
    let centres: Vec<u64> = (0..1000).map(|_| random.next()).collect();
    let mut code = || {
        let centre = centres[(random.next() % 1000) as usize];
        (centre ^ (random.next() & random.next() & random.next())).to_le_bytes()
    };
    let bytes: Vec<u8> = (0..rows).flat_map(|_| code()).collect();
    codes.insert_with_payloads(None, &bytes, &[])?;
    db.compact()?;

    let (name, directory) = (c"codes", CString::new(path.to_string_lossy().as_bytes())?);
    let (mut database, mut collection) = (null_mut(), null_mut());
    // SAFETY: texts end with a zero byte, and what is pointed to is there.
    unsafe {
        check(c::bitkin_open_read_only(directory.as_ptr(), &mut database));
        check(c::bitkin_open_collection(
            database,
            name.as_ptr(),
            &mut collection,
        ));
    }

    let (mut ids, mut distances) = ([0; K], [0; K]);
    let mut times: Vec<[f64; 2]> = Vec::new();
    for turn in 0..queries {
        let query = code();
        let engine = || -> Result<f64, bitkin::Error> {
            let begun = Instant::now();
            black_box(codes.search(black_box(&query)).k(K).run()?);
            Ok(begun.elapsed().as_secs_f64())
        };
        let mut interface = || {
            let begun = Instant::now();
            // SAFETY: a code of the collection's width, and room for K hits.
            check(unsafe {
                c::bitkin_search(
                    collection,
                    black_box(&query).as_ptr(),
                    query.len(),
                    K,
                    null(),
                    ids.as_mut_ptr(),
                    distances.as_mut_ptr(),
                    K,
                    null_mut(),
                )
            });
            begun.elapsed().as_secs_f64()
        };
        // Once untimed, so that neither finds what the other has brought near; who begins takes turns.
        let _ = (engine()?, interface());
        let (rust, c) = match turn % 2 {
            0 => (engine()?, interface()),
            _ => {
                let c = interface();
                (engine()?, c)
            }
        };
        times.push([rust, c]);
    }
    check(c::bitkin_collection_free(collection));
    check(c::bitkin_close(database));

    let sorted = |part: fn(&[f64; 2]) -> f64| {
        let mut part: Vec<f64> = times.iter().map(|times| part(times) * 1e6).collect();
        part.sort_by(f64::total_cmp);
        move |share: f64| part[((part.len() - 1) as f64 * share) as usize]
    };
    let (rust, c) = (sorted(|times| times[0]), sorted(|times| times[1]));
    let added = sorted(|times| times[1] - times[0]);
    println!(
        "{rows} rows: Rust {:.2} us  C {:.2} us  added {:.2} us ({:.2} to {:.2})",
        rust(0.5),
        c(0.5),
        added(0.5),
        added(0.25),
        added(0.75)
    );
    Ok(())
}

#[track_caller]
fn check(status: c::bitkin_status) {
    assert_eq!(status, c::bitkin_status::BITKIN_OK);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
