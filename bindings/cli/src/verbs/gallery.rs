//! Pages of what was found (`--html`).

use super::{failure, hex};
use crate::destination::{Destination, cannot_write};
use crate::error::Failure;
use crate::output::{counted, grouped, plain, say};
use crate::page::{CodeImage, Detail, Face, Near, Page, Row, Table, Thumbnail};
use bitkin::ingest::find_originals;
use bitkin::{Answer, Collection, Group};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Queries that a page shows, at most.
const MOST_QUERIES: usize = 50;

/// Rows that a page shows, at most, over all queries: some five megabytes of pictures.
const MOST_ROWS: usize = 1000;

/// What a page is made of, gathered while the work goes on.
pub(super) struct Gallery<'a> {
    collection: &'a Collection,
    /// Where relative sources are looked for, beside the folder that the program runs in.
    folder: PathBuf,
    entries: Vec<Entry>,
    rows: usize,
    /// Queries, or groups, that found no room.
    left_out: usize,
}

/// A query and what was found.
struct Entry {
    query: Query,
    name: String,
    remark: String,
    facts: Vec<(String, String)>,
    near: Vec<Found>,
}

/// What was searched for.
pub(super) enum Query {
    /// A picture: its file and its code.
    Picture(Vec<u8>, Vec<u8>),
    /// A code.
    Code(Vec<u8>),
    /// A row of the collection.
    Row(bitkin::Row),
}

impl Query {
    fn code(&self) -> &[u8] {
        match self {
            Query::Picture(_, code) | Query::Code(code) => code,
            Query::Row(row) => &row.code,
        }
    }
}

struct Found {
    row: bitkin::Row,
    distance: u32,
    uncertain: bool,
}

impl<'a> Gallery<'a> {
    pub(super) fn new(collection: &'a Collection, database: &Path) -> Self {
        let folder = database.parent().unwrap_or(Path::new(""));
        Gallery {
            collection,
            folder: folder.to_owned(),
            entries: Vec::new(),
            rows: 0,
            left_out: 0,
        }
    }

    /// Whether one more query with so many rows would be shown; counts it as left out, if not.
    fn has_room(&mut self, rows: usize) -> bool {
        let room = self.entries.len() < MOST_QUERIES
            && (self.rows + rows <= MOST_ROWS || self.entries.is_empty());
        self.left_out += usize::from(!room);
        room
    }

    /// Adds an answer.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub(super) fn answer(
        &mut self,
        name: String,
        query: impl FnOnce() -> Query,
        answer: &Answer,
    ) -> Result<(), Failure> {
        if !self.has_room(answer.hits.len()) {
            return Ok(());
        }
        let mut near = Vec::new();
        for hit in answer.hits.iter().take(MOST_ROWS) {
            if let Some(row) = self.collection.get(hit.id).map_err(failure)? {
                let uncertain = answer.certified_radius.is_none_or(|r| hit.distance > r);
                near.push(Found {
                    row,
                    distance: hit.distance,
                    uncertain: uncertain && !answer.exact,
                });
            }
        }
        let certain = match answer.certified_radius {
            _ if answer.exact => "exact: nothing nearer is missing".to_owned(),
            Some(radius) => format!("certain to distance {radius}"),
            None => "cut short: nothing is certain".to_owned(),
        };
        let found = answer.hits.len();
        let mut remark = format!("{} found\n{certain}", grouped(found as u64));
        if near.len() < found {
            remark.push_str(&format!(
                "\nthe first {} are shown",
                grouped(near.len() as u64)
            ));
        }
        self.add(query(), name, remark, Vec::new(), near);
        Ok(())
    }

    /// Adds a row alone.
    pub(super) fn row(&mut self, row: &bitkin::Row) {
        let mut facts = vec![("id".to_owned(), row.id.to_string())];
        facts.extend(fields(row.payload.as_deref()));
        facts.push(("code".to_owned(), hex(&row.code)));
        let bits = self.collection.bits();
        let set: u32 = row.code.iter().map(|byte| byte.count_ones()).sum();
        let remark = format!("{set} of {bits} bits are set");
        self.add(
            Query::Row(row.clone()),
            name_of(row),
            remark,
            facts,
            Vec::new(),
        );
    }

    /// Adds a group of rows that are near the one that is kept.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub(super) fn group(&mut self, group: &Group) -> Result<(), Failure> {
        if !self.has_room(group.duplicates.len()) {
            return Ok(());
        }
        let Some(kept) = self.collection.get(group.id).map_err(failure)? else {
            return Ok(());
        };
        let mut near = Vec::new();
        for duplicate in group.duplicates.iter().take(MOST_ROWS) {
            if let Some(row) = self.collection.get(duplicate.id).map_err(failure)? {
                near.push(Found {
                    row,
                    distance: duplicate.distance,
                    uncertain: false,
                });
            }
        }
        let many = counted(group.duplicates.len() as u64, "duplicate");
        let remark = format!("row {} is kept\n{many}", group.id);
        let name = name_of(&kept);
        self.add(Query::Row(kept), name, remark, Vec::new(), near);
        Ok(())
    }

    fn add(
        &mut self,
        query: Query,
        name: String,
        remark: String,
        facts: Vec<(String, String)>,
        near: Vec<Found>,
    ) {
        self.rows += near.len() + 1;
        self.entries.push(Entry {
            query,
            name,
            remark,
            facts,
            near,
        });
    }

    /// The page, with the pictures that are found.
    ///
    /// # Errors
    /// When a code cannot be drawn.
    pub(super) fn page(self, title: String, lead: String) -> Result<Page, Failure> {
        let pictures = self.thumbnails();
        let bits = self.collection.bits();
        let alone = self.entries.len() == 1;
        let face = |row: &bitkin::Row, query: Option<&[u8]>| -> Result<Face, Failure> {
            match pictures.get(&row.id) {
                Some(picture) => Ok(Face::Picture(picture.clone())),
                None => CodeImage::new(&row.code, bits, query).map(Face::Code),
            }
        };
        let mut rows = Vec::new();
        for entry in self.entries {
            let code = entry.query.code();
            let (mut near, mut details) = (Vec::new(), Vec::new());
            for found in &entry.near {
                near.push(Near {
                    face: face(&found.row, Some(code))?,
                    name: name_of(&found.row),
                    distance: found.distance,
                    right: None,
                    uncertain: found.uncertain,
                });
                details.push(Detail {
                    id: found.row.id,
                    code: CodeImage::new(&found.row.code, bits, Some(code))?,
                    payload: fields(found.row.payload.as_deref()),
                });
            }
            let query = match &entry.query {
                Query::Row(row) => face(row, None)?,
                Query::Picture(file, code) => match Thumbnail::of_file(file) {
                    Ok(picture) => Face::Picture(picture),
                    Err(_) => Face::Code(CodeImage::new(code, bits, None)?),
                },
                Query::Code(code) => Face::Code(CodeImage::new(code, bits, None)?),
            };
            let table = Table {
                open: alone && details.len() <= 20,
                rows: details,
            };
            rows.push(Row {
                query,
                name: entry.name,
                remark: entry.remark,
                near,
                facts: entry.facts,
                table: (!table.rows.is_empty()).then_some(table),
            });
        }
        let mut notes = Vec::new();
        if rows.iter().any(|row| !row.near.is_empty()) {
            let note = "Distances are counted in bits that differ (Hamming); rows at the same distance stand \
                        in the order of their ids.";
            notes.push(note.to_owned());
        }
        if self.left_out > 0 {
            notes.insert(
                0,
                format!(
                    "{} more are not on this page.",
                    grouped(self.left_out as u64)
                ),
            );
        }
        Ok(Page {
            title: plain(&title),
            lead,
            rows,
            notes,
            ..Page::default()
        })
    }

    /// Small pictures of all rows whose files are found, by id.
    fn thumbnails(&self) -> HashMap<u64, Thumbnail> {
        let rows: Vec<&bitkin::Row> = self
            .entries
            .iter()
            .flat_map(|entry| {
                let query = match &entry.query {
                    Query::Row(row) => Some(row),
                    _ => None,
                };
                query
                    .into_iter()
                    .chain(entry.near.iter().map(|near| &near.row))
            })
            .collect();
        let payloads: Vec<Option<&str>> = rows.iter().map(|row| row.payload.as_deref()).collect();
        let mut thumbnails = HashMap::new();
        let small = match rows.as_slice() {
            [_] => Thumbnail::large,
            _ => Thumbnail::of_file,
        };
        find_originals(&payloads, &self.folder, &mut |row, file| {
            if let Ok(thumbnail) = small(&file) {
                thumbnails.insert(rows[row].id, thumbnail);
            }
        });
        thumbnails
    }
}

/// Stores a page.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn store(file: &Path, page: Page) -> Result<(), Failure> {
    let mut out = Destination::new(file)?;
    out.write_all(page.html().as_bytes())
        .and_then(|()| out.finish())
        .map_err(|error| cannot_write(file, error))?;
    say(plain(&format!("the page is {}", file.display())));
    Ok(())
}

/// What a row is called: by its label, else by the name of its file, else by its id.
fn name_of(row: &bitkin::Row) -> String {
    let payload: Value =
        serde_json::from_str(row.payload.as_deref().unwrap_or("null")).unwrap_or_default();
    let text = |key: &str| payload.get(key).and_then(Value::as_str);
    let source = || {
        let source = text("source")?;
        source.rsplit(['/', '\\']).next()
    };
    match text("label")
        .or_else(source)
        .filter(|name| !name.is_empty())
    {
        Some(name) => name.to_owned(),
        None => format!("row {}", row.id),
    }
}

/// The fields of a payload, as a person reads them.
fn fields(payload: Option<&str>) -> Vec<(String, String)> {
    let show = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match payload.map(serde_json::from_str::<Value>) {
        None => Vec::new(),
        Some(Ok(Value::Object(fields))) => {
            let mut fields: Vec<(String, String)> = fields
                .iter()
                .map(|(key, value)| (key.clone(), show(value)))
                .collect();
            // For programs: people look at the others first.
            fields.sort_by_key(|(key, _)| key == "sha256");
            fields
        }
        Some(Ok(value)) => vec![("payload".to_owned(), show(&value))],
        Some(Err(_)) => vec![("payload".to_owned(), payload.unwrap_or_default().to_owned())],
    }
}
