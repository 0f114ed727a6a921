//! Augmented views of pictures, gone through the part of the backbone that is not trained.

use std::ops::ControlFlow;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::{Progress, PurpleTraining};
use crate::backbone::channels_last;
use crate::dataset::{Dataset, Picture};
use crate::device::use_one_thread;
use crate::error::Error;
use crate::features::Extractor;
use crate::train::augment::{Change, changed};

/// Some views of every picture of a set. They depend on neither width nor losses, so several trainings can share
/// them.
pub struct Views {
    /// Row by row the views of one picture after the other: what the trained blocks are given, f16
    /// `[pictures × each, channels, h, w]`; features, f32 `[pictures × each, dim]`, where none is trained.
    rows: Tensor,
    pub(super) pictures: usize,
    each: usize,
    /// Blocks of the backbone that they did not go through.
    pub(super) blocks: usize,
}

/// Pictures between two looks at the clock.
const TOGETHER: usize = 128;

impl Views {
    /// Makes them; `progress` may break off.
    ///
    /// # Errors
    /// As [`PurpleTraining::check`]; [`Error::Picture`] and [`Error::Io`] for a picture that cannot be used;
    /// [`Error::Backbone`] when the backbone has not so many blocks; [`Error::Stopped`]; [`Error::Torch`].
    pub fn of(
        options: &PurpleTraining,
        extractor: &Extractor,
        set: &Dataset,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Views, Error> {
        options.check(set.pictures.len())?;
        let each = options.views;
        let blocks = options
            .blocks
            .unwrap_or(extractor.backbone().blocks().min(1));
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        // Of other numbers than training draws.
        rng.set_stream(1);
        let mut tell = |what| match progress(what) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Stopped),
        };
        let (start, of) = (Instant::now(), set.pictures.len());
        let mut rows = None;
        let mut done = 0;
        for pictures in set.pictures.chunks(TOGETHER) {
            let changes = options.augmentation.draw(pictures.len() * each, &mut rng);
            let views = pictures.par_iter().zip(changes.par_chunks(each));
            let views =
                views.map(|(picture, changes)| views_of(extractor, picture, changes, blocks));
            let views = views.collect::<Result<Vec<Tensor>, Error>>()?;
            let rows = match &mut rows {
                Some(rows) => rows,
                empty => {
                    let view = &views[0];
                    let share = of as f64 / pictures.len() as f64;
                    tell(Progress::Estimate {
                        what: "views",
                        seconds: start.elapsed().as_secs_f64() * share,
                        bytes: of * view.numel() * view.kind().elt_size_in_bytes(),
                    })?;
                    let mut shape = view.size();
                    shape[0] *= of as i64;
                    empty.insert(Tensor::f_empty(shape, (view.kind(), view.device()))?)
                }
            };
            for view in views {
                let mut place = rows.f_narrow(0, (done * each) as i64, each as i64)?;
                place.f_copy_(&view)?;
                done += 1;
            }
            tell(Progress::Views { done, of })?;
        }
        Ok(Views {
            rows: rows.unwrap_or_default(),
            pictures: of,
            each,
            blocks,
        })
    }

    /// Two different views of each of some pictures: first all first ones, then all second ones.
    pub(super) fn pairs(&self, pictures: &[i64], rng: &mut ChaCha8Rng) -> Result<Tensor, Error> {
        let each = self.each as i64;
        let drawn: Vec<[i64; 2]> = pictures
            .iter()
            .map(|picture| {
                let first = rng.random_range(0..each);
                let second = (first + rng.random_range(1..each)) % each;
                [first, second].map(|view| picture * each + view)
            })
            .collect();
        let rows: Vec<i64> = [0, 1]
            .iter()
            .flat_map(|&i| drawn.iter().map(move |d| d[i]))
            .collect();
        Ok(self.rows.f_index_select(0, &Tensor::from_slice(&rows))?)
    }
}

/// Views of one picture, by the thread that is asked.
fn views_of(
    extractor: &Extractor,
    picture: &Picture,
    changes: &[Change],
    blocks: usize,
) -> Result<Tensor, Error> {
    use_one_thread();
    let input = extractor.input();
    let (width, height) = (i64::from(input.width), i64::from(input.height));
    let pixels = picture.pixels(&picture.read()?, &input)?;
    let pixels = Tensor::f_from_data_size(&pixels, &[1, height, width, 3], Kind::Uint8)?;
    let pixels = pixels.f_permute([0, 3, 1, 2])?;
    let pixels = pixels.f_expand([changes.len() as i64, 3, height, width], false)?;
    let views = channels_last(&(changed(&pixels, changes, [height, width])? * 255.0));
    match blocks {
        0 => extractor.backbone().features(&views),
        _ => Ok(extractor
            .backbone()
            .trunk(&views, blocks)?
            .f_to_kind(Kind::Half)?),
    }
}
