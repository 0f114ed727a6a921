//! PDQ: perceptual hashes of 256 bits, by which a picture is found again after it was scaled, compressed
//! anew or recoloured a little. Needs no model.
//!
//! The algorithm is that of ThreatExchange's reference ("The TMK+PDQF video-hashing algorithm and the PDQ
//! image-hashing algorithm", Facebook, 2019), with its order of arithmetic in f32: luminance, blurred by
//! two passes of a box filter in each direction, sampled at 64 × 64 points; of its cosine transform 16 × 16
//! low frequencies, each compared with their median. Pictures within distance 31 are taken for the same
//! one, where both have a quality of at least 50.
//!
//! It differs from the reference in what happens before: pictures lie upright (EXIF), and what is
//! transparent is white.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::encoder::{EncodeError, Encoder, Fingerprint, Prepared, check_batch};
use crate::image::{ImageError, RgbImage};

/// Width of a hash in bits.
pub const BITS: u32 = 256;

/// The distance within which two pictures are taken for the same one.
pub const RADIUS: u32 = 31;

/// Bytes of a hash.
const BYTES: usize = BITS as usize / 8;

/// Side of the sampled picture.
const SAMPLES: usize = 64;

/// Side of the square of frequencies; the constant one is left out.
const FREQUENCIES: usize = 16;

/// Pictures with a longer side are first sampled to a square of this side.
const LONGEST_SIDE: usize = 512;

/// Pictures with a shorter side are not hashed.
const SHORTEST_SIDE: u32 = 5;

/// Box filters in each direction; two of them make a tent.
const PASSES: usize = 2;

/// A hash, and how much it can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PdqHash {
    /// The bytes of the hash in the order of its usual hexadecimal text.
    pub code: [u8; BYTES],
    /// 0 to 100, by how much there is to see. Hashes of plain surfaces collide; 50 is the usual least.
    pub quality: u8,
}

/// The hash of a picture.
///
/// # Errors
/// [`ImageError::TooSmall`] for one with a side of less than 5 pixels.
pub fn hash(picture: &RgbImage) -> Result<PdqHash, ImageError> {
    let (width, height) = (picture.width(), picture.height());
    if width.min(height) < SHORTEST_SIDE {
        return Err(ImageError::TooSmall {
            width,
            height,
            least: SHORTEST_SIDE,
        });
    }
    let samples = Luma::of(picture).samples();
    let frequencies = low_frequencies(&samples);
    let mut sorted = frequencies;
    sorted.sort_unstable_by(f32::total_cmp);
    // Of an even number the lower one.
    let median = sorted[sorted.len() / 2 - 1];
    let mut code = [0; BYTES];
    let above = frequencies.iter().enumerate();
    for (bit, _) in above.filter(|(_, f)| **f > median) {
        // The text begins with the highest bit.
        code[BYTES - 1 - bit / 8] |= 1 << (bit % 8);
    }
    Ok(PdqHash {
        code,
        quality: quality(&samples),
    })
}

/// The encoder of collections that were created with [`CollectionConfig::pdq`](crate::CollectionConfig::pdq).
#[derive(Clone, Copy, Debug, Default)]
pub struct Pdq;

impl Encoder for Pdq {
    fn bits(&self) -> u32 {
        BITS
    }

    fn fingerprint(&self) -> Fingerprint {
        // To be changed with anything that changes a hash.
        Fingerprint(Sha256::digest(b"bitkin built-in encoder: pdq, version 1").into())
    }

    fn preferred_batch(&self) -> usize {
        64
    }

    fn prepared_bytes(&self) -> usize {
        BYTES
    }

    /// All the work: so it is done by as many threads as decode pictures.
    fn prepare(&self, picture: &RgbImage) -> Result<Prepared, ImageError> {
        let hash = hash(picture)?;
        Ok(Prepared {
            bytes: hash.code.to_vec(),
            quality: Some(hash.quality),
        })
    }

    fn encode(&self, prepared: &[u8], codes: &mut [u8]) -> Result<(), EncodeError> {
        check_batch(self, prepared, codes)?;
        codes.copy_from_slice(prepared);
        Ok(())
    }
}

/// The luminance of a picture's pixels, row by row.
struct Luma {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Luma {
    fn of(picture: &RgbImage) -> Luma {
        let (stored_width, stored_height) = (picture.width() as usize, picture.height() as usize);
        let (width, height) = match stored_width.max(stored_height) {
            ..=LONGEST_SIDE => (stored_width, stored_height),
            _ => (LONGEST_SIDE, LONGEST_SIDE),
        };
        let mut values = Vec::with_capacity(width * height);
        let (pixels, _) = picture.pixels().as_chunks::<3>();
        for y in 0..height {
            let row = y * stored_height / height * stored_width;
            values.extend((0..width).map(|x| {
                let [red, green, blue] = pixels[row + x * stored_width / width].map(f32::from);
                0.299 * red + 0.587 * green + 0.114 * blue
            }));
        }
        Luma {
            width,
            height,
            values,
        }
    }

    /// The blurred picture at 64 × 64 points.
    fn samples(mut self) -> [f32; SAMPLES * SAMPLES] {
        let (width, height) = (self.width, self.height);
        let mut samples = [0.0; SAMPLES * SAMPLES];
        if (width, height) == (SAMPLES, SAMPLES) {
            samples.copy_from_slice(&self.values);
            return samples;
        }
        let mut blurred = vec![0.0; self.values.len()];
        for _ in 0..PASSES {
            for first in (0..height).step_by(LANES) {
                let lanes = LANES.min(height - first);
                let (from, to) = (first * width, (first + lanes) * width);
                let (input, output) = (&self.values[from..to], &mut blurred[from..to]);
                box_filter(input, output, width, 1, lanes, width);
            }
            for first in (0..width).step_by(LANES) {
                let lanes = LANES.min(width - first);
                let (input, output) = (&blurred[first..], &mut self.values[first..]);
                box_filter(input, output, height, width, lanes, 1);
            }
        }
        // The points are the centres of 64 × 64 tiles.
        let centre = |tile: usize, side: usize| (2 * tile + 1) * side / (2 * SAMPLES);
        for (y, row) in samples.chunks_exact_mut(SAMPLES).enumerate() {
            let from = &self.values[centre(y, height) * width..][..width];
            for (x, sample) in row.iter_mut().enumerate() {
                *sample = from[centre(x, width)];
            }
        }
        samples
    }
}

/// Lines that are filtered side by side, so that their sums do not wait for each other.
const LANES: usize = 16;

/// The mean of each value and its neighbours on its line, as many of them as there are: `lanes` lines, at
/// most [`LANES`], of `length` values each. Value i of line j is at `i * step + j * lane_step`.
///
/// A running sum, though its rounding adds up: hashes are what this gives.
#[inline(always)]
fn box_filter(
    input: &[f32],
    output: &mut [f32],
    length: usize,
    step: usize,
    lanes: usize,
    lane_step: usize,
) {
    let window = length.div_ceil(2 * SAMPLES);
    // Values of the window from its own on; the rest is before it.
    let ahead = window / 2 + 1;
    let mut sums = [0f32; LANES];
    let sums = &mut sums[..lanes];
    for i in 0..ahead - 1 {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += input[i * step + lane * lane_step];
        }
    }
    for i in 0..length {
        let end = i + ahead;
        if end <= length {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += input[(end - 1) * step + lane * lane_step];
            }
        }
        let start = end.saturating_sub(window);
        if start > 0 {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum -= input[(start - 1) * step + lane * lane_step];
            }
        }
        let count = (end.min(length) - start) as f32;
        for (lane, sum) in sums.iter().enumerate() {
            output[i * step + lane * lane_step] = sum / count;
        }
    }
}

/// How much there is to see: the differences between neighbours, the slight ones left out.
fn quality(samples: &[f32; SAMPLES * SAMPLES]) -> u8 {
    let change = |a: f32, b: f32| ((a - b) * 100.0 / 255.0) as i32;
    let down = samples.iter().zip(&samples[SAMPLES..]);
    let right = samples.chunks_exact(SAMPLES);
    let right = right.flat_map(|row| row.iter().zip(&row[1..]));
    let sum: i32 = down.chain(right).map(|(a, b)| change(*a, *b).abs()).sum();
    (sum / 90).min(100) as u8
}

/// The cosine transform at frequencies 1 to 16 down and across.
fn low_frequencies(samples: &[f32; SAMPLES * SAMPLES]) -> [f32; FREQUENCIES * FREQUENCIES] {
    let waves = &*WAVES;
    let mut down = [0f32; FREQUENCIES * SAMPLES];
    for (row, wave) in down.chunks_exact_mut(SAMPLES).zip(waves) {
        for (samples, factor) in samples.chunks_exact(SAMPLES).zip(wave) {
            for (sum, sample) in row.iter_mut().zip(samples) {
                *sum += factor * sample;
            }
        }
    }
    let mut across = [0f32; FREQUENCIES * FREQUENCIES];
    let rows = across.chunks_exact_mut(FREQUENCIES);
    for (row, down) in rows.zip(down.chunks_exact(SAMPLES)) {
        for (value, wave) in row.iter_mut().zip(waves) {
            // In order, from zero: another one rounds differently.
            *value = down.iter().zip(wave).fold(0.0, |sum, (a, b)| sum + a * b);
        }
    }
    across
}

/// The rows of the cosine transform's matrix for frequencies 1 to 16.
static WAVES: LazyLock<[[f32; SAMPLES]; FREQUENCIES]> = LazyLock::new(|| {
    let scale = f64::from((2.0 / SAMPLES as f64).sqrt() as f32);
    let angle = std::f64::consts::FRAC_PI_2 / SAMPLES as f64;
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let angle = angle * (i + 1) as f64 * (2 * j + 1) as f64;
            (scale * angle.cos()) as f32
        })
    })
});

#[cfg(test)]
mod tests;
