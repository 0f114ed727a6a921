//! Delete files whose checksums hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitkin_storage::fuzzing::delete_file(bytes));
