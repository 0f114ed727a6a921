//! A run: every work, every system, in turns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitkin_benches::Result;
use bitkin_benches::measure::{Spread, percentiles};
use serde_json::{Value, json};

use super::codes::{read_numbers, write_numbers};
use super::limits::Limits;
use super::peers::Say;
use super::record::{self, Cell, Costs, Line};
use super::system::{Params, Peer, PeerError, System, bytes_on_disk, evict};
use super::truth::Truth;
use super::work::{Places, Wanted, Work};

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) systems: Vec<System>,
    pub(crate) ks: Vec<usize>,
    pub(crate) radii: Vec<u32>,
    pub(crate) rounds: usize,
    /// Seconds of one measurement in one round.
    pub(crate) seconds: f64,
    /// Seconds after which a system that gives no answer is given up.
    pub(crate) patience: Duration,
    pub(crate) quick: bool,
    pub(crate) seed: u64,
    pub(crate) places: Places,
    pub(crate) python: Option<PathBuf>,
    /// Where the peers' files are.
    pub(crate) peers: PathBuf,
    pub(crate) commit: String,
    pub(crate) machine: BTreeMap<String, String>,
    /// The file of results.
    pub(crate) results: PathBuf,
}

/// Queries of a call when they are asked together.
const BATCH: usize = 256;

/// A way to ask: threads, and queries a call.
type Mode = (usize, usize);

/// What is asked for: one of both.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Question {
    k: Option<usize>,
    radius: Option<u32>,
}

impl Question {
    fn json(self) -> Value {
        match self.radius {
            Some(radius) => json!({"radius": radius}),
            None => json!({"k": self.k}),
        }
    }
}

/// One setting of one system, asked one question in one way, and what came of it so far.
struct Entry {
    system: usize,
    question: Question,
    params: Params,
    mode: Mode,
    recall: Option<f64>,
    rounds: Vec<f64>,
    micros: Vec<f64>,
    error: Option<String>,
}

/// A system in a work: its process while it is well.
struct Contender {
    system: System,
    peer: Option<Peer>,
    folder: PathBuf,
    version: String,
    costs: Costs,
    error: Option<String>,
}

impl Plan {
    /// Measures one work and adds its lines to the results; says why if it is left out.
    pub(crate) fn run(&self, work: &Work, say: Say<'_>) -> Result<()> {
        let questions = self.questions(work)?;
        let known = record::read(&self.results)?;
        if self.is_done(work, &questions, &known) {
            say("measured already");
            return Ok(());
        }
        say("working out the truth");
        let truth = Truth::load(&work.rows, &work.queries, &self.places.cache)?;
        let scratch = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&self.places.cache)?;
        let mut contenders = self.start(work, &questions, scratch.path(), say)?;
        let mut entries = self.entries(work, &questions, &contenders);
        self.judge(work, &truth, scratch.path(), &mut contenders, &mut entries)?;
        let limits = self.measure(work, scratch.path(), &mut contenders, &mut entries, say)?;
        for contender in &mut contenders {
            if let Err(error) = self.persist(work, scratch.path(), contender, say) {
                say(&format!("{}: {error}", contender.system.name));
            }
        }
        let mut lines: Vec<Line> = entries
            .iter_mut()
            .map(|entry| self.line(work, entry, &contenders[entry.system]))
            .collect();
        lines.extend(self.failures(work, &questions, &contenders));
        for question in &questions {
            lines.extend(self.limit_lines(work, *question, &limits));
        }
        record::append(&self.results, &lines)
    }

    /// What is asked of a work. Radius search is for work that names a radius, or has planted rows.
    fn questions(&self, work: &Work) -> Result<Vec<Question>> {
        let found = Wanted {
            name: work.name.clone(),
            bits: work.bits,
            rows: work.rows.rows(),
            queries: work.queries.rows(),
            seed: self.seed,
        };
        check(&found, &self.ks, &self.radii)?;
        let k = |k: &usize| Question {
            k: Some(*k),
            radius: None,
        };
        let radius = |radius: &u32| Question {
            k: None,
            radius: Some(*radius),
        };
        let questions = self.ks.iter().map(k);
        Ok(questions.chain(self.radii.iter().map(radius)).collect())
    }

    /// Whether all of it was measured by an earlier run of the same commit, seed and length.
    fn is_done(&self, work: &Work, questions: &[Question], known: &[Line]) -> bool {
        let mut wanted = self.systems.iter().flat_map(|system| {
            let suited = move |question: &&Question| self.suits(system, work, **question);
            questions.iter().filter(suited).map(move |q| (system, q))
        });
        wanted.all(|(system, question)| {
            known.iter().any(|line| {
                line.system == system.name
                    && line.cell() == cell(work, *question)
                    && line.commit == self.commit
                    && !line.commit.ends_with('+')
                    && line.seed == self.seed
                    && line.quick == self.quick
            })
        })
    }

    fn suits(&self, system: &System, work: &Work, question: Question) -> bool {
        system.suits(work.bits, work.rows.rows(), question.radius.is_some())
    }

    /// Starts every system that suits and lets it build.
    fn start(
        &self,
        work: &Work,
        questions: &[Question],
        scratch: &Path,
        say: Say<'_>,
    ) -> Result<Vec<Contender>> {
        let suited = self.systems.iter().filter(|system| {
            let mut questions = questions.iter();
            questions.any(|question| self.suits(system, work, *question))
        });
        let mut contenders = Vec::new();
        for &system in suited {
            let folder = scratch.join(system.name);
            std::fs::create_dir(&folder)?;
            let mut contender = Contender {
                system,
                peer: None,
                folder,
                version: String::new(),
                costs: Costs::default(),
                error: None,
            };
            say(&format!("building {}", system.name));
            if let Err(error) = self.build(work, scratch, &mut contender) {
                say(&format!("{} is left out: {error}", system.name));
                contender.error = Some(error.to_string());
                contender.peer = None;
            }
            contenders.push(contender);
        }
        Ok(contenders)
    }

    fn build(&self, work: &Work, scratch: &Path, contender: &mut Contender) -> Result<()> {
        let mut peer = self.open(work, scratch, contender)?;
        let rows = work.rows.path();
        let before = peer.resident(rows);
        let command = json!({"do": "build", "rows": rows});
        let built = peer.ask(&command, self.patience)?;
        let seconds = built["seconds"].as_f64();
        let costs = &mut contender.costs;
        costs.durable = peer.durable;
        costs.build_seconds = seconds;
        costs.build_rows_per_second = seconds.map(|seconds| work.rows.rows() as f64 / seconds);
        costs.index_bytes = built["index_bytes"].as_u64();
        if let (Some(before), Some(after)) = (before, peer.resident(rows)) {
            costs.resident_bytes = Some(after.saturating_sub(before));
        }
        contender.version.clone_from(&peer.version);
        contender.peer = Some(peer);
        Ok(())
    }

    /// A new process of the system, which has built nothing.
    fn open(&self, work: &Work, scratch: &Path, contender: &Contender) -> Result<Peer> {
        let system = contender.system;
        let command = system.command(self.python.as_deref(), &self.peers);
        let command = command.ok_or_else(|| PeerError::Missing("there is no Python".into()))?;
        let log = scratch.join(format!("{}.log", system.name));
        let mut peer = Peer::start(command, log)?;
        let start = json!({
            "do": "start", "bits": work.bits, "dir": contender.folder, "threads": all_threads(),
            "params": {},
        });
        peer.ask(&start, self.patience)?;
        Ok(peer)
    }

    fn entries(&self, work: &Work, questions: &[Question], contenders: &[Contender]) -> Vec<Entry> {
        let batch = BATCH.min(work.queries.rows());
        let modes = [(1, 1), (1, batch), (all_threads(), batch)];
        let mut entries = Vec::new();
        for (number, contender) in contenders.iter().enumerate() {
            if contender.peer.is_none() {
                continue;
            }
            for &question in questions {
                if !self.suits(&contender.system, work, question) {
                    continue;
                }
                let modes = if contender.system.batched {
                    &modes[..]
                } else {
                    &modes[..1]
                };
                for params in contender.system.settings(self.quick) {
                    for &mode in modes {
                        entries.push(Entry {
                            system: number,
                            question,
                            params: params.clone(),
                            mode,
                            recall: None,
                            rounds: Vec::new(),
                            micros: Vec::new(),
                            error: None,
                        });
                    }
                }
            }
        }
        entries
    }

    /// Lets every setting answer all queries, which warms it up, and judges the answers.
    fn judge(
        &self,
        work: &Work,
        truth: &Truth,
        scratch: &Path,
        contenders: &mut [Contender],
        entries: &mut [Entry],
    ) -> Result<()> {
        let out = scratch.join("answers");
        let mut at = 0;
        while let Some(entry) = entries.get(at) {
            // All modes of one setting follow another, and answer the same.
            let same = |other: &&Entry| {
                other.system == entry.system
                    && other.question == entry.question
                    && other.params == entry.params
            };
            let count = entries[at..].iter().take_while(same).count();
            let contender = &mut contenders[entry.system];
            let recall = self.recall(work, truth, &out, contender, entry);
            if contender.system.name == "faiss-flat"
                && let Ok(recall) = recall
                && recall < 1.0
            {
                let what = "of what the truth says FAISS's flat index finds only";
                return Err(format!("{what} {recall}: one of them is wrong").into());
            }
            for entry in &mut entries[at..at + count] {
                match &recall {
                    Ok(recall) => entry.recall = Some(*recall),
                    Err(error) => entry.error = Some(error.to_string()),
                }
            }
            at += count;
        }
        Ok(())
    }

    fn recall(
        &self,
        work: &Work,
        truth: &Truth,
        out: &Path,
        contender: &mut Contender,
        entry: &Entry,
    ) -> Result<f64> {
        let peer = contender.peer.as_mut().ok_or("its process has ended")?;
        set(peer, all_threads(), &entry.params, self.patience)?;
        let mut command = entry.question.json();
        command["do"] = json!("answers");
        command["queries"] = json!(work.queries.path());
        command["out"] = json!(out);
        let answered = peer.ask(&command, self.patience);
        self.note_end(contender, &answered);
        answered?;
        let numbers = |what: &str| {
            let mut file = out.as_os_str().to_owned();
            file.push(format!(".{what}.npy"));
            read_numbers(Path::new(&file))
        };
        let (ids, offsets) = (numbers("ids")?, numbers("offsets")?);
        let (rows, queries) = (&work.rows, &work.queries);
        match entry.question {
            Question {
                radius: Some(radius),
                ..
            } => truth.recall_of_radius(rows, queries, radius, &ids, &offsets),
            Question { k, .. } => {
                truth.recall_of_nearest(rows, queries, k.unwrap_or_default(), &ids)
            }
        }
    }

    /// A process that hangs or ended answers nothing any more.
    fn note_end(
        &self,
        contender: &mut Contender,
        answered: &std::result::Result<Value, PeerError>,
    ) {
        if let Err(PeerError::TimedOut(_) | PeerError::Ended(_)) = answered {
            contender.peer = None;
        }
    }

    /// All settings in turns, round after round, every second round from the last to the first.
    fn measure(
        &self,
        work: &Work,
        scratch: &Path,
        contenders: &mut [Contender],
        entries: &mut [Entry],
        say: Say<'_>,
    ) -> Result<Vec<Limits>> {
        let out = scratch.join("nanos.npy");
        let mut limits = Vec::new();
        for round in 0..self.rounds {
            say(&format!("round {} of {}", round + 1, self.rounds));
            limits.push(Limits::measure(&work.rows)?);
            let mut order: Vec<usize> = (0..entries.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let entry = &mut entries[at];
                let contender = &mut contenders[entry.system];
                if entry.error.is_some() {
                    continue;
                }
                match self.time(work, &out, contender, entry) {
                    Ok(nanos) => {
                        let seconds = nanos.iter().sum::<u64>() as f64 / 1e9;
                        let answered = nanos.len() * entry.mode.1;
                        entry.rounds.push(answered as f64 / seconds);
                        let micros = nanos.iter().map(|nanos| *nanos as f64 / 1e3);
                        entry.micros.extend(micros);
                    }
                    Err(error) => entry.error = Some(error.to_string()),
                }
            }
        }
        Ok(limits)
    }

    fn time(
        &self,
        work: &Work,
        out: &Path,
        contender: &mut Contender,
        entry: &Entry,
    ) -> Result<Vec<u64>> {
        let peer = contender.peer.as_mut().ok_or("its process has ended")?;
        let (threads, batch) = entry.mode;
        set(peer, threads, &entry.params, self.patience)?;
        let mut command = entry.question.json();
        command["do"] = json!("time");
        command["queries"] = json!(work.queries.path());
        command["out"] = json!(out);
        command["batch"] = json!(batch);
        command["seconds"] = json!(self.seconds);
        command["least"] = json!(if batch == 1 { 10 } else { 1 });
        let answered = peer.ask(&command, self.patience);
        self.note_end(contender, &answered);
        answered?;
        read_numbers(out)
    }

    /// What stays on disk, how it is opened again, and what deletes cost.
    fn persist(
        &self,
        work: &Work,
        scratch: &Path,
        contender: &mut Contender,
        say: Say<'_>,
    ) -> Result<()> {
        let Some(mut peer) = contender.peer.take() else {
            return Ok(());
        };
        contender.costs.peak_bytes = peer.peak();
        if !peer.can("save") {
            return Ok(());
        }
        say(&format!("opening {} again", contender.system.name));
        peer.ask(&json!({"do": "save"}), self.patience)?;
        let deletes = peer.can("delete");
        drop(peer);
        contender.costs.disk_bytes = Some(bytes_on_disk(&contender.folder)?);
        evict(&contender.folder)?;
        let mut peer = self.open(work, scratch, contender)?;
        let k = 10.min(work.rows.rows());
        let load = json!({"do": "load", "query": work.queries.path(), "k": k});
        let loaded = peer.ask(&load, self.patience)?;
        contender.costs.cold_open_seconds = loaded["open_seconds"].as_f64();
        contender.costs.cold_first_seconds = loaded["first_seconds"].as_f64();
        if !deletes {
            return Ok(());
        }
        let settings = contender.system.settings(self.quick);
        let mut entry = Entry {
            system: 0,
            question: Question {
                k: Some(k),
                radius: None,
            },
            params: settings.last().cloned().unwrap_or_default(),
            mode: (1, 1),
            recall: None,
            rounds: Vec::new(),
            micros: Vec::new(),
            error: None,
        };
        contender.peer = Some(peer);
        let out = scratch.join("nanos.npy");
        let mut median = |contender: &mut Contender| -> Result<f64> {
            entry.rounds.clear();
            let mut nanos = self.time(work, &out, contender, &entry)?;
            nanos.sort_unstable();
            Ok(nanos[nanos.len() / 2] as f64)
        };
        let before = median(contender)?;
        let gone: Vec<u64> = (0..work.rows.rows() as u64).step_by(10).collect();
        let ids = scratch.join("deleted.npy");
        write_numbers(&ids, &gone)?;
        let peer = contender.peer.as_mut().ok_or("its process has ended")?;
        let deleted = peer.ask(&json!({"do": "delete", "ids": ids}), self.patience)?;
        let seconds = deleted["seconds"].as_f64();
        contender.costs.deletes_per_second = seconds.map(|seconds| gone.len() as f64 / seconds);
        contender.costs.speed_after_deletes = Some(before / median(contender)?);
        contender.peer = None;
        Ok(())
    }

    fn line(&self, work: &Work, entry: &mut Entry, contender: &Contender) -> Line {
        let [p50, p90, p99, max] = percentiles(&mut entry.micros, [0.5, 0.9, 0.99, 1.0]);
        let measured = |value: f64| (!entry.rounds.is_empty()).then_some(value);
        Line {
            system: contender.system.name.to_owned(),
            border: contender.system.border.name().to_owned(),
            version: contender.version.clone(),
            params: entry.params.clone(),
            threads: entry.mode.0,
            batch: entry.mode.1,
            recall: entry.recall,
            queries_per_second: measured(Spread::of(&entry.rounds).median),
            queries_per_second_rounds: entry.rounds.clone(),
            p50_us: measured(p50),
            p90_us: measured(p90),
            p99_us: measured(p99),
            max_us: measured(max),
            costs: contender.costs.clone(),
            error: entry.error.clone(),
            ..self.blank(work, entry.question)
        }
    }

    /// A line for each question to a system that could not be asked.
    fn failures(&self, work: &Work, questions: &[Question], contenders: &[Contender]) -> Vec<Line> {
        let failed = contenders
            .iter()
            .filter(|contender| contender.error.is_some());
        let lines = failed.flat_map(|contender| {
            let suited = |question: &&Question| self.suits(&contender.system, work, **question);
            questions.iter().filter(suited).map(|question| Line {
                system: contender.system.name.to_owned(),
                border: contender.system.border.name().to_owned(),
                version: contender.version.clone(),
                error: contender.error.clone(),
                ..self.blank(work, *question)
            })
        });
        lines.collect()
    }

    fn limit_lines(&self, work: &Work, question: Question, limits: &[Limits]) -> Vec<Line> {
        let line = |name: &str, rounds: Vec<f64>| Line {
            system: format!("limit-{name}"),
            border: "native".to_owned(),
            threads: 1,
            batch: 1,
            queries_per_second: Some(Spread::of(&rounds).median),
            queries_per_second_rounds: rounds,
            ..self.blank(work, question)
        };
        vec![
            line("read", limits.iter().map(|limit| limit.read).collect()),
            line(
                "popcount",
                limits.iter().map(|limit| limit.popcount).collect(),
            ),
        ]
    }

    fn blank(&self, work: &Work, question: Question) -> Line {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Line {
            work: work.name.clone(),
            bits: work.bits,
            rows: work.rows.rows(),
            queries: work.queries.rows(),
            k: question.k,
            radius: question.radius,
            threads: 1,
            batch: 1,
            seed: self.seed,
            quick: self.quick,
            commit: self.commit.clone(),
            at: now.map_or(0, |now| now.as_secs()),
            machine: self.machine.clone(),
            ..Line::default()
        }
    }
}

fn cell(work: &Work, question: Question) -> Cell {
    Cell {
        work: work.name.clone(),
        bits: work.bits,
        rows: work.rows.rows(),
        k: question.k,
        radius: question.radius,
    }
}

fn set(
    peer: &mut Peer,
    threads: usize,
    params: &Params,
    patience: Duration,
) -> std::result::Result<(), PeerError> {
    let command = json!({"do": "set", "threads": threads, "params": params});
    peer.ask(&command, patience).map(|_| ())
}

pub(crate) fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Refuses what cannot be measured, before anything is made.
pub(crate) fn check(wanted: &Wanted, ks: &[usize], radii: &[u32]) -> Result<()> {
    let Wanted { bits, rows, .. } = wanted;
    if let Some(k) = ks.iter().find(|k| !(1..=*rows).contains(*k)) {
        return Err(format!("there are no {k} nearest of {rows} rows").into());
    }
    if !(1..=65_536).contains(bits) {
        return Err(format!("codes have 1 to 65,536 bits, not {bits}").into());
    }
    if let Some(radius) = radii.iter().find(|radius| *radius > bits) {
        return Err(format!("codes of {bits} bits have no radius of {radius}").into());
    }
    Ok(())
}
