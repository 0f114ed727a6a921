//! The one error type of this crate: what was wrong, where, and what can be done.

use std::io;
use std::path::PathBuf;

/// Everything that can go wrong in storage.
///
/// File names are relative to the database directory, with `/` between their parts.
/// Unless a variant says otherwise, nothing was changed by the call that returned it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {operation} {file}: {source}")]
    Io {
        /// The operation, as a verb: `open`, `write`, `sync`, ...
        operation: &'static str,
        /// The file or directory, relative to the database directory (`.` is the directory itself).
        file: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// [`create`](crate::Storage::create) was given a directory that holds something already.
    #[error("{} is not empty: a database is created in a new or an empty directory", dir.display())]
    NotEmpty {
        /// The directory that was to become a database.
        dir: PathBuf,
    },

    /// The directory holds no `MANIFEST`, so it is no database (or its creation never finished).
    #[error("{} is not a Bitkin database: it has no MANIFEST", dir.display())]
    NotADatabase {
        /// The directory that was to be opened.
        dir: PathBuf,
    },

    /// [`create`](crate::Storage::create), [`backup`](crate::backup) or [`repair`](crate::repair) was
    /// given a directory that holds the rows of a database, but no `MANIFEST`.
    #[error(
        "{} holds segments or logs of a database that has lost its MANIFEST: repair saves what they \
         hold; nothing was changed",
        dir.display()
    )]
    ManifestLost {
        /// The directory that was to become a database.
        dir: PathBuf,
    },

    /// Another process (or another handle in this one) has the database open for writing.
    #[error(
        "{} is open for writing in another process (or by another handle in this one): \
         close it there, or open read-only",
        dir.display()
    )]
    Locked {
        /// The database directory.
        dir: PathBuf,
    },

    /// A file was written by another version of Bitkin, in a format that this one does not know.
    #[error(
        "{file} has format version {found}, and this build of Bitkin reads version {supported}: \
         open it with a build that knows version {found}"
    )]
    UnsupportedVersion {
        /// The file whose version is unknown.
        file: String,
        /// The version that the file names.
        found: u32,
        /// The version that this build reads and writes.
        supported: u32,
    },

    /// A file needs a feature (a section that must be understood) that this build does not have.
    #[error("{file} needs the feature {feature:?}, which this build of Bitkin does not have")]
    UnsupportedFeature {
        /// The file that needs the feature.
        file: String,
        /// The name of the feature or section.
        feature: String,
    },

    /// Bytes on disk are not what was written: a checksum or a cross-reference does not hold.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where in the file the damage shows, in bytes from its start.
        offset: u64,
        /// What does not hold.
        what: String,
    },

    /// The manifest names a file that is not there.
    #[error("{file} is missing, and the manifest says that the database needs it")]
    MissingFile {
        /// The file that is not there.
        file: String,
    },

    /// An earlier write or sync failed, so what the disk holds is not known; reads still work.
    ///
    /// The call that met the failure got its own error. Whether the batches that were under way
    /// are on disk is known only when the database has been opened again; every batch that was
    /// acknowledged before is there.
    #[error(
        "writing stopped after an earlier failure ({cause}): close the database and open it again"
    )]
    Poisoned {
        /// The failure, in words.
        cause: String,
    },

    /// A write was asked of a handle that was opened read-only.
    #[error("the database is open read-only")]
    ReadOnly,

    /// The collection does not exist in this database.
    #[error("there is no collection number {number} in this database")]
    UnknownCollection {
        /// Number of the collection asked for.
        number: u32,
    },

    /// A collection of this name exists already.
    #[error("a collection named {name:?} exists already")]
    CollectionExists {
        /// The name.
        name: String,
    },

    /// A collection's name is empty, longer than 255 bytes, or holds control characters.
    #[error("{name:?} cannot name a collection: 1 to 255 bytes and no control characters")]
    BadName {
        /// The name that was refused.
        name: String,
    },

    /// A collection's code width lies outside of 8 to 65,536 bits.
    #[error("codes of {bits} bits cannot be stored: the width must be from 8 to 65,536 bits")]
    BadWidth {
        /// The width that was refused.
        bits: u32,
    },

    /// Properties, a payload or a batch exceeds what the format can hold.
    #[error("{what} is too large: {found} is over the limit of {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The largest size that can be stored.
        limit: u64,
    },

    /// An id to be inserted exists in the collection.
    #[error("collection {collection:?} holds id {id} already")]
    DuplicateId {
        /// Name of the collection.
        collection: String,
        /// The smallest id of the batch that exists.
        id: u64,
    },

    /// An id stands twice in one batch.
    #[error("id {id} stands twice in the batch for collection {collection:?}")]
    RepeatedId {
        /// Name of the collection.
        collection: String,
        /// The id.
        id: u64,
    },

    /// The id 2⁶⁴−1, which is reserved, was to be inserted.
    #[error("id 18446744073709551615 (2^64-1) is reserved (collection {collection:?})")]
    ReservedId {
        /// Name of the collection.
        collection: String,
    },

    /// No ids are left to assign, because the largest one in use is 2⁶⁴−2 or near it.
    #[error(
        "collection {collection:?} has no ids left to assign above {largest}: name ids explicitly"
    )]
    IdsExhausted {
        /// Name of the collection.
        collection: String,
        /// The largest id in use.
        largest: u64,
    },

    /// The bytes of the codes do not make up the rows.
    #[error(
        "codes of collection {collection:?} take {code_bytes} bytes a row ({bits} bits): \
         {found} bytes {}",
        match rows { Some(rows) => format!("were given for {rows} rows"),
                     None => "are no whole number of rows".to_owned() }
    )]
    CodeLength {
        /// Name of the collection.
        collection: String,
        /// Its code width in bits.
        bits: u32,
        /// Bytes that one code takes.
        code_bytes: usize,
        /// Rows that were named by ids; `None` where ids were to be assigned.
        rows: Option<usize>,
        /// Bytes of codes that were given.
        found: usize,
    },

    /// Bits beyond the code width are set in the last byte of a code.
    #[error(
        "row {row} of the insert into collection {collection:?} sets bits beyond its {bits} bits"
    )]
    PaddingBits {
        /// Name of the collection.
        collection: String,
        /// Its code width in bits.
        bits: u32,
        /// Position of the row in its insert, from 0.
        row: usize,
    },

    /// The number of payloads is not the number of rows.
    #[error("{found} payloads were given for {rows} rows of collection {collection:?}")]
    PayloadCount {
        /// Name of the collection.
        collection: String,
        /// Rows in the insert.
        rows: usize,
        /// Payloads that were given.
        found: usize,
    },

    /// A [`SectionBuilder`](crate::SectionBuilder) began a section that cannot be: its name is empty,
    /// longer than 31 bytes, or taken, or there are too many; or it wrote before it began one.
    #[error("a segment cannot have another section named {name:?}")]
    BadSection {
        /// The name; empty if none was given.
        name: String,
    },

    /// A [`SectionBuilder`](crate::SectionBuilder) panicked. Its segment was given up.
    #[error("what builds the indexes of segments panicked, which is a bug in it")]
    BuilderPanicked,

    /// The work was ended before it was done, because the database is being closed.
    #[error("the database is being closed")]
    Closing,

    /// A stored file must be named `models/` and the 64 lower-case hex digits of its SHA-256.
    #[error("{name:?} cannot name a stored file: it must be models/<SHA-256 in lower-case hex>")]
    BadFileName {
        /// The name that was refused.
        name: String,
    },

    /// The bytes given to [`put_file`](crate::Storage::put_file) do not have the digest of the name.
    #[error("the bytes for {name} have SHA-256 {found}")]
    DigestMismatch {
        /// The name that the file was to have.
        name: String,
        /// SHA-256 of the bytes, in hex.
        found: String,
    },

    /// No stored file has this name.
    #[error("the database stores no file {name}")]
    NoSuchFile {
        /// The name asked for.
        name: String,
    },
}

impl Error {
    /// For `map_err`: an I/O error of `operation` on `file`.
    pub(crate) fn io(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> Error {
        let file = if file.is_empty() {
            ".".to_owned()
        } else {
            file.to_owned()
        };
        move |source| Error::Io {
            operation,
            file,
            source,
        }
    }

    /// Damage in `file` at `offset`.
    pub(crate) fn corrupt(file: &str, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt {
            file: file.to_owned(),
            offset,
            what: what.into(),
        }
    }

    /// Whether this says that a file was not found, which a reader takes as "look at the manifest
    /// again".
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Error::MissingFile { .. } => true,
            Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}
