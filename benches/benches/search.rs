//! Whole searches beside the fastest plain read of the same codes, on one thread.
//!
//! `cargo bench -p bitkin-benches --bench search`

mod common;

use std::hint::black_box;
use std::time::Duration;

use bitkin::{CollectionConfig, DatabaseOptions, Durability};
use common::{random_bytes, read};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn searches(criterion: &mut Criterion) {
    const ROWS: usize = 1_000_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let db = DatabaseOptions::new()
        .durability(Durability::None)
        // One segment a collection.
        .flush_rows(usize::MAX)
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

criterion_group!(benches, searches);
criterion_main!(benches);
