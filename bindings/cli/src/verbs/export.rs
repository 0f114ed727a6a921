//! `bitkin export`.

use super::rows::FileKind;
use super::{collection, failure, report};
use crate::destination::{Destination, cannot_write, is_standard};
use crate::error::Failure;
use crate::grammar::{Export, Format};
use crate::interrupt;
use crate::output::{bytes, counted, say, typed};
use crate::parquet_file::ParquetWriter;
use crate::progress::{Progress, lasting};
use crate::session::Session;
use bitkin::jsonl::JsonlWriter;
use bitkin::npy::{CodesWriter, IdsWriter};
use bitkin::{Collection, Row};
use serde_json::json;
use std::io;
use std::path::Path;

/// Rows between two looks at Ctrl-C and the clock.
const STEP: u64 = 1024;

/// Writes rows to a file.
///
/// # Errors
/// When they cannot be read or the file cannot be written, or the user stops it: there is no file then, and one
/// that was there stays.
pub(crate) fn run(session: &mut Session, arguments: &Export) -> Result<(), Failure> {
    let file = &arguments.file;
    let kind = match FileKind::by_name(file) {
        Some(kind) => kind,
        None if is_standard(file) => FileKind::Jsonl,
        None => {
            return Err(
                Failure::usage(format!("{} has no kind by its name", file.display())).advise(
                    "call it .npy, .jsonl or .parquet; - writes JSON lines to standard output",
                ),
            );
        }
    };
    check_files(arguments, kind)?;
    let database = session.open_to_read(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    // One moment: others may write meanwhile.
    let snapshot = collection.snapshot().map_err(failure)?;
    let (count, rows) = match &arguments.filter {
        Some(filter) => (
            snapshot.count(filter).map_err(failure)?,
            snapshot.rows_where(filter).map_err(failure)?,
        ),
        None => (snapshot.len(), snapshot.rows()),
    };
    if !is_standard(file) {
        // Standard output has nothing that would have to be taken away: there Ctrl-C ends the process.
        interrupt::watch();
    }
    let progress = Progress::new("exporting", "rows", Some(count));
    let mut sink = Sink::create(arguments, kind, &collection, count)?;
    let mut done = 0_u64;
    let stopped = || Failure::interrupted("stopped; no file was written");
    for row in rows {
        let row = row.map_err(|error| match error {
            bitkin::Error::Stopped => stopped(),
            error => failure(error).advise(format!(
                "nothing was written; bitkin verify {} says what is damaged",
                typed(arguments.database.as_os_str())
            )),
        })?;
        sink.write(row).map_err(|error| cannot_write(file, error))?;
        done += 1;
        if done.is_multiple_of(STEP) {
            progress.set(done);
            if interrupt::asked() {
                return Err(stopped());
            }
        }
    }
    let left_out = sink.left_out();
    let written = sink.finish().map_err(|error| cannot_write(file, error))?;
    let time = progress.elapsed();
    drop(progress);
    if left_out {
        say("the payloads are not in the .npy file; --payloads FILE.jsonl keeps them");
    }
    if is_standard(file) && arguments.format == Format::Json {
        // The rows were the answer.
        return Ok(());
    }
    report(
        session,
        arguments.format,
        json!({"exported": count, "bytes": written, "seconds": time.as_secs_f64()}),
        &format!(
            "{} exported in {} ({})",
            counted(count, "row"),
            lasting(time),
            bytes(written)
        ),
    )
}

/// Refuses options that do not go together.
fn check_files(arguments: &Export, kind: FileKind) -> Result<(), Failure> {
    let beside = [
        (&arguments.ids, "--ids"),
        (&arguments.payloads, "--payloads"),
    ];
    for (option, what) in beside {
        let Some(path) = option else {
            continue;
        };
        if kind != FileKind::Npy {
            return Err(
                Failure::usage(format!("{what} goes with a .npy file of codes"))
                    .advise("JSON lines and Parquet hold ids and payloads themselves"),
            );
        }
        if is_standard(path) {
            return Err(Failure::usage(format!("{what} needs a file of its own")));
        }
    }
    let mut names: Vec<&Path> = beside
        .iter()
        .filter_map(|(option, _)| option.as_deref())
        .chain([arguments.file.as_path()])
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::usage(format!(
            "{} was named for two things",
            pair[0].display()
        ))),
        None => Ok(()),
    }
}

/// Where rows go.
enum Sink {
    Npy(Box<NpyFiles>),
    Jsonl(JsonlWriter<Destination>),
    Parquet(Box<ParquetWriter<Destination>>),
}

/// Codes, and what lies beside them.
struct NpyFiles {
    codes: CodesWriter<Destination>,
    ids: Option<IdsWriter<Destination>>,
    payloads: Option<JsonlWriter<Destination>>,
    /// A row had a payload that no file takes.
    left_out: bool,
}

impl Sink {
    fn create(
        arguments: &Export,
        kind: FileKind,
        collection: &Collection,
        count: u64,
    ) -> Result<Sink, Failure> {
        let file = &arguments.file;
        let out = Destination::new(file)?;
        let failed = |error| cannot_write(file, error);
        Ok(match kind {
            FileKind::Jsonl => Sink::Jsonl(JsonlWriter::new(out)),
            FileKind::Parquet => {
                let writer = ParquetWriter::new(out, collection).map_err(failed)?;
                Sink::Parquet(Box::new(writer))
            }
            FileKind::Npy => {
                let ids = match &arguments.ids {
                    Some(path) => {
                        let writer = IdsWriter::new(Destination::new(path)?, count);
                        Some(writer.map_err(|error| cannot_write(path, error))?)
                    }
                    None => None,
                };
                let payloads = arguments.payloads.as_ref();
                let payloads = payloads.map(|path| Destination::new(path)).transpose()?;
                let codes = CodesWriter::new(out, count, collection.code_bytes());
                Sink::Npy(Box::new(NpyFiles {
                    codes: codes.map_err(failed)?,
                    ids,
                    payloads: payloads.map(JsonlWriter::new),
                    left_out: false,
                }))
            }
        })
    }

    fn write(&mut self, row: Row) -> io::Result<()> {
        match self {
            Sink::Jsonl(writer) => writer.write(row.id, &row.code, row.payload.as_deref()),
            Sink::Parquet(writer) => writer.write(row),
            Sink::Npy(files) => {
                files.codes.write(&row.code)?;
                if let Some(ids) = &mut files.ids {
                    ids.write(row.id)?;
                }
                match &mut files.payloads {
                    Some(payloads) => payloads.write_payload(row.payload.as_deref()),
                    None => {
                        files.left_out |= row.payload.is_some();
                        Ok(())
                    }
                }
            }
        }
    }

    fn left_out(&self) -> bool {
        matches!(self, Sink::Npy(files) if files.left_out)
    }

    /// Puts the files in their places, once all of them are written. Returns their bytes.
    fn finish(self) -> io::Result<u64> {
        match self {
            Sink::Jsonl(writer) => writer.finish()?.finish(),
            Sink::Parquet(writer) => writer.finish()?.finish(),
            Sink::Npy(files) => {
                let codes = files.codes.finish()?;
                let ids = files.ids.map(IdsWriter::finish).transpose()?;
                let payloads = files.payloads.map(JsonlWriter::finish).transpose()?;
                let mut written = 0;
                // The codes come last: whoever waits for them finds the others there.
                for file in [ids, payloads, Some(codes)].into_iter().flatten() {
                    written += file.finish()?;
                }
                Ok(written)
            }
        }
    }
}
