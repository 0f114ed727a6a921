//! Statuses, and the messages that go with them.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bitkin::ErrorKind;

/// How a call went.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum bitkin_status {
    /// Well.
    BITKIN_OK = 0,
    /// What was asked for is not there.
    BITKIN_NOT_FOUND = 1,
    /// A collection of that name, or a row of that id, exists.
    BITKIN_ALREADY_EXISTS = 2,
    /// An argument cannot be used.
    BITKIN_INVALID_INPUT = 3,
    /// A file of the database is damaged or missing.
    BITKIN_CORRUPT = 4,
    /// The database is open for writing elsewhere.
    BITKIN_LOCKED = 5,
    /// The directory holds no database.
    BITKIN_NOT_A_DATABASE = 6,
    /// The database was written by a newer program.
    BITKIN_UNKNOWN_FORMAT = 7,
    /// The database was opened read-only.
    BITKIN_READ_ONLY = 8,
    /// The database was closed.
    BITKIN_CLOSED = 9,
    /// A file cannot be read or written.
    BITKIN_DISK = 10,
    /// No handle of the kind asked for, or one that was freed.
    BITKIN_BAD_HANDLE = 11,
    /// Anything else; the message says what.
    BITKIN_FAILED = 12,
    /// A fault in Bitkin itself. Please report it, with the message.
    BITKIN_FAULT = 13,
}

use bitkin_status as Status;

/// Why a call failed.
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure {
            status: Status::BITKIN_INVALID_INPUT,
            message: message.into(),
        }
    }
}

impl From<bitkin::Error> for Failure {
    fn from(error: bitkin::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => Status::BITKIN_NOT_FOUND,
            ErrorKind::AlreadyExists => Status::BITKIN_ALREADY_EXISTS,
            ErrorKind::InvalidInput => Status::BITKIN_INVALID_INPUT,
            ErrorKind::Corrupt => Status::BITKIN_CORRUPT,
            ErrorKind::Locked => Status::BITKIN_LOCKED,
            ErrorKind::NotADatabase => Status::BITKIN_NOT_A_DATABASE,
            ErrorKind::UnknownFormat => Status::BITKIN_UNKNOWN_FORMAT,
            ErrorKind::ReadOnly => Status::BITKIN_READ_ONLY,
            ErrorKind::Closed => Status::BITKIN_CLOSED,
            ErrorKind::Disk => Status::BITKIN_DISK,
            _ => Status::BITKIN_FAILED,
        };
        Failure {
            status,
            message: error.to_string(),
        }
    }
}

impl From<bitkin::FilterError> for Failure {
    fn from(error: bitkin::FilterError) -> Self {
        bitkin::Error::from(error).into()
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Does the work of a call. Whatever it panics with becomes a status: nothing may unwind into C.
pub(crate) fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> Status {
    // A panic of the engine leaves nothing half done: its locks guard what they protect, and the process
    // goes on as after a panic on any of its threads.
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Failure {
            status: Status::BITKIN_FAULT,
            message: format!("a fault in Bitkin: {}", said(&*panic)),
        })
    });
    let (status, message) = match done {
        Ok(()) => (Status::BITKIN_OK, String::new()),
        Err(failure) => (failure.status, failure.message),
    };
    let message = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
    // While a thread ends there is nowhere to keep it.
    let _ = MESSAGE.try_with(|kept| *kept.borrow_mut() = message);
    status
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it did not say what")
}

/// What was wrong with the last call of this thread that returns a status; empty if it went well. Valid
/// until the thread's next call.
///
/// Threads: any; each has its own message.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_error_message() -> *const c_char {
    MESSAGE
        .try_with(|message| message.borrow().as_ptr())
        .unwrap_or(c"".as_ptr())
}

/// The version of this library: "MAJOR.MINOR.PATCH". Valid for ever.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
