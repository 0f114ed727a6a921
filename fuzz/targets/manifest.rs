//! Bodies of manifests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitkin_storage::fuzzing::manifest(bytes));
