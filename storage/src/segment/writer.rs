//! Writing a segment from front to back, with the checksum of each block on the way.

use std::ops::Range;
use std::sync::Arc;

use super::layout::{
    BLOCK, ENTRY_BYTES, FOOTER_BYTES, Footer, Header, KNOWN, MAX_SECTIONS, MOST_NAME_BYTES,
    Section, SectionKind, file_name,
};
use crate::bytes::checksum;
use crate::disk::{Disk, File};
use crate::error::Error;

/// Bytes gathered before they are written, up to a multiple of them in the file: a huge page. Linux then
/// keeps and maps the file in huge pages (ext4, since 6.16), and searches, which read all over a segment,
/// take less than half as long.
const BUFFER: usize = 128 * BLOCK;

/// Layers above may have this many sections less than a segment can.
const OWN_SECTIONS: u32 = KNOWN.len() as u32;

/// A segment that is being written. Sections come one after another, each in as many pieces as the
/// caller likes.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    file: Arc<dyn File>,
    name: String,
    number: u64,
    /// Bytes of the file that were written; always a whole number of blocks until `finish`.
    written: u64,
    buffer: Vec<u8>,
    checksums: Vec<u64>,
    sections: Vec<Section>,
    /// Bytes that the sections of the layer above start behind.
    own: usize,
}

impl SegmentWriter {
    pub(super) fn create(disk: &dyn Disk, header: &Header) -> Result<SegmentWriter, Error> {
        let name = file_name(header.number);
        let file = disk.create(&name).map_err(Error::io("create", &name))?;
        let mut writer = SegmentWriter {
            file,
            name,
            number: header.number,
            written: 0,
            buffer: Vec::with_capacity(BUFFER),
            checksums: Vec::new(),
            sections: Vec::new(),
            own: 0,
        };
        writer.put(&header.encode())?;
        Ok(writer)
    }

    /// Starts a section at the next multiple of `alignment`.
    pub(super) fn begin(&mut self, kind: SectionKind, alignment: u64) -> Result<(), Error> {
        self.begin_named(kind.name, kind.version, kind.flags, alignment)?;
        self.own = self.sections.len();
        Ok(())
    }

    fn begin_named(
        &mut self,
        name: &str,
        version: u32,
        flags: u32,
        alignment: u64,
    ) -> Result<(), Error> {
        self.align(alignment)?;
        self.sections.push(Section {
            name: name.to_owned(),
            version,
            flags,
            offset: self.position(),
            length: 0,
        });
        Ok(())
    }

    fn align(&mut self, alignment: u64) -> Result<(), Error> {
        let gap = self.position().next_multiple_of(alignment) - self.position();
        self.put(&vec![0; gap as usize])
    }

    /// Starts a section of the layer above at the next multiple of `alignment`.
    pub(super) fn begin_foreign(
        &mut self,
        name: &str,
        version: u32,
        alignment: u64,
    ) -> Result<(), Error> {
        let bad = name.is_empty() || name.len() > MOST_NAME_BYTES || name.contains('\0');
        let taken = self.sections.iter().any(|section| section.name == name)
            || KNOWN.iter().any(|kind| kind.name == name);
        let many = self.sections.len() as u32 >= MAX_SECTIONS - OWN_SECTIONS;
        if bad || taken || many {
            return Err(Error::BadSection {
                name: name.to_owned(),
            });
        }
        self.begin_named(name, version, 0, alignment)
    }

    /// Adds bytes to the section of the layer above that was begun last.
    pub(super) fn write_foreign(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.sections.len() <= self.own {
            let name = String::new();
            return Err(Error::BadSection { name });
        }
        self.write(bytes)
    }

    /// Writes out what was written so far, filled up to a whole number of blocks, so that it can be
    /// read while more is written behind it.
    pub(super) fn pause(&mut self) -> Result<&dyn File, Error> {
        self.align(BLOCK as u64)?;
        self.write_blocks()?;
        Ok(&*self.file)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where in the file the section of this kind is.
    pub(super) fn range(&self, kind: SectionKind) -> Range<usize> {
        let section = self.sections.iter().find(|s| s.name == kind.name);
        section.map_or(0..0, |s| s.offset as usize..(s.offset + s.length) as usize)
    }

    /// Adds bytes to the section that was begun last.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(section) = self.sections.last_mut() {
            section.length += bytes.len() as u64;
        }
        self.put(bytes)
    }

    /// Ends the file and syncs it. Returns its length in bytes.
    pub(super) fn finish(mut self) -> Result<u64, Error> {
        let checksums = self.position().next_multiple_of(8);
        self.put(&vec![0; (checksums - self.position()) as usize])?;
        self.write_blocks()?;
        let blocks = self.checksums.len() as u64;
        let mut tail: Vec<u8> = bytemuck::cast_slice(&self.checksums).to_vec();
        let contents = checksums + tail.len() as u64;
        let mut entries = Vec::with_capacity(self.sections.len() * ENTRY_BYTES);
        for section in &self.sections {
            entries.extend_from_slice(&section.encode());
        }
        tail.extend_from_slice(&entries);
        let footer = Footer {
            number: self.number,
            sections: self.sections.len() as u32,
            contents,
            checksums,
            blocks,
            contents_sum: checksum(&entries, self.number),
        };
        tail.extend_from_slice(&footer.encode());
        self.file
            .write_at(checksums, &tail)
            .map_err(Error::io("write", &self.name))?;
        self.file.sync().map_err(Error::io("sync", &self.name))?;
        debug_assert_eq!(
            contents + entries.len() as u64 + FOOTER_BYTES as u64,
            checksums + tail.len() as u64
        );
        Ok(checksums + tail.len() as u64)
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            // Less than a whole buffer after a pause, to be back at a multiple.
            let whole = BUFFER - self.written as usize % BUFFER;
            let (front, rest) = bytes.split_at(bytes.len().min(whole - self.buffer.len()));
            self.buffer.extend_from_slice(front);
            bytes = rest;
            if self.buffer.len() == whole {
                self.write_blocks()?;
            }
        }
        Ok(())
    }

    fn write_blocks(&mut self) -> Result<(), Error> {
        self.checksums.extend(
            self.buffer
                .chunks(BLOCK)
                .map(|block| checksum(block, self.number)),
        );
        self.file
            .write_at(self.written, &self.buffer)
            .map_err(Error::io("write", &self.name))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
