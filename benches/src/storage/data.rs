//! The rows that are written: pseudo-random, the same in every run.

use bitkin_storage::{Batch, CollectionId, Durability, Options, Storage};

use crate::Result;

/// A payload of 40 bytes, as a small JSON object is.
pub(crate) const PAYLOAD: &[u8; 40] = br#"{"file":"pictures/0123456.jpg","year":7}"#;

/// A one-to-one scrambling of the 64-bit numbers (the finaliser of SplitMix64): of different numbers
/// it makes different ids, scattered over the whole range.
pub(crate) fn scattered(number: u64) -> u64 {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A source of pseudo-random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed << 40)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        scattered(self.0)
    }

    /// A number less than `bound`, which must be less than 2³².
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
    }
}

/// What ids rows get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The database assigns them, one after the other.
    Assigned,
    /// Any 64-bit numbers.
    Random,
}

impl Ids {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ids::Assigned => "assigned",
            Ids::Random => "random",
        }
    }

    /// The id of row `number` of a collection, counted from 0.
    pub(crate) fn id(self, number: u64) -> u64 {
        match self {
            Ids::Assigned => number,
            Ids::Random => scattered(number + 1),
        }
    }
}

/// Bytes of codes, out of which the codes of a batch are taken at one place or another.
const POOL: usize = 1 << 20;

/// Rows that are written one batch after the other.
///
/// Ids and codes are made beforehand: making them is not what is measured.
#[derive(Debug)]
pub(crate) struct Rows {
    collection: CollectionId,
    rows: u64,
    batch: u64,
    next: u64,
    /// Of all rows, if they are not assigned.
    ids: Option<Vec<u64>>,
    codes: Vec<u8>,
    /// Of a batch, if they have any.
    payloads: Option<Vec<Option<&'static [u8]>>>,
}

impl Rows {
    /// So many rows, in batches of `batch`.
    pub(crate) fn new(collection: CollectionId, kind: Ids, rows: u64, batch: u64) -> Rows {
        let mut codes = vec![0; POOL + batch as usize * collection.code_bytes()];
        Random::new(1).fill(&mut codes);
        Rows {
            collection,
            rows,
            batch,
            next: 0,
            ids: (kind == Ids::Random).then(|| (0..rows).map(|number| kind.id(number)).collect()),
            codes,
            payloads: None,
        }
    }

    /// The same rows, each with [`PAYLOAD`].
    pub(crate) fn with_payloads(mut self) -> Rows {
        self.payloads = Some(vec![Some(&PAYLOAD[..]); self.batch as usize]);
        self
    }

    /// A batch of the next rows, `rows` of them, which must not be more than of any batch.
    fn next_batch(&mut self, rows: u64) -> Batch {
        let numbers = self.next as usize..(self.next + rows) as usize;
        self.next += rows;
        let from = numbers.start * 8 * 97 % POOL;
        let codes = &self.codes[from..from + rows as usize * self.collection.code_bytes()];
        let ids = self.ids.as_ref().map(|ids| &ids[numbers]);
        let payloads = self.payloads.as_ref().map(|p| &p[..rows as usize]);
        let mut batch = Batch::new();
        batch.insert(self.collection, ids, codes, payloads);
        batch
    }

    /// Commits the rows that are left.
    pub(crate) fn insert(&mut self, storage: &Storage) -> Result<()> {
        self.insert_batches(storage, u64::MAX)
    }

    /// Commits as many batches, or those that are left.
    pub(crate) fn insert_batches(&mut self, storage: &Storage, mut batches: u64) -> Result<()> {
        while self.next < self.rows && batches > 0 {
            let batch = self.next_batch(self.batch.min(self.rows - self.next));
            storage.commit(batch)?;
            batches -= 1;
        }
        Ok(())
    }
}

/// Options for filling a database that is then measured: nothing waits for the disk.
pub(crate) fn filling() -> Options {
    Options {
        durability: Durability::None,
        ..Options::default()
    }
}
