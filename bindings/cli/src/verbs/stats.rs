//! `bitkin stats`.

use super::{collection, failure, prometheus};
use crate::error::Failure;
use crate::grammar::{Stats, StatsFormat};
use crate::output::{Column, bytes, counted, grouped, plain};
use crate::progress::lasting;
use crate::session::Session;
use bitkin::{Collection, CollectionStats, SegmentLayout};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// All that is told of a database.
pub(super) struct Figures {
    pub(super) stats: bitkin::Stats,
    /// When a segment was last written, by a flush or a merge: the time of the newest file.
    pub(super) segments_written: Option<SystemTime>,
    pub(super) collections: Vec<CollectionFigures>,
}

/// All that is told of a collection.
pub(super) struct CollectionFigures {
    pub(super) stats: CollectionStats,
    pub(super) layout: Vec<SegmentLayout>,
    /// Its model's fingerprint.
    pub(super) model: Option<String>,
    pub(super) pdq: bool,
}

impl CollectionFigures {
    fn of(collection: &Collection) -> Result<Self, Failure> {
        Ok(CollectionFigures {
            stats: collection.stats().map_err(failure)?,
            layout: collection.snapshot().map_err(failure)?.layout(),
            model: collection.model().map(|model| model.to_string()),
            pdq: collection.built_in_encoder().is_some(),
        })
    }

    /// Rows in segments, deleted ones included.
    fn segment_rows(&self) -> u64 {
        self.layout.iter().map(|segment| segment.rows).sum()
    }

    /// What segments hold, and their bytes.
    pub(super) fn parts(&self) -> [(&'static str, u64); 8] {
        let bytes = &self.stats.bytes;
        let tables = self.layout.iter().map(|segment| segment.table_bytes).sum();
        let filters = self.layout.iter().map(|segment| segment.filter_bytes).sum();
        let planes = self.layout.iter().map(|segment| segment.plane_bytes).sum();
        [
            ("ids", bytes.ids),
            ("codes", bytes.codes),
            ("payloads", bytes.payloads),
            ("tables", tables),
            ("filters", filters),
            ("planes", planes),
            // By which it is known at once that an id is not there.
            (
                "id_filter",
                bytes.indexes.saturating_sub(tables + filters + planes),
            ),
            ("overhead", bytes.overhead),
        ]
    }

    /// The search tables of the largest segment, in words.
    fn tables(&self) -> String {
        let Some(largest) = self.layout.iter().max_by_key(|segment| segment.rows) else {
            return "no segment yet".to_owned();
        };
        if largest.tables.is_empty() {
            return "none: scanned".to_owned();
        }
        let (least, most) = (largest.tables.iter().min(), largest.tables.iter().max());
        let (least, most) = (least.unwrap_or(&0), most.unwrap_or(&0));
        match least == most {
            true => format!("{} of {most} bits", largest.tables.len()),
            false => format!("{} of {least} to {most} bits", largest.tables.len()),
        }
    }
}

/// Shows what a database holds.
///
/// # Errors
/// When it cannot be read, or has no such collection.
pub(crate) fn run(session: &mut Session, arguments: &Stats) -> Result<(), Failure> {
    let path = &arguments.database;
    let database = session.open_to_read(path)?;
    let collections = match &arguments.name {
        Some(name) => vec![collection(&database, name)?],
        None => database.collections().map_err(failure)?,
    };
    let collections = collections.iter().map(CollectionFigures::of);
    let figures = Figures {
        stats: database.stats().map_err(failure)?,
        segments_written: newest(&path.join("segments")),
        collections: collections.collect::<Result<_, _>>()?,
    };
    match arguments.format {
        StatsFormat::Json => as_json(session, &figures),
        StatsFormat::Prometheus => {
            let text = prometheus::text(&path.to_string_lossy(), &figures);
            text.lines().try_for_each(|line| session.out.line(line))
        }
        StatsFormat::Table => as_table(session, path, database.simd(), &figures),
    }
}

/// When the newest segment in a directory was written.
fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let segments = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "seg"));
    segments
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max()
}

/// Seconds since 1970.
pub(super) fn unix(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// How long ago it was, in words.
fn ago(time: SystemTime) -> String {
    let past = time.elapsed().unwrap_or(Duration::ZERO);
    match past.as_secs() {
        0 => "just now".to_owned(),
        1..120 => format!("{} ago", lasting(Duration::from_secs(past.as_secs()))),
        120..7200 => format!("{} min ago", past.as_secs() / 60),
        7200..172_800 => format!("{} h ago", past.as_secs() / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

fn as_table(
    session: &mut Session,
    path: &Path,
    simd: &str,
    figures: &Figures,
) -> Result<(), Failure> {
    let stats = &figures.stats;
    let out = &mut session.out;
    out.line(format!(
        "{}: {} in {}, commit {}, searches by {simd}",
        plain(&path.to_string_lossy()),
        counted(stats.rows, "row"),
        counted(stats.collections.len() as u64, "collection"),
        grouped(stats.sequence),
    ))?;
    let written = match figures.segments_written {
        Some(time) => format!("written last {}", ago(time)),
        None => "none written yet".to_owned(),
    };
    out.line(format!(
        "segments  {}, {written}",
        bytes(stats.segment_bytes)
    ))?;
    out.line(format!(
        "log       {} in {}",
        bytes(stats.log_bytes),
        counted(stats.logs, "file")
    ))?;
    out.line(format!(
        "memory    {} not yet in segments",
        bytes(stats.memory_bytes)
    ))?;
    if let Some(error) = &stats.background_error {
        out.line(format!("trouble   {error}"))?;
    }
    if figures.collections.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let head = [
        Column::Text("collection"),
        Column::Number("bits"),
        Column::Number("rows"),
        Column::Number("deleted"),
        Column::Number("in memory"),
        Column::Number("segments"),
        Column::Text("search tables"),
        Column::Text("model"),
    ];
    let row = |figures: &CollectionFigures| {
        let stats = &figures.stats;
        let model = match (&figures.model, figures.pdq) {
            (_, true) => "pdq".to_owned(),
            (Some(model), _) => model.chars().take(12).collect(),
            (None, _) => "none".to_owned(),
        };
        vec![
            stats.name.clone(),
            stats.bits.to_string(),
            grouped(stats.rows),
            grouped(stats.deleted_rows),
            grouped(stats.memory_rows),
            grouped(stats.segments),
            figures.tables(),
            model,
        ]
    };
    let rows: Vec<Vec<String>> = figures.collections.iter().map(row).collect();
    out.table(&head, &rows)?;
    out.line("")?;
    let head = [
        Column::Text("bytes a row"),
        Column::Number("ids"),
        Column::Number("codes"),
        Column::Number("payloads"),
        Column::Number("tables"),
        Column::Number("filters"),
        Column::Number("planes"),
        Column::Number("id filter"),
        Column::Number("overhead"),
        Column::Number("all"),
    ];
    let row = |figures: &CollectionFigures| {
        let rows = figures.segment_rows();
        let of = |bytes: u64| match rows {
            0 => "–".to_owned(),
            rows => format!("{:.1}", bytes as f64 / rows as f64),
        };
        let mut cells = vec![figures.stats.name.clone()];
        cells.extend(figures.parts().map(|(_, bytes)| of(bytes)));
        cells.push(of(figures.stats.bytes.total()));
        cells
    };
    let rows: Vec<Vec<String>> = figures.collections.iter().map(row).collect();
    out.table(&head, &rows)
}

fn as_json(session: &mut Session, figures: &Figures) -> Result<(), Failure> {
    let stats = &figures.stats;
    for of in &figures.collections {
        let CollectionFigures { stats: own, .. } = of;
        let [
            _,
            _,
            _,
            (_, tables),
            (_, filters),
            (_, planes),
            (_, id_filter),
            _,
        ] = of.parts();
        let layout =
            |segment: &SegmentLayout| json!({"rows": segment.rows, "tables": segment.tables});
        let layout: Vec<_> = of.layout.iter().map(layout).collect();
        let line = json!({
            "collection": own.name,
            "bits": own.bits,
            "rows": own.rows,
            "deleted_rows": own.deleted_rows,
            "memory_rows": own.memory_rows,
            "segments": own.segments,
            "segment_rows": of.segment_rows(),
            "segment_bytes": {
                "ids": own.bytes.ids,
                "codes": own.bytes.codes,
                "payloads": own.bytes.payloads,
                "indexes": own.bytes.indexes,
                "tables": tables,
                "filters": filters,
                "planes": planes,
                "id_filter": id_filter,
                "overhead": own.bytes.overhead,
            },
            "layout": layout,
            "model": of.model,
            "encoder": of.pdq.then_some("pdq"),
            "database": {
                "commit": stats.sequence,
                "logs": stats.logs,
                "log_bytes": stats.log_bytes,
                "memory_bytes": stats.memory_bytes,
                "segments_written": figures.segments_written.map(unix),
            },
        });
        session.out.line(line.to_string())?;
    }
    Ok(())
}
