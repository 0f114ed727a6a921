//! The error of the engine.

use std::path::PathBuf;

use crate::activity::says_stopped;
#[cfg(feature = "images")]
use crate::encoder::LibraryError;
use crate::encoder::{EncodeError, Fingerprint};
use crate::jsonl::JsonlReason;
use crate::kernels::KernelError;
use crate::model::ModelError;
use crate::npy::NpyReason;

/// What can go wrong in a database. Unless a variant says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No collection has that name.
    #[error("there is no collection {name:?}; {}", match existing.as_slice() {
        [] => "the database has none".to_owned(),
        names => format!("the database has {}", names.join(", ")),
    })]
    UnknownCollection {
        /// The name asked for.
        name: String,
        /// The names that there are.
        existing: Vec<String>,
    },
    /// A collection of that name exists already.
    #[error("a collection named {name:?} exists already")]
    CollectionExists {
        /// The name.
        name: String,
    },
    /// The code width lies outside of what a collection can have.
    #[error("a collection of {bits} bits cannot be: the width must be from 8 to 65,536 bits")]
    BadBits {
        /// The width asked for.
        bits: u32,
    },
    /// The bytes given are not codes of the collection's width.
    #[error(
        "codes of collection {collection:?} have {bits} bits, {expected} bytes each: \
         {found} bytes are not {}",
        match rows { Some(1) => "one code".to_owned(), Some(rows) => format!("{rows} codes"),
                     None => "a whole number of codes".to_owned() }
    )]
    WrongWidth {
        /// Name of the collection.
        collection: String,
        /// Its code width in bits.
        bits: u32,
        /// Bytes of one code.
        expected: usize,
        /// Bytes given.
        found: usize,
        /// Codes expected, where that is known.
        rows: Option<usize>,
    },
    /// Bits beyond the code width are set.
    #[error("code {row} sets bits beyond the {bits} bits of collection {collection:?}")]
    PaddingBits {
        /// Name of the collection.
        collection: String,
        /// Its code width in bits.
        bits: u32,
        /// Position of the code among those given, from 0.
        row: usize,
    },
    /// A mask has not the width of the codes.
    #[error(
        "codes of collection {collection:?} have {bits} bits, and so must masks: {expected} bytes{}, not {found}",
        match queries { 0 | 1 => String::new(), queries => format!(", or that for each of {queries} queries") }
    )]
    MaskWidth {
        /// Name of the collection.
        collection: String,
        /// Its code width in bits.
        bits: u32,
        /// Bytes of one code, and of one mask.
        expected: usize,
        /// Bytes given.
        found: usize,
        /// Queries that the masks are for.
        queries: usize,
    },
    /// A mask sets bits beyond the code width.
    #[error(
        "mask {mask} sets bits beyond the {bits} bits of collection {collection:?}: leave them zero"
    )]
    MaskPadding {
        /// Name of the collection.
        collection: String,
        /// Its code width in bits.
        bits: u32,
        /// Position of the mask among those given, from 0.
        mask: usize,
    },
    /// A mask has no bit set: every row would be at distance 0.
    #[error(
        "mask {mask} for collection {collection:?} has no bit set, so that all rows would be alike: \
         set those that are to count"
    )]
    EmptyMask {
        /// Name of the collection.
        collection: String,
        /// Position of the mask among those given, from 0.
        mask: usize,
    },
    /// A search for pairs was given options with a mask.
    #[error(
        "a search for pairs in collection {collection:?} was given a mask: all bits count there; leave it out"
    )]
    MaskedPairs {
        /// Name of the collection.
        collection: String,
    },
    /// An id to be inserted exists.
    #[error("collection {collection:?} holds id {id} already")]
    DuplicateId {
        /// Name of the collection.
        collection: String,
        /// The smallest id given that exists.
        id: u64,
    },
    /// An id was given twice in one call.
    #[error("id {id} was given twice for collection {collection:?}")]
    RepeatedId {
        /// Name of the collection.
        collection: String,
        /// The id.
        id: u64,
    },
    /// The id 2^64-1 is reserved.
    #[error("id 18446744073709551615 (2^64-1) is reserved (collection {collection:?})")]
    ReservedId {
        /// Name of the collection.
        collection: String,
    },
    /// A payload to be inserted is not JSON.
    #[error("the payload of row {row} is not valid JSON: {reason}")]
    InvalidPayload {
        /// Position of the row among those given, from 0.
        row: usize,
        /// What the parser said.
        reason: String,
    },
    /// A payload field cannot be declared for fast filtering.
    #[error("the field {field:?} cannot be declared: {reason}")]
    BadIndexField {
        /// The field, as given.
        field: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A text is no filter.
    #[error(transparent)]
    Filter(#[from] crate::filter::FilterError),
    /// Bits cannot be selected from the examples.
    #[error(transparent)]
    Selection(#[from] crate::selection::SelectionError),
    /// The caller stopped it; see [`Activity`](crate::Activity).
    #[error("it was stopped")]
    Stopped,
    /// What the database holds of a collection cannot be understood.
    #[error("collection {collection:?}: {reason}")]
    Damaged {
        /// Name of the collection.
        collection: String,
        /// What is wrong.
        reason: String,
    },
    /// Another process, or another handle in this one, has the database open for writing.
    #[error("{} is open for writing elsewhere: close it there, or open read-only", path.display())]
    Locked {
        /// The database directory.
        path: PathBuf,
    },
    /// The directory holds no database.
    #[error("{} is not a Bitkin database", path.display())]
    NotADatabase {
        /// The directory.
        path: PathBuf,
    },
    /// A file of the database has a format version that this build does not know.
    #[error("{file} has format version {found}; this build of Bitkin reads version {supported}")]
    FormatVersion {
        /// The file, relative to the database directory.
        file: String,
        /// The version it names.
        found: u32,
        /// The version that this build reads.
        supported: u32,
    },
    /// A copy of a database was to be put into it.
    #[error("{} lies in the database itself: name a directory beside it", path.display())]
    WithinItself {
        /// The directory of the copy.
        path: PathBuf,
    },
    /// The database was opened read-only.
    #[error("the database is open read-only")]
    ReadOnly,
    /// The database was closed while this handle was kept.
    #[error("the database was closed")]
    Closed,
    /// The system starts no more threads.
    #[error("no thread can be started: {0}")]
    NoThread(std::io::Error),
    /// Anything else that storage reports.
    #[error(transparent)]
    Storage(bitkin_storage::Error),
    /// The instruction set that `BITKIN_SIMD` asks for cannot be had.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A model file cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The collection has no model, so pictures cannot be inserted or searched for.
    #[error("collection {collection:?} has no model: it takes codes, not pictures")]
    NoModel {
        /// Name of the collection.
        collection: String,
    },
    /// The encoder is of another model than the collection.
    #[error("collection {collection:?} has codes of model {expected}, the encoder is {found}")]
    ModelMismatch {
        /// Name of the collection.
        collection: String,
        /// The collection's model.
        expected: Fingerprint,
        /// The encoder's.
        found: Fingerprint,
    },
    /// The encoder failed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The encoder library cannot be had, or not use the model.
    #[cfg(feature = "images")]
    #[error(transparent)]
    EncoderLibrary(#[from] crate::encoder::LibraryError),
    /// A picture cannot be used.
    #[cfg(feature = "images")]
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    /// A picture of a strict ingest cannot be used. Those before it are in.
    #[cfg(feature = "images")]
    #[error("{source_name}: {reason}")]
    Picture {
        /// Where the picture came from.
        source_name: String,
        /// What is wrong with it.
        reason: crate::image::ImageError,
    },
    /// A file of JSON lines cannot be used.
    #[error(transparent)]
    Jsonl(#[from] crate::jsonl::JsonlError),
    /// A `.npy` file cannot be used.
    #[error(transparent)]
    Npy(#[from] crate::npy::NpyError),
    /// A file or directory outside of the database cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What sort of thing went wrong: what a program can act on without reading the message. Interfaces in other
/// languages have an exception or a number for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for is not there.
    NotFound,
    /// What was to be made is there already: a collection, or the id of a row.
    AlreadyExists,
    /// An argument cannot be used.
    InvalidInput,
    /// A file of the database is damaged or missing.
    Corrupt,
    /// The database is open for writing elsewhere.
    Locked,
    /// The directory holds no database.
    NotADatabase,
    /// The database was written by a newer program, or by one with other features.
    UnknownFormat,
    /// The database was opened read-only.
    ReadOnly,
    /// The database was closed.
    Closed,
    /// A file cannot be read or written, or an earlier write failed.
    Disk,
    /// A picture cannot be used: it is damaged, of an unknown format, or too large. Others may be good.
    BadPicture,
    /// The encoder that pictures need cannot be had: its library is not installed, or is of another version.
    NoEncoder,
    /// The caller stopped it.
    Stopped,
    /// Anything else: the message says what.
    Other,
}

impl Error {
    /// What sort of error it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::UnknownCollection { .. } => ErrorKind::NotFound,
            Error::CollectionExists { .. } | Error::DuplicateId { .. } => ErrorKind::AlreadyExists,
            Error::BadBits { .. }
            | Error::WrongWidth { .. }
            | Error::PaddingBits { .. }
            | Error::MaskWidth { .. }
            | Error::MaskPadding { .. }
            | Error::EmptyMask { .. }
            | Error::MaskedPairs { .. }
            | Error::RepeatedId { .. }
            | Error::ReservedId { .. }
            | Error::InvalidPayload { .. }
            | Error::BadIndexField { .. }
            | Error::Filter(_)
            | Error::Kernel(_)
            | Error::Selection(_)
            | Error::NoModel { .. }
            | Error::WithinItself { .. }
            | Error::ModelMismatch { .. }
            | Error::Encode(EncodeError::Shape { .. }) => ErrorKind::InvalidInput,
            Error::Damaged { .. } => ErrorKind::Corrupt,
            Error::Locked { .. } => ErrorKind::Locked,
            Error::NotADatabase { .. } => ErrorKind::NotADatabase,
            Error::FormatVersion { .. } => ErrorKind::UnknownFormat,
            Error::ReadOnly => ErrorKind::ReadOnly,
            Error::Closed => ErrorKind::Closed,
            Error::Io { .. } => ErrorKind::Disk,
            Error::Model(ModelError::Io { .. }) => ErrorKind::Disk,
            Error::Model(ModelError::NewerFormat { .. }) => ErrorKind::UnknownFormat,
            Error::Model(_) => ErrorKind::InvalidInput,
            Error::Stopped => ErrorKind::Stopped,
            Error::Encode(EncodeError::Failed(_)) | Error::NoThread(_) => ErrorKind::Other,
            #[cfg(feature = "images")]
            Error::EncoderLibrary(LibraryError::Model(_)) => ErrorKind::InvalidInput,
            #[cfg(feature = "images")]
            Error::EncoderLibrary(_) => ErrorKind::NoEncoder,
            #[cfg(feature = "images")]
            Error::Image(_) | Error::Picture { .. } => ErrorKind::BadPicture,
            Error::Jsonl(error) => match error.reason {
                JsonlReason::Io(_) => ErrorKind::Disk,
                _ => ErrorKind::InvalidInput,
            },
            Error::Npy(error) => match error.reason {
                NpyReason::Io(_) => ErrorKind::Disk,
                _ => ErrorKind::InvalidInput,
            },
            Error::Storage(error) => kind_of_storage(error),
        }
    }
}

fn kind_of_storage(error: &bitkin_storage::Error) -> ErrorKind {
    use bitkin_storage::Error as From;
    match error {
        From::UnknownCollection { .. } => ErrorKind::NotFound,
        From::NotEmpty { .. } => ErrorKind::NotADatabase,
        From::BadName { .. }
        | From::TooLarge { .. }
        | From::IdsExhausted { .. }
        | From::PayloadCount { .. } => ErrorKind::InvalidInput,
        From::Corrupt { .. } | From::MissingFile { .. } | From::ManifestLost { .. } => {
            ErrorKind::Corrupt
        }
        From::UnsupportedFeature { .. } => ErrorKind::UnknownFormat,
        From::Closing => ErrorKind::Closed,
        From::Io { .. } | From::Poisoned { .. } => ErrorKind::Disk,
        _ => ErrorKind::Other,
    }
}

impl From<bitkin_storage::Error> for Error {
    fn from(error: bitkin_storage::Error) -> Self {
        use bitkin_storage::Error as From;
        match error {
            From::CollectionExists { name } => Error::CollectionExists { name },
            From::BadWidth { bits } => Error::BadBits { bits },
            From::CodeLength {
                collection,
                bits,
                code_bytes,
                rows,
                found,
            } => Error::WrongWidth {
                collection,
                bits,
                expected: code_bytes,
                found,
                rows,
            },
            From::PaddingBits {
                collection,
                bits,
                row,
            } => Error::PaddingBits {
                collection,
                bits,
                row,
            },
            From::DuplicateId { collection, id } => Error::DuplicateId { collection, id },
            From::RepeatedId { collection, id } => Error::RepeatedId { collection, id },
            From::ReservedId { collection } => Error::ReservedId { collection },
            From::Locked { dir } => Error::Locked { path: dir },
            From::NotADatabase { dir } => Error::NotADatabase { path: dir },
            From::UnsupportedVersion {
                file,
                found,
                supported,
            } => Error::FormatVersion {
                file,
                found,
                supported,
            },
            From::ReadOnly => Error::ReadOnly,
            From::Io { source, .. } if says_stopped(&source) => Error::Stopped,
            other => Error::Storage(other),
        }
    }
}
