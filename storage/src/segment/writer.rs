//! Writing a segment from front to back, with the checksum of each block on the way.

use std::sync::Arc;

use super::layout::{
    BLOCK, ENTRY_BYTES, FOOTER_BYTES, Footer, Header, MUST_UNDERSTAND, Section, SectionKind,
    file_name,
};
use crate::bytes::checksum;
use crate::disk::{Disk, File};
use crate::error::Error;

/// Bytes gathered before they are written: a whole number of blocks.
const BUFFER: usize = 64 * BLOCK;

/// A segment that is being written. Sections come one after another, each in as many pieces as the
/// caller likes.
pub(super) struct SegmentWriter {
    file: Arc<dyn File>,
    name: String,
    number: u64,
    /// Bytes of the file that were written; always a whole number of blocks until `finish`.
    written: u64,
    buffer: Vec<u8>,
    checksums: Vec<u64>,
    sections: Vec<Section>,
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
        };
        writer.put(&header.encode())?;
        Ok(writer)
    }

    /// Starts a section at the next multiple of `alignment`.
    pub(super) fn begin(&mut self, kind: SectionKind, alignment: u64) -> Result<(), Error> {
        let offset = self.position().next_multiple_of(alignment);
        self.put(&vec![0; (offset - self.position()) as usize])?;
        self.sections.push(Section {
            name: kind.name.to_owned(),
            version: kind.version,
            flags: MUST_UNDERSTAND,
            offset,
            length: 0,
        });
        Ok(())
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
            let (front, rest) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(front);
            bytes = rest;
            if self.buffer.len() == BUFFER {
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
