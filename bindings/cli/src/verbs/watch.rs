//! `bitkin ingest --watch`: pictures as they come into folders.
//!
//! ```text
//! notify ──paths──▶ pending, until they rest ──files──▶ PictureWriter ──tickets──▶ a line per batch
//! ```

use super::{failure, report};
use crate::error::Failure;
use crate::grammar::Ingest as Arguments;
use crate::interrupt;
use crate::output::{counted, grouped, plain, say};
use crate::session::Session;
use bitkin::Collection;
use bitkin::encoder::Encoder;
use bitkin::ingest::{
    ContentHash, Picture, Ticket, content_hash, known_content, read_picture_file,
};
use notify::{EventKind, RecursiveMode, Watcher as _};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

/// How long nothing must be written to a file before it is taken.
const REST: Duration = Duration::from_millis(500);

/// How often it is looked whether files rest, and whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// Pictures in a batch, at most: their files are held in memory.
const BATCH: usize = 256;

/// Folders that are watched.
pub(super) struct Watcher {
    folders: Vec<Folder>,
    events: Receiver<notify::Result<notify::Event>>,
    /// Events come as long as it lives.
    _watcher: notify::RecommendedWatcher,
}

/// A folder, as the user named it and as events may name it.
struct Folder {
    named: PathBuf,
    others: [PathBuf; 2],
}

impl Folder {
    fn new(named: &Path) -> Folder {
        let absolute = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        let real = std::fs::canonicalize(named).unwrap_or_else(|_| named.to_owned());
        Folder {
            named: named.to_owned(),
            others: [real, absolute],
        }
    }

    /// A path in it as the user would name it: rows from events and from the first pass have like sources.
    fn named(&self, path: &Path) -> Option<PathBuf> {
        let mut others = self.others.iter();
        let below = others.find_map(|other| path.strip_prefix(other).ok())?;
        match below.as_os_str().is_empty() {
            true => Some(self.named.clone()),
            false => Some(self.named.join(below)),
        }
    }
}

impl Watcher {
    /// Begins to watch folders, to their depths.
    ///
    /// # Errors
    /// When one is no folder, or cannot be watched.
    pub(super) fn start(folders: &[PathBuf]) -> Result<Watcher, Failure> {
        let (sender, events) = channel();
        let cannot = |error: notify::Error| {
            let failure = Failure::new(format!("the folders cannot be watched: {error}"));
            match error.kind {
                notify::ErrorKind::MaxFilesWatch => failure.advise(
                    "the system watches no more folders: raise fs.inotify.max_user_watches (sysctl)",
                ),
                _ => failure,
            }
        };
        let mut watcher = notify::recommended_watcher(move |event| {
            // Nobody listens any more once the work ends.
            let _ = sender.send(event);
        })
        .map_err(cannot)?;
        for folder in folders {
            if !folder.is_dir() {
                return Err(Failure::usage(format!(
                    "{} is no folder, and only folders can be watched",
                    folder.display()
                ))
                .advise("ingest archives and single files without --watch"));
            }
            watcher
                .watch(folder, RecursiveMode::Recursive)
                .map_err(cannot)?;
        }
        Ok(Watcher {
            folders: folders.iter().map(|folder| Folder::new(folder)).collect(),
            events,
            _watcher: watcher,
        })
    }
}

/// What is known of a file that changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pending {
    since: Instant,
    size: u64,
    modified: Option<SystemTime>,
}

/// Inserts what comes into the folders until the user stops it. Returns how many pictures that were.
///
/// # Errors
/// When the database cannot be written or no folder is left; and [`Failure::interrupted`] in the end.
pub(super) fn run(
    session: &mut Session,
    arguments: &Arguments,
    collection: &Collection,
    encoder: Arc<dyn Encoder>,
    watcher: Watcher,
) -> Result<u64, Failure> {
    let threads = arguments.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let writer = collection
        .picture_writer(encoder, threads)
        .map_err(failure)?;
    let mut known = known_content(collection).map_err(failure)?;
    let mut pending: BTreeMap<PathBuf, Pending> = BTreeMap::new();
    let mut total = 0;
    say(format!(
        "watching {} (Ctrl-C ends it)",
        counted(watcher.folders.len() as u64, "folder")
    ));
    loop {
        match watcher.events.recv_timeout(TICK) {
            Ok(event) => {
                note(event, &watcher.folders, &mut pending);
                // A burst is taken as a whole.
                watcher
                    .events
                    .try_iter()
                    .for_each(|event| note(event, &watcher.folders, &mut pending));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("the folders are not watched any more"));
            }
        }
        if interrupt::asked() {
            return Err(Failure::interrupted(format!(
                "stopped; {} came in while it watched, and all of them are safe",
                counted(total, "picture")
            ))
            .advise("the same command takes what comes meanwhile, too"));
        }
        if !watcher.folders.iter().any(|folder| folder.named.is_dir()) {
            return Err(Failure::new("the folders that were watched are gone"));
        }
        let resting = take_resting(&mut pending);
        for files in resting.chunks(BATCH) {
            let mut batch = Batch::default();
            for file in files {
                batch.submit(file, &writer, &mut known).map_err(failure)?;
            }
            batch.wait(&mut known)?;
            total += batch.inserted;
            batch.tell(session, arguments, total)?;
        }
    }
}

/// Notes the files of an event, to be looked at when they rest.
fn note(
    event: notify::Result<notify::Event>,
    folders: &[Folder],
    pending: &mut BTreeMap<PathBuf, Pending>,
) {
    let paths = match event {
        // Events were lost: everything has to be looked at again. What is known is passed over.
        Ok(event) if event.need_rescan() => folders.iter().map(|f| f.named.clone()).collect(),
        Ok(event) => match event.kind {
            // Files that go, or are only read, change nothing.
            EventKind::Remove(_) | EventKind::Access(_) => return,
            _ => event.paths,
        },
        Err(error) => error.paths,
    };
    for path in paths {
        let named = folders.iter().find_map(|folder| folder.named(&path));
        look_at(&named.unwrap_or(path), pending);
    }
}

fn look_at(path: &Path, pending: &mut BTreeMap<PathBuf, Pending>) {
    // A link to a folder is not followed, as in any ingest.
    let Ok(metadata) = std::fs::symlink_metadata(path).and_then(|link| match link.is_dir() {
        true => Ok(link),
        false => std::fs::metadata(path),
    }) else {
        pending.remove(path);
        return;
    };
    if metadata.is_dir() {
        // Files may have come into a new folder before it was watched.
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            look_at(&entry.path(), pending);
        }
    } else if metadata.is_file() {
        let now = Pending {
            since: Instant::now(),
            size: metadata.len(),
            modified: metadata.modified().ok(),
        };
        pending.insert(path.to_owned(), now);
    }
}

/// Takes the files to which nothing was written for a while.
fn take_resting(pending: &mut BTreeMap<PathBuf, Pending>) -> Vec<PathBuf> {
    let mut resting = Vec::new();
    pending.retain(|path, noted| {
        if noted.since.elapsed() < REST {
            return true;
        }
        match std::fs::metadata(path) {
            // Written to without an event, as over a network: it must rest anew.
            Ok(now) if now.len() != noted.size || now.modified().ok() != noted.modified => {
                noted.since = Instant::now();
                noted.size = now.len();
                noted.modified = now.modified().ok();
                true
            }
            Ok(_) => {
                resting.push(path.clone());
                false
            }
            // It is gone again.
            Err(_) => false,
        }
    });
    resting
}

/// Pictures that came at about the same time.
#[derive(Default)]
struct Batch {
    under_way: Vec<(PathBuf, ContentHash, Ticket)>,
    inserted: u64,
    known: u64,
    skipped: Vec<(PathBuf, String)>,
    names: Vec<String>,
}

impl Batch {
    fn submit(
        &mut self,
        path: &Path,
        writer: &bitkin::ingest::PictureWriter,
        known: &mut HashSet<ContentHash>,
    ) -> Result<(), bitkin::Error> {
        match read_picture_file(path) {
            Ok(None) => {}
            Ok(Some(picture)) => {
                let hash = content_hash(&picture.file);
                if !known.insert(hash) {
                    self.known += 1;
                    return Ok(());
                }
                let ticket = writer.submit(Picture {
                    id: None,
                    file: picture.file,
                    payload: Some(picture.payload),
                })?;
                self.under_way.push((path.to_owned(), hash, ticket));
            }
            Err(reason) => self.skipped.push((path.to_owned(), reason.to_string())),
        }
        Ok(())
    }

    /// Waits until all that was submitted is committed.
    fn wait(&mut self, known: &mut HashSet<ContentHash>) -> Result<(), Failure> {
        let mut broken = None;
        for (path, hash, ticket) in self.under_way.drain(..) {
            match ticket.wait() {
                Ok(_) => {
                    self.inserted += 1;
                    let name = path.file_name().unwrap_or(path.as_os_str());
                    self.names.push(name.to_string_lossy().into_owned());
                }
                Err(error) => {
                    known.remove(&hash);
                    match error {
                        bitkin::Error::Image(_) | bitkin::Error::Encode(_) => {
                            self.skipped.push((path, error.to_string()));
                        }
                        // The database, and not the picture.
                        error => broken = Some(error),
                    }
                }
            }
        }
        match broken {
            Some(error) => Err(failure(error)
                .advise("what was inserted before stays; the same command takes the rest")),
            None => Ok(()),
        }
    }

    /// A line of what it did, if it did anything.
    fn tell(
        &self,
        session: &mut Session,
        arguments: &Arguments,
        total: u64,
    ) -> Result<(), Failure> {
        for (path, reason) in &self.skipped {
            say(plain(&format!("skipped {}: {reason}", path.display())));
        }
        if self.inserted + self.known == 0 && self.skipped.is_empty() {
            return Ok(());
        }
        let mut line = format!("{} inserted", counted(self.inserted, "picture"));
        if self.known > 0 {
            line.push_str(&format!(", {} already there", grouped(self.known)));
        }
        if !self.names.is_empty() {
            let more = self.names.len().saturating_sub(3);
            line.push_str(&format!(
                ": {}",
                self.names[..self.names.len() - more].join(", ")
            ));
            if more > 0 {
                line.push_str(&format!(" and {} more", grouped(more as u64)));
            }
        }
        let facts = json!({
            "inserted": self.inserted,
            "known": self.known,
            "skipped": self.skipped.len(),
            "total": total,
        });
        report(session, arguments.format, facts, &line)?;
        // Whoever reads along need not wait for the next.
        session.out.flush()
    }
}
