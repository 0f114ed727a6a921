//! What a simulated disk holds, and what a crash leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Machine, SimulatedDisk};

/// What a device writes as a whole or not at all.
const SECTOR: usize = 512;

/// What is left of the unsynced changes after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// Any of them, by chance, and of a write any of its sectors.
    Some {
        /// The same seed keeps the same.
        seed: u64,
    },
}

/// All that is on the disk and in the operating system's memory, at one moment.
#[derive(Clone, Default)]
pub struct Image {
    pub(super) files: BTreeMap<u64, Contents>,
    pub(super) next_file: u64,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) synced_names: BTreeMap<String, u64>,
    /// Changes of names since the last sync of their directories, in order.
    pub(super) renames: Vec<NameChange>,
    pub(super) directories: BTreeSet<String>,
}

/// The files that names stand for after a change; all of it happens or nothing.
pub(super) type NameChange = Vec<(String, Option<u64>)>;

#[derive(Clone, Default)]
pub(super) struct Contents {
    pub(super) current: Arc<Vec<u8>>,
    pub(super) synced: Arc<Vec<u8>>,
    /// What was done since the last sync, in order.
    pub(super) changes: Vec<Change>,
}

#[derive(Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Arc<Vec<u8>> },
    SetLength(usize),
}

/// A splitmix64 generator: small, and the same everywhere.
#[derive(Clone, Default)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl Image {
    /// The machine when the process that wrote has died, and nothing else: what was not synced is still
    /// on its way to the disk.
    pub fn after_process_death(&self) -> SimulatedDisk {
        SimulatedDisk::of(Machine {
            image: self.clone(),
            ..Machine::default()
        })
    }

    /// The machine when power is back: what was synced, and what `kept` keeps of the rest.
    pub fn after_power_loss(&self, kept: Kept) -> SimulatedDisk {
        let mut chance = Chance(match kept {
            Kept::Some { seed } => seed,
            Kept::Nothing | Kept::Everything => 0,
        });
        // Among many changes a fair coin would hardly ever keep or lose all but one.
        let odds = [1, 8, 15][chance.below(3) as usize];
        let keeps = |chance: &mut Chance| match kept {
            Kept::Nothing => false,
            Kept::Everything => true,
            Kept::Some { .. } => chance.below(16) < odds,
        };
        let mut names = self.synced_names.clone();
        for change in &self.renames {
            if keeps(&mut chance) {
                rename(&mut names, change);
            }
        }
        let mut files = BTreeMap::new();
        for (&number, contents) in &self.files {
            let mut bytes = Vec::clone(&contents.synced);
            for change in &contents.changes {
                let tears = matches!(kept, Kept::Some { .. }) && chance.below(4) == 0;
                if tears || keeps(&mut chance) {
                    change.apply(&mut bytes, tears.then_some(&mut chance));
                }
            }
            let bytes = Arc::new(bytes);
            files.insert(
                number,
                Contents {
                    current: Arc::clone(&bytes),
                    synced: bytes,
                    changes: Vec::new(),
                },
            );
        }
        let image = Image {
            files,
            next_file: self.next_file,
            synced_names: names.clone(),
            names,
            renames: Vec::new(),
            directories: self.directories.clone(),
        };
        SimulatedDisk::of(Machine {
            image,
            chance,
            ..Machine::default()
        })
    }
}

impl Change {
    /// Does it; with a `chance` only to some of the sectors.
    pub(super) fn apply(&self, file: &mut Vec<u8>, mut chance: Option<&mut Chance>) {
        match self {
            Change::SetLength(length) => file.resize(*length, 0),
            Change::Write { offset, bytes } => {
                let mut done = 0;
                while done < bytes.len() {
                    let at = offset + done;
                    let end = ((at / SECTOR + 1) * SECTOR - offset).min(bytes.len());
                    if chance
                        .as_deref_mut()
                        .is_none_or(|chance| chance.below(2) == 0)
                    {
                        write(file, at, &bytes[done..end]);
                    }
                    done = end;
                }
            }
        }
    }
}

pub(super) fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

pub(super) fn rename(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    for (name, file) in change {
        match file {
            Some(file) => names.insert(name.clone(), *file),
            None => names.remove(name),
        };
    }
}
