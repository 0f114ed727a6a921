//! Searches.

use std::ffi::{c_char, c_void};
use std::time::Duration;

use bitkin::selection::SelectionOptions;
use bitkin::{Answer, Budget, Filter, RESERVED_ID, SearchOptions, Way};

use crate::collection::bitkin_collection;
use crate::handles::{Handle, Handles};
use crate::memory::{Out, array, lend, optional_text};
use crate::pairs::go_on;
use crate::status::{Failure, bitkin_status, guarded};

/// The id that stands where there is no hit; no row can have it.
pub const BITKIN_NO_ID: u64 = u64::MAX;

/// The distance that stands where there is no hit.
pub const BITKIN_NO_DISTANCE: u32 = u32::MAX;

const _: () = assert!(BITKIN_NO_ID == RESERVED_ID);

/// For `way`: as the planner thinks best.
pub const BITKIN_WAY_PLANNED: u32 = 0;

/// For `way`: every code is compared.
pub const BITKIN_WAY_SCAN: u32 = 1;

/// For `way`: rows are looked up in search tables, where there are any.
pub const BITKIN_WAY_TABLES: u32 = 2;

/// How is searched. All zero is the usual way: exactly, among all rows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bitkin_search_options {
    /// Only rows that pass are found: a condition in SQL on their payloads. NULL for all rows.
    pub filter: *const c_char,
    /// Only rows at that distance or nearer are found, in functions that have no argument for that; NULL for
    /// any distance.
    pub radius: *const u32,
    /// Each query ends when about so many rows were compared; 0 for no such bound.
    pub candidates: u64,
    /// Each query ends after about so many microseconds; 0 for no such bound. Not together with
    /// `candidates`.
    pub microseconds: u64,
    /// Threads that share the work; 0 for as many as there are cores. Answers are the same for any.
    pub threads: u32,
    /// BITKIN_WAY_PLANNED, or another for measurements. Answers are the same for any.
    pub way: u32,
    /// The bits that count, laid out as a code: one mask for all queries, or one for each of them, one after
    /// the other. NULL for all bits. Searches for pairs take none.
    pub mask: *const u8,
    /// Bytes of `mask`: those of a code, or so many for each query.
    pub mask_size: usize,
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

/// The options as the engine takes them.
///
/// # Errors
/// For what cannot be.
///
/// # Safety
/// `options` is NULL or points to some, whose filter is NULL or ends with a zero byte, whose radius is
/// NULL or points to a number, and whose mask is NULL or points to as many bytes as they say.
pub(crate) unsafe fn read(options: *const bitkin_search_options) -> Result<SearchOptions, Failure> {
    let read = SearchOptions::new();
    if options.is_null() {
        return Ok(read);
    }
    // SAFETY: the caller's.
    let (options, filter, radius) = unsafe {
        let options = array(options, 1, "options")?[0];
        let radius = match options.radius.is_null() {
            true => None,
            false => Some(array(options.radius, 1, "options.radius")?[0]),
        };
        (
            options,
            optional_text(options.filter, "options.filter")?,
            radius,
        )
    };
    let mut read = read.threads(options.threads as usize);
    read = match options.way {
        BITKIN_WAY_PLANNED => read,
        BITKIN_WAY_SCAN => read.way(Way::Scan),
        BITKIN_WAY_TABLES => read.way(Way::Tables),
        other => {
            return Err(Failure::invalid(format!(
                "options.way cannot be {other}: were they initialised?"
            )));
        }
    };
    read = match (options.candidates, options.microseconds) {
        (0, 0) => read,
        (rows, 0) => read.budget(Budget::Candidates(rows)),
        (0, micros) => read.budget(Budget::Time(Duration::from_micros(micros))),
        _ => {
            return Err(Failure::invalid(
                "a budget is either of candidates or of microseconds, not of both",
            ));
        }
    };
    if let Some(filter) = filter {
        read = read.filter(&Filter::parse(filter)?);
    }
    if let Some(radius) = radius {
        read = read.radius(radius);
    }
    if !options.mask.is_null() {
        // SAFETY: the caller's.
        read = read.mask(unsafe { array(options.mask, options.mask_size, "options.mask")? });
    }
    Ok(read)
}

/// As [`read`], for a function that has a radius of its own.
///
/// # Errors
/// As [`read`], and for options with another one.
///
/// # Safety
/// As [`read`].
pub(crate) unsafe fn read_within(
    options: *const bitkin_search_options,
    radius: u32,
) -> Result<SearchOptions, Failure> {
    // SAFETY: the caller's.
    let read = unsafe { read(options)? };
    // SAFETY: they were read just now.
    if !options.is_null() && !unsafe { (*options).radius }.is_null() {
        return Err(Failure::invalid(
            "options.radius is for functions that have no radius of their own",
        ));
    }
    Ok(read.radius(radius))
}

/// Where the nearest rows go.
pub(crate) struct Nearest {
    k: usize,
    ids: Out<u64>,
    distances: Out<u32>,
    radii: Out<i64>,
}

impl Nearest {
    /// Room of the caller's, for `k` hits of each of so many queries.
    ///
    /// # Errors
    /// As [`Out::new`].
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(crate) unsafe fn new(
        queries: usize,
        k: usize,
        (ids, distances, capacity): (*mut u64, *mut u32, usize),
        certified_radius: *mut i64,
    ) -> Result<Nearest, Failure> {
        let least = queries.saturating_mul(k);
        // SAFETY: the caller's.
        unsafe {
            Ok(Nearest {
                k,
                ids: Out::new(ids, capacity, least, "ids")?,
                distances: Out::new(distances, capacity, least, "distances")?,
                radii: Out::unless_null(certified_radius, queries, queries, "certified_radius")?,
            })
        }
    }

    pub(crate) fn put(&self, answers: &[Answer]) {
        for (number, answer) in answers.iter().enumerate() {
            self.radii.put(number, certified(answer));
            for at in 0..self.k {
                let hit = answer.hits.get(at);
                let (id, distance) = hit.map_or((BITKIN_NO_ID, BITKIN_NO_DISTANCE), |hit| {
                    (hit.id, hit.distance)
                });
                self.ids.put(number * self.k + at, id);
                self.distances.put(number * self.k + at, distance);
            }
        }
    }
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
        // SAFETY: the caller's.
        let (queries, options, out) = unsafe {
            (
                array(queries, queries_size, "queries")?,
                read(options)?.k(k),
                Nearest::new(rows, k, (ids, distances, capacity), certified_radius)?,
            )
        };
        let answers = match rows {
            // What a batch does beforehand costs more than a search among few rows.
            1 => vec![collection.search(queries).options(&options).run()?],
            _ => collection.search_batch(queries).options(&options).run()?,
        };
        out.put(&answers);
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
                read_within(options, radius)?,
                Out::one(hits, "hits")?,
            )
        };
        let answers = collection.search_batch(queries).options(&options).run()?;
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
                read_within(options, radius)?,
                Out::optional(found, "found")?,
            )
        };
        let each = each.ok_or_else(|| Failure::invalid("each is NULL"))?;
        let search = collection.search(query).options(&options);
        let done = search.for_each(|hit| go_on(each(context, hit.id, hit.distance)))?;
        out.set(done.hits);
        Ok(())
    })
}

/// Selects bits by examples of what is sought: a query, and a mask under which a search for it finds more of the kind.
///
/// * `like`, `unlike`: codes of what is sought and of what is not, each a whole number of codes. Rows of the
///   collection say what else there is, so `unlike` may be NULL, with 0 bytes.
/// * `bits`: how many; 0 for as many as add something, at most 64.
/// * `query`, `mask`: room for `capacity` bytes each, at least those of a code.
///
/// Threads: any.
///
/// # Safety
/// Each pointer is NULL or points to what is said, and nobody else writes there meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_select_bits(
    collection: *const bitkin_collection,
    like: *const u8,
    like_size: usize,
    unlike: *const u8,
    unlike_size: usize,
    bits: u32,
    query: *mut u8,
    mask: *mut u8,
    capacity: usize,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        let size = collection.code_bytes();
        // SAFETY: the caller's.
        let (like, unlike, query, mask) = unsafe {
            (
                array(like, like_size, "like")?,
                array(unlike, unlike_size, "unlike")?,
                Out::new(query, capacity, size, "query")?,
                Out::new(mask, capacity, size, "mask")?,
            )
        };
        let options = match bits {
            0 => SelectionOptions::default(),
            bits => SelectionOptions::new(bits as usize),
        };
        let selection = collection.select_bits(like, unlike, &options)?;
        let code = selection.code().unwrap_or_default();
        for (at, (said, counts)) in code.into_iter().zip(selection.mask()).enumerate() {
            query.put(at, said);
            mask.put(at, counts);
        }
        Ok(())
    })
}

/// Searches for one query as bitkin_search does, and says in `text` how the answer was found: for each
/// segment, and for the rows in memory, whether they were scanned or looked up in tables, what the planner
/// expected of either, and what it took. `k` of SIZE_MAX, with a radius in `options`, stands for all rows within
/// that. The text is for people: its wording may change. Free it with bitkin_string_free.
///
/// Threads: any.
///
/// # Safety
/// Each pointer is NULL or points to what is said; the filter ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_explain(
    collection: *const bitkin_collection,
    query: *const u8,
    query_size: usize,
    k: usize,
    options: *const bitkin_search_options,
    text: *mut *const c_char,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (query, options, out) = unsafe {
            (
                array(query, query_size, "query")?,
                read(options)?.k(k),
                Out::one(text, "text")?,
            )
        };
        let (_, explanation) = collection.search(query).options(&options).explain()?;
        out.set(lend(explanation.to_string())?);
        Ok(())
    })
}
