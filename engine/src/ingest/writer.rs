//! Pictures from many threads, encoded together as they are written.
//!
//! ```text
//! callers ──file──▶ decoder threads ──prepared──▶ one thread: encode what is there, commit it ──▶ tickets
//!    └─────────────── order of submission ───────────────▲
//! ```

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{content_hash, described, prepare};
use crate::collection::Collection;
use crate::encoder::{EncodeError, Encoder, Prepared};
use crate::error::Error;
use crate::image::Limits;

/// How long the first picture of a batch waits for others.
const MOST_WAIT: Duration = Duration::from_millis(5);

/// A picture to be inserted.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Its id; left out, the one that follows the largest.
    pub id: Option<u64>,
    /// The bytes of its file.
    pub file: Vec<u8>,
    /// A JSON object, to which the `sha256` of the file is added, and the `quality` of its code where the
    /// encoder judges it.
    pub payload: Option<String>,
}

/// Inserts pictures that many threads bring, in micro-batches: decoded by several threads, encoded and
/// committed together with whatever else is there.
///
/// Pictures are inserted in the order in which they were submitted. When many are under way, submitting
/// waits. Dropping it waits for what was submitted; every [`Ticket`] is answered.
pub struct PictureWriter {
    /// `None` once it is being dropped.
    submit: Option<Submit>,
    threads: Vec<JoinHandle<()>>,
}

struct Submit {
    jobs: Sender<Job>,
    places: Sender<Place>,
}

struct Job {
    file: Vec<u8>,
    reply: Sender<Result<(Prepared, String), Error>>,
}

/// A place in the order of submission.
struct Place {
    id: Option<u64>,
    payload: Option<String>,
    decoded: Receiver<Result<(Prepared, String), Error>>,
    ticket: Sender<Result<u64, Error>>,
}

/// The outcome of one picture, when there is one.
#[must_use = "what became of the picture is known only here"]
pub struct Ticket(Receiver<Result<u64, Error>>);

impl Ticket {
    /// Waits until the picture is committed, and returns its id.
    ///
    /// # Errors
    /// [`Error::Image`] for a picture that cannot be used, [`Error::Encode`], and what inserting reports, of
    /// this picture alone.
    pub fn wait(self) -> Result<u64, Error> {
        self.0.recv().unwrap_or(Err(Error::Closed))
    }
}

impl Collection {
    /// A writer for pictures from many threads, with so many threads that decode.
    ///
    /// # Errors
    /// As [`Collection::check_encoder`]; [`Error::NoThread`].
    pub fn picture_writer(
        &self,
        encoder: Arc<dyn Encoder>,
        decoders: usize,
    ) -> Result<PictureWriter, Error> {
        self.check_encoder(&*encoder)?;
        let decoders = decoders.max(1);
        let batch = encoder.preferred_batch().max(1);
        // Before the queues: should a thread not start, they must be gone when it waits for the others.
        let mut writer = PictureWriter {
            submit: None,
            threads: Vec::new(),
        };
        let (jobs, job_queue) = bounded::<Job>(decoders);
        let (places, place_queue) = bounded::<Place>(2 * batch + decoders);
        for _ in 0..decoders {
            let (queue, encoder) = (job_queue.clone(), Arc::clone(&encoder));
            writer.start("bitkin decode", move || {
                for job in queue {
                    // Whoever waited for it may be gone: then it is of no use.
                    let _ = job.reply.send(prepared(&*encoder, &job.file));
                }
            })?;
        }
        let collection = self.clone();
        writer.start("bitkin encode", move || {
            let batches = Batches {
                places: place_queue,
                most: batch,
            };
            for batch in batches {
                // Should the encoder panic, the batch's tickets are dropped, which answers them; those
                // behind it are answered only if this goes on.
                let batch = AssertUnwindSafe(|| insert(&collection, &*encoder, batch));
                let _ = catch_unwind(batch);
            }
        })?;
        writer.submit = Some(Submit { jobs, places });
        Ok(writer)
    }
}

impl PictureWriter {
    fn start(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(work).map_err(Error::NoThread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Hands over a picture, and returns at once unless many are under way.
    ///
    /// # Errors
    /// [`Error::Closed`] when a thread of the writer has died.
    pub fn submit(&self, picture: Picture) -> Result<Ticket, Error> {
        let submit = self.submit.as_ref().ok_or(Error::Closed)?;
        let (ticket, outcome) = bounded(1);
        let (reply, decoded) = bounded(1);
        let Picture { id, file, payload } = picture;
        let place = Place {
            id,
            payload,
            decoded,
            ticket,
        };
        submit.places.send(place).map_err(|_| Error::Closed)?;
        let job = Job { file, reply };
        submit.jobs.send(job).map_err(|_| Error::Closed)?;
        Ok(Ticket(outcome))
    }

    /// Inserts a picture and waits until it is committed; returns its id.
    ///
    /// # Errors
    /// As [`Ticket::wait`].
    pub fn insert(&self, picture: Picture) -> Result<u64, Error> {
        self.submit(picture)?.wait()
    }
}

impl fmt::Debug for PictureWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PictureWriter")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl Drop for PictureWriter {
    fn drop(&mut self) {
        self.submit = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself; its tickets say that the writer is closed.
            let _ = thread.join();
        }
    }
}

/// What is done on a decoder's thread; and the SHA-256 of the file.
fn prepared(encoder: &dyn Encoder, file: &[u8]) -> Result<(Prepared, String), Error> {
    let prepared = prepare(encoder, file, &Limits::default())?;
    let expected = encoder.prepared_bytes();
    if prepared.bytes.len() != expected {
        return Err(Error::Encode(EncodeError::Shape {
            buffer: "picture",
            got: prepared.bytes.len(),
            expected,
        }));
    }
    Ok((prepared, crate::database::hex(&content_hash(file))))
}

/// Places in order, as many at a time as are there.
struct Batches {
    places: Receiver<Place>,
    most: usize,
}

impl Iterator for Batches {
    type Item = Vec<Place>;

    fn next(&mut self) -> Option<Vec<Place>> {
        let mut batch = vec![self.places.recv().ok()?];
        let until = Instant::now() + MOST_WAIT;
        while batch.len() < self.most {
            match self.places.recv_deadline(until) {
                Ok(place) => batch.push(place),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(batch)
    }
}

/// A picture that is decoded, and where it goes.
struct Row {
    id: Option<u64>,
    prepared: Vec<u8>,
    payload: String,
    ticket: Sender<Result<u64, Error>>,
}

fn insert(collection: &Collection, encoder: &dyn Encoder, batch: Vec<Place>) {
    let mut rows = Vec::with_capacity(batch.len());
    for place in batch {
        let decoded = place.decoded.recv().unwrap_or(Err(Error::Closed));
        let row = decoded.and_then(|(prepared, sha256)| {
            Ok(Row {
                id: place.id,
                payload: described(0, place.payload.as_deref(), &sha256, prepared.quality)?,
                prepared: prepared.bytes,
                ticket: place.ticket.clone(),
            })
        });
        match row {
            Ok(row) => rows.push(row),
            Err(error) => answer(&place.ticket, Err(error)),
        }
    }
    // Ids that are given and ids that follow cannot go in together.
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.next() {
        let given = first.id.is_some();
        let mut alike = vec![first];
        while let Some(row) = rows.next_if(|row| row.id.is_some() == given) {
            alike.push(row);
        }
        commit(collection, encoder, alike);
    }
}

/// Encodes rows together and commits them. If either fails, halves are tried, so that an error meets only the
/// pictures that it is about.
fn commit(collection: &Collection, encoder: &dyn Encoder, rows: Vec<Row>) {
    let stride = collection.code_bytes();
    let mut codes = vec![0; rows.len() * stride];
    let failed = encode(encoder, &rows, &mut codes);
    let mut good = Vec::new();
    let coded = codes.chunks_exact(stride).zip(rows).zip(failed);
    for ((code, row), failed) in coded {
        match failed {
            None => good.push((code, row)),
            Some(error) => answer(&row.ticket, Err(error.into())),
        }
    }
    insert_all(collection, &good);
}

/// Writes the codes of rows; returns what is wrong with each.
fn encode(encoder: &dyn Encoder, rows: &[Row], codes: &mut [u8]) -> Vec<Option<EncodeError>> {
    let prepared: Vec<u8> = rows.iter().flat_map(|row| &row.prepared).copied().collect();
    match (encoder.encode(&prepared, codes), rows) {
        (Ok(()), rows) => rows.iter().map(|_| None).collect(),
        (Err(error), [_]) => vec![Some(error)],
        (Err(_), rows) => {
            let half = rows.len() / 2;
            let (first, second) = codes.split_at_mut(codes.len() / rows.len().max(1) * half);
            let mut failed = encode(encoder, &rows[..half], first);
            failed.extend(encode(encoder, &rows[half..], second));
            failed
        }
    }
}

fn insert_all(collection: &Collection, rows: &[(&[u8], Row)]) {
    let codes: Vec<u8> = rows.iter().flat_map(|(code, _)| *code).copied().collect();
    let ids: Option<Vec<u64>> = rows.iter().map(|(_, row)| row.id).collect();
    let payloads = rows.iter().map(|(_, row)| Some(row.payload.as_str()));
    let payloads: Vec<Option<&str>> = payloads.collect();
    let outcome = collection.insert_with_payloads(ids.as_deref(), &codes, &payloads);
    match (outcome, rows) {
        (Ok(ids), rows) => {
            for ((_, row), id) in rows.iter().zip(ids) {
                answer(&row.ticket, Ok(id));
            }
        }
        (Err(error), [(_, row)]) => answer(&row.ticket, Err(error)),
        (Err(_), []) => {}
        (Err(_), rows) => {
            let (first, second) = rows.split_at(rows.len() / 2);
            insert_all(collection, first);
            insert_all(collection, second);
        }
    }
}

fn answer(ticket: &Sender<Result<u64, Error>>, outcome: Result<u64, Error>) {
    // Nobody may be waiting for it any more.
    let _ = ticket.send(outcome);
}
