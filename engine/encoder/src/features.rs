//! Features of many pictures: extracted in parallel, and kept in a file for the next time.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bitkin::encoder::ImageInput;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use crate::backbone::Backbone;
use crate::dataset::{Dataset, Picture};
use crate::device::use_one_thread;
use crate::error::Error;

/// Feature vectors of some pictures, and their class numbers.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// Numbers in a feature vector.
    pub dim: usize,
    /// `[len, dim]`, row-major.
    pub values: Vec<f32>,
    /// Class number of each picture.
    pub labels: Vec<u32>,
}

impl Features {
    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The feature vectors in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dim.max(1))
    }

    /// The mean feature vector: `[dim]`.
    pub fn mean(&self) -> Vec<f32> {
        let mut sum = vec![0f64; self.dim];
        for row in self.rows() {
            sum.iter_mut()
                .zip(row)
                .for_each(|(s, v)| *s += f64::from(*v));
        }
        sum.iter()
            .map(|s| (s / self.len().max(1) as f64) as f32)
            .collect()
    }

    /// As a libtorch tensor, `[len, dim]`.
    pub fn tensor(&self) -> Tensor {
        Tensor::from_slice(&self.values).view([self.len() as i64, self.dim as i64])
    }
}

/// The class numbers that there are, ascending, each once.
pub(crate) fn classes(labels: &[u32]) -> Vec<u32> {
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Pictures between two looks at the clock; their files are in memory at once.
const TOGETHER: usize = 256;

/// Extracts features, and remembers them by the content of the picture.
pub struct Extractor {
    backbone: Backbone,
    input: ImageInput,
    known: HashMap<[u8; 32], Vec<f32>>,
    cache: Option<Cache>,
}

/// A file that keeps features for the next time.
struct Cache {
    path: PathBuf,
    /// What the features depend on beside the picture.
    identity: String,
    saved: Instant,
    /// How long saving took.
    took: Duration,
}

impl Extractor {
    /// An extractor that shows the backbone pictures of the size `input`.
    pub fn new(backbone: Backbone, input: ImageInput) -> Extractor {
        Extractor {
            backbone,
            input,
            known: HashMap::new(),
            cache: None,
        }
    }

    /// Keeps features in the file `path`, and takes over those that are there already; a file that is missing,
    /// or was written for something other than `identity`, is begun anew.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is damaged.
    pub fn keep_in(&mut self, path: &Path, identity: &str) -> Result<(), Error> {
        self.load(path, identity)?;
        self.cache = Some(Cache {
            path: path.to_owned(),
            identity: identity.to_owned(),
            saved: Instant::now(),
            took: Duration::ZERO,
        });
        Ok(())
    }

    /// Features of a set of pictures; `progress` is told how many are done, and how many there are. When it
    /// breaks off, what is done by then is kept.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Picture`] or [`Error::Io`] for a picture that cannot be used, or a cache that
    /// cannot be written.
    pub fn extract(
        &mut self,
        set: &Dataset,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Features, Error> {
        let total = set.pictures.len();
        let mut keys = Vec::with_capacity(total);
        let mut unsaved = false;
        for pictures in set.pictures.chunks(TOGETHER) {
            let step = self.extract_some(pictures, &mut keys).and_then(|new| {
                unsaved |= new;
                match progress(keys.len(), total) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Error::Stopped),
                }
            });
            let ends = step.is_err() || keys.len() == total;
            if unsaved
                && self
                    .cache
                    .as_ref()
                    .is_some_and(|cache| ends || cache.is_due())
            {
                // Of two errors the first tells more.
                let saved = self.save();
                step?;
                saved?;
                unsaved = false;
            } else {
                step?;
            }
        }
        let dim = self.backbone.dim();
        let mut values = Vec::with_capacity(keys.len() * dim);
        for key in &keys {
            values.extend(&self.known[key]);
        }
        Ok(Features {
            dim,
            values,
            labels: set.classes().1,
        })
    }

    /// What the backbone's last `blocks` blocks are given for a set of pictures, to train these blocks from: f16
    /// `[n, channels, h, w]`. `progress` as in [`Extractor::extract`].
    ///
    /// # Errors
    /// As [`Extractor::extract`] and [`Backbone::trunk`].
    pub fn trunk(
        &self,
        set: &Dataset,
        blocks: usize,
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Tensor, Error> {
        let of = |picture: &Picture| -> Result<Tensor, Error> {
            use_one_thread();
            let pixels = picture.pixels(&picture.read()?, &self.input)?;
            let (width, height) = (i64::from(self.input.width), i64::from(self.input.height));
            let pixels = Tensor::f_from_data_size(&pixels, &[1, height, width, 3], Kind::Uint8)?;
            let pixels = pixels.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?;
            let x = self.backbone.trunk(&pixels, blocks)?;
            Ok(x.f_to_kind(Kind::Half)?.f_contiguous()?)
        };
        let Some(first) = set.pictures.first() else {
            return Err(Error::Data("there are no pictures".into()));
        };
        let mut shape = of(first)?.size();
        shape[0] = set.pictures.len() as i64;
        let values = in_steps(set, progress, |picture| {
            let x = of(picture)?;
            let mut bytes = vec![0; 2 * x.numel()];
            x.f_copy_data_u8(&mut bytes, x.numel())?;
            Ok(bytes)
        })?;
        Ok(Tensor::f_from_data_size(&values, &shape, Kind::Half)?)
    }

    /// The size of the pictures that the backbone is shown.
    pub fn input(&self) -> ImageInput {
        self.input
    }

    /// The backbone.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Adds the pictures' keys; returns whether any was not known yet.
    fn extract_some(
        &mut self,
        pictures: &[Picture],
        keys: &mut Vec<[u8; 32]>,
    ) -> Result<bool, Error> {
        type Extracted = ([u8; 32], Option<Vec<f32>>);
        let extracted: Vec<Extracted> = pictures
            .par_iter()
            .map(|picture| {
                let bytes = picture.read()?;
                let key: [u8; 32] = Sha256::digest(&bytes).into();
                if self.known.contains_key(&key) {
                    return Ok((key, None));
                }
                let pixels = picture.pixels(&bytes, &self.input)?;
                Ok((key, Some(self.backbone.one(&pixels, self.input)?)))
            })
            .collect::<Result<_, Error>>()?;
        let mut new = false;
        for (key, features) in extracted {
            keys.push(key);
            if let Some(features) = features {
                self.known.insert(key, features);
                new = true;
            }
        }
        Ok(new)
    }

    /// Numbers in a feature vector.
    pub fn dim(&self) -> usize {
        self.backbone.dim()
    }

    /// How many pictures' features are known.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// Takes over the features of a file that was written for `identity`.
    fn load(&mut self, path: &Path, identity: &str) -> Result<(), Error> {
        let Ok(bytes) = std::fs::read(path) else {
            return Ok(());
        };
        let damaged = || {
            let path = path.display();
            Error::Data(format!(
                "{path} is no file of features: delete it and run again"
            ))
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|_| damaged())?;
        let written_by = header.metadata().as_ref().and_then(|m| m.get("identity"));
        if written_by.map(String::as_str) != Some(identity) {
            return Ok(());
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
        let (keys, values) = (tensors.tensor("keys"), tensors.tensor("features"));
        let (Ok(keys), Ok(values)) = (keys, values) else {
            return Err(damaged());
        };
        let dim = self.backbone.dim();
        let rows = keys.data().len() / 32;
        if values.dtype() != Dtype::F32 || values.data().len() != rows * dim * 4 {
            return Err(damaged());
        }
        let rows = keys
            .data()
            .chunks_exact(32)
            .zip(values.data().chunks_exact(dim * 4));
        for (key, row) in rows {
            let mut digest = [0; 32];
            digest.copy_from_slice(key);
            let row = row
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            self.known.insert(digest, row.collect());
        }
        Ok(())
    }

    /// Writes everything known to the cache.
    fn save(&mut self) -> Result<(), Error> {
        let Some(Cache { path, identity, .. }) = &self.cache else {
            return Ok(());
        };
        let start = Instant::now();
        let mut keys: Vec<&[u8; 32]> = self.known.keys().collect();
        keys.sort_unstable();
        let values: Vec<u8> = keys
            .iter()
            .flat_map(|k| &self.known[*k])
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let keys: Vec<u8> = keys.into_iter().flatten().copied().collect();
        let (rows, dim) = (keys.len() / 32, self.backbone.dim());
        let io = |source| Error::Io {
            path: path.display().to_string(),
            source,
        };
        let bad = |e: safetensors::SafeTensorError| io(std::io::Error::other(e.to_string()));
        let tensors = [
            (
                "keys",
                TensorView::new(Dtype::U8, vec![rows, 32], &keys).map_err(bad)?,
            ),
            (
                "features",
                TensorView::new(Dtype::F32, vec![rows, dim], &values).map_err(bad)?,
            ),
        ];
        let metadata = HashMap::from([("identity".to_string(), identity.clone())]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(bad)?;
        let temporary = path.with_extension("partial");
        std::fs::write(&temporary, bytes).map_err(io)?;
        std::fs::rename(&temporary, path).map_err(io)?;
        if let Some(cache) = &mut self.cache {
            cache.saved = Instant::now();
            cache.took = start.elapsed();
        }
        Ok(())
    }
}

/// What is made of each picture of a set, joined in its order; pictures are spread over all cores.
fn in_steps(
    set: &Dataset,
    mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    of: impl Fn(&Picture) -> Result<Vec<u8>, Error> + Sync,
) -> Result<Vec<u8>, Error> {
    let mut joined = Vec::new();
    let mut done = 0;
    for pictures in set.pictures.chunks(TOGETHER) {
        let made = pictures.par_iter().map(&of);
        for bytes in made.collect::<Result<Vec<_>, _>>()? {
            joined.reserve_exact(match joined.is_empty() {
                true => bytes.len() * set.pictures.len(),
                false => 0,
            });
            joined.extend(bytes);
        }
        done += pictures.len();
        if progress(done, set.pictures.len()).is_break() {
            return Err(Error::Stopped);
        }
    }
    Ok(joined)
}

impl Cache {
    /// The whole file is written anew: not more often than it may take a twentieth of the time.
    fn is_due(&self) -> bool {
        self.saved.elapsed() > Duration::from_secs(60).max(20 * self.took)
    }
}
