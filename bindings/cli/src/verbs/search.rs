//! `bitkin search` and `bitkin explain`.

use super::gallery::{self, Gallery, Query};
use super::show;
use super::{
    check_file, collection, failure, field, outside, parse_code, parse_ranges, read_picture,
};
use crate::error::Failure;
use crate::grammar::{Explain, Format, Likeness, Mask, Search, Wanted};
use crate::interrupt;
use crate::output::{Column, bytes, counted, grouped, plain};
use crate::progress::Progress;
use crate::screen::Graphics;
use crate::session::Session;
use bitkin::ingest::Sources;
use bitkin::npy::CodesReader;
use bitkin::selection::{Selection, SelectionOptions};
use bitkin::{Answer, BatchSearch, Collection, Explanation, PartExplanation};
use serde_json::{Value, json};
use std::path::PathBuf;
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

/// Queries that are searched together.
struct Batch<'a> {
    arguments: &'a Search,
    collection: &'a Collection,
    /// Row-major.
    codes: &'a [u8],
    /// Which bits of them count, if not all do.
    mask: Option<&'a [u8]>,
    /// What each is called in the answers.
    name: &'a dyn Fn(usize) -> Value,
    /// The file of the picture that the only query is the code of.
    picture: Option<&'a [u8]>,
    /// How pictures of what is found are shown.
    graphics: Option<Graphics>,
}

/// What is done with a batch of queries.
type Deal = fn(&mut Session, &Batch<'_>, &mut Option<Gallery<'_>>) -> Result<(), Failure>;

fn each_batch(session: &mut Session, arguments: &Search, deal: Deal) -> Result<(), Failure> {
    let database = session.open_to_read(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let mut gallery = arguments
        .html
        .as_ref()
        .map(|_| Gallery::new(&collection, &arguments.database));
    let query = &arguments.query;
    let (mask, likeness) = match query.like.is_empty() {
        // Told by the grammar only where nothing else is searched for that `--like` conflicts with.
        true if arguments.likeness.is_given() => {
            return Err(Failure::usage(
                "--unlike and --select-bits are for --like DIR, which says what is sought",
            ));
        }
        true => (arguments.mask.of(collection.bits())?, None),
        false => {
            let selected = selected(session, &collection, arguments)?;
            (Some(selected.mask()), selected.code())
        }
    };
    let graphics = show::graphics(arguments.show, arguments.format)?;
    let one = |codes: &[u8],
               picture: Option<&[u8]>,
               name: &dyn Fn(usize) -> Value,
               session: &mut Session,
               gallery: &mut Option<Gallery<'_>>| {
        let batch = Batch {
            arguments,
            collection: &collection,
            codes,
            mask: mask.as_deref(),
            name,
            picture,
            graphics,
        };
        deal(session, &batch, gallery)
    };
    if let Some(text) = &query.code {
        let code = parse_code(text, collection.bits())?;
        one(&code, None, &|_| json!(text), session, &mut gallery)?;
    } else if let Some(file) = &query.image {
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(format!("cannot encode {}: {e}", file.display()))
        };
        if collection.model().is_none() {
            // Whatever the file is, this collection has nothing to do with pictures.
            session.encoder(&collection)?;
        }
        // A file that is not there is told before the model is loaded.
        let picture = read_picture(file).map_err(|e| failed(&e))?;
        let encoder = session.encoder(&collection)?;
        let code = collection.encode_image(&*encoder, &picture);
        let code = code.map_err(|e| failed(&e))?;
        let name = |_| json!(file.to_string_lossy());
        one(&code, Some(&picture), &name, session, &mut gallery)?;
    } else if let Some(code) = &likeness {
        let name = |_| json!(named(&query.like));
        one(code, None, &name, session, &mut gallery)?;
    } else if let Some(file) = &query.queries {
        check_file(file, collection.bits())?;
        let mut codes = CodesReader::open(file).map_err(outside)?;
        let size = match &arguments.wanted.filter {
            Some(_) => FILTERED_BATCH,
            None => BATCH,
        };
        let mut first = 0;
        loop {
            interrupt::check(|| "stopped".to_owned())?;
            let batch = codes.read(size).map_err(outside)?;
            if batch.is_empty() {
                break;
            }
            one(
                &batch,
                None,
                &|row| json!(first + row),
                session,
                &mut gallery,
            )?;
            first += batch.len() / collection.code_bytes();
        }
    } else {
        return Err(Failure::usage(
            "say --code HEX, --image FILE, --queries FILE.npy or --like DIR",
        ));
    }
    let (Some(gallery), Some(file)) = (gallery, &arguments.html) else {
        return Ok(());
    };
    let title = match (&query.code, &query.image) {
        (_, Some(file)) => {
            let name = file.file_name().unwrap_or(file.as_os_str());
            format!("Nearest to {}", name.to_string_lossy())
        }
        (Some(code), _) => format!("Nearest to {}", shortened(code)),
        _ if !query.like.is_empty() => format!("Like {}", named(&query.like)),
        _ => format!("Nearest in {}", arguments.name),
    };
    let rows = collection.len().map_err(failure)?;
    let wanted = match arguments.wanted.radius {
        Some(radius) => format!("Every row within distance {radius}"),
        None => format!("The {} nearest", arguments.wanted.k),
    };
    let lead = format!(
        "{wanted} of {} in collection {} of {}, by {}codes of {} bits{}.",
        counted(rows, "row"),
        arguments.name,
        arguments.database.display(),
        match &mask {
            Some(mask) => {
                let bits = mask.iter().map(|byte| u64::from(byte.count_ones())).sum();
                format!("{} of ", counted(bits, "bit"))
            }
            None => String::new(),
        },
        collection.bits(),
        match &arguments.wanted.filter {
            Some(_) => ", among those that pass the condition of --where",
            None => "",
        }
    );
    gallery::store(file, gallery.page(title, lead)?)
}

/// The bits that tell the pictures of --like apart.
fn selected(
    session: &mut Session,
    collection: &Collection,
    arguments: &Search,
) -> Result<Selection, Failure> {
    if collection.model().is_none() {
        // Whatever the files are, this collection has nothing to do with pictures.
        session.encoder(collection)?;
    }
    let open = |paths: &[PathBuf]| {
        Sources::open(paths)
            .map_err(|error| failure(error).advise("name folders, .tar archives and picture files"))
    };
    let (like, unlike) = (
        open(&arguments.query.like)?,
        open(&arguments.likeness.unlike)?,
    );
    let encoder = session.encoder(collection)?;
    let codes = |what, sources: &Sources| {
        let bar = Progress::new(what, "pictures", None);
        let codes = collection.encode_sources(&*encoder, sources, |read| {
            bar.set(read);
            interrupt::go_on()
        });
        codes.map_err(failure)
    };
    let (like, unlike) = (codes("like", &like)?, codes("unlike", &unlike)?);
    if unlike.is_empty() && !arguments.likeness.unlike.is_empty() {
        return Err(Failure::new("there are no pictures in what --unlike names"));
    }
    let options = match arguments.likeness.select_bits {
        Some(bits) => SelectionOptions::new(bits as usize),
        None => SelectionOptions::default(),
    };
    collection
        .select_bits(&like, &unlike, &options)
        .map_err(failure)
}

/// Files in a line.
fn named(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    names.join(", ")
}

/// A long text as a heading.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Batch<'_> {
    /// Adds the answer to query number `row` to the page.
    fn show(
        &self,
        gallery: &mut Option<Gallery<'_>>,
        row: usize,
        answer: &Answer,
    ) -> Result<(), Failure> {
        let Some(gallery) = gallery else {
            return Ok(());
        };
        let name = match (self.name)(row) {
            Value::String(text) => shortened(text.rsplit('/').next().unwrap_or(&text)),
            number => format!("row {number} of the queries"),
        };
        let query = || {
            let width = self.collection.code_bytes();
            let code = self.codes[row * width..][..width].to_vec();
            match self.picture {
                Some(file) => Query::Picture(file.to_vec(), code),
                None => Query::Code(code),
            }
        };
        gallery.answer(name, query, answer)
    }
}

impl Batch<'_> {
    /// Shows what was found in the terminal, if that is wanted.
    fn show_here(&self, session: &mut Session, answer: &Answer) -> Result<(), Failure> {
        let Some(graphics) = self.graphics else {
            return Ok(());
        };
        let mut rows = Vec::new();
        for (rank, hit) in (1..).zip(&answer.hits) {
            if let Some(row) = self.collection.get(hit.id).map_err(failure)? {
                rows.push((row, format!("{rank}: {} at {}", hit.id, hit.distance)));
            }
        }
        let database = &self.arguments.database;
        show::rows(session, graphics, database, self.picture, &rows)
    }
}

impl Mask {
    /// The mask that was typed, laid out as a code; `None` if all bits count.
    fn of(&self, bits: u32) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(text) = &self.mask {
            return parse_code(text, bits)
                .map(Some)
                .map_err(|e| e.about("--mask"));
        }
        let Some(text) = &self.mask_bits else {
            return Ok(None);
        };
        let mut mask = vec![0_u8; bits.div_ceil(8) as usize];
        for (first, last) in parse_ranges(text, "bit")? {
            if last >= u64::from(bits) {
                return Err(Failure::usage(format!(
                    "--mask-bits: there is no bit {last}: codes of {bits} bits have those from 0 to {}",
                    bits - 1
                )));
            }
            for bit in first..=last {
                mask[bit as usize / 8] |= 1 << (bit % 8);
            }
        }
        Ok(Some(mask))
    }
}

impl Likeness {
    fn is_given(&self) -> bool {
        !self.unlike.is_empty() || self.select_bits.is_some()
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

/// Answers a batch of queries.
fn answer(
    session: &mut Session,
    batch: &Batch<'_>,
    gallery: &mut Option<Gallery<'_>>,
) -> Result<(), Failure> {
    let Batch {
        arguments,
        collection,
        ..
    } = *batch;
    let search = arguments
        .wanted
        .of_many(collection.search_batch(batch.codes));
    let search = match batch.mask {
        Some(mask) => search.mask(mask),
        None => search,
    };
    for (row, found) in search.run().map_err(failure)?.iter().enumerate() {
        let name = (batch.name)(row);
        match arguments.format {
            Format::Json => session.out.line(as_json(&name, found).to_string())?,
            Format::Table => as_table(session, collection, &name, found)?,
        }
        batch.show(gallery, row, found)?;
        batch.show_here(session, found)?;
    }
    // A reader of many answers need not wait for all of them.
    session.out.flush()
}

/// Searches for each query of a batch, and writes how it was done.
fn tell(
    session: &mut Session,
    batch: &Batch<'_>,
    gallery: &mut Option<Gallery<'_>>,
) -> Result<(), Failure> {
    let Batch {
        arguments,
        collection,
        ..
    } = *batch;
    let codes = batch.codes.chunks_exact(collection.code_bytes());
    for (row, code) in codes.enumerate() {
        let search = arguments.wanted.of_one(collection.search(code));
        let search = match batch.mask {
            Some(mask) => search.mask(mask),
            None => search,
        };
        let (answer, explanation) = search.explain().map_err(failure)?;
        let query = (batch.name)(row);
        match arguments.format {
            Format::Json => {
                let mut line = as_json(&query, &answer);
                line["parts"] = explanation.parts.iter().map(part_as_json).collect();
                session.out.line(line.to_string())?;
            }
            Format::Table => {
                let line = headline(&query, &answer);
                session.out.line(line)?;
                explained(session, &explanation)?;
            }
        }
        batch.show(gallery, row, &answer)?;
        batch.show_here(session, &answer)?;
    }
    session.out.flush()
}

/// How an answer was found: a line for each part, and what it comes to.
fn explained(session: &mut Session, explanation: &Explanation) -> Result<(), Failure> {
    let parts = &explanation.parts;
    let head = [
        Column::Text("part"),
        Column::Number("rows"),
        Column::Number("visible"),
        Column::Number("tables"),
        Column::Text("searched by"),
        Column::Number("took"),
        Column::Number("tables: expected"),
        Column::Number("scan: expected"),
        Column::Number("shells"),
        Column::Number("buckets"),
        Column::Number("compared"),
        Column::Number("read"),
        Column::Number("nothing missing to"),
    ];
    let row = |part: &PartExplanation| {
        let dash = || "–".to_owned();
        vec![
            match part.in_memory {
                true => "memory".to_owned(),
                false => "segment".to_owned(),
            },
            grouped(part.rows),
            grouped(part.visible),
            part.tables.to_string(),
            part.way.to_string(),
            micros(part.took),
            part.predicted_tables.map_or_else(dash, micros),
            micros(part.predicted_scan),
            grouped(part.shells),
            grouped(part.buckets),
            grouped(part.candidates),
            bytes(part.bytes),
            part.covered_radius
                .map_or_else(|| "unknown".to_owned(), |radius| radius.to_string()),
        ]
    };
    let rows: Vec<Vec<String>> = parts.iter().map(row).collect();
    if rows.is_empty() {
        return session.out.line("there are no rows to search");
    }
    session.out.table(&head, &rows)?;
    let (mut rows, mut compared, mut took) = (0, 0, Duration::ZERO);
    for part in parts {
        rows += part.visible;
        compared += part.candidates;
        took += part.took;
    }
    let share = match rows {
        0 => 0.0,
        rows => 100.0 * compared as f64 / rows as f64,
    };
    session.out.line(format!(
        "{} of {} compared with the query ({share:.1} %), in {}",
        grouped(compared),
        counted(rows, "row"),
        micros(took)
    ))
}

/// A time for people, from a tenth of a microsecond on.
fn micros(time: Duration) -> String {
    match time.as_nanos() {
        0..100_000 => format!("{:.1} µs", time.as_nanos() as f64 / 1e3),
        100_000..10_000_000 => format!("{} µs", grouped(time.as_micros() as u64)),
        _ => format!("{} ms", grouped(time.as_millis() as u64)),
    }
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
