use std::path::Path;

use super::*;
use crate::encoder::ImageInput;
use ::image::{ExtendedColorType, ImageEncoder, ImageFormat};

fn encoded(pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    ::image::codecs::png::PngEncoder::new(&mut file)
        .write_image(pixels, width, height, color)
        .unwrap();
    file
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height * 3)
        .map(|i| (i * 7 % 251) as u8)
        .collect();
    let mut file = Vec::new();
    ::image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 90)
        .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
        .unwrap();
    file
}

/// A JPEG of soft waves with some noise, as photographs are, in colour or in grey.
fn photograph(width: u32, height: u32, colour: ExtendedColorType) -> Vec<u8> {
    let channels = u32::from(colour.channel_count());
    let pixels: Vec<u8> = (0..width * height * channels)
        .map(|i| {
            let (place, channel) = (i / channels, i % channels);
            let (x, y) = ((place % width) as f32, (place / width) as f32);
            let wave = (x * 0.05 + channel as f32).sin() + (y * 0.03 - channel as f32).cos();
            let noise = (place.wrapping_mul(2_654_435_761) >> 28) as f32;
            (110.0 + 50.0 * wave + noise) as u8
        })
        .collect();
    let mut file = Vec::new();
    ::image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 90)
        .write_image(&pixels, width, height, colour)
        .unwrap();
    file
}

/// A PNG header that claims these dimensions, with a correct checksum, and nothing after it.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut crc = !0u32;
    for &byte in &chunk {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(chunk);
    file.extend((!crc).to_be_bytes());
    file
}

fn decoded(bytes: &[u8]) -> RgbImage {
    decode(bytes, &Limits::default()).unwrap()
}

fn refused(bytes: &[u8]) -> ImageError {
    decode(bytes, &Limits::default()).unwrap_err()
}

#[test]
fn every_format_that_is_read_gives_its_pixels() {
    let pixels = vec![10, 20, 30, 40, 50, 60];
    let picture = ::image::RgbImage::from_raw(2, 1, pixels.clone()).unwrap();
    for format in [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
        ImageFormat::WebP,
    ] {
        let mut file = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        let picture = decoded(file.get_ref());
        assert_eq!((picture.width(), picture.height()), (2, 1));
        assert_eq!(picture.pixels(), pixels, "{format:?}");
        assert!(has_picture_magic(&file.get_ref()[..16]), "{format:?}");
    }
    let mut gif = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut gif, ImageFormat::Gif).unwrap();
    assert_eq!(decoded(gif.get_ref()).width(), 2);
    let picture = decoded(&jpeg(33, 17));
    assert_eq!((picture.width(), picture.height()), (33, 17));
}

#[test]
fn grey_deep_and_transparent_pictures_become_rgb() {
    let grey = encoded(&[7, 200], 2, 1, ExtendedColorType::L8);
    assert_eq!(decoded(&grey).pixels(), [7, 7, 7, 200, 200, 200]);

    let deep: Vec<u8> = [0u16, 0x8080, 0xffff]
        .iter()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    let deep = encoded(&deep, 1, 1, ExtendedColorType::Rgb16);
    assert_eq!(decoded(&deep).pixels(), [0, 128, 255]);

    let rgba = [100, 0, 255, 255, 100, 0, 255, 0, 100, 0, 255, 128];
    let transparent = encoded(&rgba, 3, 1, ExtendedColorType::Rgba8);
    let expected = [100, 0, 255, 255, 255, 255, 177, 127, 255];
    assert_eq!(decoded(&transparent).pixels(), expected);

    let grey_alpha = encoded(&[0, 0, 0, 255], 2, 1, ExtendedColorType::La8);
    assert_eq!(decoded(&grey_alpha).pixels(), [255, 255, 255, 0, 0, 0]);
}

#[test]
fn a_jpeg_that_is_made_small_anyway_is_decoded_small() {
    let input = ImageInput::stretch(40, 40);
    let limits = Limits::default();
    let colours = [ExtendedColorType::Rgb8, ExtendedColorType::L8];
    // Sides that are no multiples of the scale are rounded up, so what lies far from the corner moves by up to a
    // part of a pixel: here, half a step of a wave.
    let sizes = [(400, 324, 0.5), (403, 322, 1.5)];
    for (colour, (width, height, most)) in colours.into_iter().flat_map(|c| sizes.map(|s| (c, s))) {
        let file = photograph(width, height, colour);
        let whole = decode(&file, &limits).unwrap();
        let small = decode_for(&file, &limits, Some(input.least_side())).unwrap();
        // An eighth would leave 40 lines of the 80 that are wanted.
        assert_eq!((small.width(), small.height()), (width.div_ceil(4), 81));
        let (whole, small) = (fit(&whole, &input).unwrap(), fit(&small, &input).unwrap());
        let apart = whole.iter().zip(&small).map(|(a, b)| a.abs_diff(*b));
        let mean = apart.map(f64::from).sum::<f64>() / whole.len() as f64;
        assert!(
            mean < most,
            "{colour:?} {width} x {height}: {mean} on average"
        );
    }
    // As it is, if it is too small for that or of another format.
    let file = photograph(79, 300, ExtendedColorType::Rgb8);
    assert_eq!(
        decode_for(&file, &limits, Some(40)).unwrap(),
        decode(&file, &limits).unwrap()
    );
    let png = encoded(&[7; 200 * 200], 200, 200, ExtendedColorType::L8);
    assert_eq!(decode_for(&png, &limits, Some(8)).unwrap().width(), 200);
    // And a file that is cut short is refused either way.
    let cut = &photograph(400, 400, ExtendedColorType::Rgb8)[..2000];
    assert_eq!(decode_for(cut, &limits, Some(8)), decode(cut, &limits));
}

#[test]
fn exif_orientation_is_applied() {
    let upright = jpeg(24, 8);
    // An APP1 segment after the start: TIFF header, one entry, orientation 6 (turn right).
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut turned = upright[..2].to_vec();
    turned.extend([0xff, 0xe1]);
    turned.extend((exif.len() as u16 + 2).to_be_bytes());
    turned.extend(exif);
    turned.extend(&upright[2..]);
    let small = decode_for(&turned, &Limits::default(), Some(2)).unwrap();
    assert_eq!((small.width(), small.height()), (2, 6));
    let (upright, turned) = (decoded(&upright), decoded(&turned));
    assert_eq!((turned.width(), turned.height()), (8, 24));
    // Turned right, the first row becomes the last column.
    let last_column = &turned.pixels()[7 * 3..8 * 3];
    assert_eq!(last_column, &upright.pixels()[..3]);
}

#[test]
fn bombs_are_refused_by_their_header() {
    for (width, height) in [
        (60_000, 60_000),
        (20_000, 20_000),
        (u32::MAX >> 1, 1),
        (1, 40_000),
    ] {
        let error = refused(&png_header(width, height));
        assert!(
            matches!(error, ImageError::TooLarge { width: w, height: h, .. } if (w, h) == (width, height)),
            "{error}"
        );
    }
    // The same through a decoder's own header: 60,000 x 60,000 of PNM.
    let error = refused(b"P6 60000 60000 255\n0");
    assert!(
        matches!(error, ImageError::TooLarge { width: 60_000, .. }),
        "{error}"
    );

    let small = Limits {
        max_pixels: 100,
        ..Limits::default()
    };
    assert!(matches!(
        decode(&jpeg(11, 10), &small),
        Err(ImageError::TooLarge { .. })
    ));
    assert!(decode(&jpeg(10, 10), &small).is_ok());
    let short = Limits {
        max_file_bytes: 10,
        ..Limits::default()
    };
    assert!(matches!(
        decode(&jpeg(1, 1), &short),
        Err(ImageError::FileTooLarge { limit: 10, .. })
    ));
}

#[test]
fn pictures_without_pixels_are_refused() {
    for (width, height) in [(0, 0), (0, 5), (5, 0)] {
        assert_eq!(
            refused(&png_header(width, height)),
            ImageError::ZeroSized { width, height }
        );
    }
    assert_eq!(refused(b""), ImageError::Empty);
}

#[test]
fn truncated_pictures_are_refused_and_never_filled_up() {
    let whole = jpeg(64, 64);
    assert!(decode(&whole, &Limits::default()).is_ok());
    for length in (4..whole.len()).step_by(7).chain([whole.len() - 1]) {
        assert_eq!(
            refused(&whole[..length]),
            ImageError::Truncated,
            "{length} of {}",
            whole.len()
        );
    }
    // Bytes after the end are none of our business.
    assert!(decode(&[&whole[..], b"trailer"].concat(), &Limits::default()).is_ok());

    let noise: Vec<u8> = (0..64 * 64 * 3)
        .map(|i: u32| (i.pow(2) % 253) as u8)
        .collect();
    let png = encoded(&noise, 64, 64, ExtendedColorType::Rgb8);
    for length in [8, 20, 40, png.len() / 2, png.len() - 20] {
        let error = refused(&png[..length]);
        assert!(
            matches!(
                error,
                ImageError::Truncated | ImageError::Undecodable { .. }
            ),
            "{length}: {error}"
        );
    }
}

#[test]
fn what_is_no_picture_is_said_to_be_none() {
    for text in [
        &b"hello, this is a text file"[..],
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"\0\0\0\0",
    ] {
        assert_eq!(refused(text), ImageError::UnknownFormat);
        assert!(!has_picture_magic(text));
    }
    let mut broken = encoded(&[1, 2, 3], 1, 1, ExtendedColorType::Rgb8);
    broken[30] ^= 0x55;
    assert!(matches!(refused(&broken), ImageError::Undecodable { .. }));
    for (name, expected) in [
        ("a.JPG", true),
        ("a.jpeg", true),
        ("a.txt", false),
        ("jpg", false),
        ("a.tar", false),
    ] {
        assert_eq!(has_picture_name(Path::new(name)), expected, "{name}");
    }
}
