//! Pictures: decoding them under limits, and fitting them to an encoder's input.
//!
//! JPEG, PNG, WebP, GIF (first frame), BMP, TIFF (first page) and the PNM family are read.
//! Whatever a file holds becomes 8-bit RGB: grey is repeated, 16 bits are rounded to 8, CMYK
//! and YCCK are converted, transparency is laid over white, and the orientation of EXIF is
//! applied. Colour profiles are not.
//!
//! A decoder sees no file above [`Limits::max_file_bytes`], and no pixel is allocated before
//! the header's dimensions have been checked: a few bytes cannot claim gigabytes.

#[cfg(feature = "images")]
mod decode;
#[cfg(feature = "images")]
mod fit;

#[cfg(feature = "images")]
pub use self::decode::{Limits, decode, decode_for, has_picture_magic, has_picture_name};
#[cfg(feature = "images")]
pub use self::fit::fit;

/// Why a picture cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is longer than the limits allow.
    #[error("the file has {bytes} bytes, over the limit of {limit}")]
    FileTooLarge {
        /// Length of the file.
        bytes: u64,
        /// [`Limits::max_file_bytes`].
        limit: u64,
    },
    /// The bytes are no picture of a format that is read.
    #[error("not a picture in a known format")]
    UnknownFormat,
    /// The header claims no pixels.
    #[error("the picture is {width} x {height} pixels: it has none")]
    ZeroSized {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The header claims more pixels than the limits allow. Nothing was allocated for them.
    #[error("the picture claims {width} x {height} pixels, over the limit of {limit}")]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit that is exceeded, in words.
        limit: String,
    },
    /// The picture has too few pixels for its encoder.
    #[error("the picture is {width} x {height} pixels, its encoder needs {least} x {least}")]
    TooSmall {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The shortest side that can be encoded.
        least: u32,
    },
    /// The file ends before the picture does.
    #[error("the file is truncated")]
    Truncated,
    /// The file cannot be decoded.
    #[error("the picture cannot be decoded: {reason}")]
    Undecodable {
        /// What the decoder said.
        reason: String,
    },
}

/// A decoded picture: 8-bit RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// A picture of `height * width * 3` bytes, RGB interleaved, row by row; `None` when the
    /// number of bytes is another or a side is zero.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        let bytes = (width as usize)
            .checked_mul(height as usize)?
            .checked_mul(3)?;
        (bytes == pixels.len() && bytes > 0).then_some(RgbImage {
            width,
            height,
            pixels,
        })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `height * width * 3` bytes, RGB interleaved, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes of [`RgbImage::pixels`], without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

#[cfg(all(test, feature = "images"))]
mod tests;
