//! Copies of arrays.

use std::ops::Deref;

use bytemuck::Pod;
use memmap2::MmapMut;

/// Bytes of a huge page on most machines. From there on a copy gets pages of its own: at that size an
/// allocator takes new ones from the system each time, and to get them four kilobytes at a time costs
/// several times what the copy does.
const LARGE: usize = 2 << 20;

/// Values that were copied.
pub(crate) enum Copied<T> {
    Few(Vec<T>),
    /// As bytes, so many, in huge pages where the system has them.
    Many(MmapMut, usize),
}

impl<T: Pod> Copied<T> {
    pub(crate) fn of(values: &[T]) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if bytes.len() >= LARGE
            // Linux begins only whole ones at a multiple of their size.
            && let Ok(mut pages) = MmapMut::map_anon(bytes.len().next_multiple_of(LARGE))
        {
            // It may have none.
            #[cfg(target_os = "linux")]
            let _ = pages.advise(memmap2::Advice::HugePage);
            pages[..bytes.len()].copy_from_slice(bytes);
            return Copied::Many(pages, bytes.len());
        }
        Copied::Few(values.to_vec())
    }

    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Copied::Few(values) => values,
            many => many.to_vec(),
        }
    }
}

impl<T: Pod> Deref for Copied<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Copied::Few(values) => values,
            // A page begins at a multiple of every alignment.
            Copied::Many(pages, bytes) => bytemuck::cast_slice(&pages[..*bytes]),
        }
    }
}

impl<T> From<Vec<T>> for Copied<T> {
    fn from(values: Vec<T>) -> Self {
        Copied::Few(values)
    }
}
