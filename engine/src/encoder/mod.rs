//! The seam between the database and whatever turns pictures into codes.
//!
//! The engine decodes pictures ([`crate::image`]) and hands them to an [`Encoder`], first one by one on
//! the threads that decode ([`Encoder::prepare`]: where a network's encoder brings a picture to the
//! network's size), then in batches ([`Encoder::encode`]). It knows nothing of networks: the encoder on
//! libtorch lives in a crate of its own, which an application links or loads ([`EncoderLibrary`]), and an
//! application may bring another. [`crate::pdq`] is built in.

#[cfg(feature = "images")]
mod library;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(feature = "images")]
pub use self::library::{Device, EncoderLibrary, LibraryEncoder, LibraryError};
use crate::image::{ImageError, RgbImage};

/// SHA-256 that names a model: two encoders with the same fingerprint give the same code for
/// the same picture.
///
/// Shown, parsed and serialised as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits")]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(ParseFingerprintError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = (pair[0] as char)
                .to_digit(16)
                .ok_or(ParseFingerprintError)?;
            let low = (pair[1] as char)
                .to_digit(16)
                .ok_or(ParseFingerprintError)?;
            *byte = (high * 16 + low) as u8;
        }
        Ok(Fingerprint(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How a picture of any shape becomes the encoder's rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resize {
    /// The whole picture, its aspect ratio given up.
    Stretch,
    /// The largest centred rectangle of the target's aspect ratio; the rest is cut off.
    CenterCrop,
}

/// The resampling filter used when a picture is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Filter {
    /// Triangle filter, widened when shrinking (antialiased).
    #[default]
    Bilinear,
    /// Lanczos with three lobes, widened when shrinking.
    Lanczos3,
}

/// The pixels that a network wants: `height * width * 3` bytes, RGB interleaved, row by row.
///
/// Part of a model's metadata, and so of its fingerprint; as JSON
/// `{"width":64,"height":64,"resize":"stretch"}`, with `"filter"` left out when bilinear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageInput {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// How the picture is brought to that shape.
    pub resize: Resize,
    /// The resampling filter.
    #[serde(default, skip_serializing_if = "is_default_filter")]
    pub filter: Filter,
}

fn is_default_filter(filter: &Filter) -> bool {
    *filter == Filter::default()
}

impl ImageInput {
    /// An input of `width` x `height` pixels to which pictures are stretched, bilinear.
    pub fn stretch(width: u32, height: u32) -> Self {
        ImageInput {
            width,
            height,
            resize: Resize::Stretch,
            filter: Filter::Bilinear,
        }
    }

    /// The pixels that each side of a picture needs so that making it smaller on decoding loses nothing that
    /// fitting it would keep: twice the longer side.
    pub fn least_side(&self) -> u32 {
        self.width.max(self.height).saturating_mul(2)
    }

    /// Bytes of one picture: `width * height * 3`.
    pub fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }
}

/// Why an encoder could not encode a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A buffer does not have the size that the encoder asks for.
    #[error("the {buffer} buffer has {got} bytes, expected {expected}")]
    Shape {
        /// `"picture"` or `"code"`.
        buffer: &'static str,
        /// Bytes given.
        got: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// The model failed: what its runtime said.
    #[error("the encoder failed: {0}")]
    Failed(String),
}

/// A picture as its encoder wants it in a batch; see [`Encoder::prepare`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// [`Encoder::prepared_bytes`] bytes.
    pub bytes: Vec<u8>,
    /// How much the code can be relied on, 0 to 100, if the encoder judges it. Ingested rows have it in
    /// their payload as `quality`.
    pub quality: Option<u8>,
}

/// Turns pictures into packed binary codes.
///
/// The code of a picture must depend on nothing but the model and the picture: not on the batch
/// it came in, nor on its place there. Databases rely on it: a picture inserted twice, or
/// searched for after it was inserted, must meet its own code.
pub trait Encoder: Send + Sync {
    /// Width of the codes in bits.
    fn bits(&self) -> u32;

    /// Names the model. Codes of different fingerprints never meet in one collection.
    fn fingerprint(&self) -> Fingerprint;

    /// The number of pictures in a batch at which the encoder runs well; at least 1.
    fn preferred_batch(&self) -> usize;

    /// What it runs on, for people to read: `cpu`, `cuda`.
    fn device(&self) -> String {
        "cpu".to_owned()
    }

    /// The pixels that each side of a picture must keep if it is made smaller as it is decoded
    /// ([`image::decode_for`](crate::image::decode_for)); none if it is wanted as it is.
    fn least_side(&self) -> Option<u32> {
        None
    }

    /// Bytes of a prepared picture, at least 1.
    fn prepared_bytes(&self) -> usize;

    /// What is done to a picture by itself, on any of many threads: an encoder of fixed size brings it to
    /// that, by [`image::fit`](crate::image::fit).
    ///
    /// # Errors
    /// [`ImageError`] for a picture that cannot be encoded.
    fn prepare(&self, picture: &RgbImage) -> Result<Prepared, ImageError>;

    /// Encodes `n` prepared pictures.
    ///
    /// * `prepared`: `n * prepared_bytes` bytes.
    /// * `codes`: `n * ceil(bits / 8)` bytes, written; bit i of a code is bit `i % 8` of byte
    ///   `i / 8`, padding bits zero.
    ///
    /// # Errors
    /// [`EncodeError::Shape`] when the two do not agree, [`EncodeError::Failed`] when the model
    /// fails. `codes` is then unspecified.
    fn encode(&self, prepared: &[u8], codes: &mut [u8]) -> Result<(), EncodeError>;
}

impl<E: Encoder + ?Sized> Encoder for &E {
    fn bits(&self) -> u32 {
        (**self).bits()
    }

    fn fingerprint(&self) -> Fingerprint {
        (**self).fingerprint()
    }

    fn preferred_batch(&self) -> usize {
        (**self).preferred_batch()
    }

    fn device(&self) -> String {
        (**self).device()
    }

    fn least_side(&self) -> Option<u32> {
        (**self).least_side()
    }

    fn prepared_bytes(&self) -> usize {
        (**self).prepared_bytes()
    }

    fn prepare(&self, picture: &RgbImage) -> Result<Prepared, ImageError> {
        (**self).prepare(picture)
    }

    fn encode(&self, prepared: &[u8], codes: &mut [u8]) -> Result<(), EncodeError> {
        (**self).encode(prepared, codes)
    }
}

/// Checks the two buffers of [`Encoder::encode`] and returns the number of pictures.
///
/// For implementors.
///
/// # Errors
/// [`EncodeError::Shape`].
pub fn check_batch(
    encoder: &(impl Encoder + ?Sized),
    prepared: &[u8],
    codes: &[u8],
) -> Result<usize, EncodeError> {
    let picture = encoder.prepared_bytes().max(1);
    let count = prepared.len() / picture;
    if count * picture != prepared.len() {
        let expected = (count + 1) * picture;
        return Err(EncodeError::Shape {
            buffer: "picture",
            got: prepared.len(),
            expected,
        });
    }
    let expected = count * encoder.bits().div_ceil(8) as usize;
    if codes.len() != expected {
        return Err(EncodeError::Shape {
            buffer: "code",
            got: codes.len(),
            expected,
        });
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_reads_what_it_shows() {
        let fingerprint = Fingerprint(std::array::from_fn(|i| (i * 9) as u8));
        let text = fingerprint.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text.parse(), Ok(fingerprint));
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(
            serde_json::from_str::<Fingerprint>(&json).unwrap(),
            fingerprint
        );
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(
                bad.parse::<Fingerprint>(),
                Err(ParseFingerprintError),
                "{bad}"
            );
        }
    }

    #[test]
    fn input_is_the_json_of_the_format() {
        let input = ImageInput::stretch(64, 48);
        let json = serde_json::to_string(&input).unwrap();
        assert_eq!(json, r#"{"width":64,"height":48,"resize":"stretch"}"#);
        assert_eq!(serde_json::from_str::<ImageInput>(&json).unwrap(), input);
        let crop: ImageInput = serde_json::from_str(
            r#"{"width":8,"height":8,"resize":"center_crop","filter":"lanczos3"}"#,
        )
        .unwrap();
        assert_eq!(
            (crop.resize, crop.filter),
            (Resize::CenterCrop, Filter::Lanczos3)
        );
    }

    #[test]
    fn batches_of_the_wrong_shape_are_refused() {
        // 32 bytes a picture and a code.
        let encoder = &crate::pdq::Pdq;
        assert_eq!(check_batch(encoder, &[0; 64], &[0; 64]).unwrap(), 2);
        assert_eq!(check_batch(encoder, &[], &[]).unwrap(), 0);
        let short = check_batch(encoder, &[0; 63], &[0; 64]).unwrap_err();
        assert!(matches!(
            short,
            EncodeError::Shape {
                buffer: "picture",
                got: 63,
                expected: 64
            }
        ));
        let codes = check_batch(encoder, &[0; 64], &[0; 33]).unwrap_err();
        assert!(matches!(
            codes,
            EncodeError::Shape {
                buffer: "code",
                got: 33,
                expected: 64
            }
        ));
    }
}
