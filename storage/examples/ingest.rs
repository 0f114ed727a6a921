//! Measures durable ingest: batches of 10,000 codes of 64 bits, each on disk when its commit
//! returns, until all is in segments; beside it the same bytes written to a plain file with as many
//! syncs.
//!
//! ```text
//! cargo run --release -p bitkin-storage --example ingest -- [DIRECTORY] [BATCHES]
//! ```

#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use bitkin_storage::{Batch, Options, Storage};

const ROWS: u64 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let batches: u64 = arguments
        .next()
        .map_or(Ok(500), |batches| batches.parse())?;
    let dir = parent.join(format!("bitkin-ingest-{}", std::process::id()));
    let (mut codes, mut state) = (vec![0_u8; ROWS as usize * 8], 1_u64);

    let storage = Storage::create(&dir, Options::default())?;
    let collection = storage.create_collection("codes", 64, b"")?;
    let mut inside = 0.0;
    let start = Instant::now();
    for _ in 0..batches {
        for code in codes.chunks_exact_mut(8) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            code.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        let mut batch = Batch::new();
        batch.insert(collection, None, &codes, None);
        let begin = Instant::now();
        storage.commit(batch)?;
        inside += begin.elapsed().as_secs_f64();
    }
    let log_seconds = start.elapsed().as_secs_f64();
    storage.flush()?;
    let seconds = start.elapsed().as_secs_f64();
    let rows = (batches * ROWS) as f64;
    println!(
        "{rows} rows in {seconds:.2} s: {:.0} rows/s, all in segments",
        rows / seconds
    );
    println!("  {log_seconds:.2} s until the last commit, {inside:.2} s of it in commit");
    storage.close()?;
    std::fs::remove_dir_all(&dir)?;

    let path = dir.with_extension("plain");
    let mut file = std::fs::File::create(&path)?;
    let record = vec![7_u8; ROWS as usize * 16];
    let start = Instant::now();
    for _ in 0..batches {
        file.write_all(&record)?;
        file.sync_data()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "plain file, 16 bytes a row, as many syncs: {:.0} rows/s",
        rows / seconds
    );
    std::fs::remove_file(&path)?;
    Ok(())
}
