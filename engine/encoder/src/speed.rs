//! How fast pictures become rows, and what each step of it takes.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use bitkin::encoder::Encoder;
use bitkin::image::{Limits, decode_for};
use bitkin::ingest::{Ingest, Sources};
use bitkin::model::ModelFile;
use bitkin::{CollectionConfig, Database};
use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::Dataset;
use crate::encoder::TorchEncoder;
use crate::error::Error;

/// Pictures a second, and milliseconds a picture.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// Pictures that were measured.
    pub pictures: usize,
    /// Reading from memory, decoding and resizing, by all cores.
    pub decode_per_second: f64,
    /// The backbone, by all cores or the GPU.
    pub forward_per_second: f64,
    /// From features to codes, by all cores.
    pub head_per_second: f64,
    /// From files to rows that are committed, everything included.
    pub ingest_per_second: f64,
    /// What `ingest_per_second` is of 1 / (1 / decode + 1 / forward) on a CPU, which both share, and of the
    /// slower of the two on a GPU.
    pub ingest_share: f64,
    /// One after the other, on one thread: see [`Step`].
    pub steps: Vec<Step>,
}

/// A step of encoding a picture.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// `features`, `normalisation`, `prototypes`, `head` or `diffusion`.
    pub name: &'static str,
    /// Milliseconds a picture.
    pub milliseconds: f64,
    /// In parts of extracting the features.
    pub of_features: f64,
}

/// Measures a model on pictures of `source`, at most so many, in several rounds of which the best counts; rows
/// go to a database in `folder`.
///
/// # Errors
/// What loading, encoding and writing report; [`Error::Picture`] for one that cannot be used.
pub fn measure(
    file: &ModelFile,
    encoder: &TorchEncoder,
    source: &str,
    most: usize,
    rounds: usize,
    folder: &Path,
) -> Result<Speed, Error> {
    let mut set = Dataset::open(source)?;
    set.pictures.truncate(most);
    let n = set.pictures.len();
    let files = set.pictures.iter().map(|picture| picture.read());
    let files: Vec<Vec<u8>> = files.collect::<Result<_, _>>()?;
    let prepare = || -> Result<Vec<Vec<u8>>, Error> {
        files
            .par_iter()
            .zip(&set.pictures)
            .map(|(file, picture)| {
                let decoded = decode_for(file, &Limits::default(), encoder.least_side());
                let prepared = decoded.and_then(|picture| encoder.prepare(&picture));
                let named = |source| Error::Picture {
                    path: picture.path.display().to_string(),
                    source,
                };
                Ok(prepared.map_err(named)?.bytes)
            })
            .collect()
    };
    let (mut decoding, mut forward, mut head) = (f64::MAX, f64::MAX, f64::MAX);
    let (mut ingest, mut least) = (f64::MAX, [f64::MAX; 5]);
    for round in 0..rounds.max(1) {
        let (pixels, seconds) = timed(prepare);
        decoding = decoding.min(seconds);
        let pixels = pixels?.concat();
        let (features, seconds) = timed(|| encoder.features(&pixels));
        forward = forward.min(seconds);
        let features = features?;
        let mut codes = vec![0; n * encoder.bits().div_ceil(8) as usize];
        let ((), seconds) = timed(|| encoder.codes(&features, &mut codes));
        head = head.min(seconds);
        black_box(codes);
        for (least, step) in least.iter_mut().zip(steps(encoder, &pixels, &features)?) {
            *least = least.min(step);
        }
        ingest = ingest.min(self::ingest(
            file,
            encoder,
            source,
            n,
            &folder.join(round.to_string()),
        )?);
    }
    let rate = |seconds: f64| n as f64 / seconds;
    let bound = match encoder.is_on_cpu() {
        true => decoding + forward,
        false => decoding.max(forward),
    };
    let names = [
        "features",
        "normalisation",
        "prototypes",
        "head",
        "diffusion",
    ];
    let steps = names.iter().zip(least).map(|(name, seconds)| Step {
        name,
        milliseconds: 1e3 * seconds,
        of_features: seconds / least[0],
    });
    Ok(Speed {
        pictures: n,
        decode_per_second: rate(decoding),
        forward_per_second: rate(forward),
        head_per_second: rate(head),
        ingest_per_second: rate(ingest),
        ingest_share: bound / ingest,
        steps: steps.collect(),
    })
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = what();
    (done, start.elapsed().as_secs_f64())
}

/// Seconds a picture of each step, by one thread.
fn steps(encoder: &TorchEncoder, pixels: &[u8], features: &[f32]) -> Result<[f64; 5], Error> {
    /// Enough to be timed.
    const PICTURES: usize = 64;
    const BATCH: usize = 16;
    let model = encoder.model();
    let picture = encoder.prepared_bytes();
    let pixels = &pixels[..pixels.len().min(PICTURES * picture)];
    let n = (pixels.len() / picture).max(1) as f64;
    let (done, extraction) = timed(|| encoder.features_by_one(pixels));
    done?;
    let rows: Vec<&[f32]> = features.chunks_exact(model.dim()).take(PICTURES).collect();
    // By sixteen, as the networks' batches are on a CPU.
    let (mut normalisation, mut prototypes, mut head, mut all) = (0.0, 0.0, 0.0, 0.0);
    for rows in rows.chunks(BATCH) {
        let (normal, seconds) = timed(|| model.normalise_all(rows));
        normalisation += seconds;
        let (embedded, seconds) = timed(|| model.embed_all(&normal));
        prototypes += seconds;
        let heads = || {
            embedded
                .iter()
                .map(|x| model.head_of(x))
                .collect::<Vec<_>>()
        };
        head += timed(|| black_box(heads())).1;
        all += timed(|| black_box(model.latents(rows))).1;
    }
    let diffusion = (all - normalisation - prototypes - head).max(0.0);
    Ok([extraction, normalisation, prototypes, head, diffusion].map(|seconds| seconds / n))
}

/// Seconds of ingesting the pictures into a new database.
fn ingest(
    file: &ModelFile,
    encoder: &TorchEncoder,
    source: &str,
    most: usize,
    path: &Path,
) -> Result<f64, Error> {
    let failed = |e: bitkin::Error| Error::Data(e.to_string());
    let database = Database::create(path).map_err(failed)?;
    let rows = database
        .create_collection("rows", CollectionConfig::model(file))
        .map_err(failed)?;
    let sources = Sources::open(&[source]).map_err(failed)?;
    let ingest = Ingest::new(&rows, encoder).map_err(failed)?;
    let ingest = ingest.limit(most as u64);
    let (report, seconds) = timed(|| ingest.run(&sources, &mut |_| ControlFlow::Continue(())));
    let inserted = report.map_err(|e| failed(e.into()))?.inserted;
    database.close().map_err(failed)?;
    // Pictures that are there twice are not encoded twice.
    Ok(seconds * most as f64 / inserted.max(1) as f64)
}
