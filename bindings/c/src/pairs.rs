//! Rows that are near each other, and deduplication.

use std::ffi::c_void;
use std::ops::ControlFlow;

use bitkin::PairSearch;

use crate::collection::{Opened, bitkin_collection};
use crate::handles::Handle;
use crate::memory::Out;
use crate::search::{bitkin_search_options, read_within};
use crate::status::{Failure, bitkin_status, guarded};

/// Receives a pair of rows, a below b; false ends the search. It must not unwind, and may call any
/// function of Bitkin.
pub type bitkin_pair_callback =
    Option<extern "C" fn(context: *mut c_void, a: u64, b: u64, distance: u32) -> bool>;

/// Receives a row that deduplication keeps, and the `count` rows, by id, at such distances of it, that it
/// stands for; the arrays are valid during the call. False ends it. It must not unwind, and may call any
/// function of Bitkin.
pub type bitkin_group_callback = Option<
    extern "C" fn(
        context: *mut c_void,
        kept: u64,
        duplicates: *const u64,
        distances: *const u32,
        count: usize,
    ) -> bool,
>;

/// Is told which share of the work is done, 0 to 1; false ends it. It must not unwind, and may call any
/// function of Bitkin.
pub type bitkin_progress_callback = Option<extern "C" fn(context: *mut c_void, share: f64) -> bool>;

/// Whether to go on, as callbacks say it.
pub(crate) fn go_on(yes: bool) -> ControlFlow<()> {
    match yes {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}

/// A search for pairs as the options say.
///
/// # Safety
/// As [`read_within`].
unsafe fn search<'a>(
    collection: &Opened,
    radius: u32,
    options: *const bitkin_search_options,
    progress: bitkin_progress_callback,
    context: *mut c_void,
) -> Result<PairSearch<'a>, Failure> {
    // SAFETY: the caller's.
    let read = unsafe { read_within(options, radius)? };
    let search = collection.pairs(radius).options(&read);
    Ok(match progress {
        Some(progress) => search.progress(move |share| go_on(progress(context, share))),
        None => search,
    })
}

/// Gives every pair of rows within `radius` of each other to `each`, with `context`, each pair once, in no
/// order, until that says false: none is kept. `options` may be NULL; a budget has no effect. `progress`, which
/// may be NULL, is called with `context` from time to time. `found`, which may be NULL, receives how many pairs
/// there were.
///
/// Threads: any; `each` and `progress` are called on the calling one.
///
/// # Safety
/// `options` and its filter are as for bitkin_search; `found` is NULL or points to a number; `each` and
/// `progress` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_pairs(
    collection: *const bitkin_collection,
    radius: u32,
    options: *const bitkin_search_options,
    progress: bitkin_progress_callback,
    each: bitkin_pair_callback,
    context: *mut c_void,
    found: *mut u64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (search, out) = unsafe {
            let out = Out::optional(found, "found")?;
            (
                search(&collection, radius, options, progress, context)?,
                out,
            )
        };
        let each = each.ok_or_else(|| Failure::invalid("each is NULL"))?;
        let done = search.for_each(|pair| go_on(each(context, pair.a, pair.b, pair.distance)))?;
        out.set(done.pairs);
        Ok(())
    })
}

/// Groups rows around some that are kept, and gives each group to `each`, with `context`, by the id of the row
/// that is kept, until that says false. No two rows that are kept are within `radius` of each other, and every
/// duplicate is within it of the row that stands for it: deleting all duplicates leaves no two rows within
/// `radius`, and takes none away that is far from all that stay. Rows that are near no other are in no group.
///
/// `options` and `progress` are as for bitkin_pairs; if `progress` says false, no group is given. `found`, which
/// may be NULL, receives how many groups there are.
///
/// Threads: any; `each` and `progress` are called on the calling one.
///
/// # Safety
/// As for bitkin_pairs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bitkin_groups(
    collection: *const bitkin_collection,
    radius: u32,
    options: *const bitkin_search_options,
    progress: bitkin_progress_callback,
    each: bitkin_group_callback,
    context: *mut c_void,
    found: *mut u64,
) -> bitkin_status {
    guarded(|| {
        let collection = bitkin_collection::get(collection)?;
        // SAFETY: the caller's.
        let (search, out) = unsafe {
            let out = Out::optional(found, "found")?;
            (
                search(&collection, radius, options, progress, context)?,
                out,
            )
        };
        let each = each.ok_or_else(|| Failure::invalid("each is NULL"))?;
        let groups = search.groups()?;
        for group in &groups {
            let (ids, distances): (Vec<u64>, Vec<u32>) = group
                .duplicates
                .iter()
                .map(|row| (row.id, row.distance))
                .unzip();
            let (ids_at, distances_at) = (ids.as_ptr(), distances.as_ptr());
            if !each(context, group.id, ids_at, distances_at, ids.len()) {
                break;
            }
        }
        out.set(groups.len() as u64);
        Ok(())
    })
}
