//! `bitkin delete`.

use super::{close, collection, failure, outside, parse_ranges, report};
use crate::error::Failure;
use crate::grammar::Delete;
use crate::output::counted;
use crate::progress::busy;
use crate::session::Session;
use bitkin::Collection;
use bitkin::npy::IdsReader;
use serde_json::json;

/// Deletes rows.
///
/// # Errors
/// When the ids cannot be read, or the rows cannot be deleted: all of them stay then.
pub(crate) fn run(session: &mut Session, arguments: &Delete) -> Result<(), Failure> {
    let rows = &arguments.rows;
    // Ids that are none are told before anything is opened.
    let ranges = rows
        .ids
        .as_deref()
        .map(|text| parse_ranges(text, "id"))
        .transpose()?;
    let database = session.open_to_write(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let ids = match (ranges, &rows.ids_file, &rows.filter) {
        (Some(ranges), ..) => Some(held(&collection, &ranges)?),
        (_, Some(file), _) => {
            let mut reader = IdsReader::open(file).map_err(outside)?;
            let all = reader.rows().try_into().unwrap_or(usize::MAX);
            Some(reader.read(all).map_err(outside)?)
        }
        (.., Some(_)) => None,
        (None, None, None) => {
            return Err(Failure::usage(
                "say --ids 1,2,5-9, --ids-file FILE.npy or --where EXPR",
            ));
        }
    };
    let deleted = busy("deleting", || match (&ids, &rows.filter) {
        (None, Some(filter)) => collection.delete_where(filter),
        (ids, _) => collection.delete(ids.as_deref().unwrap_or_default()),
    });
    let deleted = deleted.map_err(failure)?;
    close(database)?;
    report(
        session,
        arguments.format,
        json!({"deleted": deleted}),
        &format!(
            "{} deleted from {}",
            counted(deleted, "row"),
            arguments.name
        ),
    )
}

/// The ids of these ranges that the collection holds: a range may be wide and hold little.
fn held(collection: &Collection, ranges: &[(u64, u64)]) -> Result<Vec<u64>, Failure> {
    let spread = ranges.iter().fold(0_u64, |ids, (first, last)| {
        ids.saturating_add(last - first).saturating_add(1)
    });
    if spread <= 1_000_000 {
        return Ok(ranges
            .iter()
            .flat_map(|&(first, last)| first..=last)
            .collect());
    }
    let mut held = Vec::new();
    for row in collection.rows().map_err(failure)? {
        let id = row.map_err(failure)?.id;
        if ranges
            .iter()
            .any(|&(first, last)| (first..=last).contains(&id))
        {
            held.push(id);
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_one_by_one_and_in_ranges() {
        let ids = |text| parse_ranges(text, "id").ok();
        assert_eq!(ids("7"), Some(vec![(7, 7)]));
        assert_eq!(ids("1,2, 5-9"), Some(vec![(1, 1), (2, 2), (5, 9)]));
        assert_eq!(ids("0-18446744073709551615"), Some(vec![(0, u64::MAX)]));
        for bad in [
            "",
            "a",
            "1,",
            "-1",
            "9-5",
            "1-",
            "1-2-3",
            "18446744073709551616",
            "1.5",
        ] {
            assert_eq!(ids(bad), None, "{bad}");
        }
    }
}
