//! Records of logs, and whole logs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitkin_storage::fuzzing::log(bytes));
