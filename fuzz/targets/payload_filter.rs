//! Filters over payloads, with and without field indexes, right ones and broken ones.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitkin::fuzzing::payload_filter(bytes));
