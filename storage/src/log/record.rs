//! What one record of the log says.

use crate::bytes::Fields;
use crate::run::{Payloads, Run};

const CREATE_COLLECTION: u32 = 1;
const INSERT: u32 = 2;
const DELETE: u32 = 3;
const DROP_COLLECTION: u32 = 4;

/// Marks a row without payload among the payload lengths.
const NO_PAYLOAD: u32 = u32::MAX;
/// The longest payload that a record can hold, in bytes.
pub(crate) const MAX_PAYLOAD: usize = NO_PAYLOAD as usize - 1;

/// One thing that a batch does.
#[derive(Debug)]
pub(crate) enum Operation {
    CreateCollection {
        number: u32,
        bits: u32,
        name: String,
        properties: Vec<u8>,
    },
    Insert {
        collection: u32,
        run: Run,
    },
    Delete {
        collection: u32,
        /// Ascending; each had a row.
        ids: Vec<u64>,
    },
    DropCollection {
        number: u32,
    },
}

/// The body of a record that is being written: operations one after another.
#[derive(Debug, Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
}

impl Body {
    /// A body behind `reserved` bytes that the writer of the log fills in.
    pub(super) fn reserve(reserved: usize, capacity: usize) -> Body {
        let mut bytes = Vec::with_capacity(reserved + capacity);
        bytes.resize(reserved, 0);
        Body { bytes }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn create_collection(
        &mut self,
        number: u32,
        bits: u32,
        name: &str,
        properties: &[u8],
    ) {
        self.u32(CREATE_COLLECTION);
        self.u32(number);
        self.u32(bits);
        self.u32(name.len() as u32);
        self.u64(properties.len() as u64);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(properties);
    }

    pub(crate) fn insert(&mut self, collection: u32, run: &Run) {
        let has_payloads = !run.payloads.offsets.is_empty();
        self.u32(INSERT);
        self.u32(collection);
        self.u32(run.code_bytes as u32);
        self.u32(u32::from(has_payloads));
        self.u64(run.len() as u64);
        self.u64(run.payloads.bytes.len() as u64);
        self.bytes.extend_from_slice(bytemuck::cast_slice(&run.ids));
        self.bytes.extend_from_slice(&run.codes);
        if has_payloads {
            for row in 0..run.len() {
                // A payload is no longer than MAX_PAYLOAD: `stage` refuses longer ones.
                self.u32(run.payloads.get(row).map_or(NO_PAYLOAD, |p| p.len() as u32));
            }
            self.bytes.extend_from_slice(&run.payloads.bytes);
        }
    }

    /// Deletes the rows of these ids, which ascend and all have one.
    pub(crate) fn delete(&mut self, collection: u32, ids: &[u64]) {
        self.u32(DELETE);
        self.u32(collection);
        self.u64(ids.len() as u64);
        self.bytes.extend_from_slice(bytemuck::cast_slice(ids));
    }

    pub(crate) fn drop_collection(&mut self, number: u32) {
        self.u32(DROP_COLLECTION);
        self.u32(number);
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }
}

/// Reads a body. `None` if it is none that [`Body`] writes. Nothing is allocated beyond the
/// body's own size.
pub(crate) fn decode(body: &[u8], sequence: u64) -> Option<Vec<Operation>> {
    let mut fields = Fields::new(body);
    let mut operations = Vec::new();
    while !fields.is_empty() {
        operations.push(match fields.u32()? {
            CREATE_COLLECTION => create_collection(&mut fields)?,
            INSERT => insert(&mut fields, sequence)?,
            DELETE => Operation::Delete {
                collection: fields.u32()?,
                ids: {
                    let count = fields.length()?;
                    ids(&mut fields, count)?
                },
            },
            DROP_COLLECTION => Operation::DropCollection {
                number: fields.u32()?,
            },
            _ => return None,
        });
    }
    Some(operations)
}

fn create_collection(fields: &mut Fields<'_>) -> Option<Operation> {
    let number = fields.u32()?;
    let bits = fields.u32()?;
    let name_bytes = fields.u32()? as usize;
    let property_bytes = fields.length()?;
    let name = std::str::from_utf8(fields.bytes(name_bytes)?)
        .ok()?
        .to_owned();
    let properties = fields.bytes(property_bytes)?.to_vec();
    Some(Operation::CreateCollection {
        number,
        bits,
        name,
        properties,
    })
}

/// Takes `count` ids: ascending, none reserved, and at least one.
fn ids(fields: &mut Fields<'_>, count: usize) -> Option<Vec<u64>> {
    let ids: Vec<u64> = fields
        .bytes(count.checked_mul(8)?)?
        .chunks_exact(8)
        .filter_map(|id| id.try_into().ok().map(u64::from_le_bytes))
        .collect();
    let ascending = ids.is_sorted_by(|a, b| a < b);
    (ascending && ids.last().is_some_and(|&id| id != u64::MAX)).then_some(ids)
}

fn insert(fields: &mut Fields<'_>, sequence: u64) -> Option<Operation> {
    let collection = fields.u32()?;
    let code_bytes = fields.u32()? as usize;
    let has_payloads = match fields.u32()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let rows = fields.length()?;
    let payload_bytes = fields.length()?;
    let ids = ids(fields, rows)?;
    let codes = fields.bytes(rows.checked_mul(code_bytes)?)?.to_vec();
    let mut payloads = Payloads::default();
    if has_payloads {
        let mut lengths = Fields::new(fields.bytes(rows.checked_mul(4)?)?);
        let mut bytes = Fields::new(fields.bytes(payload_bytes)?);
        for row in 0..rows {
            let payload = match lengths.u32()? {
                NO_PAYLOAD => None,
                length => Some(bytes.bytes(length as usize)?),
            };
            payloads.push(row, payload);
        }
        if !bytes.is_empty() {
            return None;
        }
    } else if payload_bytes != 0 {
        return None;
    }
    let run = Run {
        ids,
        codes,
        code_bytes,
        payloads,
        sequences: sequence..=sequence,
        // Above 0, which is frozen when nothing is.
        generation: 1,
    };
    Some(Operation::Insert { collection, run })
}
