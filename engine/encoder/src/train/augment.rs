//! Random changes of pictures that leave what they show: crop, turn, flip, colour, grey and blur, on libtorch.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, TchError, Tensor};

/// Within what pictures are changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// Least share of the picture's area that a crop keeps; the most is all of it. A crop's sides are as 3 to 4
    /// at the most, and it is brought to the whole size.
    pub least_area: f32,
    /// Largest turn, in radians.
    pub turn: f32,
    /// How often colours are changed: contrast, brightness, saturation and the balance of channels.
    pub jitter: f32,
    /// Contrast is multiplied by a number of this range.
    pub contrast: (f32, f32),
    /// Each channel is multiplied by one plus up to this number, up or down.
    pub balance: f32,
    /// What is added at most, up or down, to values of 0 to 1.
    pub brightness: f32,
    /// Saturation is multiplied by a number of this range.
    pub saturation: (f32, f32),
    /// How often a picture loses its colours.
    pub grey: f32,
    /// How often a picture is blurred.
    pub blur: f32,
    /// Largest deviation of the Gaussian blur, in parts of the picture's width.
    pub blur_width: f32,
}

/// What is done to one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    /// From places in the result to places in the picture, both of −1 to 1: `[2, 3]`.
    affine: [f32; 6],
    gain: [f32; 3],
    offset: f32,
    saturation: f32,
    /// Deviation of the blur in parts of the width; 0 for none.
    blur: f32,
}

impl Augmentation {
    /// Draws what is done to `count` pictures.
    pub(super) fn draw(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<Change> {
        (0..count).map(|_| self.draw_one(rng)).collect()
    }

    fn draw_one(&self, rng: &mut ChaCha8Rng) -> Change {
        /// Logarithm of 4 / 3.
        const ASPECT: f32 = 0.29;
        let area = within(rng, (self.least_area, 1.0));
        let aspect = within(rng, (-ASPECT, ASPECT)).exp();
        let (sx, sy) = (
            (area * aspect).sqrt().min(1.0),
            (area / aspect).sqrt().min(1.0),
        );
        let (tx, ty) = (
            rng.random_range(-1.0..=1.0) * (1.0 - sx),
            rng.random_range(-1.0..=1.0) * (1.0 - sy),
        );
        let (sin, cos) = within(rng, (-self.turn, self.turn)).sin_cos();
        let flip = if rng.random::<bool>() { -1.0 } else { 1.0 };
        let mut change = Change {
            affine: [
                sx * cos * flip,
                -sy * sin,
                tx,
                sx * sin * flip,
                sy * cos,
                ty,
            ],
            gain: [1.0; 3],
            offset: 0.0,
            saturation: 1.0,
            blur: 0.0,
        };
        let jitters = happens(rng, self.jitter);
        if jitters {
            let contrast = within(rng, self.contrast);
            for gain in &mut change.gain {
                *gain = contrast * within(rng, (1.0 - self.balance, 1.0 + self.balance));
            }
            change.offset = within(rng, (-self.brightness, self.brightness));
        }
        if happens(rng, self.grey) {
            change.saturation = 0.0;
        } else if jitters {
            change.saturation = within(rng, self.saturation);
        }
        if happens(rng, self.blur) {
            change.blur = within(rng, (0.0, self.blur_width));
        }
        change
    }
}

/// A number of a range, which may have but one.
fn within(rng: &mut ChaCha8Rng, (least, most): (f32, f32)) -> f32 {
    match least < most {
        true => rng.random_range(least..most),
        false => least,
    }
}

/// Whether something happens that does so with this probability; certainties are not drawn.
fn happens(rng: &mut ChaCha8Rng, probability: f32) -> bool {
    probability >= 1.0 || (probability > 0.0 && rng.random::<f32>() < probability)
}

/// Pictures u8 `[n, 3, h, w]`, each changed as is said, brought to `height` × `width`: f32 `[n, 3, height, width]`,
/// 0 to 1.
pub(super) fn changed(
    pixels: &Tensor,
    changes: &[Change],
    [height, width]: [i64; 2],
) -> Result<Tensor, TchError> {
    let n = changes.len() as i64;
    let column = |values: &dyn Fn(&Change) -> f32| {
        let values: Vec<f32> = changes.iter().map(values).collect();
        Tensor::from_slice(&values).view([n, 1, 1, 1])
    };
    let x = pixels.f_to_kind(Kind::Float)? / 255.0;
    let affine: Vec<f32> = changes.iter().flat_map(|c| c.affine).collect();
    let affine = Tensor::from_slice(&affine).f_view([n, 2, 3])?;
    let grid = Tensor::f_affine_grid_generator(&affine, [n, 3, height, width], false)?;
    // Mode 0 is bilinear, padding 2 reflects.
    let x = x.f_grid_sampler(&grid, 0, 2, false)?;
    let grey = x.f_mean_dim([1i64].as_slice(), true, Kind::Float)?;
    let x = (x - &grey) * column(&|c| c.saturation) + grey;
    let gain: Vec<f32> = changes.iter().flat_map(|c| c.gain).collect();
    let x = (x - 0.5) * Tensor::from_slice(&gain).f_view([n, 3, 1, 1])? + 0.5;
    let x = (x + column(&|c| c.offset)).f_clamp(0.0, 1.0)?;
    let deviations: Vec<f32> = changes.iter().map(|c| c.blur * width as f32).collect();
    blurred(x, &deviations)
}

/// Gaussian blur of f32 `[n, 3, h, w]`, by deviations in pixels; edges are reflected.
fn blurred(x: Tensor, deviations: &[f32]) -> Result<Tensor, TchError> {
    let largest = deviations.iter().fold(0f32, |most, d| most.max(*d));
    let size = x.size();
    let (n, height, width) = (size[0], size[2], size[3]);
    // Reflection needs more pixels than it adds.
    let radius = (3.0 * largest).ceil().min((height.min(width) - 1) as f32) as i64;
    if radius == 0 {
        return Ok(x);
    }
    let mut kernels = Vec::new();
    for &deviation in deviations {
        let weight = |offset: i64| match deviation > 0.0 {
            true => (-0.5 * (offset as f32 / deviation).powi(2)).exp(),
            false => f32::from(u8::from(offset == 0)),
        };
        let weights: Vec<f32> = (-radius..=radius).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        for _ in 0..3 {
            kernels.extend(weights.iter().map(|w| w / sum));
        }
    }
    let kernels = Tensor::from_slice(&kernels);
    let length = 2 * radius + 1;
    let x = x.f_view([1, 3 * n, height, width])?;
    let x = x.f_reflection_pad2d([radius; 4])?;
    let along = |x: &Tensor, shape: [i64; 4]| {
        x.f_conv2d(&kernels.f_view(shape)?, None::<Tensor>, 1, 0, 1, 3 * n)
    };
    let x = along(&x, [3 * n, 1, length, 1])?;
    along(&x, [3 * n, 1, 1, length])?.f_view([n, 3, height, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use tch::Device;

    const NOTHING: Augmentation = Augmentation {
        least_area: 1.0,
        turn: 0.0,
        jitter: 0.0,
        contrast: (1.0, 1.0),
        balance: 0.0,
        brightness: 0.0,
        saturation: (1.0, 1.0),
        grey: 0.0,
        blur: 0.0,
        blur_width: 0.0,
    };

    fn picture(n: i64) -> Tensor {
        let count = n * 3 * 12 * 10;
        let values: Vec<u8> = (0..count).map(|i| (i * 89 % 251) as u8).collect();
        Tensor::from_slice(&values).view([n, 3, 12, 10])
    }

    fn differs(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    #[test]
    fn one_change_at_a_time_does_what_it_says() {
        let plain = picture(1).to_kind(Kind::Float) / 255.0;
        let straight = Change {
            affine: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            gain: [1.0; 3],
            offset: 0.0,
            saturation: 1.0,
            blur: 0.0,
        };
        let of = |change: Change| changed(&picture(1), &[change], [12, 10]).unwrap();
        assert!(differs(&of(straight), &plain) < 1e-5);
        let flipped = Change {
            affine: [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            ..straight
        };
        assert!(differs(&of(flipped), &plain.flip([3])) < 1e-5);
        let grey = of(Change {
            saturation: 0.0,
            ..straight
        });
        let mean = plain.mean_dim([1i64].as_slice(), true, Kind::Float);
        assert!(differs(&grey, &mean.expand_as(&plain)) < 1e-5);
        let bright = of(Change {
            offset: 0.25,
            ..straight
        });
        assert!(differs(&bright, &(&plain + 0.25).clamp(0.0, 1.0)) < 1e-5);
        let stronger = of(Change {
            gain: [0.5; 3],
            ..straight
        });
        assert!(differs(&stronger, &((&plain - 0.5) * 0.5 + 0.5)) < 1e-5);
    }

    /// A point becomes a bell of the width asked for; a picture beside it that is not blurred stays.
    #[test]
    fn blur_spreads_a_point_and_keeps_its_sum() {
        let points = Tensor::zeros([2, 3, 21, 21], (Kind::Float, Device::Cpu));
        let _ = points.narrow(2, 10, 1).narrow(3, 10, 1).fill_(1.0);
        let both = blurred(points.copy(), &[1.5, 0.0]).unwrap();
        assert!(differs(&both.get(1), &points.get(1)) < 1e-6);
        let bell = both.get(0).get(0);
        let at = |y: i64, x: i64| bell.double_value(&[y, x]);
        assert!((bell.sum(Kind::Double).double_value(&[]) - 1.0).abs() < 1e-5);
        let expected = (-0.5f64 * (2.0f64 / 1.5).powi(2)).exp();
        assert!((at(10, 12) / at(10, 10) - expected).abs() < 1e-5);
        assert!((at(12, 10) - at(10, 12)).abs() < 1e-7);
        // Wider than the picture.
        let flat = blurred(points, &[50.0, 50.0]).unwrap();
        assert!(flat.isfinite().all().int64_value(&[]) == 1);
    }

    #[test]
    fn ranges_without_width_change_nothing_and_draws_follow_the_seed() {
        let mut drawn = NOTHING.draw(8, &mut rng());
        // Half of them are flipped.
        assert!(drawn.iter().any(|c| c.affine[0] < 0.0));
        drawn
            .iter_mut()
            .for_each(|c| c.affine[0] = c.affine[0].abs());
        let plain = picture(8).to_kind(Kind::Float) / 255.0;
        // The aspect alone remains of a crop that keeps the whole area.
        drawn
            .iter_mut()
            .for_each(|c| c.affine = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert!(differs(&changed(&picture(8), &drawn, [12, 10]).unwrap(), &plain) < 1e-5);

        let all = Augmentation {
            least_area: 0.3,
            jitter: 0.8,
            contrast: (0.6, 1.4),
            grey: 0.2,
            blur: 0.5,
            blur_width: 0.2,
            ..NOTHING
        };
        assert_eq!(all.draw(50, &mut rng()), all.draw(50, &mut rng()));
        let drawn = all.draw(1000, &mut rng());
        let count = |what: fn(&Change) -> bool| drawn.iter().filter(|c| what(c)).count();
        assert!((430..570).contains(&count(|c| c.blur > 0.0)));
        assert!((150..250).contains(&count(|c| c.saturation == 0.0)));
        assert!((740..860).contains(&count(|c| c.gain[0] != 1.0)));
        let views = changed(&picture(50), &drawn[..50], [6, 7]).unwrap();
        assert_eq!(views.size(), [50, 3, 6, 7]);
        let bounds = (views.min().double_value(&[]), views.max().double_value(&[]));
        assert!(bounds.0 >= 0.0 && bounds.1 <= 1.0 + 1e-6);
    }
}
