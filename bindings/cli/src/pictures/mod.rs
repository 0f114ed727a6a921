//! The demo's own pictures: small, coloured, of twenty classes of shape and texture.
//!
//! `bitkin demo` must run where there is no data at all, so it draws its data. Every picture is a
//! pure function of (seed, class, number, strength): the same arguments give the same pixels,
//! in any order and on any number of threads. Twelve classes are **base** (there is plenty of
//! them, with labels, to learn from) and eight are **novel** (five examples each).
//!
//! Within a class, scale, rotation, position, warp, colours, contrast, light, blur and grain vary
//! and clutter lies on top; [`Pictures::strength`] says how much of all that, and so how hard it
//! is to find a picture's class again.

mod paint;
mod patterns;

use crate::dice::Dice;
use crate::error::Failure;
use image::{ImageEncoder, RgbImage};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a class is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Many labelled pictures, to build prior prototypes from.
    Base,
    /// A few examples to adapt to; the rest is searched.
    Novel,
}

/// One class of the generator.
pub struct Class {
    /// Its name, also the name of its folder.
    pub name: &'static str,
    /// Base or novel.
    pub role: Role,
    pattern: patterns::Pattern,
    /// Fewest and most cells of the pattern across a picture.
    cells: (f32, f32),
    /// The pattern has a middle, which stays in the picture.
    centred: bool,
}

impl std::fmt::Debug for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:?})", self.name, self.role)
    }
}

const fn class(
    name: &'static str,
    role: Role,
    pattern: patterns::Pattern,
    cells: (f32, f32),
    centred: bool,
) -> Class {
    Class {
        name,
        role,
        pattern,
        cells,
        centred,
    }
}

/// All classes. The order is part of what a seed means: append, never reorder.
pub const CLASSES: [Class; 20] = [
    class(
        "stripes",
        Role::Novel,
        patterns::stripes,
        (4.0, 10.0),
        false,
    ),
    class(
        "checkerboard",
        Role::Novel,
        patterns::checkerboard,
        (4.0, 9.0),
        false,
    ),
    class("dots", Role::Base, patterns::dots, (3.0, 7.0), false),
    class("rings", Role::Base, patterns::rings, (5.0, 11.0), true),
    class("bricks", Role::Base, patterns::bricks, (3.0, 6.5), false),
    class("waves", Role::Base, patterns::waves, (4.0, 9.0), false),
    class(
        "triangles",
        Role::Novel,
        patterns::triangles,
        (2.0, 5.0),
        false,
    ),
    class("crosses", Role::Base, patterns::crosses, (2.0, 5.0), false),
    class(
        "basketweave",
        Role::Novel,
        patterns::basketweave,
        (3.0, 7.0),
        false,
    ),
    class("plaid", Role::Base, patterns::plaid, (2.5, 6.0), false),
    class("stars", Role::Base, patterns::stars, (2.0, 5.0), false),
    class("pebbles", Role::Base, patterns::pebbles, (3.0, 8.0), false),
    class("spirals", Role::Base, patterns::spirals, (4.0, 9.0), true),
    class("zigzag", Role::Base, patterns::zigzag, (4.0, 9.0), false),
    class("hearts", Role::Novel, patterns::hearts, (2.0, 5.0), false),
    class("gears", Role::Novel, patterns::gears, (1.6, 4.0), false),
    class(
        "honeycomb",
        Role::Novel,
        patterns::honeycomb,
        (3.5, 8.0),
        false,
    ),
    class("scales", Role::Base, patterns::scales, (3.0, 7.0), false),
    class("mazes", Role::Base, patterns::mazes, (4.0, 9.0), false),
    class(
        "sunbursts",
        Role::Novel,
        patterns::sunbursts,
        (2.5, 5.0),
        true,
    ),
];

/// A set of pictures to draw.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// Another seed draws other pictures of the same classes.
    pub seed: u64,
    /// Width and height in pixels.
    pub size: u32,
    /// From 0 (clean, upright, high contrast) to 1 (turned, cluttered, faint, noisy).
    pub strength: f32,
    /// Pictures of each base class.
    pub per_base: u32,
    /// Pictures of each novel class.
    pub per_novel: u32,
}

impl Default for Pictures {
    fn default() -> Pictures {
        Pictures {
            seed: 0,
            size: 96,
            strength: 0.5,
            per_base: 150,
            per_novel: 150,
        }
    }
}

impl Pictures {
    /// Draws picture `number` of `class`.
    pub fn draw(&self, class: &Class, number: u32) -> RgbImage {
        let index = CLASSES
            .iter()
            .position(|c| c.name == class.name)
            .unwrap_or(CLASSES.len());
        let dice = Dice::new(&[self.seed, index as u64, u64::from(number)]);
        paint::paint(class, self.size.max(1), self.strength.clamp(0.0, 1.0), dice)
    }

    /// How many pictures [`Pictures::write`] writes.
    pub fn total(&self) -> usize {
        self.jobs().len()
    }

    /// Writes `base/<class>/NNN.jpg` and `novel/<class>/NNN.jpg` under `dir`, replacing files of
    /// the same names.
    ///
    /// Works on all cores. `drawn` is called with the number of finished pictures, from several
    /// threads; once `stop` is set, no new picture is begun.
    ///
    /// # Errors
    /// When a folder or file cannot be written; the first such failure is told.
    pub fn write(
        &self,
        dir: &Path,
        stop: &AtomicBool,
        drawn: &(dyn Fn(usize) + Sync),
    ) -> Result<(), Failure> {
        for class in &CLASSES {
            let folder = class.folder(dir);
            std::fs::create_dir_all(&folder)
                .map_err(|e| Failure::new(format!("cannot create {}: {e}", folder.display())))?;
        }
        let jobs = self.jobs();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || -> Result<(), Failure> {
            while let Some(&(class, number)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let file = class.folder(dir).join(format!("{number:03}.jpg"));
                let bytes = jpeg(&self.draw(class, number), 93)?;
                std::fs::write(&file, bytes)
                    .map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?;
                drawn(done.fetch_add(1, Ordering::Relaxed) + 1);
            }
            Ok(())
        };
        let threads = std::thread::available_parallelism()
            .map_or(1, |n| n.get())
            .min(16);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| match worker.join() {
                    Ok(result) => result,
                    Err(_) => Err(Failure::new("a drawing thread failed")),
                })
        })
    }

    fn jobs(&self) -> Vec<(&'static Class, u32)> {
        let many = |class: &Class| match class.role {
            Role::Base => self.per_base,
            Role::Novel => self.per_novel,
        };
        CLASSES
            .iter()
            .flat_map(|class| (0..many(class)).map(move |n| (class, n)))
            .collect()
    }
}

impl Class {
    /// Where this class's pictures lie under `dir`.
    pub fn folder(&self, dir: &Path) -> PathBuf {
        let role = match self.role {
            Role::Base => "base",
            Role::Novel => "novel",
        };
        dir.join(role).join(self.name)
    }
}

/// `picture` as the bytes of a JPEG file.
///
/// # Errors
/// When the picture has no pixels or is too large for the format.
pub fn jpeg(picture: &RgbImage, quality: u8) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(
            picture.as_raw(),
            picture.width(),
            picture.height(),
            image::ExtendedColorType::Rgb8,
        )
        .map_err(|e| Failure::new(format!("cannot encode a picture as JPEG: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> Pictures {
        Pictures {
            strength: 0.0,
            ..Pictures::default()
        }
    }

    fn energy(picture: &RgbImage) -> f64 {
        let bytes = picture.as_raw();
        let mean = bytes.iter().map(|&b| f64::from(b)).sum::<f64>() / bytes.len() as f64;
        bytes
            .iter()
            .map(|&b| (f64::from(b) - mean).powi(2))
            .sum::<f64>()
            / bytes.len() as f64
    }

    #[test]
    fn a_picture_follows_from_seed_class_number_and_strength_alone() {
        let set = Pictures::default();
        let picture = set.draw(&CLASSES[4], 17);
        assert_eq!(picture, set.draw(&CLASSES[4], 17));
        assert_ne!(picture, set.draw(&CLASSES[4], 18));
        assert_ne!(picture, set.draw(&CLASSES[5], 17));
        assert_ne!(
            picture,
            Pictures {
                seed: 1,
                ..set.clone()
            }
            .draw(&CLASSES[4], 17)
        );
        assert_ne!(
            picture,
            Pictures {
                strength: 0.4,
                ..set
            }
            .draw(&CLASSES[4], 17)
        );
    }

    #[test]
    fn files_are_the_same_whatever_thread_wrote_them() {
        let set = Pictures {
            per_base: 3,
            per_novel: 2,
            size: 32,
            ..Pictures::default()
        };
        let stop = AtomicBool::new(false);
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let count = AtomicUsize::new(0);
        set.write(a.path(), &stop, &|_| {
            _ = count.fetch_add(1, Ordering::Relaxed)
        })
        .unwrap();
        set.write(b.path(), &stop, &|_| ()).unwrap();
        assert_eq!(count.into_inner(), set.total());
        assert_eq!(set.total(), 12 * 3 + 8 * 2);
        for (class, number) in set.jobs() {
            let name = format!("{number:03}.jpg");
            let read = |dir: &Path| std::fs::read(class.folder(dir).join(&name)).unwrap();
            let bytes = read(a.path());
            assert_eq!(bytes, read(b.path()));
            assert_eq!(bytes, jpeg(&set.draw(class, number), 93).unwrap());
        }
    }

    #[test]
    fn no_picture_is_constant_even_when_strongly_disturbed() {
        for strength in [0.0, 0.5, 1.0] {
            let set = Pictures {
                strength,
                ..Pictures::default()
            };
            for class in &CLASSES {
                for number in 0..10 {
                    let energy = energy(&set.draw(class, number));
                    assert!(energy > 60.0, "{class:?} {number} at {strength}: {energy}");
                }
            }
        }
    }

    /// Ink coverage alone, one style, upright: no two classes may be the same figure.
    #[test]
    fn classes_are_distinct_figures() {
        let style = patterns::Style {
            salt: 5,
            weight: 0.5,
            character: 0.5,
        };
        let masks: Vec<Vec<bool>> = CLASSES
            .iter()
            .map(|class| {
                let at = |i: usize| (i as f32 / 128.0 - 0.5) * 5.0;
                (0..128 * 128)
                    .map(|i| (class.pattern)(at(i % 128), at(i / 128), &style).edge < 0.0)
                    .collect()
            })
            .collect();
        for (a, mask) in masks.iter().enumerate() {
            let inked = mask.iter().filter(|&&m| m).count() as f32 / mask.len() as f32;
            assert!((0.1..0.9).contains(&inked), "{:?} inks {inked}", CLASSES[a]);
            for (b, other) in masks.iter().enumerate().skip(a + 1) {
                let differ = mask.iter().zip(other).filter(|(m, o)| m != o).count();
                let share = differ as f32 / mask.len() as f32;
                assert!(
                    share > 0.05,
                    "{:?} and {:?} differ in {share}",
                    CLASSES[a],
                    CLASSES[b]
                );
            }
        }
        let names: std::collections::HashSet<_> = CLASSES.iter().map(|c| c.name).collect();
        assert_eq!(names.len(), CLASSES.len());
    }

    #[test]
    fn strength_disturbs() {
        // Clean pictures of a class resemble each other in their grain; strong ones have more.
        let roughness = |set: &Pictures| {
            let picture = set.draw(&CLASSES[0], 3);
            let bytes = picture.as_raw();
            bytes
                .windows(4)
                .map(|w| u64::from(w[0].abs_diff(w[3])))
                .sum::<u64>()
        };
        let strong = Pictures {
            strength: 1.0,
            ..clean()
        };
        assert_ne!(roughness(&clean()), roughness(&strong));
    }

    #[test]
    fn a_set_stop_flag_ends_the_drawing() {
        let dir = tempfile::tempdir().unwrap();
        Pictures::default()
            .write(dir.path(), &AtomicBool::new(true), &|_| ())
            .unwrap();
        assert_eq!(
            std::fs::read_dir(CLASSES[0].folder(dir.path()))
                .unwrap()
                .count(),
            0
        );
    }
}
