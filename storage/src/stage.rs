//! Turning a batch into sorted runs, and refusing whatever must not be written.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::batch::{Batch, CollectionInfo, Insert};
use crate::error::Error;
use crate::log::MAX_PAYLOAD;
use crate::run::{Payloads, Run};
use crate::snapshot::{Part, Source};
use crate::state::State;

/// A batch that may be written.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The new rows of each collection, by its number.
    pub(crate) runs: Vec<(u32, Run)>,
    pub(crate) assigned: Vec<Option<Range<u64>>>,
}

impl Staged {
    /// Bytes of the rows.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.iter().map(|(_, run)| run.bytes()).sum()
    }
}

/// The rows of a batch for one collection, in the order in which they were given.
struct Gathered<'a> {
    info: &'a CollectionInfo,
    parts: &'a [Part],
    largest: Option<u64>,
    ids: Vec<u64>,
    codes: Vec<u8>,
    /// Empty while no row has a payload.
    payloads: Vec<Option<Vec<u8>>>,
}

/// Checks the whole batch against `state` and sorts its rows.
pub(crate) fn stage(
    batch: Batch,
    state: &State,
    sequence: u64,
    generation: u64,
) -> Result<Staged, Error> {
    let mut gathered: BTreeMap<u32, Gathered<'_>> = BTreeMap::new();
    let mut assigned = Vec::with_capacity(batch.inserts.len());
    for insert in batch.inserts {
        let collection = state
            .collection(insert.collection)
            .ok_or(Error::UnknownCollection {
                number: insert.collection.number,
            })?;
        let gathered = gathered
            .entry(insert.collection.number)
            .or_insert_with(|| Gathered {
                info: &collection.info,
                parts: &collection.parts,
                largest: collection.largest_id,
                ids: Vec::new(),
                codes: Vec::new(),
                payloads: Vec::new(),
            });
        assigned.push(gathered.add(insert)?);
    }
    let mut runs = Vec::with_capacity(gathered.len());
    for (number, gathered) in gathered {
        if gathered.ids.is_empty() {
            continue;
        }
        let (info, parts) = (gathered.info, gathered.parts);
        let run = gathered.into_run(sequence, generation)?;
        for part in parts {
            if let Some(id) = first_shared(part, &run.ids)? {
                return Err(Error::DuplicateId {
                    collection: info.name.clone(),
                    id,
                });
            }
        }
        runs.push((number, run));
    }
    Ok(Staged { runs, assigned })
}

impl Gathered<'_> {
    /// Checks the rows of one insert and adds them. Returns the ids that were assigned.
    fn add(&mut self, insert: Insert) -> Result<Option<Range<u64>>, Error> {
        let code_bytes = self.info.code_bytes();
        let rows = insert.ids.as_ref().map(Vec::len);
        let whole = match rows {
            Some(rows) => rows.checked_mul(code_bytes) == Some(insert.codes.len()),
            None => insert.codes.len().is_multiple_of(code_bytes),
        };
        if !whole {
            return Err(Error::CodeLength {
                collection: self.info.name.clone(),
                bits: self.info.bits,
                code_bytes,
                rows,
                found: insert.codes.len(),
            });
        }
        let rows = insert.codes.len() / code_bytes;
        if self.ids.len() + rows > u32::MAX as usize {
            return Err(Error::TooLarge {
                what: "the number of rows of one collection in a batch",
                found: (self.ids.len() + rows) as u64,
                limit: u64::from(u32::MAX),
            });
        }
        self.check_padding(&insert.codes)?;
        self.check_payloads(rows, insert.payloads.as_deref())?;
        let (ids, assigned) = match insert.ids {
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
        if let Some(payloads) = insert.payloads {
            self.payloads.resize(self.ids.len(), None);
            self.payloads.extend(payloads);
        } else if !self.payloads.is_empty() {
            self.payloads.resize(self.ids.len() + rows, None);
        }
        if self.ids.is_empty() {
            (self.ids, self.codes) = (ids, insert.codes);
        } else {
            self.ids.extend(ids);
            self.codes.extend(insert.codes);
        }
        Ok(assigned)
    }

    fn check_padding(&self, codes: &[u8]) -> Result<(), Error> {
        let used = self.info.bits % 8;
        if used == 0 {
            return Ok(());
        }
        let padding = 0xff_u8 << used;
        let code_bytes = self.info.code_bytes();
        match codes
            .chunks_exact(code_bytes)
            .position(|code| code[code_bytes - 1] & padding != 0)
        {
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

    /// Sorts the rows by id.
    fn into_run(self, sequence: u64, generation: u64) -> Result<Run, Error> {
        let code_bytes = self.info.code_bytes();
        let mut run = Run {
            ids: self.ids,
            codes: self.codes,
            code_bytes,
            payloads: Payloads::default(),
            sequences: sequence..=sequence,
            generation,
        };
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
        }
        for row in 0..self.payloads.len() {
            let source = order.get(row).map_or(row, |&row| row as usize);
            run.payloads.push(row, self.payloads[source].as_deref());
        }
        Ok(run)
    }
}

/// The smallest of the ascending `ids` that the part holds.
fn first_shared(part: &Part, ids: &[u64]) -> Result<Option<u64>, Error> {
    let range = part.id_range();
    let start = ids.partition_point(|id| id < range.start());
    let end = ids.partition_point(|id| id <= range.end());
    let ids = ids.get(start..end).unwrap_or_default();
    if let Source::Segment(segment) = &part.0
        && ids.len() < segment.rows() as usize / 2048
    {
        // Fewer ids than blocks of ids: look only at the blocks that could hold them.
        for &id in ids {
            if segment.find(id)?.is_some() {
                return Ok(Some(id));
            }
        }
        return Ok(None);
    }
    if ids.is_empty() {
        return Ok(None);
    }
    let mut held = part.ids()?;
    for &id in ids {
        // Ids ascend, so the search goes on where it was, in steps that double.
        let mut step = 1;
        while held.get(step).is_some_and(|&other| other < id) {
            step *= 2;
        }
        let near = &held[..held.len().min(step + 1)];
        held = &held[near.partition_point(|&other| other < id)..];
        if held.first() == Some(&id) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}
