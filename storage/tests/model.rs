//! The whole interface against a plain map, over random operations.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use bitkin_storage::simulated::SimulatedDisk;
use bitkin_storage::{
    Batch, CollectionId, Disk, Error, Options, Snapshot, Storage, repair_on, verify_on,
};
use common::{Rows, read_rows};
use proptest::prelude::*;

/// Width, so that padding bits and several bytes occur.
const WIDTHS: [u32; 3] = [8, 20, 64];

#[derive(Clone, Debug)]
struct Write {
    collection: usize,
    /// `None`: to be assigned.
    ids: Option<Vec<u64>>,
    rows: usize,
    seed: u8,
    payloads: bool,
    /// Whether it is an upsert, which must name its ids.
    replace: bool,
}

#[derive(Clone, Debug)]
struct Delete {
    collection: usize,
    ids: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Action {
    CreateCollection(usize),
    DropCollection(usize),
    Commit(Vec<Write>, Vec<Delete>),
    Flush,
    Compact(Option<usize>),
    Backup,
    Repair,
    Sync,
    Snapshot,
    /// Looks at everything, then forgets the snapshots.
    Check,
    Reopen {
        close: bool,
        memory_limit: usize,
        background: bool,
    },
}

fn write() -> impl Strategy<Value = Write> {
    let ids = prop_oneof![
        // Few ids, so that some exist.
        3 => prop::collection::vec(0_u64..60, 0..12).prop_map(Some),
        1 => prop::collection::vec(any::<u64>(), 0..4).prop_map(Some),
        2 => Just(None),
    ];
    (
        0..WIDTHS.len(),
        ids,
        0_usize..12,
        any::<u8>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(collection, ids, rows, seed, payloads, replace)| Write {
            collection,
            rows: ids.as_ref().map_or(rows, Vec::len),
            replace: replace && ids.is_some(),
            ids,
            seed,
            payloads,
        })
}

fn delete() -> impl Strategy<Value = Delete> {
    let ids = prop_oneof![
        prop::collection::vec(0_u64..60, 0..8),
        (0_u64..400).prop_map(|end| (0..end).collect()),
    ];
    (0..WIDTHS.len(), ids).prop_map(|(collection, ids)| Delete { collection, ids })
}

fn action() -> impl Strategy<Value = Action> {
    let commit = (
        prop::collection::vec(write(), 0..4),
        prop::collection::vec(delete(), 0..2),
    );
    prop_oneof![
        2 => (0..WIDTHS.len()).prop_map(Action::CreateCollection),
        1 => (0..WIDTHS.len()).prop_map(Action::DropCollection),
        14 => commit.prop_map(|(writes, deletes)| Action::Commit(writes, deletes)),
        3 => Just(Action::Flush),
        1 => prop::option::of(0..WIDTHS.len()).prop_map(Action::Compact),
        1 => Just(Action::Backup),
        1 => Just(Action::Repair),
        1 => Just(Action::Sync),
        2 => Just(Action::Snapshot),
        1 => Just(Action::Check),
        2 => (any::<bool>(), prop_oneof![Just(200), Just(64 << 20)], any::<bool>()).prop_map(
            |(close, memory_limit, background)| Action::Reopen { close, memory_limit, background },
        ),
    ]
}

/// What the database must hold: for each collection its rows and the largest id it ever held.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    sequence: u64,
    collections: BTreeMap<usize, (Rows, Option<u64>)>,
}

/// What a batch did.
#[derive(Debug, PartialEq)]
struct Done {
    assigned: Vec<Option<std::ops::Range<u64>>>,
    deleted: u64,
    replaced: u64,
}

impl Model {
    /// What a batch must do; `None` if it must be refused.
    fn commit(&mut self, writes: &[Write], deletes: &[Delete]) -> Option<Done> {
        let mut next = self.clone();
        let mut done = Done {
            assigned: Vec::new(),
            deleted: 0,
            replaced: 0,
        };
        let mut written = BTreeSet::new();
        let mut deleted = BTreeSet::new();
        for write in writes {
            let (rows, largest) = next.collections.get_mut(&write.collection)?;
            let first = largest.map_or(0, |largest| largest + 1);
            let ids = match &write.ids {
                Some(ids) => {
                    done.assigned.push(None);
                    ids.clone()
                }
                None => {
                    let end = first.checked_add(write.rows as u64)?;
                    done.assigned.push(Some(first..end));
                    (first..end).collect()
                }
            };
            for (row, id) in ids.into_iter().enumerate() {
                let old = rows.insert(id, (code(write, row), payload(write, row)));
                let twice = !written.insert((write.collection, id));
                if twice || id == u64::MAX || (old.is_some() && !write.replace) {
                    return None;
                }
                done.replaced += u64::from(old.is_some());
                *largest = (*largest).max(Some(id));
            }
        }
        for delete in deletes {
            let (rows, _) = next.collections.get_mut(&delete.collection)?;
            for &id in &delete.ids {
                if written.contains(&(delete.collection, id)) {
                    return None;
                }
                if deleted.insert((delete.collection, id)) && rows.remove(&id).is_some() {
                    done.deleted += 1;
                }
            }
        }
        if !written.is_empty() || done.deleted > 0 {
            next.sequence += 1;
        }
        *self = next;
        Some(done)
    }
}

fn code(write: &Write, row: usize) -> Vec<u8> {
    let bits = WIDTHS[write.collection];
    let mut code: Vec<u8> = (0..bits.div_ceil(8))
        .map(|i| write.seed ^ (row as u8) ^ (i as u8))
        .collect();
    if !bits.is_multiple_of(8) {
        *code.last_mut().unwrap() &= (1 << (bits % 8)) - 1;
    }
    code
}

fn payload(write: &Write, row: usize) -> Option<Vec<u8>> {
    (write.payloads && row % 3 != 1).then(|| vec![write.seed; row % 3])
}

fn batch(writes: &[Write], deletes: &[Delete], ids: &BTreeMap<usize, CollectionId>) -> Batch {
    let mut batch = Batch::new();
    for write in writes {
        let codes: Vec<u8> = (0..write.rows).flat_map(|row| code(write, row)).collect();
        let payloads: Vec<_> = (0..write.rows).map(|row| payload(write, row)).collect();
        let payloads: Vec<_> = payloads.iter().map(|payload| payload.as_deref()).collect();
        let payloads = write.payloads.then_some(&payloads[..]);
        let collection = ids[&write.collection];
        match &write.ids {
            Some(ids) if write.replace => batch.upsert(collection, ids, &codes, payloads),
            ids => batch.insert(collection, ids.as_deref(), &codes, payloads),
        };
    }
    for delete in deletes {
        batch.delete(ids[&delete.collection], &delete.ids);
    }
    batch
}

fn check(snapshot: &Snapshot, model: &Model) {
    assert_eq!(snapshot.sequence(), model.sequence);
    let mut found: Vec<usize> = Vec::new();
    for info in snapshot.collections() {
        let collection: usize = info.name.parse().unwrap();
        let view = snapshot.collection(info.id).unwrap();
        let (rows, largest) = &model.collections[&collection];
        assert_eq!(&read_rows(&view).unwrap(), rows);
        assert_eq!(view.largest_id(), *largest);
        assert_eq!(
            (view.len(), info.bits),
            (rows.len() as u64, WIDTHS[collection])
        );
        for id in (0..400).step_by(7) {
            assert_eq!(view.find(id).unwrap().is_some(), rows.contains_key(&id));
        }
        found.push(collection);
    }
    found.sort_unstable();
    assert!(found.iter().eq(model.collections.keys()));
}

fn run(actions: Vec<Action>) {
    // In memory, where a sync costs nothing, so that there is time for many operations.
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    let mut options = Options::default();
    let mut storage = Storage::create_on(Arc::clone(&disk), options.clone()).unwrap();
    let reader = Storage::open_read_only_on(Arc::clone(&disk)).unwrap();
    let mut model = Model::default();
    let mut ids: BTreeMap<usize, CollectionId> = BTreeMap::new();
    let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
    for action in actions {
        match action {
            Action::CreateCollection(collection) => {
                let name = collection.to_string();
                match storage.create_collection(&name, WIDTHS[collection], b"") {
                    Ok(id) => {
                        model.sequence += 1;
                        assert!(ids.insert(collection, id).is_none());
                        model.collections.insert(collection, (Rows::new(), None));
                    }
                    Err(Error::CollectionExists { .. }) => assert!(ids.contains_key(&collection)),
                    Err(error) => panic!("{error}"),
                }
            }
            Action::DropCollection(collection) => {
                if let Some(id) = ids.remove(&collection) {
                    storage.drop_collection(id).unwrap();
                    model.sequence += 1;
                    model.collections.remove(&collection);
                    let again = storage.drop_collection(id);
                    assert!(matches!(again, Err(Error::UnknownCollection { .. })));
                }
            }
            Action::Compact(collection) => {
                let id = collection.and_then(|collection| ids.get(&collection).copied());
                storage.compact(id).unwrap();
                for stats in storage.stats().collections {
                    if id.is_none_or(|id| id == stats.id) {
                        let clean = (u64::from(stats.rows > 0), 0, 0);
                        let found = (stats.segments, stats.memory_rows, stats.deleted_rows);
                        assert_eq!(found, clean, "after compaction");
                    }
                }
            }
            Action::Backup => {
                let dest = SimulatedDisk::new();
                let report = storage.backup_on(&dest).unwrap();
                assert_eq!(report.sequence, model.sequence);
                assert!(verify_on(&dest).unwrap().is_clean());
                let copy = Storage::open_on(Arc::new(dest), options.clone()).unwrap();
                check(&copy.snapshot(), &model);
            }
            Action::Repair => {
                let (backup, dest) = (SimulatedDisk::new(), Arc::new(SimulatedDisk::new()));
                storage.backup_on(&backup).unwrap();
                let report = repair_on(&backup, dest.clone(), None).unwrap();
                assert!(report.is_complete(), "{report:?}");
                let copy = Storage::open_read_only_on(dest).unwrap();
                for info in copy.collections() {
                    let collection: usize = info.name.parse().unwrap();
                    let view = copy.snapshot().collection(info.id).unwrap();
                    assert_eq!(read_rows(&view).unwrap(), model.collections[&collection].0);
                }
                assert_eq!(copy.collections().len(), model.collections.len());
            }
            Action::Commit(mut writes, mut deletes) => {
                writes.retain(|write| ids.contains_key(&write.collection));
                deletes.retain(|delete| ids.contains_key(&delete.collection));
                let wanted = model.commit(&writes, &deletes);
                match storage.commit(batch(&writes, &deletes, &ids)) {
                    Ok(commit) => {
                        let done = Done {
                            assigned: commit.assigned,
                            deleted: commit.deleted,
                            replaced: commit.replaced,
                        };
                        assert_eq!(Some(done), wanted);
                        assert_eq!(commit.sequence, model.sequence);
                    }
                    Err(
                        Error::DuplicateId { .. }
                        | Error::RepeatedId { .. }
                        | Error::ReservedId { .. }
                        | Error::IdsExhausted { .. },
                    ) => assert_eq!(wanted, None),
                    Err(error) => panic!("{error}"),
                }
            }
            Action::Flush => storage.flush().unwrap(),
            Action::Sync => storage.sync().unwrap(),
            Action::Snapshot => snapshots.push((storage.snapshot(), model.clone())),
            Action::Check => {
                check(&storage.snapshot(), &model);
                let before = reader.snapshot().sequence();
                assert_eq!(reader.refresh().unwrap(), before < model.sequence);
                check(&reader.snapshot(), &model);
                let fresh = Storage::open_read_only_on(Arc::clone(&disk)).unwrap();
                check(&fresh.snapshot(), &model);
                snapshots
                    .drain(..)
                    .for_each(|(snapshot, model)| check(&snapshot, &model));
            }
            Action::Reopen {
                close,
                memory_limit,
                background,
            } => {
                if close {
                    storage.close().unwrap()
                } else {
                    drop(storage)
                }
                options.memory_limit = memory_limit;
                options.background = background;
                storage = Storage::open_on(Arc::clone(&disk), options.clone()).unwrap();
                check(&storage.snapshot(), &model);
            }
        }
    }
    check(&storage.snapshot(), &model);
    snapshots
        .iter()
        .for_each(|(snapshot, model)| check(snapshot, model));
    drop(storage);
    let report = verify_on(&*disk).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let rows: usize = model.collections.values().map(|(rows, _)| rows.len()).sum();
    assert_eq!(report.rows, rows as u64);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(2000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_operations_do_what_a_map_does(
        actions in prop::collection::vec(action(), 1..40)
    ) {
        // Most actions need a collection.
        let mut all = vec![Action::CreateCollection(1), Action::CreateCollection(2)];
        all.extend(actions);
        run(all);
    }
}
