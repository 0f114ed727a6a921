//! `bitkin bench`: how fast searches of a user's own collection are, here and now.

use super::{check_file, collection, failure, outside};
use crate::dice::Dice;
use crate::error::Failure;
use crate::grammar::{Bench, Format};
use crate::interrupt;
use crate::output::{Column, counted, say};
use crate::session::Session;
use bitkin::npy::CodesReader;
use bitkin::{Answer, Snapshot};
use serde_json::json;
use std::time::{Duration, Instant};

/// Queries asked together.
const BATCH: usize = 256;

/// Queries whose answers are checked by brute force.
const CHECKED: usize = 32;

/// One way to ask, measured.
struct Measured {
    threads: usize,
    batch: usize,
    queries_per_second: f64,
    /// Of a call, ascending.
    micros: Vec<f64>,
}

impl Measured {
    /// Microseconds that this share of the calls took at most.
    fn within(&self, share: f64) -> f64 {
        let rank = (share * self.micros.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.micros.len().max(1)) - 1;
        self.micros.get(at).copied().unwrap_or_default()
    }
}

/// Measures searches and writes what was found.
///
/// # Errors
/// When the collection has no rows, the queries do not fit it, or something cannot be read.
pub(crate) fn run(session: &mut Session, arguments: &Bench) -> Result<(), Failure> {
    let database = session.open_to_read(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let snapshot = collection.snapshot().map_err(failure)?;
    if snapshot.is_empty() {
        return Err(Failure::new(format!("{} has no rows", arguments.name)));
    }
    let code_bytes = collection.code_bytes();
    let queries = match &arguments.queries {
        Some(file) => {
            check_file(file, snapshot.bits())?;
            let mut codes = CodesReader::open(file).map_err(outside)?;
            let rows = usize::try_from(codes.rows()).unwrap_or(usize::MAX).max(1);
            codes.read(rows).map_err(outside)?
        }
        None => sample(&snapshot, arguments.count as usize, arguments.seed)?,
    };
    let count = queries.len() / code_bytes;
    if count == 0 {
        return Err(Failure::new("there are no queries in the file"));
    }
    let search = Ask {
        arguments,
        snapshot: &snapshot,
        code_bytes,
    };
    let checked = &queries[..CHECKED.min(count) * code_bytes];
    let recall = search.recall(checked)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or(cores, usize::from);
    let mut measured = Vec::new();
    let batch = BATCH.min(count);
    let mut ways = vec![(1, 1), (1, batch), (threads, batch)];
    ways.dedup();
    for (threads, batch) in ways {
        measured.push(search.measure(&queries, threads, batch)?);
    }
    match arguments.format {
        Format::Json => measured.iter().try_for_each(|one| {
            session
                .out
                .line(search.json(one, count, recall).to_string())
        }),
        Format::Table => {
            session.out.line(format!(
                "{}: {} of {} bits, {}, searches by {}; recall {recall} over {}",
                arguments.name,
                counted(snapshot.len(), "row"),
                snapshot.bits(),
                counted(count as u64, "query").replace("querys", "queries"),
                database.simd(),
                CHECKED.min(count),
            ))?;
            session.out.line("")?;
            session
                .out
                .table(&HEAD, &measured.iter().map(cells).collect::<Vec<_>>())
        }
    }
}

const HEAD: [Column; 7] = [
    Column::Number("threads"),
    Column::Number("queries a call"),
    Column::Number("queries/s"),
    Column::Number("p50 µs"),
    Column::Number("p90 µs"),
    Column::Number("p99 µs"),
    Column::Number("max µs"),
];

fn cells(one: &Measured) -> Vec<String> {
    let micros = [0.5, 0.9, 0.99, 1.0].map(|share| format!("{:.1}", one.within(share)));
    let mut cells = vec![
        one.threads.to_string(),
        one.batch.to_string(),
        format!("{:.0}", one.queries_per_second),
    ];
    cells.extend(micros);
    cells
}

/// Codes of rows from all over the collection, each with up to a sixteenth of its bits flipped: such
/// as a user would ask for, and not there exactly.
fn sample(snapshot: &Snapshot, count: usize, seed: u64) -> Result<Vec<u8>, Failure> {
    say("drawing queries from the rows");
    let step = (snapshot.len() as usize / count).max(1);
    let bits = snapshot.bits();
    let mut dice = Dice::new(&[seed]);
    let mut queries = Vec::new();
    for row in snapshot.rows().step_by(step).take(count) {
        let mut code = row.map_err(failure)?.code;
        for _ in 0..dice.whole(0, bits / 16) {
            let bit = dice.whole(0, bits - 1) as usize;
            code[bit / 8] ^= 1 << (bit % 8);
        }
        queries.extend_from_slice(&code);
        interrupt::check(String::new)?;
    }
    Ok(queries)
}

/// The distance of two codes.
fn far(one: &[u8], other: &[u8]) -> usize {
    let bytes = one.iter().zip(other);
    bytes.map(|(a, b)| (a ^ b).count_ones() as usize).sum()
}

/// The same question to one moment of a collection, for any query.
struct Ask<'a> {
    arguments: &'a Bench,
    snapshot: &'a Snapshot,
    code_bytes: usize,
}

impl Ask<'_> {
    fn together(&self, queries: &[u8], threads: usize) -> Result<Vec<Answer>, Failure> {
        let search = self.snapshot.search_batch(queries).threads(threads);
        self.arguments.wanted.of_many(search).run().map_err(failure)
    }

    fn alone(&self, query: &[u8]) -> Result<Answer, Failure> {
        let search = self.snapshot.search(query);
        self.arguments.wanted.of_one(search).run().map_err(failure)
    }

    /// Asks again and again for so many seconds, after a first call that does not count.
    fn measure(&self, queries: &[u8], threads: usize, batch: usize) -> Result<Measured, Failure> {
        let calls: Vec<&[u8]> = queries.chunks_exact(batch * self.code_bytes).collect();
        let call = |at: usize| -> Result<f64, Failure> {
            let codes = calls[at % calls.len()];
            let before = Instant::now();
            match (batch, threads) {
                (1, 1) => drop(self.alone(codes)?),
                _ => drop(self.together(codes, threads)?),
            }
            Ok(before.elapsed().as_secs_f64())
        };
        call(0)?;
        let end = Instant::now() + Duration::from_secs_f64(self.arguments.seconds);
        let mut seconds = Vec::new();
        while seconds.len() < 3 || Instant::now() < end {
            seconds.push(call(seconds.len())?);
            interrupt::check(String::new)?;
        }
        let total: f64 = seconds.iter().sum();
        seconds.sort_by(f64::total_cmp);
        Ok(Measured {
            threads,
            batch,
            queries_per_second: (seconds.len() * batch) as f64 / total,
            micros: seconds.into_iter().map(|seconds| 1e6 * seconds).collect(),
        })
    }

    /// The share of what brute force over the rows finds that the searches find, too. Rows at the last
    /// distance are as good as each other.
    fn recall(&self, queries: &[u8]) -> Result<f64, Failure> {
        say("checking answers by brute force");
        let rows = match &self.arguments.wanted.filter {
            Some(filter) => self.snapshot.rows_where(filter).map_err(failure)?,
            None => self.snapshot.rows(),
        };
        let queries: Vec<&[u8]> = queries.chunks_exact(self.code_bytes).collect();
        let mut counts = vec![vec![0_u64; self.snapshot.bits() as usize + 1]; queries.len()];
        for (at, row) in rows.enumerate() {
            let row = row.map_err(failure)?;
            for (query, counts) in queries.iter().zip(&mut counts) {
                counts[far(query, &row.code)] += 1;
            }
            if at % 65_536 == 0 {
                interrupt::check(String::new)?;
            }
        }
        let (mut found, mut wanted) = (0, 0);
        for (query, counts) in queries.iter().zip(&counts) {
            let mut left = match self.arguments.wanted.radius {
                Some(radius) => counts.iter().take(radius as usize + 1).sum(),
                None => u64::from(self.arguments.wanted.k).min(counts.iter().sum()),
            };
            wanted += left;
            let mut ids: Vec<u64> = self.alone(query)?.hits.iter().map(|hit| hit.id).collect();
            ids.sort_unstable();
            ids.dedup();
            // What the rows say counts, not what the hits do.
            let mut hits = vec![0_u64; counts.len()];
            for id in ids {
                if let Some(row) = self.snapshot.get(id).map_err(failure)? {
                    hits[far(query, &row.code)] += 1;
                }
            }
            // Of the nearest distance all that there are, and so on, until so many are found.
            for (there, hits) in counts.iter().zip(&hits) {
                let due = left.min(*there);
                found += due.min(*hits);
                left -= due;
            }
        }
        Ok(if wanted == 0 {
            1.0
        } else {
            found as f64 / wanted as f64
        })
    }

    fn json(&self, one: &Measured, queries: usize, recall: f64) -> serde_json::Value {
        let radius = self.arguments.wanted.radius;
        let k = radius.is_none().then_some(self.arguments.wanted.k);
        json!({
            "system": "bitkin",
            "version": env!("CARGO_PKG_VERSION"),
            "work": self.arguments.name,
            "bits": self.snapshot.bits(),
            "rows": self.snapshot.len(),
            "queries": queries,
            "k": k,
            "radius": radius,
            "threads": one.threads,
            "batch": one.batch,
            "recall": recall,
            "queries_per_second": one.queries_per_second,
            "p50_us": one.within(0.5),
            "p90_us": one.within(0.9),
            "p99_us": one.within(0.99),
            "max_us": one.within(1.0),
        })
    }
}
