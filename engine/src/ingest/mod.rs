//! Pictures into a collection: read, decoded, encoded, committed.
//!
//! ```text
//! reader thread ──files──▶ decoder threads ──prepared──▶ caller: encode in batches, commit
//!      └───────────────── order of the sources ─────────────▲
//! ```
//!
//! The reader hands each file to the decoders together with a place in a bounded queue that
//! keeps the order of the sources, so rows are inserted in that order whatever the decoders'
//! speed, and memory is bounded whatever the sources' size. Content that the collection holds
//! already, by SHA-256 of the file, is passed over.

mod originals;
mod pipeline;
mod single;
mod source;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use self::originals::{PictureFile, find_originals, read_picture_file};
use self::pipeline::{Content, Item, ReadOptions, read_pictures};
pub use self::source::Sources;
pub use self::writer::{Picture, PictureWriter, Ticket};
use crate::collection::Collection;
use crate::encoder::{Encoder, Prepared};
use crate::error::Error;
use crate::image::{ImageError, Limits, decode_for};

/// SHA-256 of a file.
pub type ContentHash = [u8; 32];

/// What an ingest did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestReport {
    /// Pictures inserted; every one of them is committed.
    pub inserted: u64,
    /// Pictures passed over because the collection held their content already, or because it
    /// came twice.
    pub known: u64,
    /// Pictures that could not be used, in the order of the sources.
    pub skipped: Vec<Skipped>,
    /// Files that are no pictures, by name and by first bytes.
    pub ignored: u64,
    /// Whether it ended before the sources did: at [`Ingest::limit`], or because the progress
    /// callback broke it off.
    pub stopped: bool,
}

/// A picture that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Where it came from: a path as given, or `archive.tar:member`.
    pub source: String,
    /// What is wrong with it.
    pub reason: ImageError,
}

/// How far an ingest has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Files in the sources, those that are no pictures included.
    pub total: u64,
    /// Files dealt with.
    pub done: u64,
    /// Pictures committed.
    pub inserted: u64,
    /// Pictures known already.
    pub known: u64,
    /// Pictures skipped.
    pub skipped: u64,
}

/// An ingest that ended early, with what it had done by then.
#[derive(Debug)]
pub struct IngestError {
    /// What was done; all that it counts as inserted is committed and stays.
    pub report: Box<IngestReport>,
    /// Why it ended.
    pub error: Box<Error>,
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} pictures were inserted before)",
            self.error, self.report.inserted
        )
    }
}

impl std::error::Error for IngestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        *error.error
    }
}

/// The payload of a row that came from a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PicturePayload {
    /// Where the picture came from: a path as given, or `archive.tar:member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: String,
    /// Name of the folder that the picture lay in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How much its code can be relied on, 0 to 100, where the encoder judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
}

/// Inserts pictures into a collection.
#[must_use = "an ingest does nothing until it is run"]
pub struct Ingest<'a> {
    collection: &'a Collection,
    encoder: &'a dyn Encoder,
    limits: Limits,
    strict: bool,
    threads: usize,
    commit_rows: usize,
    limit: u64,
}

impl<'a> Ingest<'a> {
    /// An ingest into `collection` by `encoder`.
    ///
    /// # Errors
    /// [`Error::NoModel`] or [`Error::ModelMismatch`] when the encoder is not the collection's.
    pub fn new(collection: &'a Collection, encoder: &'a dyn Encoder) -> Result<Self, Error> {
        collection.check_encoder(encoder)?;
        Ok(Ingest {
            collection,
            encoder,
            limits: Limits::default(),
            strict: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            commit_rows: 512,
            limit: u64::MAX,
        })
    }

    /// What a picture may ask for, at most.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether to stop at the first picture that cannot be used, instead of skipping it.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Threads that decode; by default as many as the machine has.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Rows in a commit; 512 by default.
    pub fn commit_rows(mut self, rows: usize) -> Self {
        self.commit_rows = rows.max(1);
        self
    }

    /// New pictures to insert, at most; without bound by default.
    pub fn limit(mut self, pictures: u64) -> Self {
        self.limit = pictures;
        self
    }

    /// Inserts every picture of `sources` whose content is new; `progress` is called after each
    /// file and after each commit, and may break the ingest off: what was decoded by then is
    /// encoded and committed first.
    ///
    /// # Errors
    /// [`IngestError`] when the ingest ends early: the encoder or a commit failed, a source
    /// could not be read, or, in a strict ingest, a picture could not be used. Rows that were
    /// committed before stay, and running it again goes on where it ended.
    pub fn run(
        &self,
        sources: &Sources,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<IngestReport, IngestError> {
        let mut run = Run {
            ingest: self,
            report: IngestReport::default(),
            progress: Progress {
                total: sources.count(),
                ..Progress::default()
            },
            notify: progress,
            fresh: HashSet::new(),
            prepared: Vec::new(),
            decoded: Vec::new(),
            codes: Vec::new(),
            encoded: Vec::new(),
        };
        let outcome = run.all(sources);
        match outcome {
            Ok(()) => Ok(run.report),
            Err(error) => {
                // What is encoded is good: it goes in, whatever stopped the rest. If even that
                // fails, the first error is the one to tell.
                let _ = run.commit();
                Err(IngestError {
                    report: Box::new(run.report),
                    error: Box::new(error),
                })
            }
        }
    }
}

impl fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest")
            .field("collection", self.collection)
            .finish_non_exhaustive()
    }
}

/// One ingest under way.
struct Run<'a, 'b> {
    ingest: &'a Ingest<'a>,
    report: IngestReport,
    progress: Progress,
    notify: &'b mut dyn FnMut(&Progress) -> ControlFlow<()>,
    /// Content met in this run, beside what the collection held before.
    fresh: HashSet<ContentHash>,
    /// Pictures prepared and not yet encoded, with the payloads they will have.
    prepared: Vec<u8>,
    decoded: Vec<String>,
    /// Pictures encoded and not yet committed.
    codes: Vec<u8>,
    encoded: Vec<String>,
}

impl Run<'_, '_> {
    fn all(&mut self, sources: &Sources) -> Result<(), Error> {
        let ingest = self.ingest;
        let known = known_content(ingest.collection)?;
        let options = ReadOptions {
            encoder: ingest.encoder,
            limits: ingest.limits,
            threads: ingest.threads,
            // Enough to decode the next batch while this one is encoded.
            ahead: 2 * ingest.encoder.preferred_batch().max(1),
        };
        let read = read_pictures(sources, &options, &known, |item| self.take(item));
        if let Err(Error::Io { .. }) = read {
            // A source failed, not the encoder: the pictures that came before it are good. If
            // they cannot be encoded, the first error is still the one to tell.
            let _ = self.encode();
        }
        read?;
        self.encode()?;
        self.commit()
    }

    fn take(&mut self, item: Item) -> Result<ControlFlow<()>, Error> {
        self.progress.done += 1;
        match item {
            Item::Ignored { .. } => self.report.ignored += 1,
            Item::Picture {
                source,
                label,
                sha256,
                content,
            } => match content {
                Content::Known => self.report.known += 1,
                Content::Bad(reason) if self.ingest.strict => {
                    self.encode()?;
                    self.commit()?;
                    return Err(Error::Picture {
                        source_name: source,
                        reason,
                    });
                }
                Content::Bad(reason) => self.report.skipped.push(Skipped { source, reason }),
                Content::Prepared(_) if self.fresh.contains(&sha256) => self.report.known += 1,
                Content::Prepared(_) if self.fresh.len() as u64 >= self.ingest.limit => {
                    self.report.stopped = true;
                    return Ok(ControlFlow::Break(()));
                }
                Content::Prepared(prepared) => {
                    self.fresh.insert(sha256);
                    self.prepared.extend_from_slice(&prepared.bytes);
                    let payload = PicturePayload {
                        source: Some(source),
                        sha256: crate::database::hex(&sha256),
                        label,
                        quality: prepared.quality,
                    };
                    // Strings and a number always serialise.
                    self.decoded
                        .push(serde_json::to_string(&payload).unwrap_or_default());
                    if self.decoded.len() >= self.ingest.encoder.preferred_batch().max(1) {
                        self.encode()?;
                    }
                    if self.encoded.len() >= self.ingest.commit_rows {
                        self.commit()?;
                    }
                }
            },
        }
        let verdict = self.tell();
        self.report.stopped = verdict.is_break();
        Ok(verdict)
    }

    fn encode(&mut self) -> Result<(), Error> {
        if self.decoded.is_empty() {
            return Ok(());
        }
        let stride = self.ingest.collection.code_bytes();
        let start = self.codes.len();
        self.codes.resize(start + self.decoded.len() * stride, 0);
        if let Err(error) = self
            .ingest
            .encoder
            .encode(&self.prepared, &mut self.codes[start..])
        {
            self.codes.truncate(start);
            return Err(error.into());
        }
        self.prepared.clear();
        self.encoded.append(&mut self.decoded);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.encoded.is_empty() {
            return Ok(());
        }
        let payloads: Vec<Option<&str>> = self
            .encoded
            .iter()
            .map(|payload| Some(payload.as_str()))
            .collect();
        self.ingest
            .collection
            .insert_with_payloads(None, &self.codes, &payloads)?;
        self.report.inserted += self.encoded.len() as u64;
        self.codes.clear();
        self.encoded.clear();
        // Whether to go on is asked once for each file.
        let _ = self.tell();
        Ok(())
    }

    fn tell(&mut self) -> ControlFlow<()> {
        self.progress.inserted = self.report.inserted;
        self.progress.known = self.report.known;
        self.progress.skipped = self.report.skipped.len() as u64;
        (self.notify)(&self.progress)
    }
}

/// Ingests files, directories and archives: [`Sources::open`] and [`Ingest::run`] in one.
///
/// # Errors
/// As those.
pub fn ingest(
    collection: &Collection,
    encoder: &dyn Encoder,
    paths: &[impl AsRef<Path>],
) -> Result<IngestReport, Error> {
    let sources = Sources::open(paths)?;
    Ok(Ingest::new(collection, encoder)?.run(&sources, &mut |_| ControlFlow::Continue(()))?)
}

/// Decodes a picture and prepares it for its encoder. One that trips over a fault of the encoder's must not
/// take the thread with it.
fn prepare(encoder: &dyn Encoder, file: &[u8], limits: &Limits) -> Result<Prepared, ImageError> {
    let picture = decode_for(file, limits, encoder.least_side())?;
    let prepared = catch_unwind(AssertUnwindSafe(|| encoder.prepare(&picture)));
    prepared.unwrap_or_else(|_| {
        Err(ImageError::Undecodable {
            reason: "its encoder panicked".to_owned(),
        })
    })
}

/// The payload of a picture, with what is known of its file; `row` is for the error.
fn described(
    row: usize,
    given: Option<&str>,
    sha256: &str,
    quality: Option<u8>,
) -> Result<String, Error> {
    let object: Result<Map<String, Value>, _> = serde_json::from_str(given.unwrap_or("{}"));
    let mut object = object.map_err(|e| Error::InvalidPayload {
        row,
        reason: e.to_string(),
    })?;
    object.insert("sha256".to_owned(), sha256.into());
    if let Some(quality) = quality {
        object.insert("quality".to_owned(), quality.into());
    }
    Ok(Value::Object(object).to_string())
}

/// The hash by which the content of a file is known: what a row's `sha256` holds.
pub fn content_hash(file: &[u8]) -> ContentHash {
    Sha256::digest(file).into()
}

/// The content of every picture that the collection holds, from its payloads.
///
/// # Errors
/// As [`Collection::snapshot`], and what storage reports of damaged files.
pub fn known_content(collection: &Collection) -> Result<HashSet<ContentHash>, Error> {
    #[derive(Deserialize)]
    struct Known<'a> {
        #[serde(borrow)]
        sha256: std::borrow::Cow<'a, str>,
    }

    let snapshot = collection.snapshot()?;
    let mut known = HashSet::new();
    for part in snapshot.view.parts() {
        for row in 0..part.len() as u32 {
            // What was deleted may be ingested again.
            if part.deleted().is_some_and(|deleted| deleted.contains(row)) {
                continue;
            }
            let Some(payload) = part.payload(row)? else {
                continue;
            };
            // Rows that did not come from pictures have other payloads.
            let Ok(Known { sha256 }) = serde_json::from_slice(payload) else {
                continue;
            };
            if let Ok(hash) = sha256.parse::<crate::encoder::Fingerprint>() {
                known.insert(hash.0);
            }
        }
    }
    Ok(known)
}
