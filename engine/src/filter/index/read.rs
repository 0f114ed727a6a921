//! Reading an index: the directory of each group, then what a question needs, by binary search.
//!
//! Its bytes passed their checksums, but nothing in them is trusted: places are checked against
//! their group, rows against its rows, and no allocation is larger than what it is read from.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::layout::{CONTAINER_ROWS, ENTRY_BYTES, Entry, Form, HEADER_BYTES, Header, Span};
use super::{Bytes, MAX_FIELDS, ReadError};
use crate::bytes::{u32_at, u64_at};
use crate::collection::FieldKind;
use crate::filter::ast::{FieldPath, Test};
use crate::filter::value::{Comparison, List, Literal, Number, Value};

/// The index of one segment.
pub(in crate::filter) struct Index<'a, B> {
    bytes: &'a B,
    groups: Vec<Group>,
}

/// A range of the segment's rows, indexed by itself.
struct Group {
    rows: Range<u32>,
    fields: u32,
    /// Where it is in the section.
    place: Range<u64>,
}

/// The index of one field in one group.
struct Column<'a, B> {
    bytes: &'a B,
    rows: Range<u32>,
    entry: Entry,
}

/// What an index knows of a condition, row by row: it is false for all rows that are in none of
/// the three.
#[derive(Default)]
pub(in crate::filter) struct Known {
    pub(in crate::filter) is_true: RoaringBitmap,
    pub(in crate::filter) unknown: RoaringBitmap,
    /// Rows whose payload must be asked.
    pub(in crate::filter) open: RoaringBitmap,
}

impl<'a, B: Bytes> Index<'a, B> {
    /// Opens the index of a segment of `rows` rows.
    pub(in crate::filter) fn open(bytes: &'a B, rows: u32) -> Result<Index<'a, B>, ReadError> {
        let mut groups = Vec::new();
        let (mut row, mut at) = (0, 0);
        while row < rows {
            let header = Header::decode(read(bytes, at..at + HEADER_BYTES)?)
                .filter(|header| (1..=rows - row).contains(&header.rows))
                .filter(|header| header.fields as usize <= MAX_FIELDS)
                .filter(|header| {
                    (header.least_length()..=bytes.length() - at).contains(&header.length)
                });
            let Some(header) = header else {
                return Err(ReadError::Malformed(
                    "the header of a group is not one of the segment",
                ));
            };
            groups.push(Group {
                rows: row..row + header.rows,
                fields: header.fields,
                place: at..at + header.length,
            });
            row += header.rows;
            at += header.length;
        }
        if at != bytes.length() {
            return Err(ReadError::Malformed("it has more rows than the segment"));
        }
        Ok(Index { bytes, groups })
    }

    /// What the index knows of a test of a field; nothing if the field has none.
    pub(in crate::filter) fn test(
        &self,
        path: &FieldPath,
        test: &Test,
    ) -> Result<Known, ReadError> {
        let name = path.to_string();
        let mut known = Known::default();
        for group in &self.groups {
            match self.column(group, &name)? {
                None => {
                    known.open.insert_range(group.rows.clone());
                }
                Some(column) => {
                    let found = column.test(test)?;
                    known.is_true |= found.is_true;
                    known.unknown |= found.unknown;
                    known.open |= found.open;
                }
            }
        }
        Ok(known)
    }

    /// The index of a field in a group, if it has one there.
    fn column(&self, group: &Group, name: &str) -> Result<Option<Column<'a, B>>, ReadError> {
        for field in 0..u64::from(group.fields) {
            let at = group.place.start + HEADER_BYTES + field * ENTRY_BYTES;
            let entry = read(self.bytes, at..at + ENTRY_BYTES)?;
            let entry = Entry::decode(entry, &group.place)?;
            if entry.name.length == name.len() as u64
                && read_span(self.bytes, entry.name)? == name.as_bytes()
            {
                return Ok(Some(Column {
                    bytes: self.bytes,
                    rows: group.rows.clone(),
                    entry,
                }));
            }
        }
        Ok(None)
    }
}

impl<B: Bytes> Column<'_, B> {
    /// What the index knows of a test of its field.
    fn test(&self, test: &Test) -> Result<Known, ReadError> {
        let nulls = self.bitmap(self.entry.nulls)?;
        let others = self.bitmap(self.entry.others)?;
        if let Test::IsNull = test {
            return Ok(Known {
                is_true: nulls,
                unknown: RoaringBitmap::new(),
                open: RoaringBitmap::new(),
            });
        }
        let mut typed = RoaringBitmap::new();
        typed.insert_range(self.rows.clone());
        typed -= &nulls;
        typed -= &others;
        let answered = self.answer(test, &typed)?;
        let (is_true, unknown) = match answered {
            // A value that is here has the type of the field; nothing else is comparable.
            None => (RoaringBitmap::new(), typed | nulls),
            Some((is_true, Rest::False)) => (is_true, nulls),
            Some((is_true, Rest::Unknown)) => {
                let unknown = (typed - &is_true) | nulls;
                (is_true, unknown)
            }
        };
        Ok(Known {
            is_true,
            unknown,
            open: others,
        })
    }

    /// Rows, of those whose values are here (`typed`), for which the test is true, and what it
    /// is for the others. `None`: it is unknown for all.
    fn answer(
        &self,
        test: &Test,
        typed: &RoaringBitmap,
    ) -> Result<Option<(RoaringBitmap, Rest)>, ReadError> {
        let is_true = match test {
            Test::IsNull => return Ok(None),
            Test::Holds => match self.entry.kind {
                FieldKind::Bool => self.equal(&Value::Bool(true))?,
                _ => return Ok(None),
            },
            Test::Compare(_, literal) if !self.compares(literal) => return Ok(None),
            Test::Compare(comparison, literal) => {
                let value = literal.value();
                let (below, upto) = (self.below(&value)?, self.upto(&value)?);
                let end = self.entry.distinct;
                match comparison {
                    Comparison::Equal => self.rows_of(below..upto, typed)?,
                    Comparison::NotEqual => typed - self.rows_of(below..upto, typed)?,
                    Comparison::Less => self.rows_of(0..below, typed)?,
                    Comparison::LessOrEqual => self.rows_of(0..upto, typed)?,
                    Comparison::Greater => self.rows_of(upto..end, typed)?,
                    Comparison::GreaterOrEqual => self.rows_of(below..end, typed)?,
                }
            }
            // Both bounds are of one type: the parser sees to that.
            Test::Between(low, high) if !self.compares(low) || !self.compares(high) => {
                return Ok(None);
            }
            Test::Between(low, high) => {
                let (from, to) = (self.below(&low.value())?, self.upto(&high.value())?);
                self.rows_of(from..to, typed)?
            }
            Test::In(list) => {
                let is_true = self.in_list(list)?;
                let rest = match list.knows_others(&self.sample()) {
                    true => Rest::False,
                    false => Rest::Unknown,
                };
                return Ok(Some((is_true, rest)));
            }
            Test::Like(_) if self.entry.kind != FieldKind::Text => return Ok(None),
            Test::Like(pattern) => {
                let prefix = pattern.prefix();
                let mut rows = RoaringBitmap::new();
                let mut at = self.below(&Value::Text(&prefix))?;
                let mut run = at..at;
                while at < self.entry.distinct {
                    let text = self.text(at)?;
                    if !text.starts_with(&prefix) {
                        break;
                    }
                    if pattern.matches(text) {
                        if run.end != at {
                            rows |= self.rows_of(run, typed)?;
                            run = at..at;
                        }
                        run.end = at + 1;
                    }
                    at += 1;
                }
                rows | self.rows_of(run, typed)?
            }
        };
        Ok(Some((is_true, Rest::False)))
    }

    fn in_list(&self, list: &List) -> Result<RoaringBitmap, ReadError> {
        let mut rows = RoaringBitmap::new();
        match self.entry.kind {
            FieldKind::Int | FieldKind::Float => {
                for number in &list.numbers {
                    rows |= self.equal(&Value::Number(*number))?;
                }
            }
            FieldKind::Text => {
                for text in &list.texts {
                    rows |= self.equal(&Value::Text(text))?;
                }
            }
            FieldKind::Bool => {
                for value in [false, true] {
                    if list.bools[usize::from(value)] {
                        rows |= self.equal(&Value::Bool(value))?;
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Any value of the field's type.
    fn sample(&self) -> Value<'static> {
        match self.entry.kind {
            FieldKind::Int | FieldKind::Float => Value::Number(Number::Int(0)),
            FieldKind::Text => Value::Text(""),
            FieldKind::Bool => Value::Bool(false),
        }
    }

    fn compares(&self, literal: &Literal) -> bool {
        self.sample().order(&literal.value()).is_some()
    }

    fn equal(&self, value: &Value<'_>) -> Result<RoaringBitmap, ReadError> {
        let below = self.below(value)?;
        // Different values have different keys: the next one is greater.
        let found = below < self.entry.distinct
            && self
                .key(below)?
                .order(value)
                .is_some_and(|order| order.is_eq());
        match found {
            true => self.direct(below..below + 1),
            false => Ok(RoaringBitmap::new()),
        }
    }

    /// The number of keys that are less than `value`.
    fn below(&self, value: &Value<'_>) -> Result<u64, ReadError> {
        self.partition(|key| key.order(value).is_some_and(|order| order.is_lt()))
    }

    /// The number of keys that are not greater than `value`.
    fn upto(&self, value: &Value<'_>) -> Result<u64, ReadError> {
        self.partition(|key| key.order(value).is_some_and(|order| order.is_le()))
    }

    fn partition(&self, before: impl Fn(Value<'_>) -> bool) -> Result<u64, ReadError> {
        let (mut low, mut high) = (0, self.entry.distinct);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.key(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn key(&self, at: u64) -> Result<Value<'_>, ReadError> {
        Ok(match self.entry.kind {
            FieldKind::Text => Value::Text(self.text(at)?),
            FieldKind::Int => {
                let int = self.number(self.entry.keys, at)? as i64;
                Value::Number(Number::Int(int.into()))
            }
            FieldKind::Float => {
                let float = f64::from_bits(self.number(self.entry.keys, at)?);
                if float.is_nan() {
                    return Err(ReadError::Malformed("a key is not a number"));
                }
                Value::Number(Number::Float(float))
            }
            FieldKind::Bool => Value::Bool(self.number(self.entry.keys, at)? != 0),
        })
    }

    fn text(&self, at: u64) -> Result<&str, ReadError> {
        let start = match at.checked_sub(1) {
            Some(before) => self.number(self.entry.keys, before)?,
            None => 0,
        };
        let end = self.number(self.entry.keys, at)?;
        let texts = self.entry.texts;
        if start > end || end > texts.length {
            return Err(ReadError::Malformed("a text lies outside of the texts"));
        }
        let bytes = read(self.bytes, texts.offset + start..texts.offset + end)?;
        std::str::from_utf8(bytes).map_err(|_| ReadError::Malformed("a text is not UTF-8"))
    }

    /// The number at place `at` of an array of u64.
    fn number(&self, array: Span, at: u64) -> Result<u64, ReadError> {
        let outside = ReadError::Malformed("there is no such value");
        let Some(offset) = at.checked_mul(8).filter(|offset| *offset < array.length) else {
            return Err(outside);
        };
        let start = array.offset + offset;
        u64_at(read(self.bytes, start..start + 8)?, 0).ok_or(outside)
    }

    /// The rows of the values in `range`, read directly or, where that is less to read, as those
    /// of `typed` that have another value.
    fn rows_of(
        &self,
        range: Range<u64>,
        typed: &RoaringBitmap,
    ) -> Result<RoaringBitmap, ReadError> {
        if range.is_empty() {
            return Ok(RoaringBitmap::new());
        }
        let place = self.place(range.clone())?;
        if place.end - place.start <= self.entry.rows.length / 2 {
            return self.direct(range);
        }
        let before = self.direct(0..range.start)?;
        let behind = self.direct(range.end..self.entry.distinct)?;
        Ok(typed - before - behind)
    }

    fn direct(&self, range: Range<u64>) -> Result<RoaringBitmap, ReadError> {
        let mut found = RoaringBitmap::new();
        if range.is_empty() {
            return Ok(found);
        }
        match self.entry.form {
            Form::Bitmaps => {
                for value in range {
                    let place = self.place(value..value + 1)?;
                    found |= self.bitmap(Span {
                        offset: place.start,
                        length: place.end - place.start,
                    })?;
                }
            }
            Form::Lists => {
                let bytes = read(self.bytes, self.place(range)?)?;
                let numbers = bytes.as_chunks::<4>().0.iter();
                let mut rows: Vec<u32> = numbers.map(|row| u32::from_le_bytes(*row)).collect();
                rows.sort_unstable();
                self.check_rows(rows.first().copied(), rows.last().copied())?;
                found.extend(rows);
            }
        }
        Ok(found)
    }

    /// Where the rows of the values in `range`, which is not empty, lie in the section.
    fn place(&self, range: Range<u64>) -> Result<Range<u64>, ReadError> {
        let start = |value: u64| match self.entry.form {
            Form::Bitmaps => self.number(self.entry.starts, value),
            Form::Lists => {
                let array = self.entry.starts;
                let at = value.checked_mul(4).filter(|at| *at < array.length);
                let at = array.offset + at.ok_or(ReadError::Malformed("there is no such value"))?;
                let start = u32_at(read(self.bytes, at..at + 4)?, 0);
                Ok(4 * u64::from(start.unwrap_or(u32::MAX)))
            }
        };
        let (from, to) = (start(range.start)?, start(range.end)?);
        let rows = self.entry.rows;
        if from > to || to > rows.length {
            return Err(ReadError::Malformed(
                "the rows of a value lie outside of the rows",
            ));
        }
        Ok(rows.offset + from..rows.offset + to)
    }

    /// A bitmap in roaring's portable form, of rows of this group; none for no bytes.
    fn bitmap(&self, span: Span) -> Result<RoaringBitmap, ReadError> {
        if span.length == 0 {
            return Ok(RoaringBitmap::new());
        }
        let bytes = read_span(self.bytes, span)?;
        // The number of containers is checked first: each may take 8 KiB of memory, out of very
        // few bytes.
        let most = self.rows.end.div_ceil(CONTAINER_ROWS) - self.rows.start / CONTAINER_ROWS;
        let containers = match u32_at(bytes, 0) {
            Some(12346) => u32_at(bytes, 4),
            Some(cookie) if cookie & 0xffff == 12347 => Some((cookie >> 16) + 1),
            _ => None,
        };
        if containers.is_none_or(|containers| containers > most) {
            return Err(ReadError::Malformed("a bitmap is no bitmap of its rows"));
        }
        let mut rest = bytes;
        let bitmap = RoaringBitmap::deserialize_from(&mut rest)
            .map_err(|_| ReadError::Malformed("a bitmap cannot be read"))?;
        self.check_rows(bitmap.min(), bitmap.max())?;
        Ok(bitmap)
    }

    /// Refuses rows of which the least or the greatest is not of this group.
    fn check_rows(&self, least: Option<u32>, greatest: Option<u32>) -> Result<(), ReadError> {
        let mut ends = least.into_iter().chain(greatest);
        match ends.all(|row| self.rows.contains(&row)) {
            true => Ok(()),
            false => Err(ReadError::Malformed("it names a row that there is not")),
        }
    }
}

/// What a test is for rows whose values are here and for which it is not true.
enum Rest {
    False,
    Unknown,
}

fn read_span<B: Bytes>(bytes: &B, span: Span) -> Result<&[u8], ReadError> {
    read(bytes, span.offset..span.offset + span.length)
}

/// Reads bytes that must be there; all places are known not to overflow.
fn read<B: Bytes>(bytes: &B, range: Range<u64>) -> Result<&[u8], ReadError> {
    if range.end > bytes.length() {
        return Err(ReadError::Malformed("it is too short"));
    }
    let length = range.end - range.start;
    let found = bytes.read(range)?;
    match found.len() as u64 == length {
        true => Ok(found),
        false => Err(ReadError::Malformed("it is too short")),
    }
}
