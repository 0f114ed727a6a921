//! What can be wrong with a filter.

use std::fmt;

/// What filters are made of, for those who wrote something else.
const POSSIBLE: &str = "a filter compares fields, numbers, 'texts', TRUE, FALSE and NULL by \
    = <> < <= > >=, IN (...), BETWEEN, LIKE, ILIKE, IS NULL and IS TRUE, joined by AND, OR and NOT";

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It cannot be parsed.
    #[error("the filter cannot be read{place}: {reason}")]
    Syntax {
        /// Where.
        place: FilterPlace,
        /// What the parser said.
        reason: String,
    },
    /// It is SQL, but nothing that a filter can say.
    #[error("a filter cannot have {what}{place}; {POSSIBLE}")]
    Unsupported {
        /// What there is.
        what: String,
        /// Where.
        place: FilterPlace,
    },
    /// It is too long.
    #[error("the filter has {found} {what}; it may have {limit}")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        limit: usize,
    },
    /// It nests too deep.
    #[error("the filter nests deeper than {limit} levels")]
    TooDeep {
        /// How deep it may nest.
        limit: usize,
    },
}

impl FilterError {
    pub(super) fn unsupported(what: impl Into<String>, place: FilterPlace) -> FilterError {
        FilterError::Unsupported {
            what: what.into(),
            place,
        }
    }
}

/// A place in a filter, counted from 1 in characters; line 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterPlace {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// " at column 5", " at line 2, column 5", or nothing.
impl fmt::Display for FilterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => Ok(()),
            1 => write!(f, " at column {}", self.column),
            line => write!(f, " at line {line}, column {}", self.column),
        }
    }
}
