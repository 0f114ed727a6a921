//! Rows of JSON lines: the first byte chooses the width of codes.
#![no_main]

use std::io::Cursor;

use bitkin::jsonl::{JsonlReader, JsonlRows};

/// All rows up to the first line that is none, that line, and what is said of it.
fn read(text: &[u8], bits: u32, rows: usize) -> (JsonlRows, u64, Option<String>) {
    let mut reader = JsonlReader::new("fuzzed", Cursor::new(text.to_vec()), bits);
    let mut all = JsonlRows::default();
    loop {
        match reader.read(rows) {
            Ok(piece) if piece.is_empty() => return (all, reader.line(), None),
            Ok(piece) => {
                if let Some(ids) = piece.ids {
                    all.ids.get_or_insert_default().extend(ids);
                }
                all.codes.extend(piece.codes);
                all.payloads.extend(piece.payloads);
            }
            Err(error) => return (all, error.line, Some(error.to_string())),
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&width, text)) = bytes.split_first() else {
        return;
    };
    let bits = 8 + u32::from(width) % 24;
    let (rows, line, error) = read(text, bits, 1);
    let (pieces, piece_line, piece_error) = read(text, bits, 1000);
    assert_eq!((line, &error), (piece_line, &piece_error));
    if error.is_none() {
        assert_eq!(rows.codes, pieces.codes);
        assert_eq!((&rows.ids, &rows.payloads), (&pieces.ids, &pieces.payloads));
    }
    let code_bytes = bits.div_ceil(8) as usize;
    assert_eq!(rows.codes.len(), code_bytes * rows.len());
    if let Some(ids) = &rows.ids {
        assert_eq!(ids.len(), rows.len());
    }
    // A payload is JSON, whole and nothing more: it can be written again.
    let zeros = "0".repeat(2 * code_bytes);
    for payload in rows.payloads.iter().flatten() {
        let line = format!("{{\"payload\":{payload},\"code\":\"{zeros}\"}}");
        let (again, _, error) = read(line.replace(['\n', '\r'], " ").as_bytes(), bits, 1);
        let expected = payload.replace(['\n', '\r'], " ");
        assert_eq!((again.payloads, error), (vec![Some(expected)], None));
    }
});
