//! Writing the tables of a segment: for each a counting sort of the rows by their keys.

use std::ops::Range;

use bitkin_storage::{CollectionInfo, SectionBuilder, SectionSink, SegmentRows};

use super::layout::{ALIGN, Entry, Footer, GROUP_BITS, NAME, SHELLS, VERSION, encode_size, groups};
use super::masks::count;
use super::shape::{LEAST_ROWS, MOST_BITS, Shape};

/// Rows that are sorted into their buckets at a time: what is held of them is all the memory that
/// building takes, beside four bytes a row for the keys and the counts of the keys.
const ROWS_AT_ONCE: usize = 1 << 23;

/// Rows after which it is asked whether to go on.
const ROWS_BETWEEN: usize = 1 << 16;

/// Builds the tables of segments.
#[derive(Debug)]
pub(crate) struct TableBuilder;

impl SectionBuilder for TableBuilder {
    fn build(
        &self,
        collection: &CollectionInfo,
        rows: &SegmentRows<'_>,
        sections: &mut SectionSink<'_>,
    ) -> Result<(), bitkin_storage::Error> {
        if rows.len() < LEAST_ROWS || collection.bits > MOST_BITS {
            return Ok(());
        }
        sections.begin(NAME, VERSION)?;
        build(collection.bits, rows.codes(), &mut Sections(sections))
    }
}

/// Where the bytes of the section go.
pub(super) trait Sink {
    type Error;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Asked now and then; an error ends the building.
    fn may_go_on(&self) -> Result<(), Self::Error>;
}

struct Sections<'a, 'b>(&'a mut SectionSink<'b>);

impl Sink for Sections<'_, '_> {
    type Error = bitkin_storage::Error;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(bytes)
    }

    fn may_go_on(&self) -> Result<(), Self::Error> {
        self.0.may_go_on()
    }
}

/// Writes the section for `codes` of `bits` bits, at most 2^32 - 1 of them.
pub(super) fn build<S: Sink>(bits: u32, codes: &[u8], sink: &mut S) -> Result<(), S::Error> {
    let shape = Shape::choose(bits, codes);
    let stride = bits.div_ceil(8) as usize;
    let narrowest = shape.spans.iter().map(ExactSizeIterator::len).min();
    // With a word or less a row is judged where it is found; longer codes would take too many bytes.
    let rest_bytes = match (bits, narrowest) {
        (..=64, Some(narrowest)) => (bits - narrowest as u32).div_ceil(8),
        _ => 0,
    };
    let (mean, deviation) = shape.distance;
    let footer = Footer {
        rows: (codes.len() / stride) as u32,
        bits,
        tables: shape.spans.len() as u32,
        rest_bytes,
        mean: (256.0 * mean) as u32,
        deviation: (256.0 * deviation) as u32,
    };
    let mut builder = Builder {
        out: Writer { sink, at: 0 },
        codes,
        stride,
        rest_bytes: rest_bytes as usize,
        keys: Vec::with_capacity(footer.rows as usize),
        starts: Vec::new(),
    };
    let mut entries = Vec::with_capacity(shape.spans.len());
    for number in 0..shape.spans.len() {
        entries.push(builder.table(&shape, number)?);
    }
    let mut out = builder.out;
    let tail = footer.tail();
    let end = out.at + tail;
    out.write(&[0; ALIGN as usize][..(end.next_multiple_of(ALIGN) - end) as usize])?;
    for bit in &shape.order {
        out.write(&bit.to_le_bytes())?;
    }
    for entry in &entries {
        out.write(&entry.encode())?;
    }
    out.write(&footer.encode())
}

struct Builder<'a, S> {
    out: Writer<'a, S>,
    codes: &'a [u8],
    stride: usize,
    rest_bytes: usize,
    /// Of the table at hand: the key of each row, and where the bucket of each key starts.
    keys: Vec<u32>,
    starts: Vec<u32>,
}

impl<S: Sink> Builder<'_, S> {
    fn table(&mut self, shape: &Shape, number: usize) -> Result<Entry, S::Error> {
        let key_bits = shape.spans[number].len() as u32;
        let gather = Gather::key(shape, number, self.stride);
        self.keys.clear();
        self.starts.clear();
        self.starts.resize((1 << key_bits) + 1, 0);
        for piece in self.codes.chunks(ROWS_BETWEEN * self.stride) {
            self.out.sink.may_go_on()?;
            for code in piece.chunks_exact(self.stride) {
                let key = gather.of(code) as u32;
                self.keys.push(key);
                self.starts[key as usize + 1] += 1;
            }
        }
        let shells = shells(&self.starts[1..], key_bits);
        self.out.sink.may_go_on()?;
        for at in 1..self.starts.len() {
            self.starts[at] += self.starts[at - 1];
        }
        let mut entry = Entry {
            key_bits,
            starts: self.out.part(bytemuck::cast_slice(&self.starts))?,
            shells: self.out.part(&shells)?,
            ..Entry::default()
        };
        let runs = self.runs();
        let begin = self.out.begin()?;
        for run in &runs {
            let mut rows = vec![0_u32; self.rows_of(run)];
            self.sort(run, |row, at| rows[at] = row as u32);
            self.out.write(bytemuck::cast_slice(&rows))?;
            self.out.sink.may_go_on()?;
        }
        entry.rows = begin..self.out.at;
        let begin = self.out.begin()?;
        if self.rest_bytes > 0 {
            let gather = Gather::rest(shape, number, self.stride);
            for run in &runs {
                let mut bytes = vec![0_u8; self.rows_of(run) * self.rest_bytes];
                self.sort(run, |row, at| {
                    let code = &self.codes[row * self.stride..][..self.stride];
                    let rest = gather.of(code).to_le_bytes();
                    let to = &mut bytes[at * self.rest_bytes..][..self.rest_bytes];
                    to.copy_from_slice(&rest[..self.rest_bytes]);
                });
                self.out.write(&bytes)?;
                self.out.sink.may_go_on()?;
            }
            self.out.write(&[0; 8][self.rest_bytes..])?;
        }
        entry.rest = begin..self.out.at;
        Ok(entry)
    }

    /// Parts the keys so that not too many rows are in one run of them, which is at least one key.
    fn runs(&self) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut first = 0;
        while first + 1 < self.starts.len() {
            let room = self.starts[first].saturating_add(ROWS_AT_ONCE as u32);
            let last = self.starts.partition_point(|start| *start <= room);
            let last = (last - 1).max(first + 1);
            runs.push(first..last);
            first = last;
        }
        runs
    }

    fn rows_of(&self, run: &Range<usize>) -> usize {
        (self.starts[run.end] - self.starts[run.start]) as usize
    }

    /// Calls `put` with each row whose key is in `run`, and its place among them.
    fn sort(&self, run: &Range<usize>, mut put: impl FnMut(usize, usize)) {
        let base = self.starts[run.start];
        let mut next: Vec<u32> = self.starts[run.clone()].to_vec();
        for (row, &key) in self.keys.iter().enumerate() {
            let key = (key as usize).checked_sub(run.start);
            if let Some(next) = key.and_then(|key| next.get_mut(key)) {
                put(row, (*next - base) as usize);
                *next += 1;
            }
        }
    }
}

/// Some bits of a code as a number, looked up by its bytes.
struct Gather {
    of_byte: Vec<(usize, Box<[u64; 256]>)>,
}

impl Gather {
    /// The key of a table: position i of its span is bit i.
    fn key(shape: &Shape, table: usize, stride: usize) -> Gather {
        let span = shape.spans[table].clone();
        Gather::new(
            stride,
            span.zip(0..)
                .map(|(position, to)| (shape.order[position as usize], to)),
        )
    }

    /// All others, in their order; of codes of at most 64 bits.
    fn rest(shape: &Shape, table: usize, stride: usize) -> Gather {
        let span = &shape.spans[table];
        let all = 0..shape.order.len() as u32;
        let others = all.filter(|position| !span.contains(position));
        let others = others.zip(0..64);
        Gather::new(
            stride,
            others.map(|(position, to)| (shape.order[position as usize], to)),
        )
    }

    fn new(stride: usize, bits: impl Iterator<Item = (u32, u32)>) -> Gather {
        let mut of_byte: Vec<Option<Box<[u64; 256]>>> = vec![None; stride];
        for (bit, to) in bits {
            let table = &mut of_byte[bit as usize / 8];
            let table = table.get_or_insert_with(|| Box::new([0; 256]));
            for (byte, value) in table.iter_mut().enumerate() {
                *value |= (byte as u64 >> (bit % 8) & 1) << to;
            }
        }
        let of_byte = of_byte.into_iter().enumerate();
        Gather {
            of_byte: of_byte
                .filter_map(|(at, table)| Some((at, table?)))
                .collect(),
        }
    }

    #[inline]
    fn of(&self, code: &[u8]) -> u64 {
        let mut value = 0;
        for (at, table) in &self.of_byte {
            value |= table[code[*at] as usize];
        }
        value
    }
}

/// For each group of keys how many rows are at distances 0, 1, ... of them, on average, in the form of
/// [`encode_size`]; `counts[key]` is how many have that key.
///
/// The sizes of shells follow from those of the two before: with A the sum over the neighbours of a key
/// and S_j its shell at distance j, A S_j = (j + 1) S_{j+1} + (w - j + 1) S_{j-1} for keys of w bits.
/// That is done on groups. Of a row in a group, the lowest bits agree with those of a key as chance
/// has it, on average over the keys of another: so sizes of shells of keys follow from those of groups.
fn shells(counts: &[u32], key_bits: u32) -> Vec<u8> {
    let low = key_bits.min(GROUP_BITS);
    let width = key_bits - low;
    let groups = groups(key_bits);
    let first: Vec<f32> = counts
        .chunks(1 << low)
        .map(|group| group.iter().sum::<u32>() as f32)
        .collect();
    let mut of_groups = vec![first];
    for j in 0..SHELLS - 1 {
        let mut next = neighbours(&of_groups[j], width);
        if j > 0 {
            let back = (width + 1).saturating_sub(j as u32) as f32;
            for (next, before) in next.iter_mut().zip(&of_groups[j - 1]) {
                *next -= back * before;
            }
        }
        next.iter_mut()
            .for_each(|size| *size = (*size / (j + 1) as f32).max(0.0));
        of_groups.push(next);
    }
    // Of `low` bits, so many differ.
    let chance: Vec<f32> = (0..=low)
        .map(|differ| count(low, differ) as f32 / (1 << low) as f32)
        .collect();
    let mut bytes = Vec::with_capacity(groups * SHELLS);
    for group in 0..groups {
        bytes.extend((0..SHELLS).map(|shell| {
            let parts = chance.iter().zip(of_groups[..=shell].iter().rev());
            encode_size(parts.map(|(chance, sizes)| chance * sizes[group]).sum())
        }));
    }
    bytes
}

/// For each key of `width` bits the sum over those that differ in one bit.
fn neighbours(of: &[f32], width: u32) -> Vec<f32> {
    let mut sums = vec![0.0; of.len()];
    // Within a block all is near; beyond, whole blocks are added.
    let block = of.len().min(1 << 10);
    for (number, sums) in sums.chunks_mut(block).enumerate() {
        let own = &of[number * block..][..block];
        for bit in 0..width {
            let step = 1_usize << bit;
            if step < block {
                for (sums, own) in sums.chunks_mut(2 * step).zip(own.chunks(2 * step)) {
                    let ((a, b), (x, y)) = (sums.split_at_mut(step), own.split_at(step));
                    a.iter_mut().zip(y).for_each(|(sum, y)| *sum += y);
                    b.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
                }
            } else {
                let other = &of[(number ^ (step / block)) * block..][..block];
                sums.iter_mut()
                    .zip(other)
                    .for_each(|(sum, other)| *sum += other);
            }
        }
    }
    sums
}

struct Writer<'a, S> {
    sink: &'a mut S,
    at: u64,
}

impl<S: Sink> Writer<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), S::Error> {
        self.at += bytes.len() as u64;
        self.sink.write(bytes)
    }

    /// Writes a part of its own.
    fn part(&mut self, bytes: &[u8]) -> Result<Range<u64>, S::Error> {
        let start = self.begin()?;
        self.write(bytes)?;
        Ok(start..self.at)
    }

    /// Fills up to where a part starts.
    fn begin(&mut self) -> Result<u64, S::Error> {
        let missing = self.at.next_multiple_of(ALIGN) - self.at;
        self.write(&[0; ALIGN as usize][..missing as usize])?;
        Ok(self.at)
    }
}
