//! From a pattern to a picture: placing, colours, light, clutter, blur and noise.

use super::Class;
use super::patterns::{Pattern, Style};
use crate::dice::{Dice, smooth};
use image::RgbImage;

type Colour = [f32; 3];

/// Draws one picture of `class`, `size` pixels square. Everything about it follows from `dice`.
pub(super) fn paint(class: &Class, size: u32, strength: f32, mut dice: Dice) -> RgbImage {
    let layer = Layer::throw(class, strength, &mut dice);
    let palette = Palette::throw(strength, &mut dice);
    let light = Light::throw(strength, &mut dice);
    let clutter = Clutter::throw(strength, &mut dice);

    let pixel = 1.0 / size as f32;
    let blur = pixel * (1.0 + dice.between(0.0, 1.75) * strength * dice.unit());
    let grain = dice.between(0.01, 0.02) + 0.08 * strength * dice.unit();
    let mut picture = RgbImage::new(size, size);
    for (px, py, out) in picture.enumerate_pixels_mut() {
        let (x, y) = (
            (px as f32 + 0.5) * pixel - 0.5,
            (py as f32 + 0.5) * pixel - 0.5,
        );
        let ground = palette.ground(x, y);
        let (cover, tint) = layer.cover(x, y, blur);
        let ink = blend(palette.inks[0], palette.inks[1], tint);
        let mut colour = light.shine(blend(ground, ink, cover), x, y);
        colour = clutter.over(colour, x, y, blur);
        let shared = dice.bell();
        *out = image::Rgb(colour.map(|channel| {
            let noise = grain * (0.7 * shared + 0.7 * dice.bell());
            ((channel + noise).clamp(0.0, 1.0) * 255.0).round() as u8
        }));
    }
    picture
}

/// A pattern, placed: how the picture's plane maps to the pattern's.
struct Layer {
    pattern: Pattern,
    style: Style,
    cells: f32,
    turn: (f32, f32),
    stretch: f32,
    shift: (f32, f32),
    warp: (f32, f32, u32),
}

impl Layer {
    fn throw(class: &Class, strength: f32, dice: &mut Dice) -> Layer {
        let (few, many) = class.cells;
        // Scales are even on a logarithmic scale; undisturbed pictures stay in the middle.
        let (low, high) = (few.ln(), many.ln());
        let middle = (low + high) / 2.0;
        let spread = (high - low) * (0.25 + 0.75 * strength) / 2.0;
        let cells = dice.between(middle - spread, middle + spread).exp();
        let turn = dice.between(-1.0, 1.0) * std::f32::consts::PI * (0.1 + 0.9 * strength).min(1.0);
        let roam = if class.centred {
            cells * (0.08 + 0.24 * strength)
        } else {
            50.0
        };
        Layer {
            pattern: class.pattern,
            style: Style {
                salt: dice.salt(),
                weight: dice.unit(),
                character: dice.unit(),
            },
            cells,
            turn: turn.sin_cos(),
            stretch: dice.between(-0.3, 0.3) * strength,
            shift: (dice.between(-roam, roam), dice.between(-roam, roam)),
            warp: (
                dice.between(0.0, 0.09) * strength,
                dice.between(2.0, 4.0),
                dice.salt(),
            ),
        }
    }

    /// How much of the point is inked, `[0, 1]`, and the ink's shade.
    fn cover(&self, x: f32, y: f32, blur: f32) -> (f32, f32) {
        let (depth, bumps, salt) = self.warp;
        let bend = |salt| depth * (smooth(x * bumps, y * bumps, salt) - 0.5) * 2.0;
        let (x, y) = (x + bend(salt), y + bend(salt.wrapping_add(1)));
        let (sin, cos) = self.turn;
        let (x, y) = (x * cos - y * sin, x * sin + y * cos);
        let x = x * self.cells * (1.0 + self.stretch) + self.shift.0;
        let y = y * self.cells * (1.0 - self.stretch) + self.shift.1;
        let ink = (self.pattern)(x, y, &self.style);
        (
            (0.5 - ink.edge / (blur * self.cells)).clamp(0.0, 1.0),
            ink.tint,
        )
    }
}

/// A ground with a slow drift between two colours, and two related inks.
struct Palette {
    grounds: [Colour; 2],
    inks: [Colour; 2],
    drift: (f32, u32),
}

impl Palette {
    fn throw(strength: f32, dice: &mut Dice) -> Palette {
        // Lightness must differ by this much at least, whatever the hues.
        let gap = 0.5 - 0.36 * strength * dice.unit();
        let ground = dice.between(0.2, 0.95);
        let darker = (ground - gap - dice.between(0.0, 0.15)).max(0.08);
        let lighter = (ground + gap + dice.between(0.0, 0.15)).min(0.98);
        let ink = if ground - darker >= gap && (lighter - ground < gap || dice.chance(0.5)) {
            darker
        } else {
            lighter
        };
        let (hue, other) = (dice.unit(), dice.unit());
        let (pale, rich) = (dice.between(0.01, 0.12), dice.between(0.05, 0.2));
        let near = dice.between(-0.12, 0.12);
        let beside = dice.between(-0.14, 0.14);
        Palette {
            grounds: [
                oklch(ground, pale, hue),
                oklch(ground + near * 0.6, pale, hue + near),
            ],
            inks: [
                oklch(ink, rich, other),
                oklch(ink + beside * 0.7, rich, other + beside),
            ],
            drift: (dice.between(1.0, 3.0), dice.salt()),
        }
    }

    fn ground(&self, x: f32, y: f32) -> Colour {
        let (bumps, salt) = self.drift;
        blend(
            self.grounds[0],
            self.grounds[1],
            smooth(x * bumps + 7.0, y * bumps + 7.0, salt),
        )
    }
}

/// Light that falls off to one side, and darker corners.
struct Light {
    slope: (f32, f32),
    corners: f32,
}

impl Light {
    fn throw(strength: f32, dice: &mut Dice) -> Light {
        let (sin, cos) = (dice.unit() * std::f32::consts::TAU).sin_cos();
        let fall = dice.between(0.0, 0.2 + 0.6 * strength);
        Light {
            slope: (cos * fall, sin * fall),
            corners: dice.between(0.0, 0.5),
        }
    }

    fn shine(&self, colour: Colour, x: f32, y: f32) -> Colour {
        let bright = 1.0 + self.slope.0 * x + self.slope.1 * y - self.corners * (x * x + y * y);
        colour.map(|channel| channel * bright)
    }
}

/// Things that lie on the picture and belong to no class: discs, boxes and strokes.
struct Clutter(Vec<Scrap>);

struct Scrap {
    centre: (f32, f32),
    half: (f32, f32),
    turn: (f32, f32),
    round: bool,
    colour: Colour,
    opacity: f32,
}

impl Clutter {
    fn throw(strength: f32, dice: &mut Dice) -> Clutter {
        let most = (strength * 3.0).round() as u32;
        let scrap = |dice: &mut Dice| {
            let long = dice.between(0.05, 0.1 + 0.08 * strength);
            let stroke = dice.chance(0.35);
            Scrap {
                centre: (dice.between(-0.5, 0.5), dice.between(-0.5, 0.5)),
                half: if stroke {
                    (long * 2.0, dice.between(0.008, 0.02))
                } else {
                    (long, long * dice.between(0.4, 1.0))
                },
                turn: (dice.unit() * std::f32::consts::TAU).sin_cos(),
                round: dice.chance(0.5),
                colour: oklch(
                    dice.between(0.15, 0.95),
                    dice.between(0.0, 0.2),
                    dice.unit(),
                ),
                opacity: dice.between(0.5, 1.0),
            }
        };
        let count = dice.whole(most / 3, most.max(1));
        Clutter(
            (0..if most == 0 { 0 } else { count })
                .map(|_| scrap(dice))
                .collect(),
        )
    }

    fn over(&self, mut colour: Colour, x: f32, y: f32, blur: f32) -> Colour {
        for scrap in &self.0 {
            let (dx, dy) = (x - scrap.centre.0, y - scrap.centre.1);
            let (sin, cos) = scrap.turn;
            let (dx, dy) = ((dx * cos - dy * sin).abs(), (dx * sin + dy * cos).abs());
            let edge = if scrap.round {
                ((dx / scrap.half.0).hypot(dy / scrap.half.1) - 1.0) * scrap.half.1
            } else {
                (dx - scrap.half.0).max(dy - scrap.half.1)
            };
            let cover = (0.5 - edge / blur).clamp(0.0, 1.0) * scrap.opacity;
            colour = blend(colour, scrap.colour, cover);
        }
        colour
    }
}

fn blend(a: Colour, b: Colour, t: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

/// A colour by lightness `[0, 1]`, chroma (0 grey, 0.2 vivid) and hue (turns), as sRGB `[0, 1]`.
///
/// The space is Oklab (Ottosson 2020): equal steps of lightness look equal, which keeps the
/// contrast of ink and ground what the palette asked for, whatever the hues.
fn oklch(lightness: f32, chroma: f32, hue: f32) -> Colour {
    let lightness = lightness.clamp(0.0, 1.0);
    let (sin, cos) = (hue * std::f32::consts::TAU).sin_cos();
    let (a, b) = (chroma * cos, chroma * sin);
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    let linear = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ];
    linear.map(|c| {
        let c = c.clamp(0.0, 1.0);
        if c <= 0.003_130_8 {
            12.92 * c
        } else {
            1.055 * c.powf(1.0 / 2.4) - 0.055
        }
    })
}
