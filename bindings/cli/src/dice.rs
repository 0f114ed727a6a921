//! Random numbers that stay the same for a seed, whatever library versions are linked.

/// A small random stream (SplitMix64, Steele, Lea and Flood 2014): every picture has its own, so
/// pictures can be drawn in any order, by any number of threads, and come out the same.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A stream that depends on every one of `keys` and on their order.
    pub(crate) fn new(keys: &[u64]) -> Dice {
        let state = keys.iter().fold(0x6269_746b_696e_0001, |state: u64, &key| {
            scramble(state ^ scramble(key))
        });
        Dice(state)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f32 {
        to_unit(self.next())
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform among the whole numbers `low..=high`.
    pub(crate) fn whole(&mut self, low: u32, high: u32) -> u32 {
        low + (self.unit() * (high - low + 1) as f32) as u32
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Roughly normal, mean 0 and deviation 1 (the sum of four uniforms, so never beyond 3.5).
    pub(crate) fn bell(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.unit()).sum();
        (sum - 2.0) * 3f32.sqrt()
    }

    /// A fresh salt for [`at`].
    pub(crate) fn salt(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn to_unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1u64 << 24) as f32
}

/// A random number in `[0, 1)` for the lattice cell `(x, y)`; `salt` picks one of many fields.
pub(crate) fn at(x: i32, y: i32, salt: u32) -> f32 {
    let place = (x as u32 as u64) << 32 | y as u32 as u64;
    to_unit(scramble(scramble(place).wrapping_add(salt as u64)))
}

/// Smooth noise in `[0, 1)`: lattice values blended with a cubic, one bump a unit.
pub(crate) fn smooth(x: f32, y: f32, salt: u32) -> f32 {
    let (ix, iy) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (fx, fy) = (ease(x - ix), ease(y - iy));
    let (ix, iy) = (ix as i32, iy as i32);
    let row = |y| {
        let left = at(ix, y, salt);
        left + (at(ix + 1, y, salt) - left) * fx
    };
    let top = row(iy);
    top + (row(iy + 1) - top) * fy
}

/// Shuffles `items` in place (Fisher and Yates); the same seed gives the same order.
pub(crate) fn shuffle<T>(items: &mut [T], dice: &mut Dice) {
    for last in (1..items.len()).rev() {
        items.swap(last, (dice.next() % (last as u64 + 1)) as usize);
    }
}
