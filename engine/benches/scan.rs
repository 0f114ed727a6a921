//! The scan beside the fastest plain read of the same bytes: both in bytes a second, on one
//! thread, over codes that are far larger than the caches.
//!
//! `cargo bench -p bitkin --bench scan`, optionally with a filter such as `kernel/256`.

use std::hint::black_box;
use std::time::Duration;

use bitkin::kernels::Kernels;
use bitkin::{CollectionConfig, DatabaseOptions, Durability};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of codes for the kernels.
const BYTES: usize = 256 << 20;
/// What a search calls a kernel for at a time.
const BLOCK_BYTES: usize = 16 << 10;
const WIDTHS: [usize; 7] = [64, 104, 128, 256, 512, 1024, 2048];

/// Pseudo-random bytes (xorshift), the same in every run.
fn random_bytes(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(next)
        .take(bytes / 8)
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// Adds up every word.
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

fn kernels(criterion: &mut Criterion) {
    let codes = random_bytes(BYTES);
    let mut group = criterion.benchmark_group("kernel");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500));
    group.bench_function("plain read", |bencher| {
        bencher.iter(|| read(black_box(&codes)))
    });
    for bits in WIDTHS {
        let stride = bits / 8;
        let query = &random_bytes(8 * stride)[7 * stride..];
        // Lets a few rows through, as a search for the nearest does once it has settled.
        let threshold = (bits as f64 / 2.0 - 2.4 * (bits as f64).sqrt()) as u32;
        for kernels in Kernels::available() {
            group.bench_function(format!("{bits}/{}", kernels.name()), |bencher| {
                let mut found = Vec::new();
                bencher.iter(|| {
                    found.clear();
                    for block in codes.chunks(BLOCK_BYTES / stride * stride) {
                        kernels.within(query, block, 0, threshold, &mut found);
                    }
                    black_box(found.len())
                });
            });
        }
    }
    group.finish();
}

fn searches(criterion: &mut Criterion) {
    const ROWS: usize = 1_000_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let db = DatabaseOptions::new()
        .durability(Durability::None)
        .create(directory.path().join("db"))
        .expect("a database");
    let mut group = criterion.benchmark_group("search");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500));
    for bits in [64usize, 256] {
        let stride = bits / 8;
        let codes = random_bytes(ROWS * stride);
        let name = format!("c{bits}");
        let config = CollectionConfig::bits(bits as u32);
        let collection = db.create_collection(&name, config).expect("a collection");
        for codes in codes.chunks(50_000 * stride) {
            collection.append(codes).expect("rows");
        }
        db.flush().expect("a segment");
        let queries = random_bytes(64 * stride);
        group.throughput(Throughput::Bytes(codes.len() as u64));
        group.bench_function(format!("{bits} bits, 1M rows, plain read"), |bencher| {
            bencher.iter(|| read(black_box(&codes)));
        });
        group.bench_function(format!("{bits} bits, 1M rows, k = 10"), |bencher| {
            let mut queries = queries.chunks(stride).cycle();
            bencher.iter(|| {
                let query = queries.next().unwrap_or_default();
                collection
                    .search(query)
                    .k(10)
                    .run()
                    .map(|answer| answer.hits.len())
            });
        });
        group.throughput(Throughput::Bytes(64 * codes.len() as u64));
        group.bench_function(
            format!("{bits} bits, 1M rows, k = 10, 64 at once"),
            |bencher| {
                bencher.iter(|| {
                    let search = collection
                        .search_batch(black_box(&queries))
                        .k(10)
                        .threads(1);
                    search.run().map(|answers| answers.len())
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, kernels, searches);
criterion_main!(benches);
