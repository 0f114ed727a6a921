//! Reading and decoding on many threads, with the order kept.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::thread::{Builder, Scope};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::source::{Found, SourceFile, Sources};
use super::{ContentHash, content_hash, prepare};
use crate::encoder::{Encoder, Prepared};
use crate::error::Error;
use crate::image::{ImageError, Limits};

/// How pictures are read.
#[derive(Clone, Copy)]
pub(super) struct ReadOptions<'a> {
    /// What pictures are prepared for.
    pub encoder: &'a dyn Encoder,
    /// What a picture may ask for, at most.
    pub limits: Limits,
    /// Threads that decode, at least 1.
    pub threads: usize,
    /// Pictures decoded ahead of the caller, at most.
    pub ahead: usize,
}

/// A file of the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A picture, or a file that should be one.
    Picture {
        /// Where it came from: a path as given, or `archive.tar:member`.
        source: String,
        /// Name of the folder that it lay in.
        label: Option<String>,
        /// SHA-256 of the file; of no bytes, if it could not be read.
        sha256: ContentHash,
        /// What became of it.
        content: Content,
    },
    /// A file that is no picture, by name and by first bytes.
    Ignored {
        /// Where it came from.
        source: String,
    },
}

/// What became of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Decoded and prepared for [`ReadOptions::encoder`].
    Prepared(Prepared),
    /// Its content is among those that need not be decoded.
    Known,
    /// It cannot be used.
    Bad(ImageError),
}

/// A file on its way to a decoder, and where the result is awaited.
struct Job {
    file: SourceFile,
    reply: Sender<Item>,
}

/// A place in the order of the sources.
enum Place {
    /// The decoder's result will arrive here.
    Decoding(Receiver<Item>),
    Ready(Item),
    Failed(Error),
}

/// Reads every picture of `sources`, decodes and prepares it on [`ReadOptions::threads`] threads,
/// and calls `each` on the caller's thread, in the order of the sources, until it breaks off.
/// Pictures whose content is in `known` are not decoded.
///
/// At most [`ReadOptions::ahead`] pictures are held between reading and the caller.
///
/// # Errors
/// [`Error::Io`] when a source cannot be read on, [`Error::NoThread`], and what `each` returns. Either ends the
/// reading.
pub(super) fn read_pictures(
    sources: &Sources,
    options: &ReadOptions<'_>,
    known: &HashSet<ContentHash>,
    mut each: impl FnMut(Item) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let threads = options.threads.max(1);
    // The places bound what is under way: the reader takes one before it reads on.
    let (place_sender, places) = bounded::<Place>(options.ahead.max(threads));
    let (job_sender, jobs) = bounded::<Job>(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let jobs = jobs.clone();
            start(scope, move || {
                for job in jobs {
                    // The caller may have stopped listening: then the rest is of no use.
                    let _ = job.reply.send(process(job.file, options, known));
                }
            })?;
        }
        drop(jobs);
        start(scope, move || {
            let mut forward = |found| forward(found, &place_sender, &job_sender);
            if let Err(error) = sources.read(options.limits.max_file_bytes, &mut forward) {
                // If the caller is gone, it stopped the reading itself.
                let _ = place_sender.send(Place::Failed(error));
            }
        })?;
        // By value, so that the queue closes when this ends early, and the threads end with it.
        for place in places {
            let item = match place {
                Place::Ready(item) => item,
                Place::Failed(error) => return Err(error),
                // The decoder always replies: it catches what a picture does to it. Should one
                // die all the same, the scope passes its panic on.
                Place::Decoding(result) => match result.recv() {
                    Ok(item) => item,
                    Err(_) => return Ok(()),
                },
            };
            if each(item)?.is_break() {
                break;
            }
        }
        Ok(())
    })
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), Error> {
    let thread = Builder::new().spawn_scoped(scope, work);
    thread.map(drop).map_err(Error::NoThread)
}

fn forward(found: Found, places: &Sender<Place>, jobs: &Sender<Job>) -> Result<(), Error> {
    match found {
        Found::Ignored(source) => places
            .send(Place::Ready(Item::Ignored { source }))
            .map_err(|_| Error::Closed),
        Found::File(file) => {
            let (reply, result) = bounded(1);
            places
                .send(Place::Decoding(result))
                .map_err(|_| Error::Closed)?;
            jobs.send(Job { file, reply }).map_err(|_| Error::Closed)
        }
    }
}

fn process(file: SourceFile, options: &ReadOptions<'_>, known: &HashSet<ContentHash>) -> Item {
    let SourceFile {
        source,
        label,
        bytes,
    } = file;
    let sha256 = content_hash(bytes.as_deref().unwrap_or_default());
    let content = match bytes {
        Ok(_) if known.contains(&sha256) => Content::Known,
        Ok(bytes) => {
            let prepared = prepare(options.encoder, &bytes, &options.limits);
            prepared.map_or_else(Content::Bad, Content::Prepared)
        }
        Err(error) => Content::Bad(error),
    };
    Item::Picture {
        source,
        label,
        sha256,
        content,
    }
}
