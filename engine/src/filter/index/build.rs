//! Writing the index of a segment, a group of rows at a time: one pass over their payloads, then the
//! values in order.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bitkin_storage::{CollectionInfo, SectionBuilder, SectionSink, SegmentRows};
use roaring::RoaringBitmap;

use super::MAX_FIELDS;
use super::layout::{CONTAINER_ROWS, Entry, Form, Header, MAX_KEY, NAME, Span, VERSION};
use crate::collection::{FieldKind, IndexField, Properties};
use crate::error::Error;
use crate::filter::ast::FieldPath;
use crate::filter::payload::FieldReader;
use crate::filter::value::{Number, Value};

/// Rows a value must have on average for bitmaps to be tried: with fewer, lists are smaller.
const ROWS_FOR_BITMAPS: usize = 8;

/// The most rows of a group: what is gathered of them is all the memory that building takes, some
/// 16 bytes a row and field, and the texts. A multiple of [`CONTAINER_ROWS`], so that bitmaps of
/// groups have no container in common.
const GROUP_ROWS: u32 = 16 * CONTAINER_ROWS;

/// Bytes written at a time.
const PIECE: usize = 1 << 16;

/// Builds the filter section of segments, for collections that declare fields.
#[derive(Debug)]
pub(crate) struct IndexBuilder;

impl SectionBuilder for IndexBuilder {
    fn build(
        &self,
        collection: &CollectionInfo,
        rows: &SegmentRows<'_>,
        sections: &mut SectionSink<'_>,
    ) -> Result<(), bitkin_storage::Error> {
        // A collection whose properties cannot be read cannot be opened either: rows must not be
        // lost for that, and without the section filters work all the same.
        let properties: Properties =
            serde_json::from_slice(&collection.properties).unwrap_or_default();
        let fields = declared(&properties.index);
        if fields.is_empty() {
            return Ok(());
        }
        sections.begin(NAME, VERSION)?;
        build(
            &fields,
            rows.len() as u32,
            GROUP_ROWS,
            |row| Ok(rows.payload(row)),
            |bytes| sections.write(bytes),
        )
    }
}

/// Refuses fields that cannot be declared.
///
/// # Errors
/// [`Error::BadIndexField`].
pub(crate) fn check_fields(index: &[IndexField]) -> Result<(), Error> {
    let mut paths = HashSet::new();
    for IndexField { field, .. } in index {
        let refuse = |reason| {
            Err(Error::BadIndexField {
                field: field.clone(),
                reason,
            })
        };
        match FieldPath::parse(field) {
            None => {
                return refuse(
                    "a field is a key of the payload, or keys of nested objects with dots between \
                     them; a key of other characters stands in double quotes",
                );
            }
            Some(path) if !paths.insert(path.to_string()) => {
                return refuse("it is declared twice");
            }
            Some(_) if paths.len() > MAX_FIELDS => return refuse("there are 256 before it"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The fields that can be indexed.
fn declared(index: &[IndexField]) -> Vec<(FieldPath, FieldKind)> {
    let path = |field: &IndexField| Some((FieldPath::parse(&field.field)?, field.kind));
    index.iter().filter_map(path).collect()
}

/// Writes the section of `rows` rows whose payloads `payload` gives, in groups of `group_rows`.
///
/// # Errors
/// Those of `payload` and `write`.
pub(in crate::filter) fn build<'a, E>(
    fields: &[(FieldPath, FieldKind)],
    rows: u32,
    group_rows: u32,
    payload: impl Fn(u32) -> Result<Option<&'a [u8]>, E>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for start in (0..rows).step_by(group_rows as usize) {
        let end = rows.min(start.saturating_add(group_rows));
        build_group(fields, start..end, &payload, &mut write)?;
    }
    Ok(())
}

fn build_group<'a, E>(
    fields: &[(FieldPath, FieldKind)],
    rows: Range<u32>,
    payload: &impl Fn(u32) -> Result<Option<&'a [u8]>, E>,
    write: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = FieldReader::new(fields.iter().map(|(path, _)| path));
    let mut columns: Vec<Gathered> = fields
        .iter()
        .map(|(_, kind)| Gathered::new(*kind))
        .collect();
    for row in rows.clone() {
        reader.read(payload(row)?, |values| {
            for (column, value) in columns.iter_mut().zip(values) {
                column.add(row, value);
            }
        });
    }
    let columns: Vec<Column> = columns.into_iter().map(Gathered::finish).collect();

    let mut header = Header {
        fields: columns.len() as u32,
        rows: rows.len() as u32,
        length: 0,
    };
    let mut at = header.least_length();
    let mut place = |length: usize| {
        let span = Span {
            offset: at,
            length: length as u64,
        };
        at += span.length;
        span
    };
    let names: Vec<String> = fields.iter().map(|(path, _)| path.to_string()).collect();
    let mut entries = Vec::new();
    for (column, name) in columns.iter().zip(&names) {
        let entry = Entry {
            kind: column.kind,
            form: column.form(),
            distinct: column.keys.len() as u64,
            name: place(name.len()),
            nulls: place(serialized_bytes(&column.nulls)),
            others: place(serialized_bytes(&column.others)),
            starts: place((column.keys.len() + 1) * column.form().start_bytes() as usize),
            keys: place(8 * column.keys.len()),
            texts: place(column.texts.len()),
            rows: place(column.row_bytes()),
        };
        entries.extend_from_slice(&entry.encode());
    }
    header.length = at;
    write(&header.encode())?;
    write(&entries)?;
    for (column, name) in columns.iter().zip(&names) {
        column.write(name, write)?;
    }
    Ok(())
}

/// What is known of a column while its rows come.
struct Gathered {
    kind: FieldKind,
    nulls: RoaringBitmap,
    others: RoaringBitmap,
    /// A sortable key, or the number of a text, and the row.
    values: Vec<(u64, u32)>,
    /// Texts, and their numbers in the order in which they came.
    texts: HashMap<String, u64>,
}

impl Gathered {
    fn new(kind: FieldKind) -> Gathered {
        Gathered {
            kind,
            nulls: RoaringBitmap::new(),
            others: RoaringBitmap::new(),
            values: Vec::new(),
            texts: HashMap::new(),
        }
    }

    fn add(&mut self, row: u32, value: &Value<'_>) {
        let key = match (self.kind, *value) {
            (_, Value::Null) => {
                self.nulls.insert(row);
                return;
            }
            (FieldKind::Int, Value::Number(Number::Int(int))) => {
                i64::try_from(int).ok().map(|int| int as u64 ^ 1 << 63)
            }
            (FieldKind::Float, Value::Number(number)) => exact(number).map(sortable),
            (FieldKind::Bool, Value::Bool(value)) => Some(u64::from(value)),
            (FieldKind::Text, Value::Text(text)) if text.len() <= MAX_KEY => {
                let next = self.texts.len() as u64;
                match self.texts.get(text) {
                    Some(number) => Some(*number),
                    None => {
                        self.texts.insert(text.to_owned(), next);
                        Some(next)
                    }
                }
            }
            _ => None,
        };
        match key {
            Some(key) => self.values.push((key, row)),
            None => {
                self.others.insert(row);
            }
        }
    }

    fn finish(mut self) -> Column {
        let mut texts = Vec::new();
        let mut ends = Vec::new();
        if self.kind == FieldKind::Text {
            let mut sorted: Vec<(String, u64)> = self.texts.into_iter().collect();
            sorted.sort_unstable();
            let mut ranks = vec![0; sorted.len()];
            for (rank, (text, number)) in sorted.iter().enumerate() {
                ranks[*number as usize] = rank as u64;
                texts.extend_from_slice(text.as_bytes());
                ends.push(texts.len() as u64);
            }
            for (key, _) in &mut self.values {
                *key = ranks[*key as usize];
            }
        }
        self.values.sort_unstable();
        let mut keys = Vec::new();
        let mut starts = Vec::new();
        for (at, (key, _)) in self.values.iter().enumerate() {
            if keys.last() != Some(key) {
                keys.push(*key);
                starts.push(at as u32);
            }
        }
        starts.push(self.values.len() as u32);
        let rows: Vec<u32> = self.values.iter().map(|(_, row)| *row).collect();
        let bitmaps = bitmaps(&starts, &rows);
        let keys = match self.kind {
            FieldKind::Int => keys.iter().map(|key| key ^ 1 << 63).collect(),
            FieldKind::Float => keys.iter().map(|key| unsortable(*key)).collect(),
            FieldKind::Text => ends,
            FieldKind::Bool => keys,
        };
        Column {
            kind: self.kind,
            nulls: self.nulls,
            others: self.others,
            keys,
            starts,
            rows,
            bitmaps,
            texts,
        }
    }
}

/// A column that is ready to be written.
struct Column {
    kind: FieldKind,
    nulls: RoaringBitmap,
    others: RoaringBitmap,
    keys: Vec<u64>,
    starts: Vec<u32>,
    rows: Vec<u32>,
    /// One a value, if that takes less room than the rows do.
    bitmaps: Option<Vec<RoaringBitmap>>,
    texts: Vec<u8>,
}

impl Column {
    fn form(&self) -> Form {
        match self.bitmaps {
            Some(_) => Form::Bitmaps,
            None => Form::Lists,
        }
    }

    fn row_bytes(&self) -> usize {
        match &self.bitmaps {
            Some(bitmaps) => bitmaps.iter().map(RoaringBitmap::serialized_size).sum(),
            None => 4 * self.rows.len(),
        }
    }

    fn write<E>(
        &self,
        name: &str,
        write: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        write(name.as_bytes())?;
        write(&serialized(&self.nulls))?;
        write(&serialized(&self.others))?;
        match &self.bitmaps {
            Some(bitmaps) => {
                let mut at = 0;
                let ends = bitmaps.iter().map(|bitmap| {
                    at += bitmap.serialized_size() as u64;
                    at
                });
                let starts = std::iter::once(0).chain(ends);
                in_pieces(starts.map(u64::to_le_bytes), write)?;
            }
            None => in_pieces(self.starts.iter().map(|start| start.to_le_bytes()), write)?,
        }
        in_pieces(self.keys.iter().map(|key| key.to_le_bytes()), write)?;
        write(&self.texts)?;
        match &self.bitmaps {
            Some(bitmaps) => bitmaps
                .iter()
                .try_for_each(|bitmap| write(&serialized(bitmap))),
            None => in_pieces(self.rows.iter().map(|row| row.to_le_bytes()), write),
        }
    }
}

/// The rows of each value as a bitmap, if that takes less room than lists.
fn bitmaps(starts: &[u32], rows: &[u32]) -> Option<Vec<RoaringBitmap>> {
    if rows.len() < ROWS_FOR_BITMAPS * (starts.len() - 1) {
        return None;
    }
    let mut bytes = 0;
    let mut bitmaps = Vec::with_capacity(starts.len() - 1);
    for bounds in starts.windows(2) {
        let rows = rows.get(bounds[0] as usize..bounds[1] as usize)?;
        let mut bitmap: RoaringBitmap = rows.iter().copied().collect();
        bitmap.optimize();
        bytes += bitmap.serialized_size() + 4;
        if bytes > 4 * rows_of(starts) {
            return None;
        }
        bitmaps.push(bitmap);
    }
    Some(bitmaps)
}

fn rows_of(starts: &[u32]) -> usize {
    starts.last().map_or(0, |rows| *rows as usize)
}

/// The number as a float, if none of it is lost.
fn exact(number: Number) -> Option<f64> {
    let float = match number {
        Number::Float(float) => float,
        Number::Int(int) => int as f64,
    };
    // Zero has one key.
    number
        .order(Number::Float(float))
        .is_eq()
        .then_some(float + 0.0)
}

/// Floats in the order of these numbers are in their own order.
fn sortable(float: f64) -> u64 {
    let bits = float.to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn unsortable(key: u64) -> u64 {
    if key >> 63 == 1 {
        key & !(1 << 63)
    } else {
        !key
    }
}

/// Bytes of [`serialized`].
fn serialized_bytes(bitmap: &RoaringBitmap) -> usize {
    match bitmap.is_empty() {
        true => 0,
        false => bitmap.serialized_size(),
    }
}

/// Roaring's portable form; nothing for no rows.
fn serialized(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(serialized_bytes(bitmap));
    if !bitmap.is_empty() {
        // A vector takes everything.
        let _ = bitmap.serialize_into(&mut bytes);
    }
    bytes
}

fn in_pieces<E, const N: usize>(
    numbers: impl Iterator<Item = [u8; N]>,
    write: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut piece = Vec::with_capacity(PIECE);
    for number in numbers {
        piece.extend_from_slice(&number);
        if piece.len() >= PIECE {
            write(&piece)?;
            piece.clear();
        }
    }
    write(&piece)
}
