//! A run: every work, every system, in turns.

mod asking;
mod costs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitkin_benches::Result;
use bitkin_benches::measure::{Spread, percentiles};
use serde_json::{Value, json};

use super::codes::{Codes, read_numbers};
use super::limits::Limits;
use super::peers::Say;
use super::record::{self, Cell, Costs, Line};
use super::system::{MISSING, Params, Peer, PeerError, System};
use super::truth::Truth;
use super::work::{Places, Wanted, Work};
pub(crate) use asking::Modes;
use asking::{BATCH, Mode, Question, all_threads, callers};

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) systems: Vec<System>,
    pub(crate) ks: Vec<usize>,
    pub(crate) radii: Vec<u32>,
    pub(crate) modes: Modes,
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
    /// When this run began.
    pub(crate) run: u64,
    /// Hash of this program.
    pub(crate) build: String,
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
    /// What it is built with.
    built: Params,
    peer: Option<Peer>,
    folder: PathBuf,
    version: String,
    /// What its process held before it built.
    before: Option<[u64; 2]>,
    costs: Costs,
    /// Why it cannot be asked, or not any more.
    error: Option<String>,
}

impl Plan {
    /// Measures one work and adds its lines to the results; says why if it is left out.
    pub(crate) fn run(&self, work: &Work, say: Say<'_>) -> Result<()> {
        let questions = self.questions();
        let known = record::read(&self.results)?;
        if self.is_done(work, &questions, &known) {
            say("measured already");
            return Ok(());
        }
        say("working out the truth");
        let cache = &self.places.cache;
        let truth = Truth::load(&work.rows, &work.queries, &work.data, cache)?;
        remove_abandoned(cache)?;
        let scratch = tempfile::Builder::new()
            .prefix(&format!("run-{}-", std::process::id()))
            .tempdir_in(cache)?;
        let mut contenders = self.start(work, &questions, scratch.path(), say)?;
        let mut entries = self.entries(work, &questions, &contenders);
        self.judge(work, &truth, scratch.path(), &mut contenders, &mut entries)?;
        for contender in &mut contenders {
            contender.weigh(&work.rows);
        }
        let limits = self.measure(work, scratch.path(), &mut contenders, &mut entries, say)?;
        for (number, contender) in contenders.iter_mut().enumerate() {
            let own = entries.iter().filter(|entry| entry.system == number);
            let params = costs::fastest(own);
            if let Err(error) = self.persist(work, scratch.path(), contender, &params, say) {
                say(&format!("{}: {error}", contender.label()));
                contender.costs.costs_error = Some(error.to_string());
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

    /// What is asked of every work.
    fn questions(&self) -> Vec<Question> {
        let k = |k: &usize| Question {
            k: Some(*k),
            radius: None,
        };
        let radius = |radius: &u32| Question {
            k: None,
            radius: Some(*radius),
        };
        let questions = self.ks.iter().map(k);
        questions.chain(self.radii.iter().map(radius)).collect()
    }

    /// Whether all of it was measured by an earlier run of the same program, in the same way, so that
    /// an interrupted run can go on behind it. What failed is not tried again, but for peers that were
    /// not there.
    fn is_done(&self, work: &Work, questions: &[Question], known: &[Line]) -> bool {
        let same = |line: &&Line| {
            let rounds = line.queries_per_second_rounds.len();
            let tried = match &line.error {
                None => rounds == self.rounds,
                Some(error) => self.python.is_none() || !error.starts_with(MISSING),
            };
            tried
                && line.build == self.build
                && (&line.commit, line.seed, line.quick) == (&self.commit, self.seed, self.quick)
                && line.seconds == self.seconds
        };
        let known: Vec<&Line> = known.iter().filter(same).collect();
        let mut wanted = self.systems.iter().flat_map(|system| {
            let suited = move |question: &&Question| self.suits(system, work, **question);
            questions.iter().filter(suited).map(move |q| (system, q))
        });
        wanted.all(|(system, question)| {
            let cell = cell(work, *question);
            let mut known = known.iter();
            known.any(|line| line.system == system.name && line.cell() == cell)
        })
    }

    fn suits(&self, system: &System, work: &Work, question: Question) -> bool {
        system.suits(work.bits, question.radius.is_some())
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
        let suited = suited.flat_map(|system| {
            let builds = system.built_with(self.quick).into_iter();
            builds.map(|built| (*system, built))
        });
        let mut contenders = Vec::new();
        for (number, (system, built)) in suited.enumerate() {
            let folder = scratch.join(format!("{}-{number}", system.name));
            std::fs::create_dir(&folder)?;
            let mut contender = Contender {
                system,
                built,
                peer: None,
                folder,
                version: String::new(),
                before: None,
                costs: Costs::default(),
                error: None,
            };
            if system.most_rows < work.rows.rows() {
                let most = record::short(system.most_rows);
                contender.error = Some(format!("not tried with more than {most} rows"));
                contenders.push(contender);
                continue;
            }
            say(&format!("building {}", contender.label()));
            if let Err(error) = self.build(work, &mut contender) {
                say(&format!("{} is left out: {error}", contender.label()));
                contender.error = Some(error.to_string());
                contender.peer = None;
            }
            contenders.push(contender);
        }
        Ok(contenders)
    }

    fn build(&self, work: &Work, contender: &mut Contender) -> Result<()> {
        let mut peer = self.open(work, contender)?;
        contender.before = peer.resident(work.rows.path());
        let command = json!({"do": "build", "rows": work.rows.path()});
        let built = peer.ask(&command, self.patience)?;
        let seconds = built["seconds"].as_f64();
        let costs = &mut contender.costs;
        costs.durable = peer.durable;
        costs.build_seconds = seconds;
        costs.build_rows_per_second = seconds.map(|seconds| work.rows.rows() as f64 / seconds);
        costs.index_bytes = built["index_bytes"].as_u64();
        contender.version.clone_from(&peer.version);
        contender.peer = Some(peer);
        Ok(())
    }

    /// A new process of the system, which has built nothing.
    fn open(&self, work: &Work, contender: &Contender) -> Result<Peer> {
        let system = contender.system;
        let command = system.command(self.python.as_deref(), &self.peers);
        let command = command.ok_or_else(|| PeerError::Missing("there is no Python".into()))?;
        let log = contender.folder.with_extension("log");
        let mut peer = Peer::start(command, log)?;
        let start = json!({
            "do": "start", "bits": work.bits, "dir": contender.folder, "threads": all_threads(),
            "params": contender.built,
        });
        peer.ask(&start, self.patience)?;
        Ok(peer)
    }

    fn entries(&self, work: &Work, questions: &[Question], contenders: &[Contender]) -> Vec<Entry> {
        let modes = self.modes.of(work.queries.rows());
        let mut entries = Vec::new();
        for (number, contender) in contenders.iter().enumerate() {
            if contender.peer.is_none() {
                continue;
            }
            for &question in questions {
                if !self.suits(&contender.system, work, question) {
                    continue;
                }
                let system = contender.system;
                let suited = |mode: &&Mode| {
                    (system.batched || **mode == (1, 1)) && (system.shared || callers(**mode) == 1)
                };
                for params in contender.system.settings(self.quick) {
                    let mut params = params;
                    params.extend(contender.built.clone());
                    for &mode in modes.iter().filter(suited) {
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
            let recall = recall.and_then(|recall| match contender.system.exact && recall < 1.0 {
                true => {
                    Err(format!("it is exact, and yet found only {recall} of the truth").into())
                }
                false => Ok(recall),
            });
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
        let peer = contender.peer()?;
        set(peer, (all_threads(), BATCH), &entry.params, self.patience)?;
        let mut command = entry.question.json();
        command["do"] = json!("answers");
        command["queries"] = json!(work.queries.path());
        command["out"] = json!(out);
        let answered = peer.ask(&command, self.patience);
        contender.note_end(&answered);
        answered?;
        let numbers = |what: &str| {
            let mut file = out.as_os_str().to_owned();
            file.push(format!(".{what}.npy"));
            read_numbers(Path::new(&file))
        };
        let (ids, offsets) = (numbers("ids")?, numbers("offsets")?);
        if let Some(radius) = entry.question.radius {
            return truth.recall_of_radius(work, radius, &ids, &offsets);
        }
        let k = entry.question.k.unwrap_or_default();
        if contender.system.name == "faiss-flat" && !truth.agrees(work, k, &ids) {
            return Err("it does not agree with the truth: one of both is wrong".into());
        }
        truth.recall_of_nearest(work, k, &ids, |_| true)
    }

    /// All settings in turns, round after round: what is asked in one way by all systems one after
    /// another, every second round from the last to the first.
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
            limits.push(Limits::measure(&work.rows));
            let mut order: Vec<usize> = (0..entries.len()).collect();
            order.sort_by_key(|at| {
                let Entry { question, mode, .. } = &entries[*at];
                (question.k, question.radius, *mode)
            });
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
                        let callers = callers(entry.mode) as f64;
                        let seconds = nanos.iter().sum::<u64>() as f64 / 1e9 / callers;
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
        let peer = contender.peer()?;
        let (_, batch) = entry.mode;
        set(peer, entry.mode, &entry.params, self.patience)?;
        let mut command = entry.question.json();
        command["do"] = json!("time");
        command["queries"] = json!(work.queries.path());
        command["out"] = json!(out);
        command["batch"] = json!(batch);
        command["callers"] = json!(callers(entry.mode));
        command["seconds"] = json!(self.seconds);
        command["least"] = json!(if batch == 1 { 10 } else { 1 });
        let answered = peer.ask(&command, self.patience);
        contender.note_end(&answered);
        answered?;
        read_numbers(out)
    }

    fn line(&self, work: &Work, entry: &mut Entry, contender: &Contender) -> Line {
        let [p50, p90, p99, max] = percentiles(&mut entry.micros, [0.5, 0.9, 0.99, 1.0]);
        let measured = |value: f64| (!entry.rounds.is_empty()).then_some(value);
        Line {
            system: contender.system.name.to_owned(),
            border: contender.system.border.name().to_owned(),
            version: contender.version.clone(),
            params: entry.params.clone(),
            built: contender.built.clone(),
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
            .filter(|contender| contender.error.is_some() && contender.version.is_empty());
        let lines = failed.flat_map(|contender| {
            let suited = |question: &&Question| self.suits(&contender.system, work, **question);
            questions.iter().filter(suited).map(|question| Line {
                system: contender.system.name.to_owned(),
                border: contender.system.border.name().to_owned(),
                version: contender.version.clone(),
                params: contender.built.clone(),
                built: contender.built.clone(),
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
            seconds: self.seconds,
            run: self.run,
            data: work.data.clone(),
            build: self.build.clone(),
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
        data: work.data.clone(),
    }
}

impl Contender {
    /// Its name, with what it is built with.
    fn label(&self) -> String {
        record::label(self.system.name, &self.built)
    }

    /// Its process.
    fn peer(&mut self) -> Result<&mut Peer> {
        let error = self.error.as_deref().unwrap_or("its process has ended");
        self.peer.as_mut().ok_or_else(|| error.into())
    }

    /// A process that hangs or ended answers nothing any more.
    fn note_end(&mut self, answered: &std::result::Result<Value, PeerError>) {
        if let Err(error @ (PeerError::TimedOut(_) | PeerError::Ended(_))) = answered {
            self.error = Some(format!("since an earlier question: {error}"));
            self.peer = None;
        }
    }

    /// Notes what it holds now.
    fn weigh(&mut self, rows: &Codes) {
        let after = self
            .peer
            .as_ref()
            .and_then(|peer| peer.resident(rows.path()));
        if let (Some(before), Some(after)) = (self.before, after) {
            self.costs.resident_bytes = Some(after[0].saturating_sub(before[0]));
            self.costs.anonymous_bytes = Some(after[1].saturating_sub(before[1]));
        }
    }
}

/// Removes what runs left that were killed.
fn remove_abandoned(cache: &Path) -> Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("run-"));
        let process = process.and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn set(
    peer: &mut Peer,
    mode: Mode,
    params: &Params,
    patience: Duration,
) -> std::result::Result<(), PeerError> {
    let command = json!({
        "do": "set", "threads": mode.0, "callers": callers(mode), "params": params,
    });
    peer.ask(&command, patience).map(|_| ())
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
