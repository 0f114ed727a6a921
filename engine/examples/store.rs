//! A store of codes with payloads: rows go in, the nearest come back, some only, or quickly.
//!
//! `cargo run --release --example store -- DIRECTORY`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use bitkin::{Budget, CollectionConfig, Database, Error, FieldKind, Filter};

/// Codes of 64 bits that anybody can make: of a whole number, well mixed.
fn code(number: u64) -> [u8; 8] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).to_le_bytes()
}

fn main() -> Result<(), Error> {
    let directory = std::env::args().nth(1);
    let db = Database::create(directory.as_deref().unwrap_or("codes.bitkin"))?;
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
    for hit in &codes.search(&query).k(3).run()? {
        println!("row {} at distance {}", hit.id, hit.distance);
    }

    let recent = Filter::parse("year >= 2020")?;
    let answer = codes.search(&query).k(3).filter(&recent).run()?;
    println!("since 2020: rows {:?}", answer.ids().collect::<Vec<_>>());

    // However little it may spend, it says how far its answer can be trusted.
    let quick = codes.search(&query).k(3).budget(Budget::Candidates(500));
    let answer = quick.run()?;
    let (certain, all) = (answer.certain().len(), answer.hits.len());
    println!("of {all} hits {certain} are certain");

    println!(
        "{} deleted, {} left",
        codes.delete_where(&recent)?,
        codes.len()?
    );
    db.close()
}
