//! What a search is told apart from its query.

use std::num::NonZeroUsize;

use super::{Budget, Wanted, Way};
use crate::filter::Filter;

/// How to search, whatever for: made once, and given to many searches
/// ([`Search::options`](super::Search::options), [`BatchSearch::options`](super::BatchSearch::options),
/// [`PairSearch::options`](super::PairSearch::options)). The default is what a search does that is told
/// nothing: the 10 nearest of all rows, exactly.
///
/// ```
/// # fn main() -> Result<(), bitkin::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let db = bitkin::Database::create(directory.path().join("codes.bitkin"))?;
/// # let codes = db.create_collection("codes", bitkin::CollectionConfig::bits(8))?;
/// # codes.insert(&[1, 2], &[0x00, 0xff])?;
/// let one = bitkin::SearchOptions::new().k(1).threads(1);
/// assert_eq!(codes.search(&[0x01]).options(&one).run()?.hits[0].id, 1);
/// assert_eq!(codes.search_batch(&[0x01, 0xfe]).options(&one).run()?[1].hits[0].id, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a search has them"]
pub struct SearchOptions {
    pub(super) wanted: Wanted,
    pub(super) filter: Option<Filter>,
    pub(super) threads: Option<NonZeroUsize>,
    /// One mask for all queries, or one for each.
    pub(super) mask: Option<Vec<u8>>,
}

impl SearchOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `k` nearest rows. Together with a radius: the `k` nearest of those within it.
    pub fn k(mut self, k: usize) -> Self {
        self.wanted.k = Some(k);
        self
    }

    /// All rows at a distance of at most `radius`.
    pub fn radius(mut self, radius: u32) -> Self {
        self.wanted.radius = Some(radius);
        self
    }

    /// Ends the search of each query when `budget` is spent. What was found by then is the answer, and its
    /// certificate says how far it can be trusted.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.wanted.budget = Some(budget);
        self
    }

    /// Searches every part in one way, whatever the planner thinks: for measurements. Parts without
    /// tables are scanned in any case.
    pub fn way(mut self, way: Way) -> Self {
        self.wanted.way = Some(way);
        self
    }

    /// Only rows that pass `filter` are found, as if there were no others. A second filter takes
    /// the place of the first.
    pub fn filter(mut self, filter: &Filter) -> Self {
        self.filter = Some(filter.clone());
        self
    }

    /// Only the bits of `mask` count: `ceil(bits / 8)` bytes, laid out as a code, or, in a batch, so many for each
    /// query. See [`Search::mask`](super::Search::mask).
    pub fn mask(mut self, mask: &[u8]) -> Self {
        self.mask = Some(mask.to_vec());
        self
    }

    /// Threads to search with, at most; 0, as if it were left out, for as many as the machine has. The answer
    /// is the same for any number.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = NonZeroUsize::new(threads);
        self
    }
}
