//! Pictures: encoding, inserting and searching for them.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bitkin::Error;
use bitkin::encoder::{Device, Encoder};
use bitkin::image::Limits;
use bitkin::ingest::{Ingest, IngestError, IngestReport, Picture, PictureWriter, Sources, Ticket};
use bitkin::pdq;
use serde_json::{Map, Value};

use crate::collection::{Opened, bitkin_collection, ids, payloads};
use crate::handles::{Handle, Handles};
use crate::memory::{Out, array, lend, lend_shown, optional_text, path};
use crate::pairs::go_on;
use crate::search::{Nearest, bitkin_search_options, read};
use crate::status::{Failure, bitkin_status, guarded};

/// The distance within which two pictures are taken for the same one, by their perceptual hashes. Those of
/// pictures with little to see collide: filter by "quality >= 50".
pub const BITKIN_PDQ_RADIUS: u32 = 31;

const _: () = assert!(BITKIN_PDQ_RADIUS == pdq::RADIUS);

/// For `device`: the GPU if there is one.
pub const BITKIN_DEVICE_AUTO: u32 = 0;

/// For `device`: the processor.
pub const BITKIN_DEVICE_CPU: u32 = 1;

/// A picture file: its bytes, or where it lies. JPEG, PNG, WebP, GIF, BMP, TIFF and PNM are read.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bitkin_image {
    /// The bytes of the file; NULL if `path` says where they are.
    pub bytes: *const u8,
    /// How many there are.
    pub size: usize,
    /// The file; NULL if `bytes` are given.
    pub path: *const c_char,
}

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

/// The folder of the library that this code is in: where an encoder library is installed beside it.
fn own_folder() -> Option<PathBuf> {
    let here = own_folder as fn() -> Option<PathBuf> as *const c_void;
    let mut found = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: the address is one of this code, and `found` can be written.
    if unsafe { libc::dladdr(here, &raw mut found) } == 0 || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a library's name ends with a zero byte, and lives as long as the library is loaded: as this code.
    let name = unsafe { CStr::from_ptr(found.dli_fname) };
    let name = Path::new(name.to_str().ok()?);
    // A program's name may be one without a folder.
    name.is_absolute()
        .then(|| name.parent().map(Path::to_owned))?
}

fn device_of(device: u32) -> Result<Device, Failure> {
    match device {
        BITKIN_DEVICE_AUTO => Ok(Device::Auto),
        BITKIN_DEVICE_CPU => Ok(Device::Cpu),
        other => Err(Failure::invalid(format!("there is no device {other}"))),
    }
}

impl Opened {
    /// What makes the codes of its pictures, opened when it is first asked for.
    fn encoder(&self) -> Result<Arc<dyn Encoder>, Failure> {
        // Whoever comes meanwhile waits: it takes memory and time to open.
        let mut kept = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = &*kept {
            return Ok(Arc::clone(encoder));
        }
        let encoder = self.open(None, Device::default())?;
        Ok(Arc::clone(kept.insert(encoder)))
    }

    fn open(&self, folder: Option<&Path>, device: Device) -> Result<Arc<dyn Encoder>, Error> {
        let own = own_folder();
        let folders: Vec<&Path> = folder.into_iter().chain(own.as_deref()).collect();
        self.open_encoder(&folders, device)
    }
}

/// Opens what makes the codes of the collection's pictures, on `device`, BITKIN_DEVICE_AUTO or
/// BITKIN_DEVICE_CPU. Without it, the first function that needs it opens it with BITKIN_DEVICE_AUTO; it is kept
/// with the handle either way.
///
/// A model needs the encoder library. It is the one that the environment variable BITKIN_ENCODER names, else
/// the one in `folder`, which may be NULL, else beside this library, else beside the program; loading it
/// runs its code. BITKIN_NO_ENCODER if it is nowhere. Perceptual hashes need none.
///
/// Threads: any.
///
/// # Safety
/// `folder` is NULL or ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_open_encoder(
    collection: *mut bitkin_collection,
    folder: *const c_char,
    device: u32,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        let device = device_of(device)?;
        let folder = match folder.is_null() {
            true => None,
            // SAFETY: the caller's.
            false => Some(unsafe { path(folder, "folder")? }),
        };
        let encoder = collection.open(folder, device)?;
        let mut kept = collection
            .encoder
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *kept = Some(encoder);
        Ok(())
    })
}

/// Gives, in `fingerprint`, 64 hexadecimal digits that name the model or the hash that makes the collection's
/// codes; NULL for a collection of codes alone. Free it with bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// `fingerprint` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_fingerprint(
    collection: *const bitkin_collection,
    fingerprint: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let out = unsafe { Out::one(fingerprint, "fingerprint")? };
        let found = bitkin_collection::get(collection)?.model();
        let text = found.map(|found| lend(found.to_string())).transpose()?;
        out.set(text.unwrap_or(std::ptr::null()));
        Ok(())
    })
}

/// A picture file of the caller's.
struct Image<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where it lay.
    path: Option<&'a Path>,
}

impl<'a> Image<'a> {
    /// Reads it, if it is not in memory.
    ///
    /// # Errors
    /// For one that is neither bytes nor a path, or cannot be read.
    ///
    /// # Safety
    /// `bytes` is as for [`array`], and `path` as for [`path`].
    unsafe fn read(image: &bitkin_image) -> Result<Image<'a>, Failure> {
        match (image.bytes.is_null(), image.path.is_null()) {
            (false, true) => {
                // SAFETY: the caller's.
                let bytes = unsafe { array(image.bytes, image.size, "image.bytes")? };
                Ok(Image {
                    bytes: Cow::Borrowed(bytes),
                    path: None,
                })
            }
            (true, false) => {
                // SAFETY: the caller's.
                let path = unsafe { path(image.path, "image.path")? };
                Ok(Image {
                    bytes: Cow::Owned(read_file(path)?),
                    path: Some(path),
                })
            }
            (true, true) => Err(Failure::invalid("an image has neither bytes nor a path")),
            (false, false) => Err(Failure::invalid("an image has bytes and a path: give one")),
        }
    }

    /// Reads images of the caller's.
    ///
    /// # Errors
    /// As [`array`] and [`Image::read`].
    ///
    /// # Safety
    /// As [`array`] and [`Image::read`].
    unsafe fn read_all(images: *const bitkin_image, count: usize) -> Result<Vec<Self>, Failure> {
        // SAFETY: the caller's.
        let images = unsafe { array(images, count, "images")? };
        // SAFETY: the caller's.
        let read = images.iter().map(|image| unsafe { Image::read(image) });
        read.collect()
    }

    /// One image of the caller's.
    ///
    /// # Errors
    /// As [`Image::read_all`].
    ///
    /// # Safety
    /// As [`Image::read_all`].
    unsafe fn one(image: *const bitkin_image) -> Result<Self, Failure> {
        // SAFETY: the caller's.
        let image = unsafe { &array(image, 1, "image")?[0] };
        // SAFETY: the caller's.
        unsafe { Image::read(image) }
    }

    /// The payload, with the picture's `source` where that is known and nothing else is said. What is no object
    /// stays as it is: inserting says what is wrong with it.
    fn described(&self, payload: Option<&str>) -> Option<String> {
        let (Some(path), Ok(mut object)) = (
            self.path,
            serde_json::from_str::<Map<String, Value>>(payload.unwrap_or("{}")),
        ) else {
            return payload.map(str::to_owned);
        };
        object
            .entry("source")
            .or_insert_with(|| path.to_string_lossy().into());
        Some(Value::Object(object).to_string())
    }
}

/// The bytes of a file, one more at most than a picture may have: then it is refused for that.
fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(Limits::default().max_file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Gives the codes of `count` pictures in `codes`, row by row: `codes_size` bytes, at least those of so many
/// codes. BITKIN_BAD_PICTURE for the first that cannot be used. The codes serve any search.
///
/// Threads: any.
///
/// # Safety
/// `images` is NULL or points to so many, each with what it is said to hold, whose paths end with a zero byte;
/// `codes` is NULL or has room for `codes_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_encode_images(
    collection: *const bitkin_collection,
    images: *const bitkin_image,
    count: usize,
    codes: *mut u8,
    codes_size: usize,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        let least = count.saturating_mul(collection.code_bytes());
        // SAFETY: the caller's.
        let (out, images) = unsafe {
            let out = Out::new(codes, codes_size, least, "codes")?;
            (out, Image::read_all(images, count)?)
        };
        let files: Vec<&[u8]> = images.iter().map(|image| &*image.bytes).collect();
        let made = collection.encode_images(&*collection.encoder()?, &files)?;
        for (at, byte) in made.into_iter().enumerate() {
            out.put(at, byte);
        }
        Ok(())
    })
}

/// Finds the `k` pictures nearest to one, as bitkin_search does with its code.
///
/// Threads: any.
///
/// # Safety
/// `image` is as for bitkin_encode_images, everything else as for bitkin_search.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_search_image(
    collection: *const bitkin_collection,
    image: *const bitkin_image,
    k: usize,
    options: *const bitkin_search_options,
    ids: *mut u64,
    distances: *mut u32,
    capacity: usize,
    certified_radius: *mut i64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (options, out, image) = unsafe {
            (
                read(options)?.k(k),
                Nearest::new(1, k, (ids, distances, capacity), certified_radius)?,
                Image::one(image)?,
            )
        };
        let search = collection.search_image(&*collection.encoder()?, &image.bytes)?;
        out.put(&[search.options(&options).run()?]);
        Ok(())
    })
}

/// Inserts `count` pictures, all or none, durably.
///
/// * `ids`: one a picture, new to the collection, in any order; NULL assigns those that follow the largest one.
/// * `payloads`: a JSON object for each, or NULL; NULL for none at all. The `sha256` of the file is added to
///   each, its `source` if it was given by path, and its `quality` where the encoder judges it. Content that
///   is known already is inserted all the same.
/// * `assigned`: room for `count` ids, the rows', or NULL.
///
/// Threads: any. Pictures that come one by one from many threads are faster through a
/// bitkin_picture_writer; folders and archives through bitkin_ingest.
///
/// # Safety
/// `images` is as for bitkin_encode_images, everything else as for bitkin_insert.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_insert_images(
    collection: *mut bitkin_collection,
    ids: *const u64,
    images: *const bitkin_image,
    count: usize,
    payloads: *const *const c_char,
    assigned: *mut u64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (ids, given, out, images) = unsafe {
            (
                self::ids(ids, count)?,
                self::payloads(payloads, count)?,
                Out::unless_null(assigned, count, count, "assigned")?,
                Image::read_all(images, count)?,
            )
        };
        let described = images.iter().enumerate().map(|(row, image)| {
            let payload = given.get(row).copied().flatten();
            image.described(payload)
        });
        let described: Vec<Option<String>> = described.collect();
        let texts: Vec<Option<&str>> = described.iter().map(Option::as_deref).collect();
        let files: Vec<&[u8]> = images.iter().map(|image| &*image.bytes).collect();
        let encoder = collection.encoder()?;
        let inserted = collection.insert_images(&*encoder, ids, &files, &texts)?;
        for (row, id) in inserted.into_iter().enumerate() {
            out.put(row, id);
        }
        Ok(())
    })
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
                self::ids(id, 1)?.map(|id| id[0]),
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
