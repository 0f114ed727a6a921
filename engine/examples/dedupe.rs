//! Deduplication: of codes that differ by at most 4 bits one is kept.
//!
//! `cargo run --release --example dedupe -- DIRECTORY`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::ops::ControlFlow;

use bitkin::{CollectionConfig, Database, Error};

fn main() -> Result<(), Error> {
    let directory = std::env::args().nth(1);
    let db = Database::create(directory.as_deref().unwrap_or("copies.bitkin"))?;
    let codes = db.create_collection("codes", CollectionConfig::bits(64))?;
    // A thousand codes; every tenth has two copies, one and two bits away.
    let mut rows = Vec::new();
    for number in 0..1_000_u64 {
        let code = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        rows.extend(code.to_le_bytes());
        if number % 10 == 0 {
            rows.extend((code ^ 1 << 5).to_le_bytes());
            rows.extend((code ^ 0b11 << 40).to_le_bytes());
        }
    }
    codes.append(&rows)?;

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
    let deleted = codes.delete(&duplicates)?;
    println!("{deleted} duplicates of {} rows", groups.len());
    println!(
        "{} rows left, {} pairs among them",
        codes.len()?,
        codes.pairs(4).run()?.len()
    );
    db.close()
}
