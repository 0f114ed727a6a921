//! `bitkin ingest`.

use super::{collection, encoder, failure, open_to_write};
use crate::error::Failure;
use crate::grammar::Ingest as Arguments;
use crate::interrupt;
use crate::output::{counted, grouped, say};
use crate::progress::{Progress, lasting};
use bitkin::encoder::{EncodeError, Encoder, Fingerprint, ImageInput};
use bitkin::ingest::{Ingest, IngestReport, Sources};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Inserts pictures. Returns how many, and how long that took once the model was loaded.
///
/// # Errors
/// When a source cannot be read, encoding or writing fails, the user stops it, or, with
/// `--strict`, a picture cannot be used. What was inserted before stays.
pub(crate) fn run(arguments: &Arguments) -> Result<(u64, Duration), Failure> {
    let database = open_to_write(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    interrupt::watch();
    // A source that is not there is told before the model is loaded.
    let sources = Sources::open(&arguments.sources).map_err(failure)?;
    let encoder = encoder(&collection)?;
    let device = encoder.device().to_owned();
    let encoder = Bounded::new(encoder, arguments.limit);
    let mut ingest = Ingest::new(&collection, &encoder)
        .map_err(failure)?
        .strict(arguments.strict);
    if let Some(threads) = arguments.threads {
        ingest = ingest.threads(usize::from(threads));
    }

    let progress = Progress::new("ingesting", "files", None);
    let outcome = ingest.run(&sources, &mut |now| {
        progress.set_total(now.total);
        progress.set(now.done);
        if now.skipped > 0 {
            progress.remark(format!("{} skipped", grouped(now.skipped)));
        }
    });
    let time = progress.elapsed();
    let (report, error) = match outcome {
        Ok(report) => (report, None),
        Err(stopped) => (*stopped.report, Some(stopped.error)),
    };
    progress.finish(told(&report, time, &device));
    for skipped in &report.skipped {
        say(format!("skipped {}: {}", skipped.source, skipped.reason));
    }
    let closed = database.close().map_err(failure);
    match error {
        _ if interrupt::asked() => {
            return Err(
                Failure::interrupted("stopped; everything inserted so far is safe")
                    .advise("the same command goes on from here"),
            );
        }
        Some(error) if !encoder.was_full() => {
            return Err(failure(*error).advise("what was inserted before stays"));
        }
        _ => {}
    }
    closed?;
    Ok((report.inserted, time))
}

/// What an ingest did, in a line.
fn told(report: &IngestReport, time: Duration, device: &str) -> String {
    let rate = report.inserted as f64 / time.as_secs_f64().max(1e-9);
    let mut line = format!(
        "{} inserted in {} ({} a second on {device})",
        counted(report.inserted, "picture"),
        lasting(time),
        grouped(rate.round() as u64),
    );
    let skipped = report.skipped.len() as u64;
    for (count, what) in [
        (report.known, "already there"),
        (skipped, "skipped"),
        (report.ignored, "no pictures by their names"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    line
}

/// An encoder that stops when the user asks for it, and after a number of pictures.
///
/// An ingest commits what has been encoded when its encoder fails, so refusing to encode is the
/// way to end one with nothing lost.
struct Bounded<E> {
    inner: E,
    /// Pictures that may still be encoded; `u64::MAX` for any number.
    left: AtomicU64,
    /// Pictures beyond the limit have been refused.
    refused: AtomicBool,
}

impl<E: Encoder> Bounded<E> {
    fn new(inner: E, limit: Option<u64>) -> Bounded<E> {
        Bounded {
            inner,
            left: AtomicU64::new(limit.unwrap_or(u64::MAX)),
            refused: AtomicBool::new(false),
        }
    }

    /// There were more pictures than the limit allows.
    fn was_full(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl<E: Encoder> Encoder for Bounded<E> {
    fn bits(&self) -> u32 {
        self.inner.bits()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.inner.fingerprint()
    }

    fn input(&self) -> ImageInput {
        self.inner.input()
    }

    /// No more than the pictures that are left, so that the last batch ends at the limit.
    fn preferred_batch(&self) -> usize {
        let left = usize::try_from(self.left.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        self.inner.preferred_batch().min(left).max(1)
    }

    fn encode(&self, pixels: &[u8], codes: &mut [u8]) -> Result<(), EncodeError> {
        if interrupt::asked() {
            return Err(EncodeError::Failed("stopped".to_owned()));
        }
        let pictures = (pixels.len() / self.input().bytes().max(1)) as u64;
        let take = |left: u64| match left {
            u64::MAX => Some(left),
            left => left.checked_sub(pictures),
        };
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        {
            Ok(_) => self.inner.encode(pixels, codes),
            Err(_) => {
                self.refused.store(true, Ordering::Relaxed);
                Err(EncodeError::Failed("the limit is reached".to_owned()))
            }
        }
    }
}
