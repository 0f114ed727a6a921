//! Bitkin for C: handles, numbers for errors, arrays that the caller provides.
//!
//! The header `include/bitkin.h` is made from this crate by cbindgen; a test sees to it that it is the
//! one of this source. Its head says what holds for all functions.
//!
//! Every function runs within `guarded`: no panic crosses the border, and the message of an error stays
//! with the thread that met it. Handles are keys of tables and are never followed, so that one which was
//! freed is an error and no crash (`handles.rs`).

#![allow(non_camel_case_types)]

mod collection;
mod database;
mod handles;
mod ingest;
mod memory;
mod pairs;
mod pictures;
mod rows;
mod search;
mod status;

pub use self::collection::*;
pub use self::database::*;
pub use self::ingest::*;
pub use self::memory::bitkin_string_free;
pub use self::pairs::*;
pub use self::pictures::*;
pub use self::rows::*;
pub use self::search::*;
pub use self::status::*;
