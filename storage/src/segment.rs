//! Segments: the immutable files that hold the rows of a collection.
//!
//! A segment is never trusted. Its header, footer and table of contents carry checksums and are
//! checked when it is opened, which reads nothing proportional to the rows; the sections are checked
//! a block of 16 KiB at a time, when a block is touched for the first time. Every offset is checked
//! against the length of the file before it is used.

mod filter;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod fuzzing;
mod layout;
mod reader;
mod salvage;
mod section;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::{ControlFlow, Range};
use std::panic::AssertUnwindSafe;

use self::filter::Filter;
use self::writer::SegmentWriter;
use crate::batch::CollectionInfo;
use crate::disk::{Disk, Region};
use crate::error::Error;
use crate::manifest::SegmentRecord;
use crate::order::{Column, in_order};
use crate::run::NO_PAYLOAD;
use crate::snapshot::Part;

pub(crate) use layout::file_name;
pub(crate) use reader::Segment;
pub use section::{CHECKED_BLOCK, LazyBytes, Section, SectionBuilder, SectionSink, SegmentRows};

/// The name of the directory that holds the segments.
pub(crate) const DIRECTORY: &str = "segments";

/// How a segment is written.
#[derive(Clone, Copy)]
pub(crate) struct Writing<'a> {
    pub(crate) disk: &'a dyn Disk,
    /// Whether what was written is mapped to be read back, or else read.
    pub(crate) map: bool,
    pub(crate) builder: Option<&'a dyn SectionBuilder>,
    /// Asked again and again; an error ends the writing.
    pub(crate) may_go_on: &'a dyn Fn() -> Result<(), Error>,
}

impl Writing<'_> {
    /// Writes the rows of `inputs` that are not deleted in them, in the order of their ids, as
    /// segment `number`, and syncs the file. Its name is not synced. `None`, and no file, if no row
    /// is left.
    ///
    /// The order is worked out anew for each column, so that memory does not grow with the rows.
    pub(crate) fn write(
        &self,
        number: u64,
        collection: &CollectionInfo,
        inputs: &[Part],
    ) -> Result<Option<SegmentRecord>, Error> {
        let rows = inputs.iter().map(Part::live).sum();
        if rows == 0 {
            return Ok(None);
        }
        if rows >= u64::from(u32::MAX) {
            return Err(Error::TooLarge {
                what: "the number of rows of a segment",
                found: rows,
                limit: u64::from(u32::MAX) - 1,
            });
        }
        let columns: Vec<Column<'_>> = inputs.iter().map(Part::column).collect::<Result<_, _>>()?;
        let (smallest_id, largest_id) = id_range(&columns);
        let sequences = || inputs.iter().map(Part::sequences);
        let header = layout::Header {
            number,
            collection: collection.id.number,
            bits: collection.bits,
            rows,
            first_sequence: sequences().map(|s| *s.start()).min().unwrap_or_default(),
            last_sequence: sequences().map(|s| *s.end()).max().unwrap_or_default(),
            smallest_id,
            largest_id,
        };
        let mut writer = SegmentWriter::create(self.disk, &header)?;
        let filter = filter::is_useful(rows, smallest_id, largest_id);
        let filter = self.write_ids(&mut writer, &columns, filter.then(|| Filter::new(rows)))?;
        self.write_codes(&mut writer, &columns, inputs, collection.code_bytes())?;
        self.write_payloads(&mut writer, &columns, inputs)?;
        writer.begin(layout::COLLECTION, 64)?;
        writer.write(&(collection.name.len() as u32).to_le_bytes())?;
        writer.write(collection.name.as_bytes())?;
        writer.write(&collection.properties)?;
        if let Some(filter) = filter {
            writer.begin(layout::ID_FILTER, 64)?;
            writer.write(&filter.into_bytes())?;
        }
        if let Some(builder) = self.builder {
            self.build(builder, collection, &mut writer)?;
        }
        let length = writer.finish()?;
        Ok(Some(SegmentRecord {
            number,
            collection: collection.id.number,
            length,
            rows,
            first_sequence: header.first_sequence,
            last_sequence: header.last_sequence,
            smallest_id,
            largest_id,
            deletes: None,
        }))
    }

    /// Goes through the live rows of `columns` in the order of their ids.
    fn each(
        &self,
        columns: &[Column<'_>],
        mut take: impl FnMut(usize, Range<usize>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut calls = 0_u64;
        let ended = in_order(columns, |index, rows| {
            calls += 1;
            // Asking costs more than a row that comes by itself.
            if calls.is_multiple_of(1024)
                && let Err(error) = (self.may_go_on)()
            {
                return ControlFlow::Break(error);
            }
            match take(index, rows) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        });
        match ended {
            ControlFlow::Continue(()) => (self.may_go_on)(),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn write_ids(
        &self,
        writer: &mut SegmentWriter,
        columns: &[Column<'_>],
        mut filter: Option<Filter>,
    ) -> Result<Option<Filter>, Error> {
        let mut last = None;
        writer.begin(layout::IDS, 64)?;
        self.each(columns, |index, rows| {
            let ids = &columns[index].ids[rows];
            // Out of sorted columns, ids can only fail to ascend where one is taken after another.
            if last.is_some_and(|last| ids.first().is_none_or(|&id| id <= last)) {
                let what = format!("id {} stands twice in it", ids[0]);
                return Err(Error::corrupt(DIRECTORY, 0, what));
            }
            last = ids.last().copied();
            if let Some(filter) = &mut filter {
                filter.insert(ids);
            }
            writer.write(bytemuck::cast_slice(ids))
        })?;
        Ok(filter)
    }

    fn write_codes(
        &self,
        writer: &mut SegmentWriter,
        columns: &[Column<'_>],
        inputs: &[Part],
        code_bytes: usize,
    ) -> Result<(), Error> {
        let codes: Vec<&[u8]> = inputs.iter().map(Part::codes).collect::<Result<_, _>>()?;
        writer.begin(layout::CODES, 4096)?;
        self.each(columns, |index, rows| {
            let bytes = rows.start * code_bytes..rows.end * code_bytes;
            writer.write(codes[index].get(bytes).unwrap_or_default())
        })
    }

    fn write_payloads(
        &self,
        writer: &mut SegmentWriter,
        columns: &[Column<'_>],
        inputs: &[Part],
    ) -> Result<(), Error> {
        if !inputs.iter().any(Part::has_payloads) {
            return Ok(());
        }
        let mut offset = 0_u64;
        writer.begin(layout::PAYLOAD_OFFSETS, 64)?;
        self.each(columns, |index, rows| {
            for row in rows {
                let length = inputs[index].payload_length(row as u32)?;
                let flag = if length.is_none() { NO_PAYLOAD } else { 0 };
                writer.write(&(offset | flag).to_le_bytes())?;
                offset += length.unwrap_or(0);
            }
            Ok(())
        })?;
        writer.write(&offset.to_le_bytes())?;
        writer.begin(layout::PAYLOAD_BYTES, 64)?;
        self.each(columns, |index, rows| {
            for row in rows {
                if let Some(payload) = inputs[index].payload(row as u32)? {
                    writer.write(payload)?;
                }
            }
            Ok(())
        })
    }

    /// Lets the layer above add its sections, from what was written so far.
    fn build(
        &self,
        builder: &dyn SectionBuilder,
        collection: &CollectionInfo,
        writer: &mut SegmentWriter,
    ) -> Result<(), Error> {
        let kinds = [
            layout::IDS,
            layout::CODES,
            layout::PAYLOAD_OFFSETS,
            layout::PAYLOAD_BYTES,
        ];
        let name = writer.name().to_owned();
        let file = writer.pause()?;
        let region = if self.map {
            // SAFETY: what the region covers is complete: whatever is written from here on lies
            // behind it, and nobody else knows the file.
            unsafe { file.map() }.map_err(Error::io("map", &name))?
        } else {
            Region::read(file).map_err(Error::io("read", &name))?
        };
        let [ids, codes, payload_offsets, payload_bytes] =
            kinds.map(|kind| region.get(writer.range(kind)).unwrap_or_default());
        let words = |bytes| {
            bytemuck::try_cast_slice::<u8, u64>(bytes)
                .map_err(|_| Error::corrupt(&name, 0, "a section is not aligned"))
        };
        let rows = SegmentRows {
            ids: words(ids)?,
            codes,
            payload_offsets: words(payload_offsets)?,
            payload_bytes,
        };
        let mut sink = SectionSink {
            writer,
            may_go_on: self.may_go_on,
        };
        // It is foreign code, and the threads that flush and merge must live on. What it may have left
        // half done is the file, which is of no use then.
        let build = AssertUnwindSafe(|| builder.build(collection, &rows, &mut sink));
        std::panic::catch_unwind(build).unwrap_or(Err(Error::BuilderPanicked))
    }
}

/// The smallest and the largest id of the live rows.
fn id_range(columns: &[Column<'_>]) -> (u64, u64) {
    let live = |column: &Column<'_>, row: &usize| {
        !column
            .deleted
            .is_some_and(|rows| rows.contains(*row as u32))
    };
    let first = columns.iter().filter_map(|column| {
        let row = (0..column.ids.len()).find(|row| live(column, row))?;
        Some(column.ids[row])
    });
    let last = columns.iter().filter_map(|column| {
        let row = (0..column.ids.len()).rev().find(|row| live(column, row))?;
        Some(column.ids[row])
    });
    (
        first.min().unwrap_or_default(),
        last.max().unwrap_or_default(),
    )
}
