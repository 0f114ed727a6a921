//! Bit planes, right ones and broken ones.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitkin::fuzzing::planes(bytes));
