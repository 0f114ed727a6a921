//! Seeded generators of codes. The same seed gives the same rows, whatever the number of threads: each
//! block of rows has a stream of random numbers of its own.

use std::io::Write;
use std::path::Path;

use bitkin_benches::Result;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::codes::{Codes, write_npy};

/// Part of the names of files: raised when a generator gives other rows.
pub(crate) const VERSION: u32 = 2;

/// Rows that share a stream.
const BLOCK: usize = 1 << 14;

/// Kinds of codes that can be made in any number and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every bit by chance. Nothing is near anything: the hardest for whatever prunes.
    Uniform,
    /// Hyperplane codes of points around 2,000 centres: what codes of learned features look like.
    Clustered,
    /// Few codes, of which some are very frequent, and small changes of them.
    Duplicates,
    /// Uniform rows, and queries at chosen distances of some of them, 0 to 40: look-ups of
    /// perceptual hashes.
    Planted,
}

impl Kind {
    pub(crate) const ALL: [(&'static str, Kind); 4] = [
        ("uniform", Kind::Uniform),
        ("clustered", Kind::Clustered),
        ("duplicates", Kind::Duplicates),
        ("planted", Kind::Planted),
    ];

    /// Writes `count` rows of `bits` bits.
    pub(crate) fn rows(self, bits: u32, count: usize, seed: u64, to: &Path) -> Result<()> {
        match self {
            Kind::Uniform | Kind::Planted => write(bits, count, seed, 0, to, |chance, code| {
                chance.fill(code);
            }),
            Kind::Clustered => {
                let clusters = Clusters::new(bits, seed);
                write(bits, count, seed, 0, to, |chance, code| {
                    clusters.draw(chance, code);
                })
            }
            Kind::Duplicates => {
                let pool = Pool::new(bits, count, seed);
                write(bits, count, seed, 0, to, |chance, code| {
                    pool.draw(chance, code);
                })
            }
        }
    }

    /// Writes `count` queries for such rows: drawn as they were, but not among them.
    pub(crate) fn queries(
        self,
        bits: u32,
        count: usize,
        seed: u64,
        rows: &Codes,
        to: &Path,
    ) -> Result<()> {
        match self {
            Kind::Uniform => write(bits, count, seed, 1, to, |chance, code| {
                chance.fill(code);
            }),
            Kind::Clustered => {
                let clusters = Clusters::new(bits, seed);
                write(bits, count, seed, 1, to, |chance, code| {
                    clusters.draw(chance, code);
                })
            }
            Kind::Duplicates => {
                let pool = Pool::new(bits, rows.rows(), seed);
                write(bits, count, seed, 1, to, |chance, code| {
                    pool.draw(chance, code);
                })
            }
            Kind::Planted => write(bits, count, seed, 1, to, |chance, code| {
                let row = chance.random_range(0..rows.rows().max(1));
                code.copy_from_slice(rows.get(row).unwrap_or(&vec![0; code.len()]));
                let flips = chance.random_range(0..=40.min(bits));
                flip(chance, code, bits, flips);
            }),
        }
    }
}

/// Writes `count` rows that are as skewed as those of `base`: each is one of them, with up to half of its
/// bits taken from another, so that every bit is as often set as before, and set together with others.
pub(crate) fn grow(base: &Codes, bits: u32, count: usize, seed: u64, to: &Path) -> Result<()> {
    let nothing = vec![0; base.row_bytes()];
    write(bits, count, seed, 0, to, |chance, code| {
        let mut any = || {
            base.get(chance.random_range(0..base.rows()))
                .unwrap_or(&nothing)
        };
        let (row, donor) = (any(), any());
        code.copy_from_slice(row);
        let taken = chance.random_range(bits / 8..=bits / 2);
        for bit in rand::seq::index::sample(chance, bits as usize, taken as usize) {
            let mask = 1 << (bit % 8);
            code[bit / 8] = code[bit / 8] & !mask | donor[bit / 8] & mask;
        }
    })
}

/// Writes rows that `draw` makes, on all threads, in order.
fn write(
    bits: u32,
    count: usize,
    seed: u64,
    part: u64,
    to: &Path,
    draw: impl Fn(&mut ChaCha8Rng, &mut [u8]) + Sync,
) -> Result<()> {
    let row_bytes = bits.div_ceil(8) as usize;
    let padding = !0 >> (8 * row_bytes as u32 - bits);
    let block = |number: usize| {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(part << 32 | number as u64);
        let rows = BLOCK.min(count - number * BLOCK);
        let mut bytes = vec![0; rows * row_bytes];
        for code in bytes.chunks_exact_mut(row_bytes) {
            draw(&mut chance, code);
            code[row_bytes - 1] &= padding;
        }
        bytes
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    write_npy(to, "|u1", &[count, row_bytes], |out: &mut dyn Write| {
        let blocks: Vec<usize> = (0..count.div_ceil(BLOCK)).collect();
        for together in blocks.chunks(threads) {
            let made: Vec<Vec<u8>> = std::thread::scope(|scope| {
                let workers: Vec<_> = together
                    .iter()
                    .map(|&number| {
                        let block = &block;
                        scope.spawn(move || block(number))
                    })
                    .collect();
                workers
                    .into_iter()
                    .map(|w| w.join())
                    .collect::<std::result::Result<_, _>>()
            })
            .map_err(|_| "a generator panicked")?;
            for bytes in made {
                out.write_all(&bytes)?;
            }
        }
        Ok(())
    })
}

/// Flips so many different bits.
fn flip(chance: &mut impl Rng, code: &mut [u8], bits: u32, count: u32) {
    for bit in rand::seq::index::sample(chance, bits as usize, count as usize) {
        code[bit / 8] ^= 1 << (bit % 8);
    }
}

const CLUSTERS: usize = 2_000;
const LATENT: usize = 24;
const FEATURES: usize = 128;
/// How far points lie from their centres, in parts of how far these lie from another: such that the
/// 10th neighbour of 64-bit codes among a million is about 8 bits away.
const SPREAD: f32 = 0.61;

/// Gaussian clusters in a few latent dimensions, seen as features of more, hashed by hyperplanes.
struct Clusters {
    centres: Vec<[f32; LATENT]>,
    /// A hyperplane a bit, taken back to the latent space.
    planes: Vec<[f32; LATENT]>,
}

impl Clusters {
    fn new(bits: u32, seed: u64) -> Clusters {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(u64::MAX);
        let mut normal = || -> f32 { StandardNormal.sample(&mut chance) };
        let centres = (0..CLUSTERS)
            .map(|_| std::array::from_fn(|_| normal()))
            .collect();
        let features: Vec<[f32; LATENT]> = (0..FEATURES)
            .map(|_| std::array::from_fn(|_| normal()))
            .collect();
        let planes = (0..bits)
            .map(|_| {
                let mut plane = [0.0; LATENT];
                for feature in &features {
                    let weight = normal();
                    for (sum, part) in plane.iter_mut().zip(feature) {
                        *sum += weight * part;
                    }
                }
                plane
            })
            .collect();
        Clusters { centres, planes }
    }

    fn draw(&self, chance: &mut impl Rng, code: &mut [u8]) {
        let mut point = self.centres[chance.random_range(0..CLUSTERS)];
        for value in &mut point {
            let noise: f32 = StandardNormal.sample(chance);
            *value += SPREAD * noise;
        }
        code.fill(0);
        for (bit, plane) in self.planes.iter().enumerate() {
            let sum: f32 = plane.iter().zip(&point).map(|(a, b)| a * b).sum();
            code[bit / 8] |= u8::from(sum > 0.0) << (bit % 8);
        }
    }
}

/// Codes of which the n-th is drawn as often as 1 / n says.
struct Pool {
    codes: Vec<u8>,
    row_bytes: usize,
    bits: u32,
    zipf: rand_distr::Zipf<f64>,
}

impl Pool {
    fn new(bits: u32, rows: usize, seed: u64) -> Pool {
        let row_bytes = bits.div_ceil(8) as usize;
        let count = (rows / 20).max(1);
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(u64::MAX);
        let mut codes = vec![0; count * row_bytes];
        chance.fill(&mut codes[..]);
        Pool {
            codes,
            row_bytes,
            bits,
            zipf: rand_distr::Zipf::new(count as f64, 1.0).expect("at least one code"),
        }
    }

    fn draw(&self, chance: &mut impl Rng, code: &mut [u8]) {
        let count = self.codes.len() / self.row_bytes;
        let number = (self.zipf.sample(chance) as usize).clamp(1, count) - 1;
        code.copy_from_slice(&self.codes[number * self.row_bytes..][..self.row_bytes]);
        if chance.random_bool(0.5) {
            let flips = chance.random_range(1..=4.min(self.bits));
            flip(chance, code, self.bits, flips);
        }
    }
}
