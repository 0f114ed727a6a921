//! `bitkin search`.

use super::{
    check_file, collection, encode_file, encoder, failure, open_to_read, outside, parse_code,
};
use crate::error::Failure;
use crate::grammar::{Format, Search, Wanted};
use crate::output::{Column, plain};
use crate::session::Session;
use bitkin::npy::CodesReader;
use bitkin::{Answer, BatchSearch, Collection};
use serde_json::{Value, json};

/// Queries searched at a time: enough to share passes over the codes, few enough that the first
/// answers come soon.
const BATCH: usize = 256;

/// The same with a filter, which is evaluated anew for each batch.
const FILTERED_BATCH: usize = 8192;

/// Searches and writes what is found.
///
/// # Errors
/// When the query does not fit the collection, or something cannot be read.
pub(crate) fn run(session: &mut Session, arguments: &Search) -> Result<(), Failure> {
    let database = open_to_read(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let query = &arguments.query;
    if let Some(text) = &query.code {
        let code = parse_code(text, collection.bits())?;
        return answer(session, arguments, &collection, &code, |_| json!(text));
    }
    if let Some(file) = &query.image {
        let code = encode_file(&collection, &encoder(&collection)?, file)?;
        return answer(session, arguments, &collection, &code, |_| {
            json!(file.to_string_lossy())
        });
    }
    let Some(file) = &query.queries else {
        return Err(Failure::usage(
            "say --code HEX, --image FILE or --queries FILE.npy",
        ));
    };
    check_file(file, collection.bits())?;
    let mut codes = CodesReader::open(file).map_err(outside)?;
    let size = match &arguments.wanted.filter {
        Some(_) => FILTERED_BATCH,
        None => BATCH,
    };
    let mut first = 0;
    loop {
        let batch = codes.read(size).map_err(outside)?;
        if batch.is_empty() {
            return Ok(());
        }
        answer(session, arguments, &collection, &batch, |row| {
            json!(first + row)
        })?;
        first += batch.len() / collection.code_bytes();
    }
}

impl Wanted {
    /// The search for these rows.
    pub(crate) fn of_many<'a>(&self, search: BatchSearch<'a>) -> BatchSearch<'a> {
        let search = match self.radius {
            Some(radius) => search.radius(radius),
            None => search.k(self.k as usize),
        };
        match &self.filter {
            Some(filter) => search.filter(filter),
            None => search,
        }
    }

    /// The same for one query.
    pub(crate) fn of_one<'a>(&self, search: bitkin::Search<'a>) -> bitkin::Search<'a> {
        let search = match self.radius {
            Some(radius) => search.radius(radius),
            None => search.k(self.k as usize),
        };
        match &self.filter {
            Some(filter) => search.filter(filter),
            None => search,
        }
    }
}

/// Answers a batch of queries, `name` giving each its name.
fn answer(
    session: &mut Session,
    arguments: &Search,
    collection: &Collection,
    codes: &[u8],
    name: impl Fn(usize) -> Value,
) -> Result<(), Failure> {
    let search = arguments.wanted.of_many(collection.search_batch(codes));
    for (row, found) in search.run().map_err(failure)?.iter().enumerate() {
        match arguments.format {
            Format::Json => session.out.line(as_json(&name(row), found).to_string())?,
            Format::Table => as_table(session, collection, &name(row), found)?,
        }
    }
    // A reader of many answers need not wait for all of them.
    session.out.flush()
}

fn as_json(query: &Value, answer: &Answer) -> Value {
    let ids: Vec<u64> = answer.hits.iter().map(|hit| hit.id).collect();
    let distances: Vec<u32> = answer.hits.iter().map(|hit| hit.distance).collect();
    json!({
        "query": query,
        "ids": ids,
        "distances": distances,
        "certified_radius": answer.certified_radius,
        "exact": answer.exact,
    })
}

fn as_table(
    session: &mut Session,
    collection: &Collection,
    query: &Value,
    answer: &Answer,
) -> Result<(), Failure> {
    let query = query.as_str().map_or_else(|| format!("row {query}"), plain);
    let certain = match answer.certified_radius {
        _ if answer.exact => "exact".to_owned(),
        Some(radius) => format!("certain to distance {radius}"),
        None => "nothing is certain".to_owned(),
    };
    session
        .out
        .line(format!("{query}: {} found, {certain}", answer.hits.len()))?;
    let mut head = vec![
        Column::Number("rank"),
        Column::Number("id"),
        Column::Number("distance"),
    ];
    let (mut rows, mut told) = (Vec::new(), false);
    for (rank, hit) in (1..).zip(&answer.hits) {
        let row = collection.get(hit.id).map_err(failure)?;
        let payload = row.and_then(|row| row.payload).unwrap_or_default();
        let [label, source] = ["label", "source"].map(|key| field(&payload, key));
        told |= !label.is_empty() || !source.is_empty();
        rows.push(vec![
            rank.to_string(),
            hit.id.to_string(),
            hit.distance.to_string(),
            label,
            source,
        ]);
    }
    if told {
        head.extend([Column::Text("label"), Column::Text("source")]);
    }
    if !rows.is_empty() {
        session.out.table(&head, &rows)?;
    }
    Ok(())
}

/// A text of a payload, fit for a line of a terminal; empty if there is none.
fn field(payload: &str, key: &str) -> String {
    let value: Value = serde_json::from_str(payload).unwrap_or_default();
    let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
    plain(text)
}
