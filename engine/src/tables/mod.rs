//! Search tables: one section of a segment, with which a search looks at few of its rows and still
//! misses none.
//!
//! Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with
//! Multi-Index Hashing", TPAMI 2014): the bits of a code are parted into substrings, and for each
//! substring a table holds the rows by its value, the key. A row that differs from a query in d bits
//! differs in at most a share of them in one substring or another. So once the keys at distance
//! 0 to `a_t` of the query's have been looked up in each table t, every row at a distance of less
//! than the sum of the `a_t + 1` has been seen. The keys at one distance are a *shell*.
//!
//! `docs/format.md` describes every byte.

mod build;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod layout;
mod masks;
mod read;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use self::build::TableBuilder;
pub(crate) use self::layout::{NAME, SHELLS};
pub(crate) use self::masks::{MOST_DISTANCE, count, masks};
pub(crate) use self::read::{Opened, Table, Tables};
