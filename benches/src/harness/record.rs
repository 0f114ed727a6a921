//! Results: JSON lines, one for each setting of each system in each work.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use bitkin_benches::Result;
use bitkin_benches::measure::Spread;
use serde::{Deserialize, Serialize};

use super::codes::named;
use super::system::Params;

/// What was found of one setting. Lines that are missing a figure have `null`, never zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Name of the system; `limit-...` for what the machine itself can do.
    pub(crate) system: String,
    /// `native` or `python`: from where it was called.
    pub(crate) border: String,
    pub(crate) version: String,
    pub(crate) work: String,
    pub(crate) bits: u32,
    pub(crate) rows: usize,
    pub(crate) queries: usize,
    /// Neighbours asked for; `null` in a radius search.
    pub(crate) k: Option<usize>,
    /// Distance up to which all rows were asked for; `null` in a search for neighbours.
    pub(crate) radius: Option<u32>,
    pub(crate) params: Params,
    /// Those of them that it was built with: what it cost belongs to them.
    #[serde(default)]
    pub(crate) built: Params,
    pub(crate) threads: usize,
    /// Queries a call.
    pub(crate) batch: usize,
    /// The share of right answers that was found, ties counted as right.
    pub(crate) recall: Option<f64>,
    /// The median over the rounds.
    pub(crate) queries_per_second: Option<f64>,
    /// Of each round; the n-th rounds of all systems were taken next to each other.
    pub(crate) queries_per_second_rounds: Vec<f64>,
    /// Microseconds of a call, over all rounds.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    #[serde(flatten)]
    pub(crate) costs: Costs,
    /// Why there are no figures.
    pub(crate) error: Option<String>,
    pub(crate) seed: u64,
    pub(crate) quick: bool,
    /// Seconds of each round.
    pub(crate) seconds: f64,
    /// Which run it was: lines of different runs have no rounds next to each other.
    pub(crate) run: u64,
    /// Hash of rows and queries.
    pub(crate) data: String,
    /// Of Bitkin, with `+` if files differ from it.
    pub(crate) commit: String,
    /// Hash of the harness's own program, which has Bitkin in it.
    pub(crate) build: String,
    /// Seconds since 1970, in UTC.
    pub(crate) at: u64,
    pub(crate) machine: BTreeMap<String, String>,
}

/// What a system took beside searches; the same in all lines of a system and a work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// Whether the rows were on disk for good, batch after batch, within these seconds.
    pub(crate) durable: bool,
    pub(crate) build_seconds: Option<f64>,
    pub(crate) build_rows_per_second: Option<f64>,
    /// What its process came to hold since it started, after all queries were answered once, its own
    /// mapped files included.
    pub(crate) resident_bytes: Option<u64>,
    /// The part of that which is no mapped file, and which the operating system cannot just drop.
    pub(crate) anonymous_bytes: Option<u64>,
    /// The most that its process ever held, the mapped file of the rows included.
    pub(crate) peak_bytes: Option<u64>,
    /// What the system itself says that its index holds.
    pub(crate) index_bytes: Option<u64>,
    pub(crate) disk_bytes: Option<u64>,
    /// Opening in a new process, with nothing of its files in memory; the median of three (in a
    /// quick run, once).
    pub(crate) cold_open_seconds: Option<f64>,
    /// The first query after that, at its fastest setting that finds enough.
    pub(crate) cold_first_seconds: Option<f64>,
    /// Deleting a tenth of the rows.
    pub(crate) deletes_per_second: Option<f64>,
    /// The time of a single query before that in parts of the time after it.
    pub(crate) speed_after_deletes: Option<f64>,
    /// The recall among the rows that are left; a deleted row that is found counts as none.
    pub(crate) recall_after_deletes: Option<f64>,
    /// Why some of these are missing.
    pub(crate) costs_error: Option<String>,
}

/// What makes two lines the same measurement.
pub(crate) type Key = (String, Cell, Params, usize, usize);

/// A system with its settings.
pub(crate) fn label(system: &str, params: &Params) -> String {
    let params = params
        .iter()
        .map(|(name, value)| format!(" {name}={value}"));
    system.to_owned() + &params.collect::<String>()
}

impl Line {
    pub(crate) fn key(&self) -> Key {
        let (system, params) = (self.system.clone(), self.params.clone());
        (system, self.cell(), params, self.threads, self.batch)
    }

    /// The key without the system and its settings: lines of one cell are comparable.
    pub(crate) fn cell(&self) -> Cell {
        Cell {
            work: self.work.clone(),
            bits: self.bits,
            rows: self.rows,
            k: self.k,
            radius: self.radius,
            data: self.data.clone(),
        }
    }

    pub(crate) fn is_limit(&self) -> bool {
        self.system.starts_with("limit-")
    }

    /// The name with the settings.
    pub(crate) fn label(&self) -> String {
        label(&self.system, &self.params)
    }

    /// How many times as fast this line is as `other`, round by round; `None` if they are not of one
    /// run.
    pub(crate) fn ratio(&self, other: &Line) -> Option<Spread> {
        if self.run != other.run {
            return None;
        }
        let rounds = self.queries_per_second_rounds.iter();
        let ratios: Vec<f64> = rounds
            .zip(&other.queries_per_second_rounds)
            .map(|(own, other)| own / other)
            .collect();
        (!ratios.is_empty()).then(|| Spread::of(&ratios))
    }
}

/// One question to one set of rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) work: String,
    pub(crate) bits: u32,
    pub(crate) rows: usize,
    pub(crate) k: Option<usize>,
    pub(crate) radius: Option<u32>,
    /// Hash of rows and queries: files may have the same name.
    pub(crate) data: String,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {} bits, {} rows, ",
            self.work,
            self.bits,
            short(self.rows)
        )?;
        match (self.k, self.radius) {
            (Some(k), _) => write!(f, "{k} nearest"),
            (None, Some(radius)) => write!(f, "radius {radius}"),
            (None, None) => write!(f, "any search"),
        }
    }
}

/// 1000000 as 1M.
pub(crate) fn short(count: usize) -> String {
    for (unit, name) in [(1_000_000, "M"), (1_000, "k")] {
        if count >= unit && count.is_multiple_of(unit / 10) {
            let tenths = count / (unit / 10);
            return match tenths % 10 {
                0 => format!("{}{name}", tenths / 10),
                rest => format!("{}.{rest}{name}", tenths / 10),
            };
        }
    }
    count.to_string()
}

/// The lines of a file; of each system in each cell those of its last run, so that what failed once
/// is gone when it went well. None if there is no file.
///
/// # Errors
/// With the number of a line that is no result, unless it is the last one and cut off.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(named(path))?,
    };
    let mut lines: Vec<Line> = Vec::new();
    let mut last: BTreeMap<(String, Cell), u64> = BTreeMap::new();
    let mut rest = text.as_str();
    let mut number = 0;
    while let Some((line, behind)) = rest.split_once('\n') {
        (rest, number) = (behind, number + 1);
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(line)
            .map_err(|error| format!("{}, line {number}: {error}", path.display()))?;
        let run = last.entry((line.system.clone(), line.cell())).or_default();
        *run = line.run.max(*run);
        lines.push(line);
    }
    lines.retain(|line| last.get(&(line.system.clone(), line.cell())) == Some(&line.run));
    Ok(lines)
}

/// The lines of a file that must be there.
pub(crate) fn read_existing(path: &Path) -> Result<Vec<Line>> {
    fs::metadata(path).map_err(named(path))?;
    read(path)
}

/// Adds lines, in place of what an interrupted run left of one.
pub(crate) fn append<T: Serialize>(path: &Path, lines: &[T]) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        text += &serde_json::to_string(line)?;
        text.push('\n');
    }
    let whole = fs::read(path).map_or(0, |old| {
        let end = old.iter().rposition(|byte| *byte == b'\n');
        end.map_or(0, |at| at as u64 + 1)
    });
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.map_err(named(path))?;
    file.set_len(whole).map_err(named(path))?;
    file.write_all(text.as_bytes()).map_err(named(path))?;
    file.sync_all().map_err(named(path))?;
    Ok(())
}
