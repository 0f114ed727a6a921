//! Filters on payloads: SQL conditions, evaluated on JSON.
//!
//! ```text
//! text ──parse──► tree ──plan, for each part──► rows that pass
//!                           │  bounds from the part's field indexes (bitmaps, no payloads)
//!                           └─ payloads, of the rows that the bounds leave open
//! ```
//!
//! Nothing here knows of files: a part is anything that gives payloads by row, and perhaps the
//! bytes of an index ([`plan::Source`], [`index::Bytes`]).

mod ast;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub(crate) mod fuzzing;
pub(crate) mod index;
mod like;
mod parse;
mod payload;
mod plan;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub(crate) use self::ast::FieldPath;
pub use self::error::{FilterError, FilterPlace};
pub(crate) use self::payload::{Parser, check};
pub(crate) use self::plan::{Source, passing};

use crate::error::Error;

/// A condition on the payloads of rows, in SQL: `label = 'cat' AND year >= 2020`.
///
/// It is parsed once and may be used for any number of searches, in any collection; cloning it
/// is cheap.
///
/// ```
/// use bitkin::{CollectionConfig, Database, FieldKind, Filter};
///
/// # fn main() -> Result<(), bitkin::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("codes.bitkin");
/// let db = Database::create(path)?;
/// let config = CollectionConfig::bits(8).index("year", FieldKind::Int);
/// let codes = db.create_collection("codes", config)?;
/// let payloads = [Some(r#"{"year": 2019}"#), Some(r#"{"year": 2021}"#), None];
/// codes.insert_with_payloads(Some(&[1, 2, 3]), &[0, 1, 2], &payloads)?;
///
/// let recent = Filter::parse("year >= 2020")?;
/// let answer = codes.search(&[0]).filter(&recent).run()?;
/// assert_eq!(answer.hits.len(), 1);
/// assert_eq!(codes.count(&recent)?, 1);
/// # db.close()
/// # }
/// ```
///
/// # What there is
/// * **Fields**: names, as they are written in the JSON (case matters); `a.b` is the key `b` of
///   the object `a`. A key of other characters, or one that is a keyword of filters, stands in
///   double quotes: `"shot on"`, `"a.b"`. Of equal keys in an object the last counts.
/// * **Literals**: numbers, `'texts'` (a quote inside is doubled), `TRUE`, `FALSE`, `NULL`.
/// * **Comparisons**: `=`, `<>` or `!=`, `<`, `<=`, `>`, `>=`, `[NOT] BETWEEN x AND y`,
///   `[NOT] IN (...)`, `[NOT] LIKE` and `ILIKE` (`%` any characters, `_` one, and
///   `ESCAPE 'c'`; without it no character escapes), `IS [NOT] NULL`, and
///   `IS [NOT] TRUE`, `FALSE`, `UNKNOWN` of a condition.
/// * `AND`, `OR`, `NOT` and parentheses. A field by itself is a condition: `favourite AND ...`.
///
/// # What it means
/// Three-valued logic, as in SQL; a row passes when the whole condition is true.
/// * A field that is not there, JSON `null`, and every field of a row without payload, or with
///   one that is no object, is NULL. A comparison with NULL is unknown.
/// * A comparison of different types is unknown, too: `'7' = 7`, or anything with an object or
///   an array. So is a field that is used as a condition and is neither true nor false.
/// * Numbers compare exactly. Whole numbers of JSON are exact from -2⁶³ to 2⁶⁴−1, all others
///   are floats of 64 bits, in payloads and in filters alike.
/// * Texts compare by code points; false is less than true. `ILIKE` ignores case, letter by
///   letter.
///
/// Fields that the collection declares ([`crate::CollectionConfig::index`]) are answered from
/// indexes in its segments, all others from the payloads of the rows that are left. What passes
/// never depends on which fields are declared.
#[derive(Clone)]
pub struct Filter(Arc<Parts>);

struct Parts {
    text: String,
    root: ast::Node,
    fields: Vec<FieldPath>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`Error::Filter`] says what is wrong with it, where, and what is possible.
    pub fn parse(text: &str) -> Result<Filter, Error> {
        let parse::Parsed { root, fields } = parse::parse(text)?;
        Ok(Filter(Arc::new(Parts {
            text: text.to_owned(),
            root,
            fields,
        })))
    }

    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Filter, Error> {
        Filter::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.0.text).finish()
    }
}
