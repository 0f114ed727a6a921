//! Scan speed as a share of the fastest plain read of the same bytes, on one thread.
//!
//! `cargo run --release -p bitkin --example scan_speed [MIB]`
//!
//! Read and scans take turns, and each counts by its best run: on a machine that does other
//! work too, the shares stay comparable where averages would not.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bitkin::kernels::Kernels;

const ROUNDS: usize = 15;
/// What a search calls a kernel for at a time.
const BLOCK_BYTES: usize = 16 << 10;

fn main() {
    let mebibytes: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(256);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let codes: Vec<u8> = std::iter::repeat_with(next)
        .take(mebibytes << 17)
        .flat_map(u64::to_le_bytes)
        .collect();
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

fn read(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2.
        return unsafe { read_avx2(bytes) };
    }
    sum(bytes)
}

/// # Safety
/// The machine must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn read_avx2(bytes: &[u8]) -> u64 {
    sum(bytes)
}

/// Sixteen sums side by side, which the compiler keeps in vector registers.
#[inline(always)]
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for block in bytes.as_chunks::<128>().0 {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}
