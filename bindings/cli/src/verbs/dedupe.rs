//! `bitkin dedupe`.

use super::gallery::{self, Gallery};
use super::{close, collection, failure};
use crate::error::Failure;
use crate::grammar::{Dedupe, Format};
use crate::interrupt;
use crate::output::{Column, counted, say, typed};
use crate::progress::Progress;
use crate::session::Session;
use bitkin::encoder::Encoder;
use bitkin::pdq::{Pdq, RADIUS};
use bitkin::{Collection, Filter, Group};
use serde_json::{Value, json};

/// Finds rows that are near each other, writes them by groups, and deletes all but one of each, if asked.
///
/// # Errors
/// When no radius is said and none goes without saying, something cannot be read, or the rows cannot be
/// deleted: all of them stay then.
pub(crate) fn run(session: &mut Session, arguments: &Dedupe) -> Result<(), Failure> {
    let path = &arguments.database;
    let database = match arguments.delete {
        true => session.open_to_write(path)?,
        false => session.open_to_read(path)?,
    };
    let collection = collection(&database, &arguments.name)?;
    let is_pdq = collection.model() == Some(Pdq.fingerprint());
    let mut filter = arguments.filter.clone();
    let radius = match arguments.radius {
        Some(radius) => radius,
        None if is_pdq => {
            if filter.is_none() {
                // Hashes of plain surfaces collide. Hashes from elsewhere tell no quality.
                let judged = Filter::parse("quality >= 50 or quality is null");
                filter = Some(judged.map_err(|e| Failure::new(e.to_string()))?);
                say(
                    "pictures of a quality below 50 are left out; --where or --radius takes them in",
                );
            }
            RADIUS
        }
        None => {
            return Err(Failure::usage(format!(
                "say --radius R: how many of {} bits two rows may differ in to be taken for the same",
                collection.bits()
            )));
        }
    };
    let groups = find(&collection, radius, filter.as_ref())?;
    let duplicates: Vec<u64> = groups
        .iter()
        .flat_map(|group| group.duplicates.iter().map(|row| row.id))
        .collect();
    for group in &groups {
        unchanged()?;
        match arguments.format {
            Format::Json => session.out.line(as_json(group).to_string())?,
            Format::Table => as_table(session, &collection, group)?,
        }
    }
    session.out.flush()?;
    if let Some(file) = &arguments.html {
        // Before anything is deleted.
        let mut gallery = Gallery::new(&collection, path);
        for group in &groups {
            unchanged()?;
            gallery.group(group)?;
        }
        let title = format!("Duplicates in {}", arguments.name);
        let lead = match groups.len() {
            0 => format!(
                "No two rows differ in at most {radius} of {} bits.",
                collection.bits()
            ),
            _ => format!(
                "{} of {}: each {} as the row that is kept.",
                counted(duplicates.len() as u64, "duplicate"),
                counted(groups.len() as u64, "row"),
                match radius {
                    0 => "has the same code".to_owned(),
                    _ => format!(
                        "has, but for at most {radius} of {} bits, the same code",
                        collection.bits()
                    ),
                },
            ),
        };
        gallery::store(file, gallery.page(title, lead)?)?;
    }
    let (many, of) = (
        counted(duplicates.len() as u64, "duplicate"),
        counted(groups.len() as u64, "row"),
    );
    if arguments.delete {
        unchanged()?;
        collection.delete(&duplicates).map_err(failure)?;
        close(database)?;
        say(format!(
            "{many} of {of} deleted; bitkin compact {} takes them off the disk",
            typed(path.as_os_str())
        ));
    } else if !duplicates.is_empty() {
        say(format!("{many} of {of}; --delete deletes them"));
    } else {
        say("no duplicates");
    }
    Ok(())
}

fn find(
    collection: &Collection,
    radius: u32,
    filter: Option<&Filter>,
) -> Result<Vec<Group>, Failure> {
    interrupt::watch();
    const WHOLE: f64 = 1000.0;
    let progress = Progress::new("comparing", "‰", Some(WHOLE as u64));
    let mut search = collection.pairs(radius).progress(|share| {
        progress.set((share * WHOLE) as u64);
        interrupt::go_on()
    });
    if let Some(filter) = filter {
        search = search.filter(filter);
    }
    let groups = search.groups().map_err(failure)?;
    unchanged()?;
    Ok(groups)
}

/// Fails if the user has asked to stop, before anything is deleted.
fn unchanged() -> Result<(), Failure> {
    interrupt::check(|| "stopped; nothing was changed".to_owned())
}

fn as_json(group: &Group) -> Value {
    let ids: Vec<u64> = group.duplicates.iter().map(|row| row.id).collect();
    let distances: Vec<u32> = group.duplicates.iter().map(|row| row.distance).collect();
    json!({"keep": group.id, "duplicates": ids, "distances": distances})
}

fn as_table(session: &mut Session, collection: &Collection, group: &Group) -> Result<(), Failure> {
    let source = |id: u64| -> Result<String, Failure> {
        let row = collection.get(id).map_err(failure)?;
        let payload = row.and_then(|row| row.payload).unwrap_or_default();
        Ok(super::field(&payload, "source"))
    };
    let mut rows = vec![vec![
        group.id.to_string(),
        "kept".to_owned(),
        source(group.id)?,
    ]];
    for row in &group.duplicates {
        rows.push(vec![
            row.id.to_string(),
            row.distance.to_string(),
            source(row.id)?,
        ]);
    }
    let mut head = vec![Column::Number("id"), Column::Number("distance")];
    if rows.iter().any(|row| !row[2].is_empty()) {
        head.push(Column::Text("source"));
    } else {
        rows.iter_mut().for_each(|row| row.truncate(2));
    }
    session.out.table(&head, &rows)?;
    session.out.line("")
}
