//! Medians, percentiles, and waiting until a database is at rest.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bitkin_storage::Storage;

use crate::Result;

/// The middle of several measurements, and how far they spread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Spread {
    /// Of `values`, in any order; all zero for none.
    pub fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let (Some(&least), Some(&most)) = (sorted.first(), sorted.last()) else {
            return Spread::default();
        };
        let median = if sorted.len().is_multiple_of(2) {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        } else {
            sorted[middle]
        };
        Spread {
            median,
            least,
            most,
        }
    }
}

/// Sorts `values`, and returns those below which the given shares of them are.
pub fn percentiles<const N: usize>(values: &mut [f64], shares: [f64; N]) -> [f64; N] {
    values.sort_by(f64::total_cmp);
    shares.map(|share| {
        let rank = (share * values.len() as f64).ceil() as usize;
        let at = rank.clamp(1, values.len().max(1)) - 1;
        values.get(at).copied().unwrap_or_default()
    })
}

/// How long nothing must be under way before a database counts as being at rest.
const REST: Duration = Duration::from_millis(300);

/// Waits until no merge is under way or due, and returns when that came about.
///
/// Storage does not tell, but a merge has a file from its first moment to its last that is not, or not
/// any more, one of the segments that are listed; and the next one starts at once.
///
/// # Errors
/// Those of the file system, and that of a flush or merge that failed.
pub fn wait_for_rest(storage: &Storage) -> Result<Instant> {
    let mut rest_since = Instant::now();
    loop {
        let before = storage.stats();
        let files = segment_files(&storage.path().join("segments"))?;
        let after = storage.stats();
        if let Some(error) = after.background_error {
            return Err(format!("a flush or merge in the background failed: {error}").into());
        }
        let segments = after.collections.iter().map(|c| c.segments).sum::<u64>();
        let now = Instant::now();
        if before.collections != after.collections || files != segments {
            rest_since = now;
        } else if now - rest_since > REST {
            return Ok(rest_since);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn segment_files(dir: &Path) -> Result<u64> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        let is_segment = Path::new(&entry?.file_name())
            .extension()
            .is_some_and(|extension| extension == "seg");
        files += u64::from(is_segment);
    }
    Ok(files)
}
