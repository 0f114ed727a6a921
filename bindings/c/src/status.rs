//! Statuses, and the messages that go with them.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

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
    /// A picture is damaged, of an unknown format, or too large.
    BITKIN_BAD_PICTURE = 14,
    /// The encoder that pictures need is not installed, or is of another version.
    BITKIN_NO_ENCODER = 15,
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
            ErrorKind::BadPicture => Status::BITKIN_BAD_PICTURE,
            ErrorKind::NoEncoder => Status::BITKIN_NO_ENCODER,
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
    /// What a panic of this thread said, and where it was.
    static PANIC: RefCell<String> = RefCell::default();
}

/// Keeps what panics say for [`guarded`]: this library prints nothing. Its hook is its own, whatever else of the
/// process is written in Rust.
fn keep_panics() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let _ = PANIC.try_with(|kept| *kept.borrow_mut() = panic.to_string());
        }));
    });
}

/// Does the work of a call. Whatever it panics with becomes a status: nothing may unwind into C.
pub(crate) fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> Status {
    keep_panics();
    let _ = PANIC.try_with(|kept| kept.borrow_mut().clear());
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

/// What a panic said; without its place, if it was one of another thread.
fn said(panic: &(dyn Any + Send)) -> String {
    let kept = PANIC.try_with(|kept| kept.take()).unwrap_or_default();
    if !kept.is_empty() {
        return kept.lines().collect::<Vec<_>>().join(" ");
    }
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it did not say what")
        .to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn message() -> String {
        // SAFETY: the message ends with a zero byte, and is valid until the next call.
        let text = unsafe { CStr::from_ptr(bitkin_error_message()) };
        text.to_str().unwrap().to_owned()
    }

    #[test]
    fn panics_become_a_status_that_says_where() {
        let status = guarded(|| panic!("the {}\nfell", "sky"));
        assert_eq!(status, Status::BITKIN_FAULT);
        let place = concat!(file!(), ":");
        assert!(
            message().contains(place) && message().ends_with("the sky fell"),
            "{}",
            message()
        );

        // One of another thread, as searches pass it on, and after it nothing of the first.
        let status = guarded(|| {
            let other = std::thread::spawn(|| panic!("elsewhere")).join();
            std::panic::resume_unwind(other.unwrap_err());
        });
        assert_eq!(status, Status::BITKIN_FAULT);
        assert_eq!(message(), "a fault in Bitkin: elsewhere");

        assert_eq!(guarded(|| Ok(())), Status::BITKIN_OK);
        assert_eq!(message(), "");
        // C ends a text at the first zero byte.
        guarded(|| Err(Failure::invalid("a\0b")));
        assert_eq!(message(), "a\u{fffd}b");
    }
}
