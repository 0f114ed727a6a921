//! `bitkin stats`.

use super::{collection, failure};
use crate::error::Failure;
use crate::grammar::{Format, Stats};
use crate::output::{Column, bytes, grouped};
use crate::session::Session;
use bitkin::Collection;
use serde_json::json;

/// Shows what a database holds.
///
/// # Errors
/// When it cannot be read, or has no such collection.
pub(crate) fn run(session: &mut Session, arguments: &Stats) -> Result<(), Failure> {
    let database = session.open_to_read(&arguments.database)?;
    let collections = match &arguments.name {
        Some(name) => vec![collection(&database, name)?],
        None => database.collections().map_err(failure)?,
    };
    match arguments.format {
        Format::Json => collections.iter().try_for_each(|c| as_json(session, c)),
        Format::Table => {
            let stats = database.stats().map_err(failure)?;
            session.out.line(format!(
                "{}: {} in {}, {} in segments, {} in the log, commit {}, searches by {}",
                arguments.database.display(),
                crate::output::counted(stats.rows, "row"),
                crate::output::counted(stats.collections.len() as u64, "collection"),
                bytes(stats.segment_bytes),
                bytes(stats.log_bytes),
                grouped(stats.sequence),
                database.simd(),
            ))?;
            if collections.is_empty() {
                return Ok(());
            }
            session.out.line("")?;
            as_table(session, &collections)
        }
    }
}

fn as_table(session: &mut Session, collections: &[Collection]) -> Result<(), Failure> {
    let head = [
        Column::Text("collection"),
        Column::Number("bits"),
        Column::Number("rows"),
        Column::Number("deleted"),
        Column::Number("in memory"),
        Column::Number("segments"),
        Column::Number("ids"),
        Column::Number("codes"),
        Column::Number("payloads"),
        Column::Number("other"),
        Column::Text("model"),
    ];
    let row = |collection: &Collection| {
        let stats = collection.stats().map_err(failure)?;
        let model = match collection.built_in_encoder() {
            Some(_) => Some("pdq".to_owned()),
            None => collection.model().map(|model| model.to_string()),
        };
        Ok(vec![
            stats.name,
            stats.bits.to_string(),
            grouped(stats.rows),
            grouped(stats.deleted_rows),
            grouped(stats.memory_rows),
            grouped(stats.segments),
            bytes(stats.bytes.ids),
            bytes(stats.bytes.codes),
            bytes(stats.bytes.payloads),
            bytes(stats.bytes.indexes + stats.bytes.overhead),
            model.map_or("none".to_owned(), |model| model.chars().take(12).collect()),
        ])
    };
    let rows = collections
        .iter()
        .map(row)
        .collect::<Result<Vec<_>, Failure>>()?;
    session.out.table(&head, &rows)
}

fn as_json(session: &mut Session, collection: &Collection) -> Result<(), Failure> {
    let stats = collection.stats().map_err(failure)?;
    let line = json!({
        "collection": stats.name,
        "bits": stats.bits,
        "rows": stats.rows,
        "deleted_rows": stats.deleted_rows,
        "memory_rows": stats.memory_rows,
        "segments": stats.segments,
        "segment_bytes": {
            "ids": stats.bytes.ids,
            "codes": stats.bytes.codes,
            "payloads": stats.bytes.payloads,
            "indexes": stats.bytes.indexes,
            "overhead": stats.bytes.overhead,
        },
        "model": collection.model().map(|model| model.to_string()),
        "encoder": collection.built_in_encoder().map(|_| "pdq"),
    });
    session.out.line(line.to_string())
}
