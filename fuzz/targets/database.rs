//! Databases of a few files: opened, read, verified, repaired.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitkin_storage::fuzzing::database(bytes));
