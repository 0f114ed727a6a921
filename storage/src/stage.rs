//! Turning a batch into sorted runs, and refusing whatever must not be written.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::batch::{Batch, CollectionId, CollectionInfo, Write};
use crate::error::Error;
use crate::log::MAX_PAYLOAD;
use crate::run::{Payloads, Run};
use crate::state::{CollectionState, State};

/// A batch that may be written.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) changes: Vec<Change>,
    pub(crate) assigned: Vec<Option<Range<u64>>>,
    pub(crate) deleted: u64,
    pub(crate) replaced: u64,
}

/// What a batch does to one collection: first rows go, then rows come.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) collection: u32,
    /// Ids of the rows that go, ascending.
    pub(crate) gone: Vec<u64>,
    /// Where these rows are: indexes of parts, and rows of them.
    pub(crate) rows: Vec<(usize, Vec<u32>)>,
    pub(crate) run: Option<Run>,
}

impl Change {
    /// Bytes that the change takes in memory until it is flushed.
    pub(crate) fn bytes(&self) -> usize {
        self.run.as_ref().map_or(0, Run::bytes) + self.gone.len() * BYTES_OF_A_DELETE
    }

    /// Does it; `frozen` is as in [`CollectionState::add_run`].
    pub(crate) fn apply(self, collection: &mut CollectionState, frozen: u64) {
        collection.delete(&self.rows);
        if let Some(run) = self.run {
            collection.add_run(run, frozen);
        }
    }
}

/// What a deleted row counts against the limit of memory: its id in the log, and its bit.
pub(crate) const BYTES_OF_A_DELETE: usize = 16;

/// The part of a batch that concerns one collection, in the order in which it was given.
struct Gathered<'a> {
    collection: &'a CollectionState,
    info: &'a CollectionInfo,
    largest: Option<u64>,
    ids: Vec<u64>,
    /// Whether each of the ids may replace a row; empty while none may.
    replace: Vec<bool>,
    codes: Vec<u8>,
    /// Empty while no row has a payload.
    payloads: Vec<Option<Vec<u8>>>,
    deletes: Vec<u64>,
}

/// Checks the whole batch against `state` and sorts its rows.
pub(crate) fn stage(
    batch: Batch,
    state: &State,
    sequence: u64,
    generation: u64,
) -> Result<Staged, Error> {
    let mut gathered: BTreeMap<u32, Gathered<'_>> = BTreeMap::new();
    let mut assigned = Vec::with_capacity(batch.writes.len());
    for write in batch.writes {
        let gathered = gather(&mut gathered, state, write.collection)?;
        assigned.push(gathered.add(write)?);
    }
    for (collection, ids) in batch.deletes {
        gather(&mut gathered, state, collection)?
            .deletes
            .extend(ids);
    }
    let mut staged = Staged {
        changes: Vec::with_capacity(gathered.len()),
        assigned,
        deleted: 0,
        replaced: 0,
    };
    for (number, gathered) in gathered {
        staged.add(number, gathered, sequence, generation)?;
    }
    Ok(staged)
}

fn gather<'a, 'b>(
    gathered: &'a mut BTreeMap<u32, Gathered<'b>>,
    state: &'b State,
    id: CollectionId,
) -> Result<&'a mut Gathered<'b>, Error> {
    let collection = state
        .collection(id)
        .ok_or(Error::UnknownCollection { number: id.number })?;
    Ok(gathered.entry(id.number).or_insert_with(|| Gathered {
        collection,
        info: &collection.info,
        largest: collection.largest_id,
        ids: Vec::new(),
        replace: Vec::new(),
        codes: Vec::new(),
        payloads: Vec::new(),
        deletes: Vec::new(),
    }))
}

impl Staged {
    fn add(
        &mut self,
        number: u32,
        mut gathered: Gathered<'_>,
        sequence: u64,
        generation: u64,
    ) -> Result<(), Error> {
        let (info, collection) = (gathered.info, gathered.collection);
        let mut deletes = std::mem::take(&mut gathered.deletes);
        deletes.sort_unstable();
        deletes.dedup();
        let (run, replace) = gathered.into_run(sequence, generation)?;
        let ids = run.as_ref().map_or(&[][..], |run| &run.ids);

        let mut gone = Vec::new();
        let deleted = collection.locate(&deletes)?;
        self.deleted += deleted.ids.len() as u64;
        gone.extend(deleted.ids.iter().map(|&index| deletes[index]));
        let replaced = collection.locate(ids)?;
        self.replaced += replaced.ids.len() as u64;
        let may_not = |index: &&usize| !replace.get(**index).is_some_and(|&may| may);
        if let Some(&index) = replaced.ids.iter().filter(may_not).min() {
            return Err(Error::DuplicateId {
                collection: info.name.clone(),
                id: ids[index],
            });
        }
        gone.extend(replaced.ids.iter().map(|&index| ids[index]));
        if let Some(&id) = deletes.iter().find(|id| ids.binary_search(id).is_ok()) {
            return Err(Error::RepeatedId {
                collection: info.name.clone(),
                id,
            });
        }
        gone.sort_unstable();
        let mut rows: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (part, mut found) in deleted.rows.into_iter().chain(replaced.rows) {
            rows.entry(part).or_default().append(&mut found);
        }
        rows.values_mut().for_each(|rows| rows.sort_unstable());
        if !gone.is_empty() || run.is_some() {
            self.changes.push(Change {
                collection: number,
                gone,
                rows: rows.into_iter().collect(),
                run,
            });
        }
        Ok(())
    }
}

impl Gathered<'_> {
    /// Checks the rows of one insert or upsert and adds them. Returns the ids that were assigned.
    fn add(&mut self, write: Write) -> Result<Option<Range<u64>>, Error> {
        let code_bytes = self.info.code_bytes();
        let rows = write.ids.as_ref().map(Vec::len);
        let whole = match rows {
            Some(rows) => rows.checked_mul(code_bytes) == Some(write.codes.len()),
            None => write.codes.len().is_multiple_of(code_bytes),
        };
        if !whole {
            return Err(Error::CodeLength {
                collection: self.info.name.clone(),
                bits: self.info.bits,
                code_bytes,
                rows,
                found: write.codes.len(),
            });
        }
        let rows = write.codes.len() / code_bytes;
        if self.ids.len() + rows > u32::MAX as usize {
            return Err(Error::TooLarge {
                what: "the number of rows of one collection in a batch",
                found: (self.ids.len() + rows) as u64,
                limit: u64::from(u32::MAX),
            });
        }
        self.check_padding(&write.codes)?;
        self.check_payloads(rows, write.payloads.as_deref())?;
        let (ids, assigned) = match write.ids {
            Some(ids) if ids.contains(&u64::MAX) => {
                return Err(Error::ReservedId {
                    collection: self.info.name.clone(),
                });
            }
            Some(ids) => (ids, None),
            None => {
                let first = self.largest.map_or(0, |largest| largest + 1);
                let end = first
                    .checked_add(rows as u64)
                    .ok_or_else(|| Error::IdsExhausted {
                        collection: self.info.name.clone(),
                        largest: first - 1,
                    })?;
                ((first..end).collect(), Some(first..end))
            }
        };
        self.largest = self.largest.max(ids.iter().copied().max());
        if write.replace || !self.replace.is_empty() {
            self.replace.resize(self.ids.len(), false);
            self.replace.resize(self.ids.len() + rows, write.replace);
        }
        if let Some(payloads) = write.payloads {
            self.payloads.resize(self.ids.len(), None);
            self.payloads.extend(payloads);
        } else if !self.payloads.is_empty() {
            self.payloads.resize(self.ids.len() + rows, None);
        }
        if self.ids.is_empty() {
            (self.ids, self.codes) = (ids, write.codes);
        } else {
            self.ids.extend(ids);
            self.codes.extend(write.codes);
        }
        Ok(assigned)
    }

    fn check_padding(&self, codes: &[u8]) -> Result<(), Error> {
        match self.info.id.first_padded(codes) {
            None => Ok(()),
            Some(row) => Err(Error::PaddingBits {
                collection: self.info.name.clone(),
                bits: self.info.bits,
                row,
            }),
        }
    }

    fn check_payloads(
        &self,
        rows: usize,
        payloads: Option<&[Option<Vec<u8>>]>,
    ) -> Result<(), Error> {
        let Some(payloads) = payloads else {
            return Ok(());
        };
        if payloads.len() != rows {
            return Err(Error::PayloadCount {
                collection: self.info.name.clone(),
                rows,
                found: payloads.len(),
            });
        }
        match payloads
            .iter()
            .flatten()
            .find(|payload| payload.len() > MAX_PAYLOAD)
        {
            None => Ok(()),
            Some(payload) => Err(Error::TooLarge {
                what: "the number of bytes of a payload",
                found: payload.len() as u64,
                limit: MAX_PAYLOAD as u64,
            }),
        }
    }

    /// Sorts the rows by id. `None` if there are none. Beside them, whether each may replace a row;
    /// empty if none may.
    fn into_run(self, sequence: u64, generation: u64) -> Result<(Option<Run>, Vec<bool>), Error> {
        if self.ids.is_empty() {
            return Ok((None, Vec::new()));
        }
        let code_bytes = self.info.code_bytes();
        let mut run = Run {
            ids: self.ids,
            codes: self.codes,
            code_bytes,
            payloads: Payloads::default(),
            sequences: sequence..=sequence,
            generation,
        };
        let mut replace = self.replace;
        let mut order: Vec<u32> = Vec::new();
        if !run.ids.is_sorted_by(|a, b| a < b) {
            order = (0..run.ids.len() as u32).collect();
            order.sort_unstable_by_key(|&row| run.ids[row as usize]);
            let repeated = order
                .windows(2)
                .find(|w| run.ids[w[0] as usize] == run.ids[w[1] as usize]);
            if let Some(rows) = repeated {
                let id = run.ids[rows[0] as usize];
                return Err(Error::RepeatedId {
                    collection: self.info.name.clone(),
                    id,
                });
            }
            let mut codes = Vec::with_capacity(run.codes.len());
            for &row in &order {
                let start = row as usize * code_bytes;
                codes.extend_from_slice(&run.codes[start..start + code_bytes]);
            }
            run.ids = order.iter().map(|&row| run.ids[row as usize]).collect();
            run.codes = codes;
            if !replace.is_empty() {
                replace = order.iter().map(|&row| replace[row as usize]).collect();
            }
        }
        for row in 0..self.payloads.len() {
            let source = order.get(row).map_or(row, |&row| row as usize);
            run.payloads.push(row, self.payloads[source].as_deref());
        }
        Ok((Some(run), replace))
    }
}
