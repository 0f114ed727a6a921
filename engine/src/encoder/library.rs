//! The encoder stage as a shared library, loaded when the first picture must be encoded.
//!
//! The networks run in `libbitkin_encoder`, which has a small versioned C interface, so that a program
//! starts without them, works on codes without them, and links no network runtime.

use std::ffi::{OsStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use libloading::Library;

use super::{EncodeError, Encoder, Fingerprint, ImageInput, Prepared, check_batch};
use crate::image::{ImageError, RgbImage, fit};
use crate::model::ModelFile;

/// The version of the C interface that this build speaks.
const ABI: u32 = 1;

/// The environment variable that names the library's file.
const VARIABLE: &str = "BITKIN_ENCODER";

/// Where installers put it, relative to a program's folder.
const FOLDERS: [&str; 4] = ["", "deps", "../lib", "../lib/bitkin"];

/// Room for a message of the library, in bytes.
const MESSAGE: usize = 2048;

type AbiFn = unsafe extern "C" fn() -> u32;
type OpenFn = unsafe extern "C" fn(
    model: *const u8,
    len: usize,
    device: i32,
    out: *mut *mut c_void,
    err: *mut c_char,
    err_len: usize,
) -> i32;
type DescribeFn = unsafe extern "C" fn(handle: *mut c_void, json: *mut c_char, len: usize) -> i32;
type EncodeFn = unsafe extern "C" fn(
    handle: *mut c_void,
    pixels: *const u8,
    n: usize,
    codes: *mut u8,
    err: *mut c_char,
    err_len: usize,
) -> i32;
type CloseFn = unsafe extern "C" fn(handle: *mut c_void);

/// Why pictures cannot be encoded by the encoder library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// It is nowhere.
    #[error(
        "the encoder library is not installed; looked for {}. Build it with `cargo build --release -p \
         bitkin-encoder` and leave it beside the program, or name it in ${VARIABLE}",
        places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// Its file cannot be loaded.
    #[error(
        "the encoder library {} cannot be loaded: {reason}. Build it again, with the libtorch that is \
         installed: cargo build --release -p bitkin-encoder", path.display()
    )]
    Load {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It was built from another version of Bitkin.
    #[error(
        "the encoder library {} speaks version {found} of the interface, this program {ABI}. Build both \
         from the same source: cargo build --release --workspace", path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it speaks.
        found: u32,
    },
    /// It cannot use the model: what it said.
    #[error("the model cannot be used: {0}")]
    Model(String),
    /// It describes the model wrongly.
    #[error(
        "the encoder library describes its model wrongly: {0}. Build it from the same source as the \
         program: cargo build --release --workspace"
    )]
    Description(String),
}

/// Where an encoder runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The GPU if there is one.
    #[default]
    Auto,
    /// The processor, which every machine has.
    Cpu,
}

impl Device {
    fn number(self) -> i32 {
        match self {
            Device::Auto => -1,
            Device::Cpu => 0,
        }
    }
}

/// The encoder library, loaded and of the right version.
///
/// It stays loaded as long as the process runs; loading it anew costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct EncoderLibrary {
    open: OpenFn,
    describe: DescribeFn,
    encode: EncodeFn,
    close: CloseFn,
}

impl EncoderLibrary {
    /// Finds the library and loads it; see [`EncoderLibrary::locate`].
    ///
    /// # Errors
    /// When it is nowhere, cannot be loaded, or speaks another version of the interface.
    pub fn find(folders: &[&Path]) -> Result<EncoderLibrary, LibraryError> {
        EncoderLibrary::load(&EncoderLibrary::locate(folders)?)
    }

    /// Finds the library's file, without loading it: the one that the environment variable `BITKIN_ENCODER`
    /// names, else in `folders`, else beside the program.
    ///
    /// # Errors
    /// [`LibraryError::Missing`].
    pub fn locate(folders: &[&Path]) -> Result<PathBuf, LibraryError> {
        let name = libloading::library_filename("bitkin_encoder");
        let program = std::env::current_exe().and_then(std::fs::canonicalize);
        let home = program.unwrap_or_default();
        let home = home.parent().unwrap_or(Path::new(""));
        let beside = FOLDERS.map(|folder| home.join(folder));
        let folders = folders
            .iter()
            .copied()
            .chain(beside.iter().map(PathBuf::as_path));
        look(std::env::var_os(VARIABLE).as_deref(), folders, &name)
            .map_err(|places| LibraryError::Missing { places })
    }

    /// Loads the library from a file. It is code, and is trusted like the program.
    ///
    /// # Errors
    /// When it cannot be loaded, or speaks another version of the interface.
    pub fn load(path: &Path) -> Result<EncoderLibrary, LibraryError> {
        let failed = |error: &libloading::Error| LibraryError::Load {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        // SAFETY: loading runs the library's initialisers. The path names the program's own
        // encoder, or one that its user chose, and is trusted like the program.
        let library = unsafe { Library::new(path) }.map_err(|e| failed(&e))?;
        // libtorch starts threads that outlive every handle, so the library is never unloaded:
        // unmapping their code would end the process. So the functions below may outlive this.
        let library = ManuallyDrop::new(library);

        fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, libloading::Error> {
            // SAFETY: every caller names the type that the interface gives this function; the
            // version, read first, vouches that the library means the same interface.
            unsafe { library.get::<T>(name) }.map(|symbol| *symbol)
        }
        let abi: AbiFn = symbol(&library, "bitkin_encoder_abi").map_err(|e| failed(&e))?;
        // SAFETY: in every version this function takes nothing and gives a u32.
        let found = unsafe { abi() };
        if found != ABI {
            return Err(LibraryError::Version {
                path: path.to_owned(),
                found,
            });
        }
        Ok(EncoderLibrary {
            open: symbol(&library, "bitkin_encoder_open").map_err(|e| failed(&e))?,
            describe: symbol(&library, "bitkin_encoder_describe").map_err(|e| failed(&e))?,
            encode: symbol(&library, "bitkin_encoder_encode").map_err(|e| failed(&e))?,
            close: symbol(&library, "bitkin_encoder_close").map_err(|e| failed(&e))?,
        })
    }

    /// Makes an encoder of a self-contained model.
    ///
    /// # Errors
    /// [`LibraryError::Model`]: what the library says of the model.
    pub fn open(&self, model: &ModelFile, device: Device) -> Result<LibraryEncoder, LibraryError> {
        let encoder = self.open_bytes(model.bytes(), device)?;
        if encoder.fingerprint() != model.fingerprint() {
            return Err(LibraryError::Description(format!(
                "it is {}, the library takes it for {}",
                model.fingerprint(),
                encoder.fingerprint()
            )));
        }
        Ok(encoder)
    }

    fn open_bytes(&self, model: &[u8], device: Device) -> Result<LibraryEncoder, LibraryError> {
        let mut handle = std::ptr::null_mut();
        let mut message = Message::new();
        // SAFETY: `model` is readable for its length, `handle` is writable, and `message` is
        // writable for the length given; the library keeps none of the pointers.
        let status = unsafe {
            (self.open)(
                model.as_ptr(),
                model.len(),
                device.number(),
                &raw mut handle,
                message.as_mut_ptr(),
                MESSAGE,
            )
        };
        let Some(pointer) = NonNull::new(handle).filter(|_| status == 0) else {
            return Err(LibraryError::Model(message.text()));
        };
        // From here on, dropping closes the handle.
        let mut encoder = LibraryEncoder {
            library: *self,
            handle: pointer,
            description: Description::default(),
        };
        encoder.description = encoder.describe().map_err(LibraryError::Description)?;
        Ok(encoder)
    }
}

/// The first of `folders` with a file of that name, unless one is `chosen`: what a user names is meant, and
/// nothing else is tried in its place. Where it was looked for, if it is nowhere.
fn look<'a>(
    chosen: Option<&OsStr>,
    folders: impl Iterator<Item = &'a Path>,
    name: &OsStr,
) -> Result<PathBuf, Vec<PathBuf>> {
    let places: Vec<PathBuf> = match chosen {
        Some(path) if !path.is_empty() => vec![PathBuf::from(path)],
        _ => folders.map(|folder| folder.join(name)).collect(),
    };
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => Err(places),
    }
}

/// What the library says of an opened model.
#[derive(Clone, Debug, serde::Deserialize)]
struct Description {
    bits: u32,
    input: ImageInput,
    fingerprint: Fingerprint,
    preferred_batch: usize,
    #[serde(default)]
    device: String,
}

impl Default for Description {
    fn default() -> Description {
        Description {
            bits: 0,
            input: ImageInput::stretch(1, 1),
            fingerprint: Fingerprint([0; 32]),
            preferred_batch: 1,
            device: String::new(),
        }
    }
}

/// A model, opened in the encoder library.
pub struct LibraryEncoder {
    library: EncoderLibrary,
    /// Open from the library's `open` to the drop of this.
    handle: NonNull<c_void>,
    description: Description,
}

// SAFETY: version 1 of the interface binds a handle to no thread.
unsafe impl Send for LibraryEncoder {}
// SAFETY: it lets several threads describe and encode with one handle at once; only closing must
// not overlap with anything, and `drop` has the encoder for itself.
unsafe impl Sync for LibraryEncoder {}

impl LibraryEncoder {
    fn describe(&self) -> Result<Description, String> {
        let mut json = vec![0u8; MESSAGE];
        for _ in 0..2 {
            // SAFETY: the handle is open, and `json` is writable for the length given.
            let needed = unsafe {
                (self.library.describe)(self.handle.as_ptr(), json.as_mut_ptr().cast(), json.len())
            };
            let needed = usize::try_from(needed).map_err(|_| format!("status {needed}"))?;
            // Whether or not the length counts the final NUL, one more byte is enough.
            if needed < json.len() {
                let end = json.iter().position(|&b| b == 0).unwrap_or(json.len());
                let description: Description =
                    serde_json::from_slice(&json[..end]).map_err(|e| e.to_string())?;
                if !(8..=65_536).contains(&description.bits) || description.preferred_batch == 0 {
                    return Err("its bits or its batch are out of range".to_owned());
                }
                return Ok(description);
            }
            if needed > 1 << 20 {
                return Err("it is longer than a description can be".to_owned());
            }
            json.resize(needed + 1, 0);
        }
        Err("its length changes".to_owned())
    }
}

impl std::fmt::Debug for LibraryEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LibraryEncoder")
            .field(&self.description)
            .finish()
    }
}

impl Encoder for LibraryEncoder {
    fn bits(&self) -> u32 {
        self.description.bits
    }

    fn fingerprint(&self) -> Fingerprint {
        self.description.fingerprint
    }

    fn preferred_batch(&self) -> usize {
        self.description.preferred_batch
    }

    fn device(&self) -> String {
        // Asked anew: a device that fails is given up for the processor.
        let described = self.describe().map(|description| description.device);
        described.unwrap_or_else(|_| self.description.device.clone())
    }

    fn least_side(&self) -> Option<u32> {
        Some(self.description.input.least_side())
    }

    fn prepared_bytes(&self) -> usize {
        self.description.input.bytes()
    }

    fn prepare(&self, picture: &RgbImage) -> Result<Prepared, ImageError> {
        Ok(Prepared {
            bytes: fit(picture, &self.description.input)?,
            quality: None,
        })
    }

    fn encode(&self, pixels: &[u8], codes: &mut [u8]) -> Result<(), EncodeError> {
        let count = check_batch(self, pixels, codes)?;
        if count == 0 {
            return Ok(());
        }
        let mut message = Message::new();
        // SAFETY: the handle is open; `check_batch` has made sure that `pixels` holds `count`
        // pictures and `codes` room for `count` codes; `message` is writable for its length.
        let status = unsafe {
            (self.library.encode)(
                self.handle.as_ptr(),
                pixels.as_ptr(),
                count,
                codes.as_mut_ptr(),
                message.as_mut_ptr(),
                MESSAGE,
            )
        };
        if status == 0 {
            Ok(())
        } else {
            Err(EncodeError::Failed(message.text()))
        }
    }
}

impl Drop for LibraryEncoder {
    fn drop(&mut self) {
        // SAFETY: the handle is open, this is its last use, and nobody else holds the encoder.
        unsafe { (self.library.close)(self.handle.as_ptr()) };
    }
}

/// A buffer for the library's words.
struct Message([u8; MESSAGE]);

impl Message {
    fn new() -> Message {
        Message([0; MESSAGE])
    }

    fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }

    fn text(&self) -> String {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(MESSAGE);
        let text = String::from_utf8_lossy(&self.0[..end]);
        // libtorch writes several lines; a failure is one.
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        match lines.join(" ") {
            text if text.is_empty() => "the encoder library gives no reason".to_owned(),
            text => text,
        }
    }
}

#[cfg(test)]
mod tests;
