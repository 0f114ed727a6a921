//! Instructions instead of seconds: the same on a busy machine as on an idle one, so that small
//! changes of the kernels and of a search show where the clock shows noise.
//!
//! Valgrind's callgrind runs this program, once with few repetitions and once with more; the
//! difference is what the repetitions took.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use bitkin::kernels::Kernels;
use bitkin::{CollectionConfig, Database};
use bitkin_benches::Result;
use serde_json::json;

use super::codes::Codes;
use super::generate::Kind;

/// Widths that are counted, in bits.
const WIDTHS: [u32; 5] = [64, 128, 256, 512, 1024];
/// Rows that are gone through in one repetition.
const ROWS: usize = 4096;
/// Repetitions of the shorter run, and of the longer.
const REPEATED: [u32; 2] = [4, 20];

/// Runs one loop; what callgrind counts.
pub(crate) fn run_loop(which: &str, bits: u32, times: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rows.npy");
    Kind::Uniform.rows(bits, ROWS, 1, &file)?;
    let rows = Codes::open(&file)?;
    let query = rows.get(0).ok_or("there are rows")?.to_vec();
    if which == "search" {
        let database = Database::create(folder.path().join("db"))?;
        let collection = database.create_collection("rows", CollectionConfig::bits(bits))?;
        collection.append(rows.bytes())?;
        collection.compact()?;
        for _ in 0..times {
            black_box(collection.search(black_box(&query)).k(10).run()?);
        }
        return Ok(());
    }
    let mut kernels = Kernels::available();
    let kernels = kernels.find(|kernels| kernels.name() == which);
    let kernels = kernels.ok_or_else(|| format!("there are no kernels named {which} here"))?;
    let mut distances = vec![0; ROWS];
    for _ in 0..times {
        kernels.distances(black_box(&query), black_box(rows.bytes()), &mut distances);
        black_box(&distances);
    }
    Ok(())
}

/// Instructions a row of every kernel, and of a whole search, as JSON lines.
pub(crate) fn count(commit: &str, mut found: impl FnMut(serde_json::Value)) -> Result<()> {
    // Valgrind knows no AVX-512.
    let names = Kernels::available().map(Kernels::name);
    let names: Vec<&str> = names.filter(|name| !name.contains("512")).collect();
    for which in names.into_iter().chain(["search"]) {
        for bits in WIDTHS {
            let [few, many] = REPEATED.map(|times| callgrind(which, bits, times));
            let rows = f64::from(REPEATED[1] - REPEATED[0]) * ROWS as f64;
            found(json!({
                "figure": "instructions", "what": which, "bits": bits, "commit": commit,
                "instructions_per_row": (many? - few?) as f64 / rows,
            }));
        }
    }
    Ok(())
}

/// Instructions of one run.
fn callgrind(which: &str, bits: u32, times: u32) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["loop", which, &bits.to_string(), &times.to_string()])
        // The search takes the fastest kernels that valgrind knows.
        .env("BITKIN_SIMD", best_for_valgrind())
        .output()
        .map_err(|error| format!("cannot start valgrind, which counts: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = said.lines().find_map(|line| line.split_once("Collected :"));
    let counted = counted.and_then(|(_, count)| count.trim().parse().ok());
    counted.ok_or_else(|| format!("callgrind counted nothing:\n{said}").into())
}

fn best_for_valgrind() -> &'static str {
    let has = |name: &str| Kernels::available().any(|kernels| kernels.name() == name);
    if has("avx2") { "avx2" } else { "portable" }
}

/// What was counted before, by what and width.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, f64)>> {
    let text = std::fs::read_to_string(path)?;
    let mut all = Vec::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if let Some(count) = line["instructions_per_row"].as_f64() {
            all.push((name(&line), count));
        }
    }
    Ok(all)
}

/// What a line counts.
pub(crate) fn name(line: &serde_json::Value) -> String {
    format!(
        "{} at {} bits",
        line["what"].as_str().unwrap_or_default(),
        line["bits"]
    )
}
