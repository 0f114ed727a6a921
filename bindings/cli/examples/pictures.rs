//! Draws the demo's pictures, or one sheet that shows all classes, to look at and to tune.
//!
//! ```text
//! cargo run --release -p bitkin-cli --example pictures -- sheet.png [strength] [seed]
//! cargo run --release -p bitkin-cli --example pictures -- folder [strength] [seed]
//! ```

use bitkin_cli::pictures::{CLASSES, Pictures};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Pictures of each class on the sheet.
const COLUMNS: u32 = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(
        arguments
            .next()
            .ok_or("say where: a .png file or a folder")?,
    );
    let mut set = Pictures::default();
    if let Some(strength) = arguments.next() {
        set.strength = strength.parse()?;
    }
    if let Some(seed) = arguments.next() {
        set.seed = seed.parse()?;
    }
    if out.extension().is_none_or(|extension| extension != "png") {
        set.write(&out, &AtomicBool::new(false), &|_| ())?;
        return Ok(());
    }
    let step = set.size + 4;
    let mut sheet = image::RgbImage::from_pixel(
        COLUMNS * step,
        CLASSES.len() as u32 * step,
        image::Rgb([255; 3]),
    );
    for (row, class) in (0..).zip(&CLASSES) {
        for column in 0..COLUMNS {
            let picture = set.draw(class, column);
            image::imageops::replace(
                &mut sheet,
                &picture,
                i64::from(column * step),
                i64::from(row * step),
            );
        }
    }
    sheet.save(&out)?;
    Ok(())
}
