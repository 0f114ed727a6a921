//! One process writes, another reads beside it, and sees new rows when it asks for them.
//!
//! `cargo run --release --example reader -- DIRECTORY`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use bitkin::{CollectionConfig, Database};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read", directory] => read(directory),
        [directory] => write(directory),
        _ => Err("usage: reader DIRECTORY".into()),
    }
}

/// Makes a database, and starts a second process that reads it while this one goes on writing.
fn write(directory: &str) -> Result<(), Box<dyn Error>> {
    let db = Database::create(directory)?;
    let codes = db.create_collection("codes", CollectionConfig::bits(16))?;
    codes.insert(&[1], &[0x0f, 0xf0])?;

    let mut reader = Command::new(std::env::current_exe()?)
        .args(["read", directory])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ask = reader.stdin.take().ok_or("no pipe")?;
    let mut answers = BufReader::new(reader.stdout.take().ok_or("no pipe")?).lines();
    let tell = |answer: Option<std::io::Result<String>>| -> Result<(), Box<dyn Error>> {
        println!("the reader sees {}", answer.ok_or("the reader is gone")??);
        Ok(())
    };
    tell(answers.next())?;

    codes.insert(&[2], &[0x0f, 0xf1])?;
    println!("the writer has {} rows", codes.len()?);
    writeln!(ask, "again")?;
    tell(answers.next())?;

    drop(ask);
    reader.wait()?;
    db.close()?;
    Ok(())
}

/// Opens the database that another process writes, and searches it whenever there is a line to read.
fn read(directory: &str) -> Result<(), Box<dyn Error>> {
    let db = Database::open_read_only(directory)?;
    let codes = db.collection("codes")?;
    let mut lines = std::io::stdin().lines();
    loop {
        // A search sees the moment of opening, or of the last refresh.
        let answer = codes.search(&[0x0f, 0xf1]).k(1).run()?;
        let hit = answer.hits.first().ok_or("no row")?;
        let rows = codes.len()?;
        println!("{rows} rows, row {} {} bits away", hit.id, hit.distance);
        let Some(line) = lines.next() else {
            return Ok(());
        };
        line?;
        db.refresh()?;
    }
}
