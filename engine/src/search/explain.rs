//! How an answer was found.

use std::fmt;
use std::time::Duration;

use super::visible::Visible;

/// How an answer was found, part by part.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The segments, and the rows in memory, in the order in which they were searched.
    pub parts: Vec<PartExplanation>,
}

/// How one part was searched.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PartExplanation {
    /// Rows of the part, deleted ones included.
    pub rows: u64,
    /// Rows that may be found: not deleted, and passing the filter.
    pub visible: u64,
    /// Whether the rows are in memory and not yet in a segment.
    pub in_memory: bool,
    /// Search tables that the part has.
    pub tables: usize,
    /// How it was searched.
    pub way: Way,
    /// What a scan, or going through the planes, was expected to take.
    pub predicted_scan: Duration,
    /// What the tables were expected to take, if there are any and they were asked.
    pub predicted_tables: Option<Duration>,
    /// What it took.
    pub took: Duration,
    /// Shells of keys that were looked up, over all tables.
    pub shells: u64,
    /// Buckets that were looked up.
    pub buckets: u64,
    /// Rows that were compared with the query.
    pub candidates: u64,
    /// Bytes of buckets, codes and planes that were read for that.
    pub bytes: u64,
    /// The largest distance at which nothing of this part is missing; `None` if nothing is proven.
    pub covered_radius: Option<u32>,
}

impl PartExplanation {
    /// Of a part of which nothing was asked yet.
    pub(super) fn new(part: &Visible<'_>, way: Way) -> PartExplanation {
        PartExplanation {
            rows: part.part.len() as u64,
            visible: part.rows,
            in_memory: part.part.is_memory(),
            tables: 0,
            way,
            predicted_scan: Duration::ZERO,
            predicted_tables: None,
            took: Duration::ZERO,
            shells: 0,
            buckets: 0,
            candidates: 0,
            bytes: 0,
            covered_radius: None,
        }
    }
}

/// A way to search a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// Every code is compared.
    Scan,
    /// Rows are looked up in the search tables.
    Tables,
    /// The tables were asked first, and given up for a scan.
    TablesThenScan,
    /// The bits of a mask are counted in the bit planes; only searches under a mask know it.
    Planes,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Scan => "scan",
            Way::Tables => "tables",
            Way::TablesThenScan => "tables, then scan",
            Way::Planes => "planes",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.parts.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let place = if part.in_memory {
                "in memory"
            } else {
                "segment"
            };
            write!(f, "{place}, {} rows", part.rows)?;
            if part.visible < part.rows {
                write!(f, " ({} visible)", part.visible)?;
            }
            let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
            write!(
                f,
                ": {} in {:.1} us (predicted: scan {:.1}",
                part.way,
                micros(part.took),
                micros(part.predicted_scan)
            )?;
            if let Some(tables) = part.predicted_tables {
                write!(f, ", {} tables {:.1}", part.tables, micros(tables))?;
            }
            write!(
                f,
                "); {} shells, {} buckets, {} candidates, {} bytes",
                part.shells, part.buckets, part.candidates, part.bytes
            )?;
            match part.covered_radius {
                Some(radius) => write!(f, "; nothing missing to distance {radius}")?,
                None => write!(f, "; nothing proven")?,
            }
        }
        Ok(())
    }
}
