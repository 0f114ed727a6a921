//! From the bytes of a file to 8-bit RGB.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::image::{
    DynamicImage, ImageDecoder as _, ImageError as LibraryError, ImageFormat, ImageReader,
};

use super::{ImageError, RgbImage};

/// What a picture may ask for, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the file. Default: 256 MiB.
    pub max_file_bytes: u64,
    /// Width in pixels. Default: 32,768.
    pub max_width: u32,
    /// Height in pixels. Default: 32,768.
    pub max_height: u32,
    /// Width times height. Default: 2^27, about 134 million.
    pub max_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_file_bytes: 256 << 20,
            max_width: 1 << 15,
            max_height: 1 << 15,
            max_pixels: 1 << 27,
        }
    }
}

/// Decodes a picture to 8-bit RGB, upright.
///
/// # Errors
/// [`ImageError`] says what is wrong with the file.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, ImageError> {
    decode_for(bytes, limits, None)
}

/// Decodes a picture that will be made smaller to 8-bit RGB, upright: where the format allows (JPEG), to a half,
/// a quarter or an eighth of its width and height, as long as both keep `least_side` pixels. That takes about
/// half the time and little memory; what is then made of it differs by about a grey level on average.
///
/// # Errors
/// As [`decode`].
pub fn decode_for(
    bytes: &[u8],
    limits: &Limits,
    least_side: Option<u32>,
) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() as u64 > limits.max_file_bytes {
        let (bytes, limit) = (bytes.len() as u64, limits.max_file_bytes);
        return Err(ImageError::FileTooLarge { bytes, limit });
    }
    let format = format_of(bytes).ok_or(ImageError::UnknownFormat)?;
    if format == ImageFormat::Png {
        check_png_header(bytes, limits)?;
    }
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(ImageError::Truncated);
    }
    // The decoders hold nothing of ours that a panic could leave half changed, and one picture
    // that trips over a bug of theirs must not end an ingest of a million.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        decode_checked(bytes, format, limits, least_side)
    }));
    decoded.unwrap_or_else(|_| {
        Err(ImageError::Undecodable {
            reason: "the decoder panicked".to_owned(),
        })
    })
}

/// Whether a file's name ends like that of a picture in a format that is read.
pub fn has_picture_name(path: &Path) -> bool {
    const EXTENSIONS: [&str; 15] = [
        "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "tif", "tiff", "pbm",
        "pgm", "ppm", "pnm",
    ];
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| {
        EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

/// Whether a file whose first bytes are these (16 are enough) may be a picture in a format that
/// is read.
pub fn has_picture_magic(first_bytes: &[u8]) -> bool {
    format_of(first_bytes).is_some()
}

/// The format that the first bytes announce, if it is one that is read.
fn format_of(bytes: &[u8]) -> Option<ImageFormat> {
    ::image::guess_format(bytes).ok().filter(|format| {
        matches!(
            format,
            ImageFormat::Jpeg
                | ImageFormat::Png
                | ImageFormat::WebP
                | ImageFormat::Gif
                | ImageFormat::Bmp
                | ImageFormat::Tiff
                | ImageFormat::Pnm
        )
    })
}

fn decode_checked(
    bytes: &[u8],
    format: ImageFormat,
    limits: &Limits,
    least_side: Option<u32>,
) -> Result<RgbImage, ImageError> {
    // The dimensions are checked below, for an error that names them. This bounds what the
    // decoders allocate besides: eight bytes for a pixel of 16-bit RGBA, and as much again.
    let mut allowed = ::image::Limits::default();
    allowed.max_alloc = Some(
        limits
            .max_pixels
            .saturating_mul(16)
            .saturating_add(64 << 20),
    );
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(typed)?;
    let (width, height) = decoder.dimensions();
    check_dimensions(width, height, limits)?;
    if decoder.total_bytes() > limits.max_pixels.saturating_mul(16) {
        return Err(too_large(
            width,
            height,
            format!("{} pixels", limits.max_pixels),
        ));
    }
    // A picture whose EXIF cannot be read is shown as it is stored.
    let orientation = decoder.orientation().ok();
    let scaled = least_side
        .filter(|_| format == ImageFormat::Jpeg)
        .and_then(|least| scaled_jpeg(bytes, (width, height), least));
    let mut picture = match scaled {
        Some(picture) => picture,
        None => DynamicImage::from_decoder(decoder).map_err(typed)?,
    };
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    let (width, height) = (picture.width(), picture.height());
    let pixels = if picture.color().has_alpha() {
        over_white(&picture.into_rgba8())
    } else {
        picture.into_rgb8().into_raw()
    };
    RgbImage::new(width, height, pixels).ok_or(ImageError::ZeroSized { width, height })
}

/// A JPEG decoded at a fraction of its size, each block of 8 x 8 pixels to fewer. None where that is of no use, or
/// for one of the rarer kinds: then it is decoded whole, as if nothing had been tried.
fn scaled_jpeg(bytes: &[u8], (width, height): (u32, u32), least: u32) -> Option<DynamicImage> {
    let fits = |scale: &u32| width / scale >= least.max(1) && height / scale >= least.max(1);
    let scale = [8, 4, 2].into_iter().find(fits)?;
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let asked = [width, height].map(|side| u16::try_from(side / scale));
    let [Ok(across), Ok(down)] = asked else {
        return None;
    };
    let (across, down) = decoder.scale(across, down).ok()?;
    let format = decoder.info()?.pixel_format;
    let (width, height) = (u32::from(across), u32::from(down));
    // The other kinds (CMYK, 16 bits, lossless) are read in one way alone.
    match format {
        jpeg_decoder::PixelFormat::L8 => {
            let pixels = ::image::GrayImage::from_raw(width, height, decoder.decode().ok()?);
            Some(DynamicImage::ImageLuma8(pixels?))
        }
        jpeg_decoder::PixelFormat::RGB24 => {
            let pixels = ::image::RgbImage::from_raw(width, height, decoder.decode().ok()?);
            Some(DynamicImage::ImageRgb8(pixels?))
        }
        _ => None,
    }
}

/// Lays a picture with transparency over a white ground, rounding to the nearest.
fn over_white(rgba: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for &[red, green, blue, alpha] in rgba.as_chunks::<4>().0 {
        let alpha = u32::from(alpha);
        let blend = |channel: u8| {
            let sum = u32::from(channel) * alpha + 255 * (255 - alpha);
            ((sum + 127) / 255) as u8
        };
        rgb.extend_from_slice(&[blend(red), blend(green), blend(blue)]);
    }
    rgb
}

fn check_dimensions(width: u32, height: u32, limits: &Limits) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::ZeroSized { width, height });
    }
    if width > limits.max_width || height > limits.max_height {
        let limit = format!("{} x {}", limits.max_width, limits.max_height);
        return Err(too_large(width, height, limit));
    }
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(too_large(
            width,
            height,
            format!("{} pixels", limits.max_pixels),
        ));
    }
    Ok(())
}

fn too_large(width: u32, height: u32, limit: String) -> ImageError {
    ImageError::TooLarge {
        width,
        height,
        limit,
    }
}

/// Looks at a PNG's dimensions before the decoder does, which has no error of its own for zero.
fn check_png_header(bytes: &[u8], limits: &Limits) -> Result<(), ImageError> {
    // Signature, then the first chunk: length, "IHDR", width, height, all big-endian.
    let Some(&[w0, w1, w2, w3, h0, h1, h2, h3]) = bytes.get(16..24) else {
        return Err(ImageError::Truncated);
    };
    if &bytes[12..16] != b"IHDR" {
        return Ok(()); // Not for us to name: the decoder will.
    }
    let (width, height) = (
        u32::from_be_bytes([w0, w1, w2, w3]),
        u32::from_be_bytes([h0, h1, h2, h3]),
    );
    check_dimensions(width, height, limits)
}

/// Whether a JPEG file reaches its end marker.
///
/// The decoder fills what is missing of a truncated file with grey and says nothing, so this
/// looks for the end itself: over the marker segments, then through the entropy-coded data,
/// where a marker is a 0xff that neither 0x00 nor a restart follows.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;
    let mut at = 2; // after the start-of-image marker
    loop {
        // At a marker, or at the fill bytes before one.
        match bytes.get(at) {
            Some(0xff) => {}
            // Bytes outside any segment: some writers pad. The decoder skips them too.
            Some(_) => {
                at += 1;
                continue;
            }
            None => return false,
        }
        let Some(&marker) = bytes.get(at + 1) else {
            return false;
        };
        match marker {
            END_OF_IMAGE => return true,
            0xff => {
                at += 1;
                continue;
            }
            0x00 | 0x01 | 0xd0..=0xd8 => {
                at += 2;
                continue;
            }
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
            return false;
        };
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == START_OF_SCAN {
            // Entropy-coded data: only a real marker ends it.
            loop {
                match bytes.get(at..at + 2) {
                    None => return false,
                    Some(&[0xff, 0x00 | 0xff | 0xd0..=0xd7]) => at += 1,
                    Some(&[0xff, _]) => break,
                    Some(_) => at += 1,
                }
            }
        }
    }
}

fn typed(error: LibraryError) -> ImageError {
    if let LibraryError::IoError(io) = &error
        && io.kind() == std::io::ErrorKind::UnexpectedEof
    {
        return ImageError::Truncated;
    }
    ImageError::Undecodable {
        reason: error.to_string(),
    }
}
