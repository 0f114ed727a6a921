//! What stands for a row on a page: its picture, or its code drawn bit by bit.

use crate::error::Failure;
use crate::pictures::jpeg;
use base64::Engine;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

/// Side of a thumbnail in pixels: sharp on dense screens at the size that the page shows.
const THUMBNAIL: u32 = 128;

/// The same of a picture that stands alone.
const PORTRAIT: u32 = 512;

/// What stands for a row.
#[derive(Clone, Debug)]
pub enum Face {
    /// Its picture.
    Picture(Thumbnail),
    /// Its code.
    Code(CodeImage),
}

impl Face {
    /// The image element, with a text for those who do not see it, already escaped.
    pub(super) fn html(&self, alternative: &str) -> String {
        match self {
            Face::Picture(thumbnail) => {
                format!("<img src=\"{}\" alt=\"{alternative}\">", thumbnail.uri())
            }
            Face::Code(code) => code.html(alternative),
        }
    }
}

/// A picture made small, as the bytes of a JPEG file.
#[derive(Clone, Debug)]
pub struct Thumbnail(pub(super) Vec<u8>);

impl Thumbnail {
    /// Shrinks a picture so that it covers a thumbnail's square (the page crops the rest), and
    /// encodes it. Small pictures keep their pixels.
    ///
    /// # Errors
    /// When the picture has no pixels.
    pub fn new(picture: &RgbImage) -> Result<Thumbnail, Failure> {
        Thumbnail::covering(picture, THUMBNAIL)
    }

    fn covering(picture: &RgbImage, side: u32) -> Result<Thumbnail, Failure> {
        let (width, height) = picture.dimensions();
        let short = width.min(height);
        if short == 0 {
            return Err(Failure::new("a picture without pixels cannot be shown"));
        }
        // A panorama is cropped here: nobody sees what lies beyond the square.
        let (width, height) = (width.min(short * 2), height.min(short * 2));
        let (x, y) = (
            (picture.width() - width) / 2,
            (picture.height() - height) / 2,
        );
        let middle = imageops::crop_imm(picture, x, y, width, height).to_image();
        let small = if short <= side {
            middle
        } else {
            let scaled =
                |length: u32| (u64::from(length) * u64::from(side) / u64::from(short)) as u32;
            imageops::resize(&middle, scaled(width), scaled(height), FilterType::Triangle)
        };
        jpeg(&small, 84).map(Thumbnail)
    }

    /// The same of the bytes of a picture file.
    ///
    /// # Errors
    /// When they cannot be decoded.
    pub fn of_file(file: &[u8]) -> Result<Thumbnail, Failure> {
        Thumbnail::new(&decoded(file)?)
    }

    /// The same, for a picture that stands alone.
    ///
    /// # Errors
    /// When they cannot be decoded.
    pub fn large(file: &[u8]) -> Result<Thumbnail, Failure> {
        Thumbnail::covering(&decoded(file)?, PORTRAIT)
    }

    fn uri(&self) -> String {
        uri("image/jpeg", &self.0)
    }
}

fn decoded(file: &[u8]) -> Result<RgbImage, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::new(e.to_string());
    let picture =
        bitkin::image::decode(file, &bitkin::image::Limits::default()).map_err(|e| failed(&e))?;
    let (width, height) = (picture.width(), picture.height());
    RgbImage::from_raw(width, height, picture.into_pixels())
        .ok_or_else(|| failed(&"its size is wrong"))
}

/// A code as a grid of its bits, in reading order: those that are set stand out, and those that differ from
/// another code have a colour of their own. The bytes of a PNG file of one pixel a bit.
#[derive(Clone, Debug)]
pub struct CodeImage {
    file: Vec<u8>,
    width: u32,
    height: u32,
}

impl CodeImage {
    /// Draws a code of `bits` bits, bit i being bit `i % 8` of byte `i / 8`; beside `other`, if there is one.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn new(code: &[u8], bits: u32, other: Option<&[u8]>) -> Result<CodeImage, Failure> {
        // About square, and as wide as a power of two: widths of codes are such as a rule.
        let width = (f64::from(bits).sqrt().ceil() as u32)
            .next_power_of_two()
            .max(1);
        let height = bits.div_ceil(width).max(1);
        let bit = |code: &[u8], i: u32| {
            let byte = code.get(i as usize / 8).copied().unwrap_or(0);
            byte >> (i % 8) & 1 == 1
        };
        let pixel = |i: u32| -> [u8; 4] {
            if i >= bits {
                return [0; 4];
            }
            let set = bit(code, i);
            match other.map(|other| bit(other, i) != set) {
                // On white paper and on black, and by their lightness too.
                Some(true) if set => [0xd9, 0x48, 0x1c, 0xff],
                Some(true) => [0xf2, 0xa0, 0x7b, 0xff],
                _ if set => [0x6b, 0x7c, 0x8f, 0xff],
                _ => [0x8a, 0x97, 0xa5, 0x38],
            }
        };
        let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
        let mut file = Vec::new();
        PngEncoder::new_with_quality(&mut file, CompressionType::Best, PngFilter::NoFilter)
            .write_image(&pixels, width, height, ExtendedColorType::Rgba8)
            .map_err(|error| Failure::new(format!("a code cannot be drawn: {error}")))?;
        Ok(CodeImage {
            file,
            width,
            height,
        })
    }

    pub(super) fn html(&self, alternative: &str) -> String {
        format!(
            "<img class=\"code\" src=\"{}\" width=\"{}\" height=\"{}\" alt=\"{alternative}\">",
            uri("image/png", &self.file),
            self.width,
            self.height,
        )
    }
}

fn uri(kind: &str, bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("data:{kind};base64,{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_bit_by_bit() {
        let drawn = |code: &[u8], bits, other: Option<&[u8]>| {
            let image = CodeImage::new(code, bits, other).unwrap();
            image::load_from_memory(&image.file).unwrap().to_rgba8()
        };
        let size = |bits| drawn(&vec![0; bits as usize / 8 + 1], bits, None).dimensions();
        assert_eq!(
            [16, 64, 128, 256].map(size),
            [(4, 4), (8, 8), (16, 8), (16, 16)]
        );
        assert_eq!(size(12), (4, 3));
        let alone = drawn(&[0b0000_0010, 0], 16, None);
        let set = alone.get_pixel(1, 0);
        assert!(alone.pixels().filter(|pixel| *pixel == set).count() == 1);
        let beside = drawn(&[0b0000_0010, 0], 16, Some(&[0b0000_0100, 0]));
        let same = alone.get_pixel(3, 3);
        let differ = beside.pixels().filter(|pixel| *pixel != same).count();
        assert_eq!(differ, 2);
        assert_ne!(beside.get_pixel(1, 0), beside.get_pixel(2, 0));
    }
}
