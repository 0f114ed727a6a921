//! Pictures: the methods of the class `Collection` that take them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use bitkin::encoder::Encoder;
use bitkin::ingest::{Picture, PictureWriter, Ticket};
use bitkin::{Budget, ErrorKind, Filter, RESERVED_ID};
use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arguments::{self, Codes};
use crate::collection::Collection;
use crate::encoders;
use crate::error::{failed_images, image_error, invalid, raised};
use crate::images::{Images, Source, Unusable};
use crate::interrupt::{BETWEEN_SIGNALS, Signals};
use crate::payloads;
use crate::results::matrix;
use crate::search::Options;

/// More threads than any machine has use for; each holds a picture.
const MOST_DECODERS: usize = 256;

/// What becomes of pictures that cannot be inserted.
enum OnError<'py> {
    Raise,
    Skip,
    Tell(Bound<'py, PyAny>),
}

impl<'py> OnError<'py> {
    fn new(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        if value.is_callable() {
            return Ok(OnError::Tell(value.clone()));
        }
        match value.extract::<String>().as_deref() {
            Ok("raise") => Ok(OnError::Raise),
            Ok("skip") => Ok(OnError::Skip),
            _ => Err(invalid(format!(
                "on_error must be 'raise', 'skip' or a function, not {}",
                value.repr()?
            ))),
        }
    }
}

/// Pictures on their way into a collection.
struct Insertion<'a, 'py> {
    py: Python<'py>,
    writer: &'a PictureWriter,
    progress: Option<Bound<'py, PyAny>>,
    on_error: OnError<'py>,
    count: Option<usize>,
    /// Handed over and not yet answered, in order: the picture's path, and its ticket.
    under_way: VecDeque<(Option<String>, Result<Ticket, PyErr>)>,
    /// Of those that were answered: the reserved id for those that failed.
    ids: Vec<u64>,
    failed: Vec<Bound<'py, PyAny>>,
}

impl<'py> Insertion<'_, 'py> {
    /// Hands over all pictures.
    ///
    /// # Errors
    /// What ends the whole of it: a signal, an exception of the caller's own iterators and functions, a
    /// database that takes no more.
    fn submit_all(
        &mut self,
        images: &mut Images<'py>,
        ids: Option<&[u64]>,
        given: &[Option<String>],
        window: usize,
    ) -> PyResult<()> {
        while let Some(source) = images.next()? {
            self.py.check_signals()?;
            let row = images.taken - 1;
            let path = source.path();
            let id = ids.map(|ids| ids[row]);
            let payload = given.get(row).cloned().flatten();
            let writer = self.writer;
            let submitted = self.py.detach(|| {
                let file = source.read()?;
                let payload = payloads::with_source(payload, path.as_deref());
                Ok(writer.submit(Picture { id, file, payload }))
            });
            let ticket = match submitted {
                Ok(ticket) => Ok(ticket.map_err(raised)?),
                Err(unusable) => Err(Unusable::raised(unusable, path.as_deref())),
            };
            self.under_way.push_back((path, ticket));
            while self.under_way.len() > window {
                self.settle_next()?;
            }
        }
        while !self.under_way.is_empty() {
            self.settle_next()?;
        }
        Ok(())
    }

    /// Waits for the picture that was handed over first, and tells of it.
    fn settle_next(&mut self) -> PyResult<()> {
        self.py.check_signals()?;
        let failed = self.await_next()?;
        if let (OnError::Tell(function), Some(failed)) = (&self.on_error, failed) {
            function.call1((failed,))?;
        }
        if let Some(progress) = &self.progress {
            progress.call1((self.ids.len(), self.count))?;
        }
        Ok(())
    }

    /// Waits for the picture that was handed over first; returns it as a `FailedImage`, if it is one.
    ///
    /// # Errors
    /// Those of the database that would meet every picture.
    fn await_next(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((path, ticket)) = self.under_way.pop_front() else {
            return Ok(None);
        };
        let error = match ticket.map(|ticket| self.py.detach(|| ticket.wait())) {
            Ok(Ok(id)) => {
                self.ids.push(id);
                return Ok(None);
            }
            Ok(Err(error)) => error,
            Err(unreadable) => return self.fail(path, unreadable).map(Some),
        };
        let of_all = matches!(
            error.kind(),
            ErrorKind::ReadOnly | ErrorKind::Closed | ErrorKind::Disk | ErrorKind::NotFound
        );
        let error = raised(error);
        let copy = error.clone_ref(self.py);
        let failed = self.fail(path, error)?;
        if of_all { Err(copy) } else { Ok(Some(failed)) }
    }

    fn fail(&mut self, path: Option<String>, error: PyErr) -> PyResult<Bound<'py, PyAny>> {
        let class = self.py.import("bitkin")?.getattr("FailedImage")?;
        let failed = class.call1((self.ids.len(), path, error.into_value(self.py)))?;
        self.ids.push(RESERVED_ID);
        self.failed.push(failed.clone());
        Ok(failed)
    }

    /// Waits for what is still under way when something has ended the rest, and notes with that how many
    /// pictures are in.
    fn end_early(&mut self, error: PyErr) -> PyErr {
        while !self.under_way.is_empty() {
            // The first error counts.
            let _ = self.await_next();
        }
        let inserted = self.ids.iter().filter(|id| **id != RESERVED_ID).count();
        let note = format!("{inserted} pictures were inserted before, and stay");
        // Python has notes since 3.11.
        let _ = error.value(self.py).call_method1("add_note", (note,));
        error
    }
}

impl Collection {
    /// The encoder of this collection, opened if need be.
    ///
    /// # Errors
    /// `EncoderMissing`, `EncoderError`, and `InvalidInput` for a collection of codes alone.
    fn encoder(&self, py: Python<'_>) -> PyResult<Arc<dyn Encoder>> {
        let (collection, encoders) = (self.get_ref()?, self.encoders()?);
        match encoders.opened(collection) {
            Some(encoder) => Ok(encoder),
            None => self.open_encoder(py, encoders::device("auto")?),
        }
    }

    fn open_encoder(
        &self,
        py: Python<'_>,
        device: bitkin::encoder::Device,
    ) -> PyResult<Arc<dyn Encoder>> {
        let (collection, encoders) = (self.get_ref()?, self.encoders()?);
        let built_in = collection.built_in_encoder().is_some() || collection.model().is_none();
        let folders = match built_in {
            true => Vec::new(),
            false => encoders::folders(py)?,
        };
        py.detach(|| encoders.open(collection, &folders, device))
            .map_err(raised)
    }

    /// The codes of pictures, in their order.
    fn encoded(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        threads: usize,
    ) -> PyResult<Codes> {
        let mut images = Images::new(images)?;
        let mut sources = Vec::with_capacity(images.count.unwrap_or(0));
        while let Some(source) = images.next()? {
            sources.push(source);
        }
        let encoder = self.encoder(py)?;
        let collection = self.get_ref()?;
        let rows = sources.len();
        let paths: Vec<_> = sources.iter().map(Source::path).collect();
        let mut signals = Signals::new();
        let threads = decoders(threads);
        let outcome =
            py.detach(|| encode_all(collection, &*encoder, sources, threads, &mut signals));
        signals.outcome()?;
        match outcome {
            Ok(bytes) => Ok(Codes {
                bytes: bytes.into(),
                rows,
            }),
            Err((row, error)) => {
                let path = paths[row].as_deref();
                Err(image_error(py, row, path, error.raised(path)))
            }
        }
    }
}

/// Threads that decode, if so many are wanted: 0 for as many as there are cores.
fn decoders(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        wanted => wanted.min(MOST_DECODERS),
    }
}

/// The codes of pictures that are read, decoded and encoded by several threads; or the number of one that
/// cannot be used, and why.
fn encode_all(
    collection: &bitkin::Collection,
    encoder: &dyn Encoder,
    sources: Vec<Source>,
    threads: usize,
    signals: &mut Signals,
) -> Result<Vec<u8>, (usize, Unusable)> {
    let stride = collection.code_bytes();
    let batch = encoder.preferred_batch().max(1);
    let batch = batch.min(sources.len().div_ceil(threads)).max(1);
    let mut codes = vec![0; sources.len() * stride];
    let mut batches: Vec<Option<Vec<Source>>> = Vec::new();
    let mut sources = sources.into_iter().peekable();
    while sources.peek().is_some() {
        batches.push(Some(sources.by_ref().take(batch).collect()));
    }
    let count = batches.len();
    let batches = std::sync::Mutex::new(batches);
    let next = AtomicUsize::new(0);
    let work = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let sources = {
            let mut batches = batches.lock().unwrap_or_else(|poison| poison.into_inner());
            batches.get_mut(number)?.take()?
        };
        let first = number * batch;
        let codes = encode_some(collection, encoder, sources);
        Some(
            codes
                .map_err(|(row, error)| (first + row, error))
                .map(|codes| (first, codes)),
        )
    };
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..threads.min(count) {
            let (sender, work) = (sender.clone(), &work);
            // Where the system has no thread, the others do its work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, move || {
                while let Some(done) = work() {
                    if sender.send(done).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut failed: Option<(usize, Unusable)> = None;
        loop {
            match receiver.recv_timeout(BETWEEN_SIGNALS) {
                Ok(Ok((first, some))) => {
                    codes[first * stride..][..some.len()].copy_from_slice(&some);
                }
                Ok(Err((row, error))) => {
                    next.store(count, Ordering::Relaxed);
                    if failed.as_ref().is_none_or(|(first, _)| row < *first) {
                        failed = Some((row, error));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if signals.listen().is_break() {
                next.store(count, Ordering::Relaxed);
            }
        }
        failed.map_or(Ok(codes), Err)
    })
}

/// The codes of a batch of pictures; or the number of the first that cannot be used, and why.
fn encode_some(
    collection: &bitkin::Collection,
    encoder: &dyn Encoder,
    sources: Vec<Source>,
) -> Result<Vec<u8>, (usize, Unusable)> {
    let mut files = Vec::with_capacity(sources.len());
    for (row, source) in sources.into_iter().enumerate() {
        files.push(source.read().map_err(|error| (row, error))?);
    }
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    collection.encode_images(encoder, &files).map_err(|error| {
        // Which it was, the engine does not say.
        let alone = files.iter().enumerate();
        let mut alone = alone.map(|(row, file)| (row, collection.encode_image(encoder, file)));
        let first = alone.find_map(|(row, outcome)| Some((row, outcome.err()?)));
        let (row, error) = first.unwrap_or((0, error));
        (row, Unusable::Refused(error))
    })
}

#[pymethods]
impl Collection {
    /// Inserts pictures, which are decoded by several threads and encoded and committed in batches, in
    /// their order; returns their ids, uint64 of shape (n,).
    ///
    /// images: paths, or the bytes of picture files, any mixture of them, or a single one. ids: as for
    /// `insert`, one a picture. payloads: for each picture a dict, None, or JSON of an object; `source`
    /// (the path, unless it is given), `sha256` of the file, and `quality` where the encoder judges it
    /// are added.
    /// on_error: what becomes of the others when a picture cannot be inserted: they are all inserted.
    /// "raise" raises ImagesFailed at the end, with the ids that went in and what failed. With "skip"
    /// the id of such a picture is 2**64 - 1; so it is with a function, which is called with each
    /// FailedImage. progress: a function that is called with the number of pictures that are done with,
    /// and of all, None if that is not known. threads: how many decode; None for as many as there are
    /// cores.
    ///
    /// When Ctrl-C ends it, or an exception of one of the functions, what was handed over goes in and stays.
    ///
    /// Raises ImagesFailed, EncoderMissing, EncoderError, InvalidInput, ReadOnly.
    #[pyo3(
        signature = (images, ids=None, payloads=None, *, on_error=None, progress=None, threads=0),
        text_signature = "($self, images, ids=None, payloads=None, *, on_error='raise', progress=None, threads=None)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn insert_images<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        payloads: Option<&Bound<'py, PyAny>>,
        on_error: Option<&Bound<'py, PyAny>>,
        progress: Option<Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let on_error = on_error.map_or(Ok(OnError::Raise), OnError::new)?;
        let mut images = Images::new(images)?;
        if ids.is_some() || payloads.is_some() {
            images = images.counted()?;
        }
        let ids = ids.map(arguments::ids).transpose()?;
        let rows = images.count.unwrap_or(0);
        if let Some(ids) = ids.as_ref().filter(|ids| ids.len() != rows) {
            let ids = ids.len();
            return Err(invalid(format!("{ids} ids were given for {rows} pictures")));
        }
        let payloads = payloads.map(|values| payloads::written(values, rows));
        let payloads = payloads.transpose()?.unwrap_or_default();
        payloads::check_objects(&payloads)?;
        let encoder = self.encoder(py)?;
        let window = 2 * encoder.preferred_batch();
        let threads = decoders(threads);
        let writer = self.with(py, |collection| collection.picture_writer(encoder, threads))?;
        let mut insertion = Insertion {
            py,
            writer: &writer,
            progress,
            on_error,
            count: images.count,
            under_way: VecDeque::new(),
            ids: Vec::with_capacity(rows),
            failed: Vec::new(),
        };
        let outcome = insertion.submit_all(&mut images, ids.as_deref(), &payloads, window);
        let outcome = outcome.map_err(|error| insertion.end_early(error));
        let Insertion {
            ids,
            failed,
            on_error,
            ..
        } = insertion;
        py.detach(|| drop(writer));
        outcome?;
        let ids = PyArray1::from_vec(py, ids);
        match on_error {
            OnError::Raise if !failed.is_empty() => Err(failed_images(failed, ids)),
            _ => Ok(ids),
        }
    }

    /// Finds the k rows nearest to each picture, as `search` does to codes, and returns the same.
    ///
    /// images: paths, or the bytes of picture files, any mixture of them, or a single one.
    ///
    /// Raises ImageError, OSError for a file that cannot be read, EncoderMissing, EncoderError,
    /// InvalidInput, Corrupt.
    #[pyo3(
        signature = (images, k=10, *, mask=None, filter=None, budget=None, threads=0, return_certificate=false),
        text_signature = "($self, images, k=10, *, mask=None, filter=None, budget=None, threads=None, return_certificate=False)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn search_images<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        mask: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
        return_certificate: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mask = self.mask(mask)?;
        let queries = self.encoded(py, images, threads)?;
        let options = Options {
            mask,
            filter,
            budget,
            threads,
            return_certificate,
        };
        self.nearest(py, &queries, k, options)
    }

    /// Finds the k rows that are most like some pictures, of a category made up on the spot, and returns what
    /// `search` returns for one query.
    ///
    /// Selects the `bits` bits that best tell the pictures `like` from those of `unlike`, if any, and from rows of
    /// the collection; the distance of a row is the number of these bits in which it is not as the examples
    /// are. bits: None for as many as add something, at most 64. like, unlike: paths, or the bytes of picture
    /// files, any mixture of them, or a single one. Collections with planes are searched fastest so.
    ///
    /// Raises ImageError, OSError for a file that cannot be read, EncoderMissing, EncoderError,
    /// InvalidInput, Corrupt.
    #[pyo3(
        signature = (like, unlike=None, *, bits=None, k=10, filter=None, budget=None, threads=0, return_certificate=false),
        text_signature = "($self, like, unlike=None, *, bits=None, k=10, filter=None, budget=None, threads=None, return_certificate=False)"
    )]
    #[allow(clippy::too_many_arguments)]
    fn search_like<'py>(
        &self,
        py: Python<'py>,
        like: &Bound<'py, PyAny>,
        unlike: Option<&Bound<'py, PyAny>>,
        #[pyo3(from_py_with = arguments::selected_bits)] bits: Option<u32>,
        #[pyo3(from_py_with = arguments::k)] k: usize,
        #[pyo3(from_py_with = arguments::optional_filter)] filter: Option<Filter>,
        #[pyo3(from_py_with = arguments::budget)] budget: Option<Budget>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
        return_certificate: bool,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let like = self.encoded(py, like, threads)?;
        let unlike = unlike.map(|unlike| self.encoded(py, unlike, threads));
        let unlike = unlike.transpose()?;
        let selection = self.selected(py, &like, unlike.as_ref(), bits)?;
        let code = |bytes: Vec<u8>| Codes {
            bytes: bytes.into(),
            rows: 1,
        };
        let options = Options {
            mask: Some(code(selection.mask())),
            filter,
            budget,
            threads,
            return_certificate,
        };
        let query = code(selection.code().unwrap_or_default());
        self.nearest(py, &query, k, options)
    }

    /// The codes of pictures, uint8 of shape (n, ceil(bits / 8)), which go nowhere.
    ///
    /// images: paths, or the bytes of picture files, any mixture of them, or a single one. threads: how
    /// many share the work; None for as many as there are cores.
    ///
    /// Raises ImageError, OSError for a file that cannot be read, EncoderMissing, EncoderError,
    /// InvalidInput.
    #[pyo3(
        signature = (images, *, threads=0),
        text_signature = "($self, images, *, threads=None)"
    )]
    fn encode_images<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = arguments::threads)] threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let codes = self.encoded(py, images, threads)?;
        let stride = self.get_ref()?.code_bytes();
        matrix(py, codes.bytes.into_vec(), (codes.rows, stride))
    }

    /// Opens the encoder of the collection's pictures ahead of their coming, which else the first picture
    /// waits for; the database keeps it until it is dropped. Returns what it runs on.
    ///
    /// device: "auto", which is the GPU if there is one, or "cpu".
    ///
    /// Raises EncoderMissing, EncoderError, InvalidInput.
    #[pyo3(
        signature = (device="auto".to_owned()),
        text_signature = "($self, device='auto')"
    )]
    fn load_encoder(&self, py: Python<'_>, device: String) -> PyResult<String> {
        let encoder = self.open_encoder(py, encoders::device(&device)?)?;
        Ok(encoder.device())
    }
}
