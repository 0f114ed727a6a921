//! How a database is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::segment::SectionBuilder;

/// When a commit is on disk for certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Bytes that one merge in the background may write, which must be free on the disk until the
    /// segments that it replaces are removed. Default: 16 GiB.
    pub merge_limit: u64,
    /// Whether rows are flushed and segments are merged by threads of the database's own. Otherwise a
    /// commit that finds the memory full does it all before it goes on. Default: true.
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
            merge_limit: 16 << 30,
            background: true,
            builder: None,
            memory_map: true,
        }
    }
}
