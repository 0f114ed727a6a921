//! Pairs of rows within a threshold: some rows against runs of others, once for all instruction sets.
//!
//! As a scan, but of short runs, of which each has a threshold of its own. Runs are compared in whole
//! vectors: what a vector has beyond the end of its run is dropped if it is found. So rows lie in
//! [`Rows`], with room behind the last one.

use super::scan::Isa;

/// Rows beyond the last one that may be read.
const ROOM: usize = 8;

/// Strides that are compared in vectors; codes are filled up with zeros to the next of them.
const STRIDES: [usize; 5] = [8, 16, 32, 64, 128];

/// Bytes that a code of `stride` bytes takes in [`Rows`].
pub(crate) fn padded(stride: usize) -> usize {
    let fits = STRIDES.into_iter().find(|of| stride <= *of);
    fits.unwrap_or(stride)
}

/// Copies of codes, filled up for comparison.
#[derive(Debug)]
pub(crate) struct Rows {
    stride: usize,
    count: usize,
    /// `count + ROOM` codes.
    bytes: Vec<u8>,
}

impl Rows {
    /// Room for codes of `stride` bytes.
    ///
    /// # Panics
    /// When `stride` is 0.
    pub(crate) fn new(stride: usize) -> Rows {
        assert!(stride > 0, "a code has at least one byte");
        let stride = padded(stride);
        Rows {
            stride,
            count: 0,
            bytes: vec![0; ROOM * stride],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Forgets all rows.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Appends a code, of which no more than the stride is taken.
    #[inline]
    pub(crate) fn push(&mut self, code: &[u8]) {
        let at = self.count * self.stride;
        let end = at + (1 + ROOM) * self.stride;
        if self.bytes.len() < end {
            self.bytes.resize((2 * at).max(end), 0);
        }
        let to = &mut self.bytes[at..at + self.stride];
        if code.len() == 8 && to.len() == 8 {
            to.copy_from_slice(&code[..8]);
        } else {
            let (to, beyond) = to.split_at_mut(code.len().min(self.stride));
            to.copy_from_slice(&code[..to.len()]);
            if !beyond.is_empty() {
                beyond.fill(0);
            }
        }
        self.count += 1;
    }

    /// The code of a row, with what it is filled up with; nothing if there is no such row.
    #[inline]
    pub(crate) fn get(&self, row: u32) -> &[u8] {
        let row = row as usize;
        match row < self.count {
            true => &self.bytes[row * self.stride..][..self.stride],
            false => &[],
        }
    }
}

/// A run of rows, and the greatest distance that is looked for in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) threshold: u32,
}

/// Two rows within the threshold of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Near {
    pub(crate) query: u32,
    pub(crate) row: u32,
    pub(crate) distance: u32,
    /// Which of the targets it was found in.
    pub(crate) target: u32,
}

/// Appends to `found` every row of `rows` in a target that is within its threshold of one of the rows
/// `queries.start..queries.end` of `from`.
///
/// # Safety
/// The machine must have the instruction set `I`. Both must have one stride, and all rows that are named.
#[inline(always)]
pub(super) unsafe fn join<I: Isa>(
    (from, queries): (&Rows, (u32, u32)),
    rows: &Rows,
    targets: &[Target],
    found: &mut Vec<Near>,
) {
    // SAFETY: the strides are those of the rows; the rest is the caller's.
    unsafe {
        match rows.stride {
            8 => join_fixed::<I, 8>(from, queries, rows, targets, found),
            16 => join_fixed::<I, 16>(from, queries, rows, targets, found),
            32 => join_fixed::<I, 32>(from, queries, rows, targets, found),
            64 => join_fixed::<I, 64>(from, queries, rows, targets, found),
            128 => join_fixed::<I, 128>(from, queries, rows, targets, found),
            _ => join_rows::<I>(from, queries, rows, targets, found),
        }
    }
}

/// # Safety
/// As [`join`], of rows of `STRIDE` bytes.
#[inline(always)]
unsafe fn join_fixed<I: Isa, const STRIDE: usize>(
    from: &Rows,
    (first, last): (u32, u32),
    rows: &Rows,
    targets: &[Target],
    found: &mut Vec<Near>,
) {
    const { assert!(I::LANES <= ROOM) };
    let (queries, codes) = (from.bytes.as_ptr(), rows.bytes.as_ptr());
    let lanes = I::LANES as u32;
    for (target, of) in (0..).zip(targets) {
        let mut row = of.start;
        while row < of.end {
            // What is not of this target is often near as well: rows lie by their keys.
            let own = u32::MAX >> (32 - lanes.min(of.end - row));
            // Innermost are the queries: their number stays the same over all targets, which are short.
            for number in first..last {
                // SAFETY: there is a row `number`, a row `row`, and room for a vector of them from there on.
                unsafe {
                    let query = I::query::<STRIDE>(queries.add(number as usize * STRIDE));
                    let distances =
                        I::compare::<STRIDE, false>(query, query, codes.add(row as usize * STRIDE));
                    let within = I::lanes_within(distances, of.threshold) & own;
                    if within != 0 {
                        let mut buffer = [0; ROOM];
                        I::write(distances, buffer.as_mut_ptr());
                        append(&buffer, within, (number, row, target), found);
                    }
                }
            }
            row += lanes;
        }
    }
}

/// Kept out of line: rarely reached, and small code keeps the loop above tight.
#[inline(never)]
fn append(
    distances: &[u32; ROOM],
    mut within: u32,
    (query, first, target): (u32, u32, u32),
    found: &mut Vec<Near>,
) {
    while within != 0 {
        let lane = within.trailing_zeros();
        within &= within - 1;
        found.push(Near {
            query,
            row: first + lane,
            distance: distances[lane as usize % ROOM],
            target,
        });
    }
}

/// # Safety
/// As [`join`].
#[inline(always)]
unsafe fn join_rows<I: Isa>(
    from: &Rows,
    (first, last): (u32, u32),
    rows: &Rows,
    targets: &[Target],
    found: &mut Vec<Near>,
) {
    for number in first..last {
        let query = from.get(number);
        for (target, of) in (0..).zip(targets) {
            for row in of.start..of.end {
                // SAFETY: there is such a row, and it has as many bytes as the query.
                let distance = unsafe { I::row::<false>(query, query, rows.get(row).as_ptr()) };
                if distance <= of.threshold {
                    found.push(Near {
                        query: number,
                        row,
                        distance,
                        target,
                    });
                }
            }
        }
    }
}

impl Rows {
    /// Whether [`join`] may be asked for this.
    pub(super) fn can_join(
        &self,
        (first, last): (u32, u32),
        rows: &Rows,
        targets: &[Target],
    ) -> bool {
        let ends = targets.iter().map(|target| target.end as usize);
        self.stride == rows.stride
            && (first >= last || last as usize <= self.count)
            && ends.max().unwrap_or(0) <= rows.count
    }
}
