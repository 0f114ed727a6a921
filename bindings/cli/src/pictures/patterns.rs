//! The classes of the generator: each a field that says how deep inside the ink a point lies.
//!
//! A pattern is evaluated in its own plane, where one unit is one cell (a brick, a dot with the
//! space around it), after the picture's rotation, scale, shift and warp have been undone. It
//! gives a distance to the nearest edge, negative inside the ink, which makes antialiasing and
//! blur the same cheap operation, one evaluation a pixel.

use crate::dice::at;
use std::f32::consts::{FRAC_PI_2, PI, TAU};

/// What a pattern says of one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    /// Distance to the nearest edge in cells, negative inside.
    pub(super) edge: f32,
    /// In `[0, 1)`: which shade of the ink this cell or band has.
    pub(super) tint: f32,
}

/// What one picture fixes for its pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Picks the random choices of cells.
    pub(super) salt: u32,
    /// In `[0, 1)`: how much of the cell the ink fills.
    pub(super) weight: f32,
    /// In `[0, 1)`: a second freedom, whose meaning each pattern chooses (amplitude, count, ...).
    pub(super) character: f32,
}

/// A pattern of the plane: point and style to ink.
pub(super) type Pattern = fn(f32, f32, &Style) -> Ink;

fn mix(low: f32, high: f32, t: f32) -> f32 {
    low + (high - low) * t
}

/// Distance from `x` to the nearest whole number.
fn to_whole(x: f32) -> f32 {
    (x - x.round()).abs()
}

/// A zigzag of period 1 between -0.5 and 0.5.
fn triangle_wave(x: f32) -> f32 {
    2.0 * to_whole(x) - 0.5
}

/// Bands of period 1, as wide as `width`, at the whole numbers of `x`.
fn bands(x: f32, width: f32, salt: u32) -> Ink {
    Ink {
        edge: to_whole(x) - width / 2.0,
        tint: at(x.round() as i32, 0, salt),
    }
}

/// One figure for each cell: its own shift, turn and size, never over the cell's border.
/// `figure` gets the point in the frame where the figure has radius 1.
fn scattered(x: f32, y: f32, style: &Style, turning: f32, figure: impl Fn(f32, f32) -> f32) -> Ink {
    // Alternate rows are shifted by half a cell, so that the lattice is no grid of its own.
    let row = y.floor();
    let x = x + if row as i32 & 1 == 0 { 0.0 } else { 0.5 };
    let (cx, cy) = (x.floor() as i32, row as i32);
    let roll = |n| at(cx, cy, style.salt.wrapping_add(n));
    let radius = mix(0.3, 0.46, style.weight) * mix(0.8, 1.0, roll(1));
    let play = 0.49 - radius;
    let px = x - x.floor() - 0.5 - play * (2.0 * roll(2) - 1.0);
    let py = y - row - 0.5 - play * (2.0 * roll(3) - 1.0);
    let (sin, cos) = (turning * (roll(4) - 0.5) * TAU).sin_cos();
    let (px, py) = (
        (px * cos - py * sin) / radius,
        (px * sin + py * cos) / radius,
    );
    Ink {
        edge: figure(px, py) * radius,
        tint: roll(5),
    }
}

pub(super) fn stripes(x: f32, _: f32, style: &Style) -> Ink {
    bands(x, mix(0.35, 0.65, style.weight), style.salt)
}

pub(super) fn checkerboard(x: f32, y: f32, style: &Style) -> Ink {
    let (cx, cy) = (x.floor() as i32, y.floor() as i32);
    let edge = to_whole(x).min(to_whole(y));
    let inside = (cx + cy) & 1 == 0;
    Ink {
        edge: if inside { -edge } else { edge },
        tint: at(cx, cy, style.salt),
    }
}

pub(super) fn dots(x: f32, y: f32, style: &Style) -> Ink {
    scattered(
        x,
        y,
        &Style {
            weight: style.weight * 0.7,
            ..*style
        },
        0.0,
        |x, y| x.hypot(y) - 0.9,
    )
}

pub(super) fn rings(x: f32, y: f32, style: &Style) -> Ink {
    bands(x.hypot(y) * 1.4, mix(0.35, 0.65, style.weight), style.salt)
}

pub(super) fn bricks(x: f32, y: f32, style: &Style) -> Ink {
    let y = y * 1.7;
    let row = y.floor() as i32;
    let x = x * 0.85 + if row & 1 == 0 { 0.0 } else { 0.5 };
    let mortar = mix(0.05, 0.1, style.weight);
    let edge = (to_whole(x) / 0.85).min(to_whole(y) / 1.7);
    Ink {
        edge: mortar - edge,
        tint: at(x.floor() as i32, row, style.salt),
    }
}

pub(super) fn waves(x: f32, y: f32, style: &Style) -> Ink {
    let height = mix(0.25, 0.42, style.character);
    let band = y + height * (x * 0.5 * TAU).sin();
    let ink = bands(band, mix(0.35, 0.6, style.weight), style.salt);
    Ink {
        edge: ink.edge * 0.75,
        ..ink
    }
}

pub(super) fn triangles(x: f32, y: f32, style: &Style) -> Ink {
    scattered(x, y, style, 1.0, |x, y| {
        // Corners on the unit circle: three half planes at a third of a turn.
        let slope = 3f32.sqrt() / 2.0;
        (-y).max(slope * x + 0.5 * y).max(-slope * x + 0.5 * y) - 0.52
    })
}

pub(super) fn crosses(x: f32, y: f32, style: &Style) -> Ink {
    let arm = mix(0.2, 0.32, style.character);
    scattered(x, y, style, 0.25, |x, y| {
        let (x, y) = (x.abs(), y.abs());
        (x.max(y) - 0.95).max(x.min(y) - arm)
    })
}

/// Over and under: squares of three strands, alternately across and along.
pub(super) fn basketweave(x: f32, y: f32, style: &Style) -> Ink {
    let (cx, cy) = (x.floor() as i32, y.floor() as i32);
    let along = (cx + cy) & 1 == 0;
    let strand = if along { y } else { x } * 3.0;
    let width = mix(0.55, 0.75, style.weight);
    // Strands end just short of the neighbouring square, as if they dived under it.
    let end = to_whole(if along { x } else { y });
    let edge = ((strand - strand.floor() - 0.5).abs() - width / 2.0) / 3.0;
    Ink {
        edge: edge.max(0.035 - end),
        tint: at(cx, cy, style.salt),
    }
}

/// Two crossing sets of bands, each a wide and a thin one.
pub(super) fn plaid(x: f32, y: f32, style: &Style) -> Ink {
    let wide = mix(0.1, 0.17, style.weight);
    let set = |t: f32| (to_whole(t) - wide).min(to_whole(t + 0.4) - 0.035);
    let (across, along) = (set(x), set(y));
    let both = across.max(along);
    Ink {
        edge: across.min(along),
        tint: if both < 0.0 { 0.95 } else { 0.25 },
    }
}

pub(super) fn stars(x: f32, y: f32, style: &Style) -> Ink {
    let points = 5.0;
    let waist = mix(0.4, 0.5, style.character);
    scattered(x, y, style, 1.0, |x, y| {
        // Fold into half a point; the edge is the line from the tip to the waist.
        let half = PI / points;
        let angle = (x.atan2(y).rem_euclid(2.0 * half) - half).abs();
        let (px, py) = (
            x.hypot(y) * (half - angle).cos(),
            x.hypot(y) * (half - angle).sin(),
        );
        let (wx, wy) = (waist * half.cos(), waist * half.sin());
        let length = (1.0 - wx).hypot(wy);
        ((px - 1.0) * wy + py * (1.0 - wx)) / length
    })
}

/// Rounded stones: the cells of jittered seeds (Voronoi), with a gap between.
pub(super) fn pebbles(x: f32, y: f32, style: &Style) -> Ink {
    let (cx, cy) = (x.floor() as i32, y.floor() as i32);
    let (mut first, mut second, mut tint) = (f32::MAX, f32::MAX, 0.0);
    for ny in cy - 1..=cy + 1 {
        for nx in cx - 1..=cx + 1 {
            let sx = nx as f32 + mix(0.1, 0.9, at(nx, ny, style.salt));
            let sy = ny as f32 + mix(0.1, 0.9, at(nx, ny, style.salt.wrapping_add(1)));
            let far = (x - sx).hypot(y - sy);
            if far < first {
                (second, first) = (first, far);
                tint = at(nx, ny, style.salt.wrapping_add(2));
            } else if far < second {
                second = far;
            }
        }
    }
    let gap = mix(0.07, 0.16, style.weight);
    Ink {
        edge: gap - (second - first) * 0.5,
        tint,
    }
}

pub(super) fn spirals(x: f32, y: f32, style: &Style) -> Ink {
    let arms = if style.character < 0.5 { 1.0 } else { 2.0 };
    let turn = y.atan2(x) / TAU * arms;
    bands_of_spiral(x.hypot(y) * 1.25 + turn, mix(0.4, 0.6, style.weight))
}

fn bands_of_spiral(x: f32, width: f32) -> Ink {
    // One arm winds through every radius, so its shade must not change from band to band.
    Ink {
        edge: (to_whole(x) - width / 2.0) / 1.25,
        tint: 0.3,
    }
}

pub(super) fn zigzag(x: f32, y: f32, style: &Style) -> Ink {
    let height = mix(0.7, 1.1, style.character);
    let ink = bands(
        y + height * triangle_wave(x * 0.8),
        mix(0.4, 0.6, style.weight),
        style.salt,
    );
    Ink {
        edge: ink.edge * 0.6,
        ..ink
    }
}

pub(super) fn hearts(x: f32, y: f32, style: &Style) -> Ink {
    scattered(x, y, style, 0.35, |x, y| {
        // A turned square with a disc on each upper side, symmetric about x = 0.
        let (x, y) = (x.abs(), -y * 1.05 + 0.08);
        let side = 0.52;
        let square = ((x + y.abs()) / 2f32.sqrt()).max(0.0) - side;
        let disc = (x - side / 2f32.sqrt()).hypot(y - side / 2f32.sqrt()) - side;
        square.min(disc)
    })
}

pub(super) fn gears(x: f32, y: f32, style: &Style) -> Ink {
    let teeth = 7.0 + (style.character * 4.0).floor();
    scattered(x, y, style, 1.0, |x, y| {
        let radius = x.hypot(y);
        let tooth = ((y.atan2(x) * teeth).cos() * 4.0).clamp(-1.0, 1.0);
        let rim = radius - (0.83 + 0.15 * tooth);
        rim.max(0.34 - radius)
    })
}

/// Walls between hexagons.
pub(super) fn honeycomb(x: f32, y: f32, style: &Style) -> Ink {
    // The nearest centre of two interleaved rectangular lattices is the hexagon's.
    let high = 3f32.sqrt();
    let near = |ox: f32, oy: f32| {
        let (cx, cy) = ((x - ox).round() + ox, ((y - oy) / high).round() * high + oy);
        (x - cx, y - cy)
    };
    let (a, b) = (near(0.0, 0.0), near(0.5, high / 2.0));
    let (px, py) = if a.0.hypot(a.1) < b.0.hypot(b.1) {
        a
    } else {
        b
    };
    let (px, py) = (px.abs(), py.abs());
    let inside = 0.5 - px.max(px * 0.5 + py * high / 2.0);
    Ink {
        edge: inside - mix(0.06, 0.13, style.weight),
        tint: 0.3,
    }
}

/// Rows of overlapping round scales, their rims inked.
pub(super) fn scales(x: f32, y: f32, style: &Style) -> Ink {
    let y = y * 2.0;
    // Lower rows lie over upper ones; the first disc that covers the point owns it.
    let lowest = y.floor() as i32 - 2;
    for row in lowest..lowest + 5 {
        let shift = if row & 1 == 0 { 0.0 } else { 0.5 };
        let column = (x - shift).round();
        let far = (x - shift - column).hypot((y - row as f32 - 1.0) * 0.5);
        if far <= 0.56 {
            let rim = mix(0.09, 0.16, style.weight);
            return Ink {
                edge: 0.56 - rim - far,
                tint: at(column as i32, row, style.salt),
            };
        }
    }
    Ink {
        edge: 0.05,
        tint: 0.0,
    }
}

/// Quarter circles, each cell turned by chance (Truchet tiles): paths that never branch.
pub(super) fn mazes(x: f32, y: f32, style: &Style) -> Ink {
    let (cx, cy) = (x.floor() as i32, y.floor() as i32);
    let (mut px, py) = (x - x.floor(), y - y.floor());
    if at(cx, cy, style.salt) < 0.5 {
        px = 1.0 - px;
    }
    let far = px.hypot(py).min((1.0 - px).hypot(1.0 - py));
    Ink {
        edge: (far - 0.5).abs() - mix(0.1, 0.2, style.weight),
        tint: 0.3,
    }
}

pub(super) fn sunbursts(x: f32, y: f32, style: &Style) -> Ink {
    let rays = 7.0 + (style.character * 7.0).floor();
    let (far, angle) = (x.hypot(y), y.atan2(x) + FRAC_PI_2);
    let ray = angle * rays / TAU;
    let width = mix(0.4, 0.6, style.weight);
    let edge = (to_whole(ray) - width / 2.0) * TAU * far / rays;
    let sun = far - 0.45;
    Ink {
        edge: edge.min(sun),
        tint: if sun < 0.0 { 0.9 } else { 0.2 },
    }
}
