//! Watching, and stopping, work that goes through whole files.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bitkin_storage::{Disk, File, Lock, OsDisk, Region};

use crate::error::Error;

/// Bytes that are read at once: after so many it is asked whether to stop.
const PIECE: usize = 4 << 20;

/// How far long work on files has come, and a way to stop it: another thread looks at it, or calls
/// [`stop`](Activity::stop). Clones are the same activity.
///
/// [`verify_with`](crate::verify_with), [`backup_with`](crate::backup_with) and
/// [`repair_with`](crate::repair_with) take one, and a database that was opened
/// [with one](crate::DatabaseOptions::activity) reports what is written to its segments by flushes, merges and
/// [`compact`](crate::Database::compact). A collection may be [stopped by one](crate::Collection::stopped_by).
///
/// Work that was stopped ends with [`Error::Stopped`](crate::Error::Stopped), and leaves
/// what any error at that place leaves: a database as it was, or an incomplete copy that is none. Rows that were
/// committed are never lost by it: what is stopped is the writing of segments, never the log.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    read: AtomicU64,
    written: AtomicU64,
    stopped: AtomicBool,
}

impl Activity {
    /// Of work that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Lets the work end with an error, soon.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Lets work go on again, if it was stopped: for a database that stays open.
    pub fn resume(&self) {
        self.0.stopped.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    fn check(&self) -> io::Result<()> {
        match self.is_stopped() {
            true => Err(stopped()),
            false => Ok(()),
        }
    }

    /// What becomes of work during which storage counts what it cannot read as damaged: that it was stopped it
    /// may have mistaken for damage.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub(crate) fn unless_stopped<T>(&self, done: T) -> Result<T, Error> {
        match self.is_stopped() {
            true => Err(Error::Stopped),
            false => Ok(done),
        }
    }

    /// The files of a directory, watched. With `all`, any call may be stopped; without, only writes to
    /// segments, which can be made again.
    pub(crate) fn disk(&self, dir: &Path, all: bool) -> Watched {
        Watched {
            disk: OsDisk::new(dir),
            activity: self.clone(),
            all,
        }
    }
}

/// By this storage's errors are told from those of a disk.
#[derive(Debug, thiserror::Error)]
#[error("it was stopped")]
struct Halt;

/// What a file says once it was stopped; it becomes [`Error::Stopped`].
pub(crate) fn stopped() -> io::Error {
    io::Error::other(Halt)
}

/// Whether it is [`stopped`] that went through storage.
pub(crate) fn says_stopped(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Halt>())
}

/// The real disk, watched.
#[derive(Debug)]
pub(crate) struct Watched {
    disk: OsDisk,
    activity: Activity,
    all: bool,
}

impl Watched {
    fn watch(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile {
            file,
            activity: self.activity.clone(),
            counts: self.all || name.starts_with("segments/"),
            stops_reads: self.all,
        })
    }
}

impl Disk for Watched {
    fn path(&self) -> &Path {
        self.disk.path()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.watch(name, self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.watch(name, self.disk.open(name)?))
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.watch(name, self.disk.open_write(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn hard_link(&self, name: &str, to: &dyn Disk, to_name: &str) -> io::Result<()> {
        self.disk.hard_link(name, to, to_name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(name)
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    activity: Activity,
    /// What is read and written counts, and writes may be stopped.
    counts: bool,
    stops_reads: bool,
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        for piece in bytes.chunks_mut(PIECE) {
            if self.stops_reads {
                self.activity.check()?;
            }
            let read = self.file.read_at(offset + done as u64, piece)?;
            done += read;
            if self.counts {
                let counts = &self.activity.0;
                counts.read.fetch_add(read as u64, Ordering::Relaxed);
            }
            if read < piece.len() {
                break;
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.counts {
            self.activity.check()?;
        }
        self.file.write_at(offset, bytes)?;
        if self.counts {
            let counts = &self.activity.0;
            let written = bytes.len() as u64;
            counts.written.fetch_add(written, Ordering::Relaxed);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    unsafe fn map(&self) -> io::Result<Region> {
        // SAFETY: what the caller promises of this file holds of the one behind it, which is the same.
        let region = unsafe { self.file.map()? };
        if self.stops_reads {
            // It is about to be read, by whoever verifies it.
            let counts = &self.activity.0;
            counts
                .read
                .fetch_add(region.len() as u64, Ordering::Relaxed);
        }
        Ok(region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    use crate::{CollectionConfig, Database, DatabaseOptions, ErrorKind, Filter, Way};

    /// A database of three segments and its directory.
    fn filled(activity: &Activity) -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::create(dir.path().join("db")).unwrap();
        db.create_collection("c", CollectionConfig::bits(64))
            .unwrap();
        db.close().unwrap();
        let options = DatabaseOptions::new().activity(activity.clone());
        let db = options.open(dir.path().join("db")).unwrap();
        let codes = db.collection("c").unwrap();
        for batch in 0..3_u64 {
            let ids: Vec<u64> = (batch * 1000..batch * 1000 + 1000).collect();
            let bytes: Vec<u8> = ids.iter().flat_map(|id| (id * 77).to_le_bytes()).collect();
            codes.insert(&ids, &bytes).unwrap();
            db.flush().unwrap();
        }
        (dir, db)
    }

    #[test]
    fn a_merge_that_is_stopped_leaves_everything_as_it_was() {
        let activity = Activity::new();
        let (dir, db) = filled(&activity);
        let before = activity.bytes_written();
        assert!(before > 3 * 16_000, "{before}");
        let segments = |db: &Database| db.stats().unwrap().collections[0].segments;
        let count = segments(&db);
        activity.stop();
        let error = db.compact().unwrap_err();
        assert!(matches!(error, Error::Stopped), "{error}");
        assert_eq!(error.kind(), ErrorKind::Stopped);
        // Commits go on all the same.
        let codes = db.collection("c").unwrap();
        codes.insert(&[9000], &[7; 8]).unwrap();
        assert_eq!((codes.len().unwrap(), segments(&db)), (3001, count));
        activity.resume();
        db.compact().unwrap();
        assert!(activity.bytes_written() >= before + 48_000);
        assert_eq!((codes.len().unwrap(), segments(&db)), (3001, 1));
        db.close().unwrap();
        assert!(crate::verify(dir.path().join("db")).unwrap().is_clean());
    }

    #[test]
    fn what_is_read_of_a_collection_is_stopped_and_goes_on() {
        let (_dir, db) = filled(&Activity::new());
        let activity = Activity::new();
        let codes = db.collection("c").unwrap().stopped_by(&activity);
        let stopped = |what: Result<(), Error>| assert!(matches!(what, Err(Error::Stopped)));
        let filter = Filter::parse("x is null").unwrap();
        let query = [0; 16];
        // In the middle of it.
        let mut given = 0;
        let all = codes.search(&query[..8]).for_each(|_| {
            given += 1;
            activity.stop();
            ControlFlow::Continue(())
        });
        stopped(all.map(drop));
        assert!((1..3000).contains(&given), "{given}");
        activity.resume();
        let mut rows = codes.rows().unwrap();
        assert!(rows.by_ref().take(5).all(|row| row.is_ok()));
        activity.stop();
        stopped(rows.next().unwrap().map(drop));
        assert!(rows.next().is_none());
        // Before it.
        stopped(codes.search(&query[..8]).run().map(drop));
        stopped(codes.search(&query[..8]).explain().map(drop));
        stopped(codes.search(&query[..8]).way(Way::Scan).run().map(drop));
        stopped(codes.search_batch(&query).run().map(drop));
        stopped(codes.count(&filter).map(drop));
        stopped(codes.delete_where(&filter).map(drop));
        stopped(codes.pairs(0).filter(&filter).run().map(drop));
        assert_eq!(codes.len().unwrap(), 3000);
        // Another handle is not concerned.
        assert_eq!(db.collection("c").unwrap().count(&filter).unwrap(), 3000);
        activity.resume();
        assert_eq!(codes.search(&query[..8]).run().unwrap().hits.len(), 10);
        assert_eq!(codes.count(&filter).unwrap(), 3000);
    }

    #[test]
    fn reads_are_counted_and_stopped() {
        let (dir, db) = filled(&Activity::new());
        db.close().unwrap();
        let (db, copy) = (dir.path().join("db"), dir.path().join("copy"));
        let activity = Activity::new();
        let report = crate::verify_with(&db, &activity).unwrap();
        assert!(activity.bytes_read() >= report.bytes, "{report:?}");
        activity.stop();
        let stopped = |what: Result<(), Error>| assert!(matches!(what, Err(Error::Stopped)));
        stopped(crate::verify_with(&db, &activity).map(drop));
        stopped(crate::backup_with(&db, &copy, &activity).map(drop));
        stopped(crate::repair_with(&db, dir.path().join("saved"), &activity).map(drop));
        let open = Database::open(&db).unwrap();
        stopped(open.verify_with(&activity).map(drop));
        stopped(open.backup_with(&copy, &activity).map(drop));
        open.close().unwrap();
        // It leaves nothing, and what was there before.
        assert!(!copy.exists() && !dir.path().join("saved").exists());
        std::fs::create_dir(&copy).unwrap();
        stopped(crate::backup_with(&db, &copy, &activity).map(drop));
        assert!(std::fs::read_dir(&copy).unwrap().next().is_none());
        crate::backup_with(&db, &copy, &Activity::new()).unwrap();
        assert!(crate::verify(&copy).unwrap().is_clean());
    }
}
