//! `bitkin ingest`.

use super::{close, collection, failure, report, watch};
use crate::error::Failure;
use crate::grammar::Ingest as Arguments;
use crate::interrupt;
use crate::output::{counted, grouped, plain, say};
use crate::progress::{Progress, lasting};
use crate::session::Session;
use bitkin::ingest::{Ingest, IngestReport, Sources};
use serde_json::json;
use std::time::Duration;

/// Inserts pictures. Returns how many, and how long that took once the model was loaded.
///
/// # Errors
/// When a source cannot be read, encoding or writing fails, the user stops it, or, with
/// `--strict`, a picture cannot be used. What was inserted before stays.
pub(crate) fn run(
    session: &mut Session,
    arguments: &Arguments,
) -> Result<(u64, Duration), Failure> {
    let database = session.open_to_write(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    interrupt::watch();
    // A source that is not there is told before the model is loaded.
    let sources = Sources::open(&arguments.sources)
        .map_err(|error| failure(error).advise("name folders, .tar archives and picture files"))?;
    let encoder = session.encoder(&collection)?;
    // Before the first pass, so that nothing falls between it and the watch.
    let watcher = match arguments.watch {
        true => Some(watch::Watcher::start(&arguments.sources)?),
        false => None,
    };
    let mut ingest = Ingest::new(&collection, &*encoder)
        .map_err(failure)?
        .strict(arguments.strict)
        .limit(arguments.limit.unwrap_or(u64::MAX));
    if let Some(threads) = arguments.threads {
        ingest = ingest.threads(usize::from(threads));
    }

    let progress = Progress::new("ingesting", "files", None);
    let outcome = ingest.run(&sources, &mut |now| {
        progress.set_total(now.total);
        progress.set(now.done);
        if now.skipped > 0 {
            progress.remark(format!("{} skipped", grouped(now.skipped)));
        }
        interrupt::go_on()
    });
    let time = progress.elapsed();
    let (done, error) = match outcome {
        Ok(done) => (done, None),
        Err(stopped) => (*stopped.report, Some(stopped.error)),
    };
    drop(progress);
    for skipped in &done.skipped {
        let line = format!("skipped {}: {}", skipped.source, skipped.reason);
        say(plain(&line));
    }
    let facts = json!({
        "inserted": done.inserted,
        "known": done.known,
        "skipped": done.skipped.len(),
        "ignored": done.ignored,
        "seconds": time.as_secs_f64(),
    });
    let line = told(&done, time, &encoder.device());
    report(session, arguments.format, facts, &line)?;
    if let (None, Some(watcher), false) = (&error, watcher, interrupt::asked()) {
        session.out.flush()?;
        let outcome = watch::run(session, arguments, &collection, encoder, watcher);
        close(database)?;
        return outcome.map(|more| (done.inserted + more, time));
    }
    let closed = close(database);
    match error {
        _ if interrupt::asked() => {
            return Err(
                Failure::interrupted("stopped; everything inserted so far is safe")
                    .advise("the same command goes on from here"),
            );
        }
        Some(error) => {
            return Err(failure(*error)
                .advise("what was inserted before stays; the same command goes on from there"));
        }
        None => {}
    }
    closed?;
    Ok((done.inserted, time))
}

/// What an ingest did, in a line.
fn told(report: &IngestReport, time: Duration, device: &str) -> String {
    let rate = report.inserted as f64 / time.as_secs_f64().max(1e-9);
    let mut line = format!(
        "{} inserted in {} ({} a second on {device})",
        counted(report.inserted, "picture"),
        lasting(time),
        grouped(rate.round() as u64),
    );
    let skipped = report.skipped.len() as u64;
    for (count, what) in [
        (report.known, "already there"),
        (skipped, "skipped"),
        (report.ignored, "no pictures by their names"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    line
}
