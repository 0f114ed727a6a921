//! Scan speed as a share of the fastest plain read of the same bytes, on one thread.
//!
//! `cargo bench -p bitkin-benches --bench kernels [-- MIB]`
//!
//! Read and scans take turns, and each counts by its best run: on a machine that does other
//! work too, the shares stay comparable where averages would not.
#![allow(clippy::print_stdout)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bitkin::kernels::Kernels;
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
    }
}

fn timed(work: impl FnOnce() -> u64) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
