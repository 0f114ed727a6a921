//! How a database is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::segment::SectionBuilder;

/// When a commit is on disk for certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// When `commit` returns. Commits of several threads share one sync.
    #[default]
    Sync,
    /// At most this long after `commit` returned, unless the machine stops before. Nothing is lost
    /// when only the process dies.
    Interval(Duration),
    /// When the operating system pleases, or after [`Storage::sync`](crate::Storage::sync). Nothing
    /// is lost when only the process dies.
    None,
}

/// How a database is opened for writing.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a commit is on disk for certain. Default: [`Durability::Sync`].
    pub durability: Durability,
    /// Bytes of rows in memory beyond which they are written into segments. While that is under way,
    /// as much again may come in; then commits wait. Default: 64 MiB.
    pub memory_limit: usize,
    /// Rows in memory beyond which they are written into segments in the background; commits never wait
    /// for it. What counts are the rows of all collections together that are in no segment yet, also
    /// those being written and such as were deleted since. A second passes between one flush and the
    /// next, which takes all that came in meanwhile, unless that is more than four times this number.
    /// When nothing was committed for about a second, a sixteenth of it is enough. Default: 65,536.
    ///
    /// A search must scan what is in memory, while segments may have sections that spare it that; and
    /// opening a database after a crash reads these rows out of the log. Fewer mean more and smaller
    /// flushes, of which each costs some syncs, and more merges. `usize::MAX` leaves it to `memory_limit`.
    /// Without [`background`](Self::background) it has no effect.
    pub flush_rows: usize,
    /// Bytes that one merge in the background may write, which must be free on the disk until the
    /// segments that it replaces are removed. Default: 16 GiB.
    pub merge_limit: u64,
    /// Whether rows are flushed and segments are merged by threads of the database's own. Otherwise a
    /// commit that finds more than `memory_limit` in memory does it all before it goes on, and
    /// nothing else but [`Storage::flush`](crate::Storage::flush) does. Default: true.
    pub background: bool,
    /// Adds sections to every segment that is written. Default: none.
    pub builder: Option<Arc<dyn SectionBuilder>>,
    /// Whether segments are memory-mapped; otherwise they are read into memory when they are
    /// opened. Default: true.
    pub memory_map: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            durability: Durability::default(),
            memory_limit: 64 << 20,
            flush_rows: 1 << 16,
            merge_limit: 16 << 30,
            background: true,
            builder: None,
            memory_map: true,
        }
    }
}
