//! A store of codes with payloads: rows go in, the nearest come back, some only, or quickly.
//!
//! `cargo run --release --example store -- DIRECTORY`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;

use bitkin::{Budget, CollectionConfig, Database, Error, FieldKind, Filter};

fn main() -> Result<(), Error> {
    let directory = std::env::args().nth(1);
    run(Path::new(directory.as_deref().unwrap_or("codes.bitkin")))
}

/// Codes of 64 bits that anybody can make: of a whole number, well mixed.
fn code(number: u64) -> [u8; 8] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).to_le_bytes()
}

/// Makes a database in a new directory and uses it.
pub fn run(directory: &Path) -> Result<(), Error> {
    let db = Database::create(directory)?;
    let config = CollectionConfig::bits(64).index("year", FieldKind::Int);
    let codes = db.create_collection("codes", config)?;

    // Many rows in a call are one commit: all of them or none.
    let ids: Vec<u64> = (0..10_000).collect();
    let rows: Vec<u8> = ids.iter().flat_map(|id| code(*id)).collect();
    let payloads: Vec<String> = ids
        .iter()
        .map(|id| format!("{{\"year\": {}}}", 2000 + id % 25))
        .collect();
    let payloads: Vec<Option<&str>> = payloads.iter().map(|json| Some(&**json)).collect();
    codes.insert_with_payloads(Some(&ids), &rows, &payloads)?;

    let query = code(7);
    let answer = codes.search(&query).k(3).run()?;
    assert_eq!((answer.hits[0].id, answer.hits[0].distance), (7, 0));
    println!("nearest: {:?}", answer.hits);

    let recent = Filter::parse("year >= 2020")?;
    let answer = codes.search(&query).k(3).filter(&recent).run()?;
    println!("of those since 2020: {:?}", answer.hits);

    // However little it may spend, it says how far its answer can be trusted.
    let answer = codes
        .search(&query)
        .k(3)
        .budget(Budget::Candidates(500))
        .run()?;
    println!("certain to distance {:?}", answer.certified_radius);

    println!("{} deleted", codes.delete_where(&recent)?);
    assert_eq!(codes.count(&recent)?, 0);
    db.close()
}
