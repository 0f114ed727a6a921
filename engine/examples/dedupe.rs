//! Deduplication: of every group of codes that differ by at most 4 bits, step by step, one is kept.
//!
//! `cargo run --release --example dedupe -- DIRECTORY`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use bitkin::{CollectionConfig, Database, Error};

fn main() -> Result<(), Error> {
    let directory = std::env::args().nth(1);
    run(Path::new(directory.as_deref().unwrap_or("copies.bitkin")))
}

/// Makes a database with copies in it and removes them.
pub fn run(directory: &Path) -> Result<(), Error> {
    let db = Database::create(directory)?;
    let codes = db.create_collection("codes", CollectionConfig::bits(64))?;
    // A thousand codes; every tenth has two copies, one and two bits away.
    for number in 0..1_000_u64 {
        let code = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        codes.append(&code.to_le_bytes())?;
        if number % 10 == 0 {
            codes.append(&(code ^ 1 << 5).to_le_bytes())?;
            codes.append(&(code ^ 0b11 << 40).to_le_bytes())?;
        }
    }

    // Every row belongs to the group of the least id that it is joined to.
    let mut least: BTreeMap<u64, u64> = BTreeMap::new();
    fn first(least: &BTreeMap<u64, u64>, mut id: u64) -> u64 {
        while let Some(less) = least.get(&id) {
            id = *less;
        }
        id
    }
    codes
        .pairs(4)
        .progress(|share| {
            eprint!("\r{:3.0} %", 100.0 * share);
            ControlFlow::Continue(())
        })
        .for_each(|pair| {
            let (a, b) = (first(&least, pair.a), first(&least, pair.b));
            if a != b {
                least.insert(a.max(b), a.min(b));
            }
            ControlFlow::Continue(())
        })?;
    eprintln!();

    let copies: Vec<u64> = least.into_keys().collect();
    println!("{} copies of {} rows", codes.delete(&copies)?, codes.len()?);
    assert_eq!(codes.len()?, 1_000);
    db.close()
}
