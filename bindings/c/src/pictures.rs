//! Pictures: what makes their codes, encoding, inserting and searching for them.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use bitkin::Error;
use bitkin::encoder::{Device, Encoder};
use bitkin::image::Limits;
use bitkin::pdq;
use serde_json::{Map, Value};

use crate::collection::{Opened, bitkin_collection, ids, payloads};
use crate::handles::Handle;
use crate::memory::{Out, array, lend, path};
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
    pub(crate) fn encoder(&self) -> Result<Arc<dyn Encoder>, Failure> {
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
pub(crate) struct Image<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
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
    pub(crate) unsafe fn one(image: *const bitkin_image) -> Result<Self, Failure> {
        // SAFETY: the caller's.
        let image = unsafe { &array(image, 1, "image")?[0] };
        // SAFETY: the caller's.
        unsafe { Image::read(image) }
    }

    /// The payload, with the picture's `source` where that is known and nothing else is said. What is no object
    /// stays as it is: inserting says what is wrong with it.
    pub(crate) fn described(&self, payload: Option<&str>) -> Option<String> {
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
