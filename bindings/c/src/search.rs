//! Searches.

use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::time::Duration;

use bitkin::{Answer, Budget, Filter, RESERVED_ID};

use crate::collection::bitkin_collection;
use crate::handles::{Handle, Handles};
use crate::memory::{Out, array, optional_text};
use crate::status::{Failure, bitkin_status, guarded};

/// The id that stands where there is no hit; no row can have it.
pub const BITKIN_NO_ID: u64 = u64::MAX;

/// The distance that stands where there is no hit.
pub const BITKIN_NO_DISTANCE: u32 = u32::MAX;

const _: () = assert!(BITKIN_NO_ID == RESERVED_ID);

/// How is searched. All zero is the usual way: exactly, among all rows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bitkin_search_options {
    /// Only rows that pass are found: a condition in SQL on their payloads. NULL for all rows.
    pub filter: *const c_char,
    /// Each query ends when about so many rows were compared; 0 for no such bound.
    pub candidates: u64,
    /// Each query ends after about so many microseconds; 0 for no such bound. Not together with
    /// `candidates`.
    pub microseconds: u64,
    /// Threads that share the work; 0 for as many as there are cores. Answers are the same for any.
    pub threads: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// The answers to the queries of a radius search.
pub struct bitkin_hits {
    _opaque: (),
}

/// Of each query: ids, distances, and the certified radius.
pub struct Found(Vec<(Vec<u64>, Vec<u32>, i64)>);

impl Handle for bitkin_hits {
    type Value = Found;
    const NAME: &'static str = "set of hits";

    fn all() -> &'static Handles<Found> {
        static ALL: Handles<Found> = Handles::new();
        &ALL
    }
}

/// Receives a hit; false ends the search. It must not unwind, and may call any function of Bitkin.
pub type bitkin_hit_callback =
    Option<extern "C" fn(context: *mut c_void, id: u64, distance: u32) -> bool>;

/// Receives a pair of rows, a below b; false ends the search. It must not unwind, and may call any
/// function of Bitkin.
pub type bitkin_pair_callback =
    Option<extern "C" fn(context: *mut c_void, a: u64, b: u64, distance: u32) -> bool>;

/// The options as the engine takes them.
#[derive(Default)]
struct Options {
    filter: Option<Filter>,
    budget: Option<Budget>,
    threads: usize,
}

impl Options {
    /// # Errors
    /// For what cannot be.
    ///
    /// # Safety
    /// `options` is NULL or points to some, whose filter is NULL or ends with a zero byte.
    unsafe fn read(options: *const bitkin_search_options) -> Result<Options, Failure> {
        if options.is_null() {
            return Ok(Options::default());
        }
        // SAFETY: the caller's.
        let (options, filter) = unsafe {
            let options = array(options, 1, "options")?[0];
            (options, optional_text(options.filter, "filter")?)
        };
        if options.reserved != 0 {
            return Err(Failure::invalid(
                "options.reserved is not 0: were they initialised?",
            ));
        }
        let budget = match (options.candidates, options.microseconds) {
            (0, 0) => None,
            (rows, 0) => Some(Budget::Candidates(rows)),
            (0, micros) => Some(Budget::Time(Duration::from_micros(micros))),
            _ => {
                return Err(Failure::invalid(
                    "a budget is either of candidates or of microseconds, not of both",
                ));
            }
        };
        Ok(Options {
            filter: filter.map(Filter::parse).transpose()?,
            budget,
            threads: options.threads as usize,
        })
    }
}

/// Sets a search up, single or batched, as the options say.
macro_rules! with_options {
    ($search:expr, $options:expr) => {{
        let mut search = $search.threads($options.threads);
        if let Some(filter) = &$options.filter {
            search = search.filter(filter);
        }
        if let Some(budget) = $options.budget {
            search = search.budget(budget);
        }
        search
    }};
}

/// -1 for nothing.
fn certified(answer: &Answer) -> i64 {
    answer.certified_radius.map_or(-1, i64::from)
}

/// Finds the `k` rows nearest to each query, by (distance, id).
///
/// * `queries`: `queries_size` bytes, a whole number of codes.
/// * `options`: NULL for the usual way.
/// * `ids`, `distances`: room for `capacity` values each, at least k for each query; the hits of query i
///   begin at i * k. Where there are fewer than k rows, BITKIN_NO_ID and BITKIN_NO_DISTANCE follow.
/// * `certified_radius`: room for a number a query, or NULL. Every row at that distance or nearer is among
///   the hits or ranks after the k-th; -1 if nothing is proven. Without a budget, all that could be asked
///   for is proven.
///
/// Threads: any.
///
/// # Safety
/// Each pointer is NULL or points to what is said, and nobody else writes there meanwhile; the filter ends
/// with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_search(
    collection: *const bitkin_collection,
    queries: *const u8,
    queries_size: usize,
    k: usize,
    options: *const bitkin_search_options,
    ids: *mut u64,
    distances: *mut u32,
    capacity: usize,
    certified_radius: *mut i64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        let rows = queries_size / collection.code_bytes();
        let least = rows.saturating_mul(k);
        // SAFETY: the caller's.
        let (queries, options, ids, distances, radii) = unsafe {
            let radii = if certified_radius.is_null() { 0 } else { rows };
            (
                array(queries, queries_size, "queries")?,
                Options::read(options)?,
                Out::new(ids, capacity, least, "ids")?,
                Out::new(distances, capacity, least, "distances")?,
                Out::new(certified_radius, radii, 0, "certified_radius")?,
            )
        };
        let answers = match rows {
            // What a batch does beforehand costs more than a search among few rows.
            1 => vec![with_options!(collection.search(queries).k(k), options).run()?],
            _ => with_options!(collection.search_batch(queries).k(k), options).run()?,
        };
        for (number, answer) in answers.iter().enumerate() {
            radii.put(number, certified(answer));
            for at in 0..k {
                let hit = answer.hits.get(at);
                let id = hit.map_or(BITKIN_NO_ID, |hit| hit.id);
                ids.put(number * k + at, id);
                let distance = hit.map_or(BITKIN_NO_DISTANCE, |hit| hit.distance);
                distances.put(number * k + at, distance);
            }
        }
        Ok(())
    })
}

/// Finds all rows within `radius` of each query, and gives them in `hits`. Free them with
/// bitkin_hits_free. Queries and options are as for bitkin_search. Where a radius may match more rows than
/// fit into memory, bitkin_search_each keeps none.
///
/// Threads: any.
///
/// # Safety
/// As for bitkin_search.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_search_radius(
    collection: *const bitkin_collection,
    queries: *const u8,
    queries_size: usize,
    radius: u32,
    options: *const bitkin_search_options,
    hits: *mut *mut bitkin_hits,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (queries, options, out) = unsafe {
            (
                array(queries, queries_size, "queries")?,
                Options::read(options)?,
                Out::one(hits, "hits")?,
            )
        };
        let search = collection.search_batch(queries).radius(radius);
        let answers = with_options!(search, options).run()?;
        let found = answers.into_iter().map(|answer| {
            let ids = answer.hits.iter().map(|hit| hit.id).collect();
            let distances = answer.hits.iter().map(|hit| hit.distance).collect();
            (ids, distances, certified(&answer))
        });
        out.set(bitkin_hits::new(Found(found.collect())));
        Ok(())
    })
}

/// Gives the hits of query number `query`, from 0: how many there are, where their ids and distances are,
/// by (distance, id), and the certified radius. What is not wanted may be NULL. The arrays are valid until
/// the hits are freed.
///
/// Threads: any, but none may use the arrays when another frees the hits.
///
/// # Safety
/// Each pointer is NULL or points to where its result goes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_hits_get(
    hits: *const bitkin_hits,
    query: usize,
    count: *mut usize,
    ids: *mut *const u64,
    distances: *mut *const u32,
    certified_radius: *mut i64,
) -> bitkin_status {
    guarded(|| {
        // SAFETY: the caller's.
        let (count, ids, distances, radius) = unsafe {
            (
                Out::optional(count, "count")?,
                Out::optional(ids, "ids")?,
                Out::optional(distances, "distances")?,
                Out::optional(certified_radius, "certified_radius")?,
            )
        };
        let found = bitkin_hits::get(hits)?;
        let Some((own_ids, own_distances, certified)) = found.0.get(query) else {
            let queries = found.0.len();
            return Err(Failure {
                status: bitkin_status::BITKIN_NOT_FOUND,
                message: format!("there is no query {query}: there are {queries}, from 0"),
            });
        };
        count.set(own_ids.len());
        ids.set(own_ids.as_ptr());
        distances.set(own_distances.as_ptr());
        radius.set(*certified);
        Ok(())
    })
}

/// Frees hits, and the arrays that bitkin_hits_get gave.
///
/// Threads: any, but see bitkin_hits_get.
#[unsafe(no_mangle)]
pub extern "C" fn bitkin_hits_free(hits: *mut bitkin_hits) -> bitkin_status {
    guarded(|| bitkin_hits::take(hits).map(drop))
}

/// Gives every row within `radius` of one query to `each`, with `context`, as it is found, in no order,
/// until that says false: however many there are, none is kept. `found`, which may be NULL, receives how
/// many there were.
///
/// Threads: any; `each` is called on the calling one.
///
/// # Safety
/// As for bitkin_search; `each` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_search_each(
    collection: *const bitkin_collection,
    query: *const u8,
    query_size: usize,
    radius: u32,
    options: *const bitkin_search_options,
    each: bitkin_hit_callback,
    context: *mut c_void,
    found: *mut u64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (query, options, out) = unsafe {
            (
                array(query, query_size, "query")?,
                Options::read(options)?,
                Out::optional(found, "found")?,
            )
        };
        let each = each.ok_or_else(|| Failure::invalid("each is NULL"))?;
        let search = collection.search(query).radius(radius);
        let done = with_options!(search, options).for_each(|hit| {
            match each(context, hit.id, hit.distance) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        out.set(done.hits);
        Ok(())
    })
}

/// Gives every pair of rows within `radius` of each other to `each`, with `context`, each pair once, in no
/// order, until that says false: none is kept. `options` may be NULL; a budget has no effect. `found`,
/// which may be NULL, receives how many there were.
///
/// Threads: any; `each` is called on the calling one.
///
/// # Safety
/// `options` and its filter are as for bitkin_search; `found` is NULL or points to a number; `each` may be
/// called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_pairs(
    collection: *const bitkin_collection,
    radius: u32,
    options: *const bitkin_search_options,
    each: bitkin_pair_callback,
    context: *mut c_void,
    found: *mut u64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (options, out) = unsafe { (Options::read(options)?, Out::optional(found, "found")?) };
        let each = each.ok_or_else(|| Failure::invalid("each is NULL"))?;
        let mut search = collection.pairs(radius).threads(options.threads);
        if let Some(filter) = &options.filter {
            search = search.filter(filter);
        }
        let done = search.for_each(|pair| match each(context, pair.a, pair.b, pair.distance) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })?;
        out.set(done.pairs);
        Ok(())
    })
}
