//! Searches under masks: wide codes, of which each query looks at few bits.
//!
//! Beside the search stand, in turns with it, what it cannot do without, reading as many bytes as the planes of the
//! mask have from one stretch of the same file, and what it spares, the scan of all bits. Every round has another
//! query and another mask, and reads another stretch; all of them were read once before.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitkin::selection::SelectionOptions;
use bitkin::{CollectionConfig, Database, DatabaseOptions, Durability, Way};
use bitkin_benches::Result;
use bitkin_benches::measure::Spread;
use clap::Args;
use memmap2::Mmap;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::limits::read_all;

#[derive(Debug, Args)]
pub(crate) struct MaskArgs {
    /// Rows
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    rows: usize,
    /// Width of their codes
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    bits: u32,
    /// Bits of the masks
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [16, 32, 64, 256])]
    masks: Vec<u32>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 15)]
    rounds: usize,
    /// Rounds that have a scan of all bits
    #[arg(long, value_name = "N", default_value_t = 5)]
    scans: usize,
    /// Fill it as any database is filled, so that segments are merged again and again, and see what memory that
    /// takes; else all rows are flushed at once, which takes less disk
    #[arg(long)]
    merge: bool,
    /// Where the temporary database is made: three times the size of the codes must be free, five times with
    /// --merge [default: here]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Rows that are inserted at a time.
const BATCH: usize = 10_000;

/// Codes that bits are selected by.
const EXAMPLES: usize = 5;

/// Centres around which codes lie; a quarter of a code's bits differ from its centre's.
const CENTRES: usize = 1000;

/// What codes are drawn from.
struct Codes {
    random: ChaCha8Rng,
    /// Words of a code.
    words: usize,
    centres: Vec<u64>,
    bits: u32,
}

impl Codes {
    fn new(bits: u32) -> Codes {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let words = bits.div_ceil(64) as usize;
        let mut centres = vec![0_u64; CENTRES * words];
        centres
            .iter_mut()
            .for_each(|word| *word = random.next_u64());
        Codes {
            random,
            words,
            centres,
            bits,
        }
    }

    fn append(&mut self, to: &mut Vec<u8>) {
        let centre = self.random.random_range(0..CENTRES);
        self.append_around(centre, to);
    }

    fn append_around(&mut self, centre: usize, to: &mut Vec<u8>) {
        let centre = centre * self.words;
        let bytes = self.bits.div_ceil(8) as usize;
        let start = to.len();
        for word in 0..self.words {
            let noise = self.random.next_u64() & self.random.next_u64();
            to.extend((self.centres[centre + word] ^ noise).to_le_bytes());
        }
        to.truncate(start + bytes);
        if let Some(last) = to.last_mut() {
            *last &= 0xff >> (8 * bytes as u32 - self.bits);
        }
    }

    fn code(&mut self) -> Vec<u8> {
        let mut code = Vec::new();
        self.append(&mut code);
        code
    }

    /// So many codes around one centre.
    fn alike(&mut self, count: usize) -> Vec<u8> {
        let centre = self.random.random_range(0..CENTRES);
        let mut codes = Vec::new();
        (0..count).for_each(|_| self.append_around(centre, &mut codes));
        codes
    }

    /// So many bits, anywhere.
    fn mask(&mut self, bits: u32) -> Vec<u8> {
        let mut mask = vec![0_u8; self.bits.div_ceil(8) as usize];
        let mut left = bits.min(self.bits);
        while left > 0 {
            let bit = self.random.random_range(0..self.bits) as usize;
            if mask[bit / 8] >> (bit % 8) & 1 == 0 {
                mask[bit / 8] |= 1 << (bit % 8);
                left -= 1;
            }
        }
        mask
    }
}

/// Milliseconds that something takes.
fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<f64> {
    let begun = Instant::now();
    std::hint::black_box(what()?);
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Makes the collection, measures, and prints a line for each mask.
pub(crate) fn measure(arguments: &MaskArgs) -> Result<()> {
    let parent = arguments
        .dir
        .clone()
        .map_or_else(std::env::current_dir, Ok)?;
    let folder = tempfile::Builder::new()
        .prefix("bitkin-masks-bench-")
        .tempdir_in(parent)?;
    let path = folder.path().join("db");
    let mut codes = Codes::new(arguments.bits);
    let begun = Instant::now();
    let (filled, memory) = with_memory(|| fill(&path, &mut codes, arguments));
    filled?;
    println!(
        "{} rows of {} bits: inserted, flushed and merged in {:.0} s, with {} MB of memory",
        arguments.rows,
        arguments.bits,
        begun.elapsed().as_secs_f64(),
        memory >> 20,
    );
    let database = Database::open_read_only(&path)?;
    let collection = database.collection("wide")?;
    let layout = collection.snapshot()?.layout();
    let planes: u64 = layout.iter().map(|segment| segment.plane_bytes).sum();
    println!("{} segments, {} MB of planes", layout.len(), planes >> 20);
    let file = largest_file(&path.join("segments"))?;
    let file = std::fs::File::open(file)?;
    // SAFETY: nobody writes segments that are complete.
    let file = unsafe { Mmap::map(&file)? };
    println!(
        "{:>5} {:>10} {:>10} {:>10} {:>8} {:>10} {:>6} {:>6} {:>10} {:>6} {:>11} {:>9}",
        "bits",
        "select ms",
        "first ms",
        "search ms",
        "ns/row",
        "read ms",
        "times",
        "least",
        "scan ms",
        "times",
        "read bytes",
        "of planes"
    );
    let mut sums = 0;
    for &bits in &arguments.masks {
        let asked: Vec<(Vec<u8>, Vec<u8>)> = (0..arguments.rounds)
            .map(|_| (codes.code(), codes.mask(bits)))
            .collect();
        let search = |(query, mask): &(Vec<u8>, Vec<u8>)| {
            let search = collection.search(query).mask(mask).k(10).threads(1);
            Ok(search.explain()?.1)
        };
        let length = (arguments.rows / 8 * bits as usize).min(file.len());
        let starts: Vec<usize> = asked
            .iter()
            .map(|_| codes.random.random_range(0..=file.len() - length) / 64 * 64)
            .collect();
        let mut first = Vec::new();
        let mut touched = 0;
        for (asked, start) in asked.iter().zip(&starts) {
            first.push(timed(|| {
                touched = search(asked)?.parts.iter().map(|part| part.bytes).sum();
                Ok(())
            })?);
            sums ^= read_all(&file[*start..*start + length]);
        }
        let mut selections = Vec::new();
        for _ in &asked {
            let like = codes.alike(EXAMPLES);
            let options = SelectionOptions::at_most(bits as usize);
            selections.push(timed(|| {
                Ok(collection.select_bits(&like, &[], &options)?)
            })?);
        }
        let (mut searches, mut reads, mut scans) = (Vec::new(), Vec::new(), Vec::new());
        for (round, (asked, start)) in asked.iter().zip(&starts).enumerate() {
            reads.push(timed(|| {
                sums ^= read_all(&file[*start..*start + length]);
                Ok(())
            })?);
            searches.push(timed(|| search(asked))?);
            if round < arguments.scans {
                let all = collection.search(&asked.0).k(10).threads(1).way(Way::Scan);
                scans.push(timed(|| Ok(all.run()?))?);
            }
        }
        let spreads = [&first, &searches, &reads, &scans, &selections].map(|all| Spread::of(all));
        let [first, search, read, scan, select] = spreads.map(|spread| spread.median);
        let [_, least_search, least_read, ..] = spreads.map(|spread| spread.least);
        println!(
            "{bits:>5} {select:>10.1} {first:>10.2} {search:>10.3} {:>8.2} {read:>10.3} {:>6.2} {:>6.2} {scan:>10.1} {:>6.1} {touched:>11} {length:>9}",
            search * 1e6 / arguments.rows as f64,
            search / read,
            least_search / least_read,
            scan / search,
        );
    }
    std::hint::black_box(sums);
    println!(
        "Medians of {} rounds, one thread, the 10 nearest. select: as many bits chosen by {EXAMPLES} examples. first: the search that checks what it reads for the first \
         time. read: as many bytes as the planes of the mask have; times: search to read; least: that of the least \
         of each. scan: all bits; times: scan \
         to search.",
        arguments.rounds
    );
    drop(file);
    database.close()?;
    folder.close()?;
    Ok(())
}

fn fill(
    path: &Path,
    codes: &mut Codes,
    arguments: &MaskArgs,
) -> std::result::Result<(), bitkin::Error> {
    let mut options = DatabaseOptions::new().durability(Durability::None);
    if !arguments.merge {
        options = options.memory_limit(usize::MAX).flush_rows(usize::MAX);
    }
    let database = options.create(path)?;
    let config = CollectionConfig::bits(arguments.bits).planes(true);
    let collection = database.create_collection("wide", config)?;
    let mut batch = Vec::new();
    let mut done = 0;
    while done < arguments.rows {
        batch.clear();
        let rows = BATCH.min(arguments.rows - done);
        (0..rows).for_each(|_| codes.append(&mut batch));
        collection.append(&batch)?;
        done += rows;
    }
    collection.compact()?;
    database.close()?;
    Ok(())
}

/// What `work` returns, and the most bytes of memory that were the process's own meanwhile, maps of files apart;
/// where the system tells.
fn with_memory<T: Send>(work: impl FnOnce() -> T + Send) -> (T, u64) {
    let (is_done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                most.fetch_max(own_memory().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let done = work();
        is_done.store(true, Ordering::Relaxed);
        done
    });
    (done, most.into_inner())
}

fn own_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

fn largest_file(folder: &Path) -> Result<PathBuf> {
    let mut largest = None;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        largest = largest.max(Some((entry.metadata()?.len(), entry.path())));
    }
    Ok(largest.ok_or("there is no segment")?.1)
}
