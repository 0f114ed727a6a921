//! How far a model's codes are the same in other arithmetic and on other devices.

use bitkin::encoder::Encoder;
use bitkin::model::ModelFile;
use serde::Serialize;

use crate::backbone::Arithmetic;
use crate::dataset::Dataset;
use crate::device::DeviceChoice;
use crate::encoder::TorchEncoder;
use crate::error::Error;
use crate::health::MARGIN;

/// The codes of some pictures beside those of f32 on the CPU.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// What the network was computed in.
    pub arithmetic: &'static str,
    /// What it was computed on.
    pub device: String,
    /// Pictures that were compared.
    pub pictures: usize,
    /// The share of bits that are equal.
    pub bits_equal: f64,
    /// The share of codes that are equal.
    pub codes_equal: f64,
    /// The largest |z'|, by f32 on the CPU, of a bit that differs; 0 if none does.
    pub largest: f32,
    /// The share of all latents that are within [`MARGIN`] of zero.
    pub within_margin: f64,
}

/// Encodes pictures of `source`, at most so many, in every arithmetic and on every device that there is.
///
/// # Errors
/// What loading and encoding report; [`Error::Picture`] for one that cannot be used.
pub fn compare(file: &ModelFile, source: &str, most: usize) -> Result<Vec<Compared>, Error> {
    let mut set = Dataset::open(source)?;
    set.pictures.truncate(most);
    let reference = in_arithmetic(file, Arithmetic::F32)?;
    let reference = TorchEncoder::load(&reference, DeviceChoice::Cpu)?;
    let pixels = set.pictures.iter().map(|picture| {
        let bytes = picture.read()?;
        picture.pixels(&bytes, &reference.input())
    });
    let pixels = pixels.collect::<Result<Vec<_>, Error>>()?.concat();
    let expected = latents(&reference, &pixels)?;
    let mut compared = Vec::new();
    for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
        let file = in_arithmetic(file, arithmetic)?;
        for device in [DeviceChoice::Cpu, DeviceChoice::Cuda] {
            let encoder = match TorchEncoder::load(&file, device) {
                Err(Error::Device) => continue,
                // What was compiled for one arithmetic cannot be had in another.
                Err(Error::Backbone(_)) if arithmetic != Arithmetic::F32 => continue,
                loaded => loaded?,
            };
            let found = latents(&encoder, &pixels)?;
            compared.push(Compared {
                arithmetic: arithmetic.name(),
                device: encoder.device(),
                ..beside(&expected, &found)
            });
        }
    }
    Ok(compared)
}

/// The same model, computed in another arithmetic.
fn in_arithmetic(file: &ModelFile, arithmetic: Arithmetic) -> Result<ModelFile, Error> {
    let mut metadata = file.metadata().clone();
    let name = arithmetic.name();
    metadata.model.insert("arithmetic".into(), name.into());
    Ok(file.with_metadata(metadata)?)
}

fn latents(encoder: &TorchEncoder, pixels: &[u8]) -> Result<Vec<Vec<f32>>, Error> {
    let features = encoder.features(pixels)?;
    let rows: Vec<&[f32]> = features.chunks_exact(encoder.model().dim()).collect();
    Ok(encoder.model().latents(&rows))
}

fn beside(expected: &[Vec<f32>], found: &[Vec<f32>]) -> Compared {
    let (mut bits, mut equal, mut same, mut near, mut largest) = (0, 0, 0, 0, 0f32);
    for (expected, found) in expected.iter().zip(found) {
        let before = bits - equal;
        for (a, b) in expected.iter().zip(found) {
            bits += 1;
            near += usize::from(a.abs() <= MARGIN);
            if (*a >= 0.0) == (*b >= 0.0) {
                equal += 1;
            } else {
                largest = largest.max(a.abs());
            }
        }
        same += usize::from(bits - equal == before);
    }
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    Compared {
        arithmetic: "",
        device: String::new(),
        pictures: expected.len(),
        bits_equal: share(equal, bits),
        codes_equal: share(same, expected.len()),
        largest,
        within_margin: share(near, bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_turn_are_counted_where_they_turn() {
        let expected = [vec![1.0, -0.5, 0.00005, -2.0], vec![1.0; 4], vec![-1.0; 4]];
        let found = [vec![1.0, 0.1, -0.1, -2.0], vec![2.0; 4], vec![-3.0; 4]];
        let compared = beside(&expected, &found);
        assert_eq!(compared.pictures, 3);
        assert_eq!(compared.bits_equal, 10.0 / 12.0);
        assert_eq!(compared.codes_equal, 2.0 / 3.0);
        assert_eq!(compared.largest, 0.5);
        assert_eq!(compared.within_margin, 1.0 / 12.0);
    }
}
