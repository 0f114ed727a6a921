//! Deduplication: of codes that differ by at most 4 bits one is kept.
//!
//! `cargo run --release --example dedupe -- DIRECTORY`

#![allow(clippy::print_stdout, clippy::print_stderr)]

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

    let groups = codes
        .pairs(4)
        .progress(|share| {
            eprint!("\r{:3.0} %", 100.0 * share);
            ControlFlow::Continue(())
        })
        .groups()?;
    eprintln!();

    // One row of each group stays; every other is within 4 bits of it.
    let duplicates = groups.iter().flat_map(|group| &group.duplicates);
    let duplicates: Vec<u64> = duplicates.map(|row| row.id).collect();
    println!(
        "{} duplicates of {} rows",
        codes.delete(&duplicates)?,
        groups.len()
    );
    assert_eq!(codes.len()?, 1_000);
    db.close()
}
