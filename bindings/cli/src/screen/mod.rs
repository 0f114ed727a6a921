//! Pictures in a terminal: by what it understands, else by half blocks of its characters.

mod ask;

use crate::error::Failure;
use crate::output::{Output, plain};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitkin::image::{Limits, decode};
use icy_sixel::SixelImage;
use image::codecs::png::PngEncoder;
use image::imageops::{FilterType, overlay, resize};
use image::{ExtendedColorType, ImageEncoder, RgbaImage};
use std::io::{IsTerminal, stdout};

/// Columns of a tile, without the gap behind it.
const COLUMNS: u32 = 18;

/// Columns between tiles.
const GAP: u32 = 2;

/// Lines of a tile, above its caption: characters are about twice as high as wide, so it is a square.
const LINES: u32 = COLUMNS / 2;

/// Pixels of a character for terminals that draw pixels; those that have others scale the picture.
const CHARACTER: (u32, u32) = (10, 20);

/// How a terminal shows pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Graphics {
    /// Kitty's protocol.
    Kitty,
    /// iTerm2's.
    Iterm,
    /// Sixels.
    Sixel,
    /// Upper half blocks in 24-bit colours.
    Blocks,
    /// The same in the 256 colours that all terminals have.
    FewColours,
}

/// A picture and what is written below it.
pub(crate) struct Tile {
    /// The picture's file; none where it is not to be had.
    pub(crate) file: Option<Vec<u8>>,
    pub(crate) caption: String,
}

/// How standard output shows pictures; not at all if it is no terminal.
pub(crate) fn graphics() -> Option<Graphics> {
    static ASKED: std::sync::OnceLock<Option<Graphics>> = std::sync::OnceLock::new();
    *ASKED.get_or_init(|| match stdout().is_terminal() {
        true => ask::graphics(),
        false => None,
    })
}

/// Shows tiles side by side, as many in a row as the terminal has room for.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn show(out: &mut Output, graphics: Graphics, tiles: &[Tile]) -> Result<(), Failure> {
    let fitting = (ask::columns() + GAP) / (COLUMNS + GAP);
    for row in tiles.chunks(fitting.max(1) as usize) {
        let pictures: Vec<Option<RgbaImage>> =
            row.iter().map(|tile| picture(tile, graphics)).collect();
        if pictures.iter().any(Option::is_some) {
            out.line(drawn(graphics, &side_by_side(&pictures, graphics)))?;
        }
        let captions = row.iter().zip(&pictures).map(|(tile, picture)| {
            let text = match (picture, &tile.file) {
                (None, None) => format!("{} (no picture)", tile.caption),
                (None, Some(_)) => format!("{} (unreadable)", tile.caption),
                (Some(_), _) => tile.caption.clone(),
            };
            let width = COLUMNS as usize;
            let text: String = plain(&text).chars().take(width).collect();
            format!("{text:<width$}")
        });
        let gap = " ".repeat(GAP as usize);
        out.line(captions.collect::<Vec<_>>().join(&gap).trim_end())?;
    }
    Ok(())
}

/// Pixels of a character.
fn character(graphics: Graphics) -> (u32, u32) {
    match graphics {
        Graphics::Blocks | Graphics::FewColours => (1, 2),
        Graphics::Kitty | Graphics::Iterm | Graphics::Sixel => CHARACTER,
    }
}

/// The picture, as large as it can be in a tile.
fn picture(tile: &Tile, graphics: Graphics) -> Option<RgbaImage> {
    let whole = decode(tile.file.as_deref()?, &Limits::default()).ok()?;
    let (width, height) = (whole.width(), whole.height());
    let whole = image::RgbImage::from_raw(width, height, whole.into_pixels())?;
    let (across, down) = character(graphics);
    let (across, down) = (f64::from(COLUMNS * across), f64::from(LINES * down));
    let scale = (across / f64::from(width)).min(down / f64::from(height));
    let size = |length: u32| (f64::from(length) * scale).round().max(1.0) as u32;
    let small = resize(&whole, size(width), size(height), FilterType::Triangle);
    Some(image::DynamicImage::ImageRgb8(small).into_rgba8())
}

/// One transparent picture with all of them, each at its place.
fn side_by_side(pictures: &[Option<RgbaImage>], graphics: Graphics) -> RgbaImage {
    let (across, down) = character(graphics);
    let columns = pictures.len() as u32 * (COLUMNS + GAP) - GAP;
    let mut strip = RgbaImage::new(columns * across, LINES * down);
    for (number, picture) in (0..).zip(pictures) {
        if let Some(picture) = picture {
            let left = number * i64::from((COLUMNS + GAP) * across);
            overlay(&mut strip, picture, left, 0);
        }
    }
    strip
}

/// What a terminal must be sent to show a strip, in [`LINES`] lines.
fn drawn(graphics: Graphics, strip: &RgbaImage) -> String {
    let columns = strip.width() / character(graphics).0;
    match graphics {
        Graphics::Kitty => kitty(&png(strip), columns),
        Graphics::Iterm => {
            let data = STANDARD.encode(png(strip));
            format!("\x1b]1337;File=inline=1;width={columns};height={LINES}:{data}\x07")
        }
        Graphics::Sixel => {
            let (width, height) = (strip.width() as usize, strip.height() as usize);
            let sixels = SixelImage::try_from_rgba(strip.as_raw().clone(), width, height);
            // Of a strip that is neither empty nor huge.
            sixels
                .and_then(|sixels| sixels.encode())
                .unwrap_or_default()
        }
        Graphics::Blocks | Graphics::FewColours => blocks(strip, graphics),
    }
}

fn png(strip: &RgbaImage) -> Vec<u8> {
    let mut png = Vec::new();
    let colour = ExtendedColorType::Rgba8;
    // Writing to memory does not fail.
    let _ = PngEncoder::new(&mut png).write_image(strip, strip.width(), strip.height(), colour);
    png
}

/// A PNG in pieces of at most 4096 characters, to be answered with nothing.
fn kitty(png: &[u8], columns: u32) -> String {
    let data = STANDARD.encode(png);
    let mut text = String::new();
    let mut pieces = data.as_bytes().chunks(4096).peekable();
    let mut head = format!("a=T,f=100,q=2,c={columns},r={LINES},");
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        text.push_str(&format!(
            "\x1b_G{head}m={more};{}\x1b\\",
            String::from_utf8_lossy(piece)
        ));
        head.clear();
    }
    text
}

/// Two pixels a character: the upper one is its colour, the lower one what is behind it.
fn blocks(strip: &RgbaImage, graphics: Graphics) -> String {
    let colour = |x: u32, y: u32, place: u8| {
        let image::Rgba([r, g, b, alpha]) = *strip.get_pixel(x, y);
        (alpha > 127).then(|| match graphics {
            Graphics::FewColours => {
                let level = |value: u8| (u32::from(value) * 5 + 127) / 255;
                let number = 16 + 36 * level(r) + 6 * level(g) + level(b);
                format!("\x1b[{place}8;5;{number}m")
            }
            _ => format!("\x1b[{place}8;2;{r};{g};{b}m"),
        })
    };
    let line = |upper: u32| {
        let mut line = String::new();
        for x in 0..strip.width() {
            match (colour(x, upper, 3), colour(x, upper + 1, 4)) {
                (Some(above), Some(below)) => line.push_str(&format!("{above}{below}▀")),
                (Some(above), None) => line.push_str(&format!("\x1b[0m{above}▀")),
                (None, Some(_)) => {
                    let below = colour(x, upper + 1, 3).unwrap_or_default();
                    line.push_str(&format!("\x1b[0m{below}▄"));
                }
                (None, None) => line.push_str("\x1b[0m "),
            }
        }
        line.push_str("\x1b[0m");
        line
    };
    let lines: Vec<String> = (0..strip.height() / 2).map(|row| line(2 * row)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgba;

    /// A file of one colour.
    fn file(width: u32, height: u32, colour: [u8; 4]) -> Vec<u8> {
        png(&RgbaImage::from_pixel(width, height, Rgba(colour)))
    }

    fn tile(width: u32, height: u32, colour: [u8; 4]) -> Tile {
        Tile {
            file: Some(file(width, height, colour)),
            caption: String::new(),
        }
    }

    #[test]
    fn pictures_keep_their_shape() {
        let size = |width, height| {
            let tile = tile(width, height, [1, 2, 3, 255]);
            picture(&tile, Graphics::Kitty).unwrap().dimensions()
        };
        assert_eq!(size(640, 320), (180, 90));
        assert_eq!(size(3, 6), (90, 180));
        assert_eq!(size(1000, 1), (180, 1));
        let junk = Tile {
            file: Some(b"no picture".to_vec()),
            caption: String::new(),
        };
        assert!(picture(&junk, Graphics::Blocks).is_none());
    }

    #[test]
    fn half_blocks_are_the_pixels() {
        let mut strip = RgbaImage::new(2, 2);
        strip.put_pixel(0, 0, Rgba([255, 0, 0, 255]));
        strip.put_pixel(0, 1, Rgba([0, 0, 255, 255]));
        strip.put_pixel(1, 1, Rgba([0, 255, 0, 255]));
        assert_eq!(
            blocks(&strip, Graphics::Blocks),
            "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀\x1b[0m\x1b[38;2;0;255;0m▄\x1b[0m"
        );
        assert!(blocks(&strip, Graphics::FewColours).starts_with("\x1b[38;5;196m\x1b[48;5;21m▀"));
    }

    #[test]
    fn every_protocol_carries_the_picture() {
        let pictures = [[200, 10, 10, 255], [10, 10, 200, 255]]
            .map(|colour| picture(&tile(8, 8, colour), Graphics::Kitty));
        let strip = side_by_side(&pictures, Graphics::Kitty);
        assert_eq!(strip.dimensions(), (380, 180));
        let decoded = |data: &str| {
            image::load_from_memory(&STANDARD.decode(data).unwrap())
                .unwrap()
                .into_rgba8()
        };
        let sent = drawn(Graphics::Kitty, &strip);
        let pieces = sent
            .split("\x1b\\")
            .filter_map(|piece| piece.split_once(';'));
        let data: String = pieces.map(|(_, data)| data).collect();
        assert!(sent.starts_with("\x1b_Ga=T,f=100,q=2,c=38,r=9,m="));
        assert_eq!(decoded(&data), strip);
        let sent = drawn(Graphics::Iterm, &strip);
        let data = sent
            .strip_prefix("\x1b]1337;File=inline=1;width=38;height=9:")
            .unwrap();
        assert_eq!(decoded(data.trim_end_matches('\x07')), strip);
        let sixels = SixelImage::decode(drawn(Graphics::Sixel, &strip).as_bytes()).unwrap();
        let pixel = |x: usize| &sixels.pixels[4 * (90 * sixels.width + x)..][..3];
        assert!(
            pixel(90)[0] > 150 && pixel(290)[2] > 150,
            "{:?} {:?}",
            pixel(90),
            pixel(290)
        );
    }
}
