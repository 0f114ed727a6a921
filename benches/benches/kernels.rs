//! Scan speed as a share of the fastest plain read of the same bytes, on one thread, also under a
//! mask; and what many queries cost in one pass and one after the other.
//!
//! `cargo bench -p bitkin-benches --bench kernels [-- MIB]`
//!
//! Read and scans take turns, and each counts by its best run: on a machine that does other
//! work too, the shares stay comparable where averages would not.
#![allow(clippy::print_stdout)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bitkin::kernels::{Kernels, QueryBatch};
use common::{random_bytes, read};

const ROUNDS: usize = 15;
/// What a search calls a kernel for at a time.
const BLOCK_BYTES: usize = 16 << 10;

fn main() {
    let mebibytes: usize = std::env::args()
        .skip(1)
        .find_map(|text| text.parse().ok())
        .unwrap_or(256);
    let codes = random_bytes(mebibytes << 20);
    println!("{mebibytes} MiB of codes, GB/s, best of {ROUNDS}; in brackets the share of the read");
    for bits in [64usize, 104, 128, 256, 512, 1024, 2048] {
        let stride = bits / 8;
        let query = &codes[..stride];
        let threshold = (bits as f64 / 2.0 - 2.4 * (bits as f64).sqrt()) as u32;
        let kernels: Vec<&Kernels> = Kernels::available().collect();
        let mut best = vec![Duration::MAX; kernels.len() + 1];
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            best[0] = best[0].min(timed(|| black_box(read(black_box(&codes)))));
            for (kernels, best) in kernels.iter().zip(&mut best[1..]) {
                let took = timed(|| {
                    found.clear();
                    for block in codes.chunks(BLOCK_BYTES / stride * stride) {
                        kernels.within(query, block, 0, threshold, &mut found);
                    }
                    black_box(found.len() as u64)
                });
                *best = took.min(*best);
            }
        }
        let speed = |time: Duration| codes.len() as f64 / time.as_secs_f64() / 1e9;
        print!("{bits:5} bits: plain read {:5.1}", speed(best[0]));
        for (kernels, &time) in kernels.iter().zip(&best[1..]) {
            let share = best[0].as_secs_f64() / time.as_secs_f64();
            print!(
                "   {} {:5.1} ({:3.0} %)",
                kernels.name(),
                speed(time),
                100.0 * share
            );
        }
        println!();
        for kernels in kernels {
            masked(kernels, &codes, stride);
            batch(kernels, &codes, stride);
        }
    }
}

/// Half of the bits count.
fn masked(kernels: &Kernels, codes: &[u8], stride: usize) {
    let (query, mask) = (&codes[..stride], vec![0x0f; stride]);
    let threshold = (2 * stride) as u32 / 3;
    let mut found = Vec::new();
    let took = best_of(ROUNDS, || {
        found.clear();
        for block in codes.chunks(BLOCK_BYTES / stride * stride) {
            kernels.within_masked(query, &mask, block, 0, threshold, &mut found);
        }
        found.len() as u64
    });
    let speed = codes.len() as f64 / took.as_secs_f64() / 1e9;
    println!("            {} under a mask {speed:5.1}", kernels.name());
}

/// Rows that many queries are compared with.
const BATCH_ROWS: usize = 100_000;

fn batch(kernels: &Kernels, codes: &[u8], stride: usize) {
    let bits = 8.0 * stride as f64;
    let threshold = (bits / 2.0 - 2.4 * bits.sqrt()) as u32;
    let rows = &codes[..codes.len().min(BATCH_ROWS * stride) / stride * stride];
    for count in [4, 16, 64, 256] {
        let queries: Vec<&[u8]> = rows.chunks_exact(stride).take(count).collect();
        let pairs = (count * (rows.len() / stride)) as f64;
        let mut found = vec![Vec::new(); count];
        let mut prepared = QueryBatch::new(&queries);
        let thresholds = vec![Some(threshold); count];
        let together = best_of(5, || {
            found.iter_mut().for_each(Vec::clear);
            for block in rows.chunks(4096 * stride) {
                kernels.within_batch(&mut prepared, block, 0, &thresholds, &mut found);
            }
            found.iter().map(Vec::len).sum::<usize>() as u64
        });
        let alone = best_of(5, || {
            found.iter_mut().for_each(Vec::clear);
            for block in rows.chunks(BLOCK_BYTES / stride * stride) {
                for (query, found) in queries.iter().zip(&mut found) {
                    kernels.within(query, block, 0, threshold, found);
                }
            }
            found.iter().map(Vec::len).sum::<usize>() as u64
        });
        println!(
            "            {} {count:3} queries: {:.3} ns a row and query, one after the other {:.3}",
            kernels.name(),
            together.as_secs_f64() * 1e9 / pairs,
            alone.as_secs_f64() * 1e9 / pairs,
        );
    }
}

fn best_of(rounds: usize, mut work: impl FnMut() -> u64) -> Duration {
    let runs = (0..rounds).map(|_| timed(|| black_box(work())));
    runs.min().unwrap_or_default()
}

fn timed(work: impl FnOnce() -> u64) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
