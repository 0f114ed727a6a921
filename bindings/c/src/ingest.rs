//! Many pictures into a collection: from threads, and from folders and archives.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, PoisonError};

use bitkin::ingest::{Ingest, IngestError, IngestReport, Picture, PictureWriter, Sources, Ticket};

use crate::collection::{bitkin_collection, ids};
use crate::handles::{Handle, Handles};
use crate::memory::{Out, array, lend_shown, optional_text, path};
use crate::pairs::go_on;
use crate::pictures::{Image, bitkin_image};
use crate::status::{Failure, bitkin_status, guarded};

/// How pictures are ingested. All zero is the usual way.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct bitkin_ingest_options {
    /// New pictures to insert, at most; 0 for no bound.
    pub limit: u64,
    /// Threads that decode; 0 for as many as there are cores.
    pub threads: u32,
    /// 0 to skip pictures that cannot be used; 1 to stop at the first, with BITKIN_BAD_PICTURE.
    pub strict: u32,
}

/// How far an ingest has come, or what it did.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct bitkin_ingest_report {
    /// Files in the sources, those that are no pictures included.
    pub total: u64,
    /// Files dealt with.
    pub done: u64,
    /// Pictures inserted; every one of them is committed.
    pub inserted: u64,
    /// Pictures passed over because the collection held their content already, or because it came twice.
    pub known: u64,
    /// Pictures that could not be used.
    pub skipped: u64,
}

/// Is told how far an ingest has come; false ends it, and what was decoded by then is committed first. It must
/// not unwind, and may call any function of Bitkin.
pub type bitkin_ingest_callback =
    Option<extern "C" fn(context: *mut c_void, report: *const bitkin_ingest_report) -> bool>;

/// Inserts pictures that many threads bring, encoded and committed together with whatever else is there.
pub struct bitkin_picture_writer {
    _opaque: (),
}

impl Handle for bitkin_picture_writer {
    type Value = PictureWriter;
    const NAME: &'static str = "writer of pictures";

    fn all() -> &'static Handles<PictureWriter> {
        static ALL: Handles<PictureWriter> = Handles::new();
        &ALL
    }
}

/// What will become of a picture.
pub struct bitkin_ticket {
    _opaque: (),
}

/// `None` once it is waited for.
type Outcome = Mutex<Option<Ticket>>;

impl Handle for bitkin_ticket {
    type Value = Outcome;
    const NAME: &'static str = "ticket";

    fn all() -> &'static Handles<Outcome> {
        static ALL: Handles<Outcome> = Handles::new();
        &ALL
    }
}

/// Gives a writer of pictures, with so many threads that decode, at least 1. Free it with
/// bitkin_picture_writer_free.
///
/// Threads: any.
///
/// # Safety
/// `writer` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_picture_writer_open(
    collection: *mut bitkin_collection,
    decoders: usize,
    writer: *mut *mut bitkin_picture_writer,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::one(writer, "writer")? };
        let collection = bitkin_collection::get(collection)?;
        // More threads than any machine has cores are a mistake, and would be started.
        if !(1..=4096).contains(&decoders) {
            return Err(Failure::invalid("decoders must be from 1 to 4,096"));
        }
        let opened = collection.picture_writer(collection.encoder()?, decoders)?;
        out.set(bitkin_picture_writer::new(opened));
        Ok(())
    })
}

/// Hands a picture to a writer, and returns at once unless many are under way. Pictures are inserted in the
/// order in which they come.
///
/// * `id`: NULL assigns the one that follows the largest.
/// * `payload`: as for bitkin_insert_images; may be NULL.
/// * `ticket`: receives what tells the outcome, for bitkin_ticket_wait; NULL, and nobody will know it.
///
/// Threads: any, on the same writer too.
///
/// # Safety
/// `image` is as for bitkin_encode_images; `id` and `ticket` are NULL or point to what they are said to;
/// `payload` is NULL or ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_picture_writer_submit(
    writer: *mut bitkin_picture_writer,
    id: *const u64,
    image: *const bitkin_image,
    payload: *const c_char,
    ticket: *mut *mut bitkin_ticket,
) -> bitkin_status {
    guarded(|| {
        let writer = bitkin_picture_writer::get(writer)?;
        // SAFETY: the caller's.
        let (id, payload, out, image) = unsafe {
            (
                ids(id, 1)?.map(|id| id[0]),
                optional_text(payload, "payload")?,
                Out::optional(ticket, "ticket")?,
                Image::one(image)?,
            )
        };
        let payload = image.described(payload);
        let outcome = writer.submit(Picture {
            id,
            file: image.bytes.into_owned(),
            payload,
        })?;
        if out.is_wanted() {
            out.set(bitkin_ticket::new(Mutex::new(Some(outcome))));
        }
        Ok(())
    })
}

/// Waits until the picture of a ticket is committed, gives its id in `id`, which may be NULL, and frees the
/// ticket, whatever the status. That is of this picture alone.
///
/// Threads: any.
///
/// # Safety
/// `id` is NULL or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_ticket_wait(
    ticket: *mut bitkin_ticket,
    id: *mut u64,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::optional(id, "id")? };
        let outcome = bitkin_ticket::take(ticket)?.ok_or_else(|| bitkin_ticket::bad(ticket))?;
        let outcome = outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Taken once, as the handle is.
        let outcome = outcome.ok_or_else(|| bitkin_ticket::bad(ticket))?;
        out.set(outcome.wait()?);
        Ok(())
    })
}

/// Frees a ticket that nobody will wait for. Its picture is inserted all the same.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_ticket_free(ticket: *mut bitkin_ticket) -> bitkin_status {
    guarded(|| bitkin_ticket::take(ticket).map(drop))
}

/// Waits for all pictures that were submitted, and frees the writer. Tickets stay good.
///
/// Threads: any. If another thread is just submitting, the last of them waits.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_picture_writer_free(writer: *mut bitkin_picture_writer) -> bitkin_status {
    guarded(|| bitkin_picture_writer::take(writer).map(drop))
}

/// Inserts all pictures of `path_count` files, folders and .tar archives whose content is new to the
/// collection, in commits of some hundred. Their payloads hold `source`, `sha256`, and the folder's name as
/// `label`. Called again, it goes on where it ended.
///
/// * `options`: NULL for the usual way.
/// * `progress`: may be NULL; is called after each file, with `context`.
/// * `report`: may be NULL. It is also given when the ingest fails on the way: what it counts as inserted is
///   committed and stays.
/// * `skipped`: may be NULL; which pictures could not be used and why, one in a line. Free it with
///   bitkin_string_free.
///
/// Threads: any; `progress` is called on the calling one.
///
/// # Safety
/// `paths` is NULL or points to so many texts, each of which ends with a zero byte; `options`, `report` and
/// `skipped` are NULL or point to what they are said to; `progress` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_ingest(
    collection: *mut bitkin_collection,
    paths: *const *const c_char,
    path_count: usize,
    options: *const bitkin_ingest_options,
    progress: bitkin_ingest_callback,
    context: *mut c_void,
    report: *mut bitkin_ingest_report,
    skipped: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (pointers, options, report, skipped) = unsafe {
            let options = match options.is_null() {
                true => bitkin_ingest_options::default(),
                false => array(options, 1, "options")?[0],
            };
            (
                array(paths, path_count, "paths")?,
                options,
                Out::optional(report, "report")?,
                Out::optional(skipped, "skipped")?,
            )
        };
        // SAFETY: the caller's.
        let paths = pointers.iter().map(|at| unsafe { path(*at, "a path") });
        let sources = Sources::open(&paths.collect::<Result<Vec<_>, _>>()?)?;
        let encoder = collection.encoder()?;
        let mut ingest = Ingest::new(&collection, &*encoder)?.strict(options.strict != 0);
        if options.limit > 0 {
            ingest = ingest.limit(options.limit);
        }
        if options.threads > 0 {
            ingest = ingest.threads(options.threads as usize);
        }
        let mut told = bitkin_ingest_report::default();
        let done = ingest.run(&sources, &mut |now| {
            told = bitkin_ingest_report {
                total: now.total,
                done: now.done,
                inserted: now.inserted,
                known: now.known,
                skipped: now.skipped,
            };
            go_on(progress.is_none_or(|progress| progress(context, &raw const told)))
        });
        let (done, failed) = match done {
            Ok(done) => (done, None),
            Err(IngestError { report, error }) => (*report, Some(*error)),
        };
        let IngestReport {
            inserted, known, ..
        } = done;
        report.set(bitkin_ingest_report {
            total: sources.count(),
            inserted,
            known,
            skipped: done.skipped.len() as u64,
            ..told
        });
        if skipped.is_wanted() {
            let lines = done.skipped.iter();
            let lines = lines.map(|bad| format!("{}: {}\n", bad.source, bad.reason));
            skipped.set(lend_shown(&lines.collect::<String>())?);
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    })
}
