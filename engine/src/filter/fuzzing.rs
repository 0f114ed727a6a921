//! Ways in for fuzzers: filters over payloads, with indexes that were built of them and with
//! indexes that no writer wrote. None of it may panic, hang, or allocate without bound.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::Filter;
use super::ast::FieldPath;
use super::index::{Bytes, build};
use super::payload::FieldReader;
use super::plan::{Source, passing};
use crate::collection::FieldKind;

/// The most fields that are declared: more only make runs slow.
const MAX_FIELDS: usize = 8;
/// One more than the most rows: enough for both forms of an index, and few enough to be fast.
const ROWS: usize = 48;
/// Rows of a group of an index: some have a whole one, a cut one, or both.
const GROUP_ROWS: u32 = 32;

/// A part in memory.
struct Part<'a> {
    payloads: Vec<Option<&'a [u8]>>,
    deleted: RoaringBitmap,
    section: Option<Section>,
}

struct Section(Vec<u8>);

impl Bytes for &Section {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<&[u8], bitkin_storage::Error> {
        Ok(&self.0[range.start as usize..range.end as usize])
    }
}

impl Source for Part<'_> {
    type Index<'a>
        = &'a Section
    where
        Self: 'a;

    fn rows(&self) -> u32 {
        self.payloads.len() as u32
    }

    fn deleted(&self) -> Option<&RoaringBitmap> {
        (!self.deleted.is_empty()).then_some(&self.deleted)
    }

    fn payload(&self, row: u32) -> Result<Option<&[u8]>, bitkin_storage::Error> {
        Ok(self.payloads[row as usize])
    }

    fn index(&self) -> Option<&Section> {
        self.section.as_ref()
    }
}

/// Reads a filter, the fields that are declared and payloads out of the bytes, and filters the
/// payloads: row by row, without index, and with one.
///
/// The first three bytes are the number of changes to the index, the number of rows, and
/// the distance of deleted rows (none for 0). The changes follow, of four bytes each, and then
/// lines: the filter; the fields, each behind a letter for its kind (`i`, `f`, `t`, `b`), with
/// tabs between them; payloads, which are repeated until there are enough rows, an empty line for
/// none. With 15 changes the index is the rest of the bytes behind the fields, as it is.
///
/// # Panics
/// When an index that was built and not changed changes the answer.
pub fn payload_filter(bytes: &[u8]) {
    let Some((&[changes, rows, distance], rest)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let changes = usize::from(changes % 16);
    let verbatim = changes == 15;
    let changed = if verbatim { 0 } else { 4 * changes };
    let Some((changes, rest)) = rest.split_at_checked(changed) else {
        return;
    };
    let mut lines = rest.splitn(3, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (filter, fields, behind) = (line(), line(), line());
    let fields = declared(fields);
    let filter = std::str::from_utf8(filter).ok().map(Filter::parse);
    let filter = match filter {
        Some(Ok(filter)) => filter,
        Some(Err(error)) => {
            let _ = error.to_string();
            return;
        }
        None => return,
    };

    let payloads: &[u8] = if verbatim { b"{\"a\":1}" } else { behind };
    let payloads = payloads.split(|&byte| byte == b'\n');
    let payloads = payloads.map(|line| (!line.is_empty()).then_some(line));
    let mut part = Part {
        payloads: payloads.cycle().take(usize::from(rows) % ROWS).collect(),
        deleted: RoaringBitmap::new(),
        section: None,
    };
    if distance > 0 {
        let rows = 0..part.rows();
        part.deleted.extend(rows.step_by(distance.into()));
    }
    if verbatim {
        part.section = Some(Section(behind.to_vec()));
        let _ = passing(&filter, &part);
        return;
    }

    let mut section = Vec::new();
    let built = build(
        &fields,
        part.rows(),
        GROUP_ROWS,
        |row| Ok::<_, ()>(part.payloads[row as usize]),
        |piece| {
            section.extend_from_slice(piece);
            Ok(())
        },
    );
    assert!(built.is_ok());
    if !changes.is_empty() {
        change(&mut section, changes);
        part.section = Some(Section(section));
        let _ = passing(&filter, &part);
        return;
    }

    let mut reader = FieldReader::new(&filter.0.fields);
    let mut truth = |row: u32| {
        let payload = part.payloads[row as usize];
        reader.read(payload, |values| filter.0.root.evaluate(values))
    };
    let live = (0..part.rows()).filter(|&row| !part.deleted.contains(row));
    let expected: RoaringBitmap = live.filter(|&row| truth(row) == Some(true)).collect();
    for index in [None, Some(Section(section))] {
        part.section = index;
        match passing(&filter, &part) {
            Ok(found) => assert_eq!(found, expected, "{filter} with {fields:?}"),
            Err(error) => panic!("{filter} with {fields:?}: {error}"),
        }
    }
}

/// The fields of a line, none twice.
fn declared(line: &[u8]) -> Vec<(FieldPath, FieldKind)> {
    let mut fields: Vec<(FieldPath, FieldKind)> = Vec::new();
    for field in line.split(|&byte| byte == b'\t') {
        let Some((kind, path)) = field.split_first() else {
            continue;
        };
        let kind = match kind {
            b'i' => FieldKind::Int,
            b'f' => FieldKind::Float,
            b't' => FieldKind::Text,
            b'b' => FieldKind::Bool,
            _ => continue,
        };
        let Some(path) = std::str::from_utf8(path).ok().and_then(FieldPath::parse) else {
            continue;
        };
        assert_eq!(FieldPath::parse(&path.to_string()).as_ref(), Some(&path));
        if fields.len() < MAX_FIELDS && fields.iter().all(|(known, _)| *known != path) {
            fields.push((path, kind));
        }
    }
    fields
}

/// Changes bytes: two for the place, one for what is done, one for a value.
fn change(section: &mut [u8], changes: &[u8]) {
    for &[low, high, how, value] in changes.as_chunks::<4>().0 {
        let at = usize::from(u16::from_le_bytes([low, high])) % section.len().max(1);
        let Some(byte) = section.get_mut(at) else {
            return;
        };
        match how % 4 {
            0 => *byte = value,
            1 => *byte ^= value,
            2 => *byte = byte.wrapping_add(value),
            // A number of eight bytes: as large as there are, or as small.
            _ => {
                let at = at & !7;
                let number = match value % 4 {
                    0 => u64::MAX,
                    1 => 0,
                    2 => 1 << 63,
                    _ => u64::from(value / 4),
                };
                if let Some(bytes) = section.get_mut(at..at + 8) {
                    bytes.copy_from_slice(&number.to_le_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// What once led the fuzzer into a corner of the code, without a fuzzer.
    #[test]
    fn the_corpus_of_the_fuzz_target_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/payload_filter");
        let mut runs = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            super::payload_filter(&std::fs::read(entry.unwrap().path()).unwrap());
            runs += 1;
        }
        assert!(runs > 10, "{runs} inputs");
    }
}
