//! The whole interface against a plain map, over random operations.

mod common;

use std::collections::BTreeMap;

use std::sync::Arc;

use bitkin_storage::simulated::SimulatedDisk;
use bitkin_storage::{Batch, CollectionId, Disk, Error, Options, Snapshot, Storage, verify_on};
use common::{Rows, read_rows};
use proptest::prelude::*;

/// Width, so that padding bits and several bytes occur.
const WIDTHS: [u32; 3] = [8, 20, 64];

#[derive(Clone, Debug)]
struct Insert {
    collection: usize,
    /// `None`: to be assigned.
    ids: Option<Vec<u64>>,
    rows: usize,
    seed: u8,
    payloads: bool,
}

#[derive(Clone, Debug)]
enum Action {
    CreateCollection(usize),
    Commit(Vec<Insert>),
    Flush,
    Sync,
    Snapshot,
    /// Looks at everything, then forgets the snapshots.
    Check,
    Reopen {
        close: bool,
        memory_limit: usize,
    },
}

fn insert() -> impl Strategy<Value = Insert> {
    let ids = prop_oneof![
        // Few ids, so that some exist.
        2 => prop::collection::vec(0_u64..400, 0..12).prop_map(Some),
        1 => prop::collection::vec(any::<u64>(), 0..4).prop_map(Some),
        2 => Just(None),
    ];
    (
        0..WIDTHS.len(),
        ids,
        0_usize..12,
        any::<u8>(),
        any::<bool>(),
    )
        .prop_map(|(collection, ids, rows, seed, payloads)| {
            let rows = ids.as_ref().map_or(rows, Vec::len);
            Insert {
                collection,
                ids,
                rows,
                seed,
                payloads,
            }
        })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => (0..WIDTHS.len()).prop_map(Action::CreateCollection),
        10 => prop::collection::vec(insert(), 0..4).prop_map(Action::Commit),
        2 => Just(Action::Flush),
        1 => Just(Action::Sync),
        2 => Just(Action::Snapshot),
        1 => Just(Action::Check),
        2 => (any::<bool>(), prop_oneof![Just(200), Just(64 << 20)])
            .prop_map(|(close, memory_limit)| Action::Reopen { close, memory_limit }),
    ]
}

/// What the database must hold: for each collection its rows and the largest id it ever held.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    sequence: u64,
    collections: BTreeMap<usize, (Rows, Option<u64>)>,
}

impl Model {
    /// What a batch must do: the ids that are assigned, or `None` if it must be refused.
    fn commit(&mut self, inserts: &[Insert]) -> Option<Vec<Option<std::ops::Range<u64>>>> {
        let mut next = self.clone();
        let mut assigned = Vec::new();
        for insert in inserts {
            let (rows, largest) = next.collections.get_mut(&insert.collection)?;
            let first = largest.map_or(0, |largest| largest + 1);
            let ids = match &insert.ids {
                Some(ids) => {
                    assigned.push(None);
                    ids.clone()
                }
                None => {
                    let end = first.checked_add(insert.rows as u64)?;
                    assigned.push(Some(first..end));
                    (first..end).collect()
                }
            };
            for (row, id) in ids.into_iter().enumerate() {
                let new = rows
                    .insert(id, (code(insert, row), payload(insert, row)))
                    .is_none();
                if !new || id == u64::MAX {
                    return None;
                }
                *largest = (*largest).max(Some(id));
            }
        }
        if inserts.iter().any(|insert| insert.rows > 0) {
            next.sequence += 1;
        }
        *self = next;
        Some(assigned)
    }
}

fn code(insert: &Insert, row: usize) -> Vec<u8> {
    let bits = WIDTHS[insert.collection];
    let mut code: Vec<u8> = (0..bits.div_ceil(8))
        .map(|i| insert.seed ^ (row as u8) ^ (i as u8))
        .collect();
    if !bits.is_multiple_of(8) {
        *code.last_mut().unwrap() &= (1 << (bits % 8)) - 1;
    }
    code
}

fn payload(insert: &Insert, row: usize) -> Option<Vec<u8>> {
    (insert.payloads && row % 3 != 1).then(|| vec![insert.seed; row % 3])
}

fn batch(inserts: &[Insert], ids: &BTreeMap<usize, CollectionId>) -> Batch {
    let mut batch = Batch::new();
    for insert in inserts {
        let codes: Vec<u8> = (0..insert.rows).flat_map(|row| code(insert, row)).collect();
        let payloads: Vec<_> = (0..insert.rows).map(|row| payload(insert, row)).collect();
        let payloads: Vec<_> = payloads.iter().map(|payload| payload.as_deref()).collect();
        let payloads = insert.payloads.then_some(&payloads[..]);
        batch.insert(
            ids[&insert.collection],
            insert.ids.as_deref(),
            &codes,
            payloads,
        );
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
            Action::Commit(mut inserts) => {
                inserts.retain(|insert| ids.contains_key(&insert.collection));
                let wanted = model.commit(&inserts);
                match storage.commit(batch(&inserts, &ids)) {
                    Ok(commit) => {
                        assert_eq!(Some(commit.assigned), wanted);
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
            } => {
                if close {
                    storage.close().unwrap()
                } else {
                    drop(storage)
                }
                options.memory_limit = memory_limit;
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
