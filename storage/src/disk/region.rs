//! The bytes of a file, in memory or mapped.

use std::fmt;
use std::io;
use std::ops::Deref;

use bytemuck::{Pod, Zeroable};

use super::File;

/// The bytes of an immutable file: `&region[..]`. They start at a multiple of 64 in memory.
pub struct Region(Bytes);

enum Bytes {
    Mapped(memmap2::Mmap),
    Heap { lines: Vec<Line>, length: usize },
}

/// A cache line; the unit of allocation, for its alignment.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Region {
    /// A region on the heap, for disks and options that do not map files.
    pub fn from_bytes(bytes: &[u8]) -> Region {
        let mut region = Region::zeroed(bytes.len());
        region.heap_mut().copy_from_slice(bytes);
        region
    }

    /// The whole of a file, read into the heap.
    pub(crate) fn read(file: &dyn File) -> io::Result<Region> {
        let length = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut region = Region::zeroed(length);
        if file.read_at(0, region.heap_mut())? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(region)
    }

    #[cfg_attr(miri, expect(dead_code, reason = "miri maps no files"))]
    pub(super) fn mapped(map: memmap2::Mmap) -> Region {
        Region(Bytes::Mapped(map))
    }

    fn zeroed(length: usize) -> Region {
        Region(Bytes::Heap {
            lines: vec![Line([0; 64]); length.div_ceil(64)],
            length,
        })
    }

    fn heap_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Bytes::Mapped(_) => &mut [],
            Bytes::Heap { lines, length } => &mut bytemuck::cast_slice_mut(lines)[..*length],
        }
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(map) => map,
            Bytes::Heap { lines, length } => &bytemuck::cast_slice(lines)[..*length],
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Bytes::Mapped(_) => "mapped",
            Bytes::Heap { .. } => "heap",
        };
        write!(f, "Region({} bytes, {kind})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_regions_hold_the_bytes_and_are_aligned() {
        for length in [0, 1, 63, 64, 65, 1000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let region = Region::from_bytes(&bytes);
            assert_eq!(&region[..], &bytes[..]);
            assert_eq!(region.as_ptr().align_offset(64), 0);
        }
    }
}
