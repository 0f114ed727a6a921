//! Random work on a database, beside a plain picture of what it must hold after each commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitkin_storage::simulated::{Image, SimulatedDisk};
use bitkin_storage::{Batch, CollectionId, Disk, Durability, Error, Options, Storage, verify_on};

use super::{Rows, code_of, read_all};

/// What a database holds: the rows of each collection, by name.
pub type Model = BTreeMap<String, Rows>;

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const WIDTHS: [u32; 3] = [64, 96, 8];
/// Few ids, so that they are met again and again.
const IDS: u64 = 60;

/// What is known, from outside, of a database that is being worked on.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it held after each commit, from commit 0.
    pub history: Vec<Arc<Model>>,
    /// The last commit that must survive anything.
    pub durable: usize,
    /// What the commit that is under way would make of it.
    pub attempted: Option<Arc<Model>>,
    /// Whether it was created for certain.
    pub created: bool,
}

impl Known {
    pub fn new() -> Known {
        Known {
            history: vec![Arc::default()],
            durable: 0,
            attempted: None,
            created: false,
        }
    }

    fn now(&self) -> &Model {
        self.history.last().unwrap()
    }

    /// Whether a database may hold this as of commit `sequence`.
    pub fn allows(&self, sequence: u64, found: &Model) -> Result<(), String> {
        let sequence = sequence as usize;
        if sequence < self.durable {
            return Err(format!(
                "commit {} is lost: {sequence} is the last",
                self.durable
            ));
        }
        let wanted = match self.history.get(sequence) {
            Some(model) => model,
            None if sequence == self.history.len() => match &self.attempted {
                Some(model) => model,
                None => return Err(format!("nobody made commit {sequence}")),
            },
            None => return Err(format!("nobody made commit {sequence}")),
        };
        if **wanted == *found {
            Ok(())
        } else {
            Err(format!(
                "commit {sequence} should leave {wanted:?}, and there is {found:?}"
            ))
        }
    }
}

/// A worker with its database.
pub struct Worker {
    pub disk: SimulatedDisk,
    pub known: Known,
    pub options: Options,
    pub chance: Chance,
    storage: Option<Storage>,
    /// What was known when each backup was made.
    backups: Vec<Known>,
}

impl Worker {
    pub fn new(seed: u64) -> Worker {
        let mut chance = Chance(seed);
        let options = Options {
            durability: if chance.below(4) == 0 {
                Durability::None
            } else {
                Durability::Sync
            },
            memory_limit: [100, 400, 2000, 1 << 20][chance.below(4) as usize],
            merge_limit: [2_000, 100_000, u64::MAX][chance.below(3) as usize],
            background: false,
            ..Options::default()
        };
        Worker {
            disk: SimulatedDisk::new(),
            known: Known::new(),
            options,
            chance,
            storage: None,
            backups: Vec::new(),
        }
    }

    fn on_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    fn storage(&self) -> &Storage {
        self.storage.as_ref().unwrap()
    }

    /// Creates the database, or opens it if it is there.
    pub fn start(&mut self) -> Result<(), Error> {
        let options = self.options.clone();
        let opened = if self.known.created {
            Storage::open_on(self.on_disk(), options)
        } else {
            match Storage::create_on(self.on_disk(), options.clone()) {
                Err(Error::NotEmpty { .. }) => Storage::open_on(self.on_disk(), options),
                created => created,
            }
        };
        self.storage = Some(opened?);
        self.known.created = true;
        self.known.durable = self
            .known
            .durable
            .max(self.storage().snapshot().sequence() as usize);
        Ok(())
    }

    /// Lets go of the database without closing it, as a process that ends does.
    pub fn abandon(&mut self) {
        self.storage = None;
    }

    /// Does one thing by chance. After an error the database may have to be opened again.
    pub fn step(&mut self) -> Result<(), Error> {
        match self.chance.below(24) {
            0 => self.create_collection(),
            1 if self.chance.below(3) == 0 => self.drop_collection(),
            2 => self.storage().flush(),
            3 => self.storage().compact(None),
            4 => self.storage().sync().map(|()| self.all_is_durable()),
            5 => self.backup(),
            6 | 7 => self.reopen(),
            _ => self.commit(),
        }
    }

    fn all_is_durable(&mut self) {
        self.known.durable = self.known.history.len() - 1;
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let storage = self.storage.take().unwrap();
        if self.chance.below(2) == 0 {
            storage.close()?;
            self.all_is_durable();
        } else {
            drop(storage);
        }
        self.start()
    }

    fn backup(&mut self) -> Result<(), Error> {
        let name = format!("backup{}", self.backups.len());
        self.backups.push(self.known.clone());
        self.storage().backup_on(&self.disk.beside(&name))?;
        Ok(())
    }

    /// Checks the backups that were made so far. The disk must be well.
    pub fn check_backups(&self) {
        for (backup, known) in self.backups.iter().enumerate() {
            check_backup(&self.disk.beside(&format!("backup{backup}")), known);
        }
    }

    fn create_collection(&mut self) -> Result<(), Error> {
        let which = self.chance.below(3) as usize;
        let name = NAMES[which];
        let mut next = self.known.now().clone();
        if next.insert(name.to_owned(), Rows::new()).is_some() {
            let error = self.storage().create_collection(name, WIDTHS[which], b"p");
            assert!(
                matches!(error, Err(Error::CollectionExists { .. })),
                "{error:?}"
            );
            return Ok(());
        }
        self.attempt(next, |storage| {
            storage
                .create_collection(name, WIDTHS[which], b"p")
                .map(drop)
        })?;
        self.all_is_durable();
        Ok(())
    }

    fn drop_collection(&mut self) -> Result<(), Error> {
        let Some((name, id)) = self.any_collection() else {
            return Ok(());
        };
        let mut next = self.known.now().clone();
        next.remove(&name);
        self.attempt(next, |storage| storage.drop_collection(id))?;
        self.all_is_durable();
        Ok(())
    }

    fn any_collection(&mut self) -> Option<(String, CollectionId)> {
        let infos = self.storage().collections();
        let which = self.chance.below(infos.len().max(1) as u64) as usize;
        infos.get(which).map(|info| (info.name.clone(), info.id))
    }

    /// Inserts, upserts and deletes rows of one collection or two.
    fn commit(&mut self) -> Result<(), Error> {
        let mut next = self.known.now().clone();
        let mut batch = Batch::new();
        for _ in 0..=self.chance.below(2) {
            if let Some((name, id)) = self.any_collection() {
                self.add(&mut batch, id, next.get_mut(&name).unwrap());
            }
        }
        let before = self.known.history.len();
        if next == *self.known.now() {
            // Nothing to do, or rows replaced by the same: the latter is a commit.
            let sequence = self.storage().commit(batch)?.sequence;
            if sequence as usize == before {
                self.known.history.push(Arc::new(next));
                self.made_durable();
            }
            return Ok(());
        }
        self.attempt(next, |storage| storage.commit(batch).map(drop))?;
        self.made_durable();
        Ok(())
    }

    fn made_durable(&mut self) {
        if self.options.durability == Durability::Sync {
            self.all_is_durable();
        }
    }

    /// Adds to the batch what it also does to `rows`; each id at most once a batch.
    fn add(&mut self, batch: &mut Batch, collection: CollectionId, rows: &mut Rows) {
        if !batch.is_empty() {
            // The second collection may be the first again, which must not be given an id twice.
            return self.append(batch, collection, rows);
        }
        let mut ids: Vec<u64> = (0..1 + self.chance.below(12))
            .map(|_| self.chance.below(IDS))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        // In an order of their own.
        ids.sort_by_key(|id| id.wrapping_mul(0x9e37_79b9));
        let (old, new): (Vec<u64>, Vec<u64>) = ids.iter().partition(|id| rows.contains_key(id));
        let salt = self.chance.below(1000);
        match self.chance.below(4) {
            0 => {
                batch.delete(collection, &ids);
                old.iter().for_each(|id| drop(rows.remove(id)));
            }
            1 => {
                batch.delete(collection, &old);
                old.iter().for_each(|id| drop(rows.remove(id)));
                self.write(batch, collection, rows, &new, salt, false);
            }
            2 => self.write(batch, collection, rows, &new, salt, false),
            _ => self.write(batch, collection, rows, &ids, salt, true),
        }
    }

    fn append(&mut self, batch: &mut Batch, collection: CollectionId, rows: &mut Rows) {
        let first = 1000 + self.known.history.len() as u64 * 10;
        let ids: Vec<u64> = (first..first + self.chance.below(3)).collect();
        self.write(batch, collection, rows, &ids, 0, false);
    }

    fn write(
        &mut self,
        batch: &mut Batch,
        collection: CollectionId,
        rows: &mut Rows,
        ids: &[u64],
        salt: u64,
        replace: bool,
    ) {
        let mut codes = Vec::new();
        let mut payloads = Vec::new();
        for &id in ids {
            let code = code_of(id * 1000 + salt, collection.code_bytes());
            let payload = match (id + salt) % 3 {
                0 => Some(format!("{{\"{id}\":{salt}}}").into_bytes()),
                1 => Some(Vec::new()),
                _ => None,
            };
            codes.extend_from_slice(&code);
            rows.insert(id, (code, payload.clone()));
            payloads.push(payload);
        }
        let payloads: Vec<Option<&[u8]>> = payloads.iter().map(|p| p.as_deref()).collect();
        if replace {
            batch.upsert(collection, ids, &codes, Some(&payloads));
        } else {
            batch.insert(collection, Some(ids), &codes, Some(&payloads));
        }
    }

    /// Does what leads to `next`, which is one commit.
    fn attempt(
        &mut self,
        next: Model,
        work: impl FnOnce(&Storage) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let next = Arc::new(next);
        self.known.attempted = Some(Arc::clone(&next));
        let before = self.storage().snapshot().sequence();
        if let Err(error) = work(self.storage()) {
            // What was not acknowledged is not shown.
            assert_eq!(self.storage().snapshot().sequence(), before);
            return Err(error);
        }
        self.known.attempted = None;
        self.known.history.push(next);
        Ok(())
    }

    /// Compares the open database with what it must hold.
    pub fn check(&self) {
        let sequence = self.storage().snapshot().sequence();
        assert_eq!(sequence as usize, self.known.history.len() - 1);
        let found = read_all(self.storage()).unwrap();
        assert_eq!(found, *self.known.now());
    }

    /// After a failure: goes on with the database if it still can be written, or else opens it again.
    pub fn go_on(&mut self) {
        let usable = self
            .storage
            .as_ref()
            .is_some_and(|s| s.commit(Batch::new()).is_ok());
        if usable && self.chance.below(2) == 0 {
            self.known.attempted = None;
            self.check();
        } else {
            self.recover();
        }
    }

    /// After a failure: opens what is there and takes it as what is.
    pub fn recover(&mut self) {
        self.abandon();
        let (sequence, found) = check_disk(&self.disk, &self.known).unwrap_or_default();
        if sequence as usize == self.known.history.len() {
            self.known.history.push(Arc::new(found));
        }
        // Commits that were not durable are gone for good.
        self.known.history.truncate(sequence as usize + 1);
        self.known.attempted = None;
        self.start().unwrap();
        self.check();
    }
}

/// Opens what is on a disk in every way, and compares it with what is known. Returns its last commit
/// and its rows; `None` if it was never created.
pub fn check_disk(disk: &SimulatedDisk, known: &Known) -> Option<(u64, Model)> {
    let on_disk = || Arc::new(disk.clone()) as Arc<dyn Disk>;
    let reader = match Storage::open_read_only_on(on_disk()) {
        Ok(reader) => reader,
        Err(Error::NotADatabase { .. }) if !known.created => {
            // The creation was not acknowledged and is not there; another must succeed.
            Storage::create_on(on_disk(), Options::default()).unwrap();
            return None;
        }
        Err(error) => panic!("cannot be read: {error}"),
    };
    let report = verify_on(&*on_disk()).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let sequence = reader.snapshot().sequence();
    let found = read_all(&reader).unwrap();
    known.allows(sequence, &found).unwrap();
    let options = Options {
        background: false,
        ..Options::default()
    };
    let storage = Storage::open_on(on_disk(), options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(storage.snapshot().sequence(), sequence);
    assert_eq!(read_all(&storage).unwrap(), found);
    drop(storage);
    let report = verify_on(&*on_disk()).unwrap();
    assert!(report.is_clean(), "after recovery: {report:?}");
    assert_eq!(
        report.rows,
        found.values().map(|rows| rows.len() as u64).sum::<u64>()
    );
    Some((sequence, found))
}

/// A backup that is complete holds what the database held at some moment.
pub fn check_backup(disk: &SimulatedDisk, known: &Known) {
    if !disk.names().iter().any(|name| name == "MANIFEST") {
        return;
    }
    let on_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = verify_on(&*on_disk).unwrap();
    assert!(report.is_clean(), "backup: {report:?}");
    let reader = Storage::open_read_only_on(on_disk).unwrap();
    // It may be older than what is durable by now.
    let known = Known {
        durable: 0,
        ..known.clone()
    };
    known
        .allows(reader.snapshot().sequence(), &read_all(&reader).unwrap())
        .unwrap();
}

/// A moment at which power might be lost, and what was known then.
pub struct Moment {
    pub image: Image,
    pub known: Known,
}
