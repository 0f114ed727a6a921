//! One process writes, another reads beside it.
//!
//! `cargo run --release --example second_process -- DIRECTORY`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::Command;

use bitkin::{CollectionConfig, Database, Error};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [verb, directory] if verb == "read" => read(Path::new(directory)).map(drop),
        arguments => {
            let directory = arguments.first().map_or("shared.bitkin", String::as_str);
            let db = write(Path::new(directory))?;
            let program = std::env::current_exe().expect("this program has a path");
            let reader = Command::new(program).args(["read", directory]).status();
            assert!(reader.is_ok_and(|status| status.success()));
            db.close()
        }
    }
}

/// Makes a database, writes a row and goes on holding it open.
pub fn write(directory: &Path) -> Result<Database, Error> {
    let db = Database::create(directory)?;
    let codes = db.create_collection("codes", CollectionConfig::bits(16))?;
    codes.insert(&[1], &[0x0f, 0xf0])?;
    Ok(db)
}

/// Opens the database beside the writer; returns how many rows there are.
pub fn read(directory: &Path) -> Result<u64, Error> {
    let db = Database::open_read_only(directory)?;
    let codes = db.collection("codes")?;
    // What was written since it was opened shows after this.
    db.refresh()?;
    let answer = codes.search(&[0x0f, 0xf1]).k(1).run()?;
    println!("found: {:?}", answer.hits);
    codes.len()
}
