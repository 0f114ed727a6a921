//! The pictures behind a split, for methods that train a backbone's last blocks: their features are not those of
//! the [`super::Split`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Instant;

use bitkin::model::ModelFile;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::backbone::Tail;
use crate::dataset::{Dataset, Picture};
use crate::error::Error;
use crate::features::{Extractor, Features};
use crate::hash::HashModel;
use crate::train::purple::{Progress, PurpleTraining, Views};

/// The pictures of a split, in the order of its features.
#[derive(Clone, Copy)]
pub struct Pictures<'a> {
    /// What their features were taken by.
    pub extractor: &'a Extractor,
    /// The file of its backbone.
    pub backbone: &'a ModelFile,
    /// Pictures of the base classes.
    pub base: &'a Dataset,
    /// The labelled examples.
    pub adapt: &'a Dataset,
    /// Pictures of the target domain that are learned from without their labels: the anchors of the smallest
    /// number of shots, which are in no database of more shots, so that one training serves all.
    pub unlabelled: &'a Dataset,
    /// The pictures searched.
    pub database: &'a Dataset,
    /// The pictures searched for.
    pub queries: &'a Dataset,
    /// What was computed for other splits of the same pictures, and is for this one.
    pub store: &'a Store,
    /// Told what is being done and the share of it that is done.
    pub progress: &'a dyn Fn(&str, f64) -> ControlFlow<()>,
}

/// What is computed of pictures once, and what was trained on them, for all splits of the same three sets with one
/// extractor.
#[derive(Default)]
pub struct Store {
    /// By number of blocks.
    trunks: RefCell<BTreeMap<usize, Rows>>,
    /// Those that were made last: their name, and the seconds that it took.
    views: RefCell<Option<(String, Rc<Views>, f64)>>,
    trained: RefCell<BTreeMap<String, Rc<Tuned>>>,
}

/// What is known of each picture: `[1, ...]`.
type Rows = BTreeMap<Picture, Tensor>;

/// A model that has a backbone of its own.
pub struct Tuned {
    /// The backbone with its last blocks as they were trained, as its file has it.
    pub backbone: ModelFile,
    /// How many of them.
    pub blocks: usize,
    /// What comes behind it.
    pub model: HashModel,
    /// Seconds that training took.
    pub seconds: f64,
}

impl Pictures<'_> {
    /// What the backbone's last `blocks` blocks are given for some of the pictures: f16 `[n, channels, h, w]`.
    ///
    /// # Errors
    /// As [`Extractor::trunk`].
    pub fn trunks(&self, set: &Dataset, blocks: usize) -> Result<Tensor, Error> {
        let mut trunks = self.store.trunks.borrow_mut();
        let known = trunks.entry(blocks).or_default();
        rows(known, set, |new| {
            let told = |done, of| self.tell("trunks", done, of);
            self.extractor.trunk(new, blocks, told)
        })
    }

    /// Features of some of the pictures by the backbone as it was.
    ///
    /// # Errors
    /// As [`Extractor::extract`].
    pub fn frozen(&self, set: &Dataset) -> Result<Features, Error> {
        let (backbone, input) = (self.extractor.backbone(), self.extractor.input());
        let rows = set.pictures.par_iter().map(|picture| {
            let pixels = picture.pixels(&picture.read()?, &input)?;
            backbone.one(&pixels, input)
        });
        Ok(Features {
            dim: backbone.dim(),
            values: rows.collect::<Result<Vec<_>, Error>>()?.concat(),
            labels: set.classes().1,
        })
    }

    /// Views for PURPLE of some of the pictures, those that were made last if they are the same; and the seconds
    /// that it took to make them, then or now.
    ///
    /// # Errors
    /// As [`Views::of`].
    pub(super) fn views(
        &self,
        options: &PurpleTraining,
        set: &Dataset,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(Rc<Views>, f64), Error> {
        let name = format!(
            "{} {} {:?} {:?} {:?}",
            options.seed, options.views, options.blocks, options.pictures, options.augmentation
        );
        let mut last = self.store.views.borrow_mut();
        if let Some((of, views, seconds)) = &*last
            && *of == name
        {
            return Ok((Rc::clone(views), *seconds));
        }
        // What is not needed any more need not be in memory beside it.
        *last = None;
        let start = Instant::now();
        let views = Rc::new(Views::of(options, self.extractor, set, progress)?);
        let seconds = start.elapsed().as_secs_f64();
        *last = Some((name, Rc::clone(&views), seconds));
        Ok((views, seconds))
    }

    /// Features of some of the pictures by a backbone whose last blocks were trained.
    ///
    /// # Errors
    /// As [`Pictures::trunks`].
    pub fn features(&self, set: &Dataset, tail: &Tail) -> Result<Features, Error> {
        let trunks = self.trunks(set, tail.blocks())?;
        let mut features = Features {
            labels: set.classes().1,
            ..Default::default()
        };
        let total = set.pictures.len();
        for rows in trunks.f_split(TOGETHER, 0)? {
            let values = tch::no_grad(|| Tail::pooled(&tail.maps(&rows)?))?;
            features.dim = values.size()[1] as usize;
            let values = values.f_to_kind(Kind::Float)?.f_reshape([-1])?;
            features.values.extend(Vec::<f32>::try_from(values)?);
            let done = features.values.len() / features.dim;
            if self.tell("features", done, total).is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok(features)
    }

    /// What was trained under this name before, or is now. The name must say all that the result depends on.
    ///
    /// # Errors
    /// Those of `train`.
    pub fn trained(
        &self,
        name: &str,
        train: impl FnOnce() -> Result<Tuned, Error>,
    ) -> Result<Rc<Tuned>, Error> {
        let known = self.store.trained.borrow().get(name).cloned();
        if let Some(trained) = known {
            return Ok(trained);
        }
        let trained = Rc::new(train()?);
        let mut all = self.store.trained.borrow_mut();
        all.insert(name.to_owned(), Rc::clone(&trained));
        Ok(trained)
    }

    pub(super) fn tell(&self, what: &str, done: usize, of: usize) -> ControlFlow<()> {
        (self.progress)(what, done as f64 / of.max(1) as f64)
    }
}

/// Pictures that go through the last blocks at once.
const TOGETHER: i64 = 64;

/// Rows of the pictures of a set; those not known yet are made together.
fn rows(
    known: &mut Rows,
    set: &Dataset,
    make: impl FnOnce(&Dataset) -> Result<Tensor, Error>,
) -> Result<Tensor, Error> {
    let new = set.pictures.iter().filter(|p| !known.contains_key(p));
    let new = Dataset {
        pictures: new.cloned().collect(),
    };
    if !new.pictures.is_empty() {
        let made = make(&new)?;
        for (i, picture) in (0..).zip(new.pictures) {
            known.insert(picture, made.f_narrow(0, i, 1)?);
        }
    }
    let rows: Vec<&Tensor> = set.pictures.iter().map(|p| &known[p]).collect();
    Ok(Tensor::f_cat(&rows, 0)?)
}
