//! `bitkin search` and `bitkin explain`.

use super::{check_file, collection, encode_file, failure, field, outside, parse_code};
use crate::error::Failure;
use crate::grammar::{Explain, Format, Search, Wanted};
use crate::output::{Column, plain};
use crate::session::Session;
use bitkin::npy::CodesReader;
use bitkin::{Answer, BatchSearch, Collection, PartExplanation};
use serde_json::{Value, json};
use std::time::Duration;

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
    each_batch(session, arguments, answer)
}

/// Searches and tells how it was done.
///
/// # Errors
/// As [`run`].
pub(crate) fn explain(session: &mut Session, arguments: &Explain) -> Result<(), Failure> {
    match arguments.search() {
        Some(search) => each_batch(session, search, tell),
        None => Err(Failure::usage("say which search to explain")),
    }
}

/// What is done with a batch of queries, of which the last argument gives the names.
type Deal =
    fn(&mut Session, &Search, &Collection, &[u8], &dyn Fn(usize) -> Value) -> Result<(), Failure>;

fn each_batch(session: &mut Session, arguments: &Search, deal: Deal) -> Result<(), Failure> {
    let database = session.open_to_read(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let query = &arguments.query;
    if let Some(text) = &query.code {
        let code = parse_code(text, collection.bits())?;
        return deal(session, arguments, &collection, &code, &|_| json!(text));
    }
    if let Some(file) = &query.image {
        let code = encode_file(&collection, &*session.encoder(&collection)?, file)?;
        return deal(session, arguments, &collection, &code, &|_| {
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
        deal(session, arguments, &collection, &batch, &|row| {
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
        let search = match self.budget {
            Some(budget) => search.budget(budget),
            None => search,
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
        let search = match self.budget {
            Some(budget) => search.budget(budget),
            None => search,
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
    name: &dyn Fn(usize) -> Value,
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

/// Searches for each query of a batch, and writes how it was done.
fn tell(
    session: &mut Session,
    arguments: &Search,
    collection: &Collection,
    codes: &[u8],
    name: &dyn Fn(usize) -> Value,
) -> Result<(), Failure> {
    for (row, code) in codes.chunks_exact(collection.code_bytes()).enumerate() {
        let search = arguments.wanted.of_one(collection.search(code));
        let (answer, explanation) = search.explain().map_err(failure)?;
        let query = name(row);
        match arguments.format {
            Format::Json => {
                let mut line = as_json(&query, &answer);
                line["parts"] = explanation.parts.iter().map(part_as_json).collect();
                session.out.line(line.to_string())?;
            }
            Format::Table => {
                let line = headline(&query, &answer);
                session.out.line(line)?;
                for line in explanation.to_string().lines() {
                    session.out.line(format!("  {line}"))?;
                }
            }
        }
    }
    session.out.flush()
}

fn part_as_json(part: &PartExplanation) -> Value {
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    json!({
        "rows": part.rows,
        "visible": part.visible,
        "in_memory": part.in_memory,
        "tables": part.tables,
        "way": part.way.to_string(),
        "predicted_scan_us": micros(part.predicted_scan),
        "predicted_tables_us": part.predicted_tables.map(micros),
        "took_us": micros(part.took),
        "shells": part.shells,
        "buckets": part.buckets,
        "candidates": part.candidates,
        "bytes": part.bytes,
        "covered_radius": part.covered_radius,
    })
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

fn headline(query: &Value, answer: &Answer) -> String {
    let query = query.as_str().map_or_else(|| format!("row {query}"), plain);
    let certain = match answer.certified_radius {
        _ if answer.exact => "exact".to_owned(),
        Some(radius) => format!("certain to distance {radius}"),
        None => "nothing is certain".to_owned(),
    };
    format!("{query}: {} found, {certain}", answer.hits.len())
}

fn as_table(
    session: &mut Session,
    collection: &Collection,
    query: &Value,
    answer: &Answer,
) -> Result<(), Failure> {
    session.out.line(headline(query, answer))?;
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
