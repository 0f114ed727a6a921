//! Results as one page that needs nothing else.

mod costs;
mod curves;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bitkin_benches::Result;
use bitkin_benches::measure::Spread;

use super::plot::number;
use super::quality::{self, Quality};
use super::record::{Cell, Line};

/// Peers are compared at settings that find at least this share.
pub(crate) const GOOD: f64 = 0.95;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #1e1e1e; max-width: 70em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em } h2 { font-size: 1.25em; margin-top: 2.2em; border-bottom: 1px solid #ccc }
h3 { font-size: 1.05em; margin: 1.6em 0 .4em }
table { border-collapse: collapse; font-size: 13px; margin: .8em 0 }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #e4e4e4 }
th { font-weight: 600; vertical-align: bottom } th:first-child, td:first-child { text-align: left }
th.text, td.text { text-align: left } .lose { background: #fde8e4 } .win { background: #e6f4ea } .note { color: #555 }
svg { max-width: 100%; height: auto }
@media print { body { margin: 0; max-width: none } h2 { break-before: auto } svg, table { break-inside: avoid } }
";

/// How a setting was asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Single,
    Batch,
    Parallel,
    Callers,
}

impl Way {
    const ALL: [(Way, &'static str); 4] = [
        (Way::Single, "one query at a time, one thread"),
        (Way::Batch, "in batches, one thread"),
        (Way::Parallel, "in batches, all threads"),
        (Way::Callers, "one query at a time, all threads"),
    ];

    fn of(line: &Line) -> Way {
        match (line.batch, line.threads) {
            (1, 1) => Way::Single,
            (1, _) => Way::Callers,
            (_, 1) => Way::Batch,
            _ => Way::Parallel,
        }
    }
}

/// How Bitkin stands to a peer in one cell.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) cell: Cell,
    pub(crate) way: &'static str,
    /// The peer's fastest setting that finds enough, or else the one that finds most.
    pub(crate) peer: String,
    pub(crate) recall: f64,
    pub(crate) outcome: Outcome,
    /// Whether it was measured at another commit.
    pub(crate) commit: String,
}

/// What came of a comparison.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Queries a second of Bitkin in parts of the peer's, at the same border.
    Ratio(Spread),
    /// No setting of the peer finds enough.
    PeerMisses,
    /// Bitkin failed, or does not find enough, where the peer does.
    BitkinMisses,
    /// They were not measured in one run.
    Apart,
}

impl Standing {
    fn is_lost(&self) -> bool {
        match &self.outcome {
            Outcome::Ratio(ratio) => ratio.median < 1.0,
            Outcome::BitkinMisses => true,
            Outcome::PeerMisses | Outcome::Apart => false,
        }
    }
}

/// Bitkin beside each peer's fastest setting that finds enough, at the border that the peer has.
pub(crate) fn standings(lines: &[Line]) -> Vec<Standing> {
    let mut standings = Vec::new();
    for (cell, lines) in by_cell(lines) {
        for (way, how) in Way::ALL {
            let lines = lines.iter().filter(|line| Way::of(line) == way);
            let lines: Vec<&Line> = lines.copied().collect();
            for peer in names(&lines).iter().filter(|name| !is_own(name)) {
                let settings = lines.iter().filter(|line| line.system == *peer);
                let settings: Vec<&Line> = settings.copied().collect();
                let Some(best) = fastest(&settings).or_else(|| finds_most(&settings)) else {
                    continue;
                };
                let enough = |line: &Line| line.recall.is_some_and(|recall| recall >= GOOD);
                let own = lines
                    .iter()
                    .find(|line| is_bitkin(&line.system) && line.border == best.border);
                let outcome = match own {
                    _ if !enough(best) => Outcome::PeerMisses,
                    Some(own) if enough(own) => match own.ratio(best) {
                        Some(ratio) => Outcome::Ratio(ratio),
                        None => Outcome::Apart,
                    },
                    // Who left Bitkin out compares nothing.
                    None if !lines.iter().any(|line| is_bitkin(&line.system)) => Outcome::Apart,
                    _ => Outcome::BitkinMisses,
                };
                standings.push(Standing {
                    cell: cell.clone(),
                    way: how,
                    peer: best.label(),
                    recall: best.recall.unwrap_or_default(),
                    outcome,
                    commit: best.commit.clone(),
                });
            }
        }
    }
    standings
}

/// The fastest of those lines that find enough.
fn fastest<'a>(lines: &[&'a Line]) -> Option<&'a Line> {
    let good = lines
        .iter()
        .filter(|line| line.recall.is_some_and(|r| r >= GOOD));
    let measured = good.filter(|line| line.queries_per_second.is_some());
    let speed = |line: &Line| line.queries_per_second.unwrap_or(0.0);
    measured
        .max_by(|a, b| speed(a).total_cmp(&speed(b)))
        .copied()
}

fn finds_most<'a>(lines: &[&'a Line]) -> Option<&'a Line> {
    let measured = lines.iter().filter(|line| line.recall.is_some());
    let recall = |line: &Line| line.recall.unwrap_or(0.0);
    measured
        .max_by(|a, b| recall(a).total_cmp(&recall(b)))
        .copied()
}

/// What is compared with peers: Bitkin as it comes, exact.
fn is_bitkin(system: &str) -> bool {
    system == "bitkin" || system == "bitkin-native"
}

/// Bitkin in any form.
fn is_own(system: &str) -> bool {
    system.starts_with("bitkin")
}

fn names(lines: &[&Line]) -> BTreeSet<String> {
    let systems = lines.iter().filter(|line| !line.is_limit());
    systems.map(|line| line.system.clone()).collect()
}

fn by_cell(lines: &[Line]) -> BTreeMap<Cell, Vec<&Line>> {
    let mut cells: BTreeMap<Cell, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        cells.entry(line.cell()).or_default().push(line);
    }
    cells
}

/// The page.
pub(crate) fn page(lines: &[Line], quality: &[Quality], commit: &str) -> Result<String> {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Bitkin, measured</title>\
         <style>{STYLE}</style><h1>Bitkin, measured</h1>"
    );
    head(&mut page, lines, commit);
    let standings = standings(lines);
    losses(&mut page, &standings, lines);
    ratios(&mut page, &standings, commit);
    for (cell, lines) in by_cell(lines) {
        let _ = write!(page, "<h2>{}</h2>", escape(&cell.to_string()));
        for border in ["python", "native"] {
            for (way, how) in Way::ALL {
                let lines = lines
                    .iter()
                    .filter(|line| Way::of(line) == way && line.border == border);
                let lines: Vec<&Line> = lines.copied().collect();
                // A curve needs something to be beside.
                if names(&lines).len() > 1 {
                    page += &curves::recall_plot(&lines, &format!("{how}, called from {border}"))
                        .svg()?;
                }
            }
        }
        page += &curves::latency_plot(&lines).svg()?;
        searches(&mut page, &lines, commit);
        costs::table(&mut page, &lines, commit);
    }
    for plot in curves::growth(lines) {
        page += &plot.svg()?;
    }
    quality::section(&mut page, quality)?;
    page += "</html>\n";
    Ok(page)
}

fn head(page: &mut String, lines: &[Line], commit: &str) {
    let commits: BTreeSet<&str> = lines.iter().map(|line| line.commit.as_str()).collect();
    let seeds: BTreeSet<u64> = lines.iter().map(|line| line.seed).collect();
    let runs: BTreeSet<u64> = lines.iter().map(|line| line.run).collect();
    let machines: BTreeSet<String> = lines
        .iter()
        .map(|line| {
            let facts = line.machine.iter().filter(|(name, _)| *name != "load");
            let facts: Vec<String> = facts.map(|(name, fact)| format!("{name} {fact}")).collect();
            facts.join("; ")
        })
        .collect();
    let versions: BTreeSet<String> = lines
        .iter()
        .filter(|line| !line.version.is_empty())
        .map(|line| format!("{} {}", line.system, line.version))
        .collect();
    let join = |all: Vec<String>| escape(&all.join(", "));
    let _ = write!(
        page,
        "<p class=\"note\">Machine: {}.<br>Versions: {}.<br>Commit: {}; seed: {}.{}</p>\
         <p class=\"note\">All systems had the same files, each a process of its own; {} A \
         row counts as found when it is no farther than the true k-th neighbour. Ratios are \
         of neighbouring rounds, at the same border: Python beside Python, native beside native. \
         Absolute figures are context; the ratios are the result.</p>",
        join(machines.into_iter().collect()),
        join(versions.into_iter().collect()),
        join(commits.iter().map(|commit| (*commit).to_owned()).collect()),
        join(seeds.iter().map(u64::to_string).collect()),
        if lines.iter().any(|line| line.quick) {
            " A quick run: to see that all works, not to quote."
        } else {
            ""
        },
        if runs.len() == 1 {
            "they took turns in one run."
        } else {
            "they took turns in several runs, and ratios are of one run each."
        }
    );
    if commits.iter().any(|known| *known != commit) {
        let _ = write!(
            page,
            "<p class=\"note\">Figures marked † were taken at another commit than {}.</p>",
            escape(commit)
        );
    }
}

/// Where Bitkin loses, in plain words.
fn losses(page: &mut String, standings: &[Standing], lines: &[Line]) {
    *page += "<h2>Where Bitkin loses</h2>";
    let compared = standings
        .iter()
        .filter(|standing| matches!(standing.outcome, Outcome::Ratio(_) | Outcome::BitkinMisses));
    let compared = compared.count();
    let lost: Vec<&Standing> = standings.iter().filter(|s| s.is_lost()).collect();
    if compared == 0 {
        *page +=
            "<p>Nothing was compared: Bitkin and a peer that finds enough were not in one run.</p>";
    } else if lost.is_empty() {
        let _ = write!(page, "<p>In speed, in none of {compared} comparisons.</p>");
    } else {
        let _ = write!(
            page,
            "<p>In speed, in {} of {compared} comparisons:</p><ul>",
            lost.len()
        );
        for standing in &lost {
            let (cell, peer) = (escape(&standing.cell.to_string()), escape(&standing.peer));
            let how = match &standing.outcome {
                Outcome::Ratio(ratio) => {
                    format!(
                        "answers {} times as many queries",
                        number(1.0 / ratio.median)
                    )
                }
                _ => "answers; Bitkin failed, or found too little".to_owned(),
            };
            let (way, recall) = (standing.way, standing.recall);
            let _ = write!(
                page,
                "<li>{cell}, {way}: {peer} (recall {recall:.3}) {how}</li>"
            );
        }
        *page += "</ul>";
    }
    let dearer = costs::dearer(lines);
    if !dearer.is_empty() {
        *page += "<p>In costs:</p><ul>";
        for what in dearer {
            let _ = write!(page, "<li>{}</li>", escape(&what));
        }
        *page += "</ul>";
    }
    let failed: BTreeSet<String> = lines
        .iter()
        .flat_map(|line| {
            let errors = [
                (&line.error, line.label()),
                (&line.costs.costs_error, line.system.clone()),
            ];
            errors
                .map(|(error, name)| Some(format!("{}, {name}: {}", line.cell(), error.as_ref()?)))
        })
        .flatten()
        .collect();
    if !failed.is_empty() {
        *page += "<h3>Systems that failed or were not there</h3><ul>";
        for failure in failed {
            let _ = write!(page, "<li>{}</li>", escape(&failure));
        }
        *page += "</ul>";
    }
}

fn ratios(page: &mut String, standings: &[Standing], commit: &str) {
    *page += "<h2>Bitkin beside each peer</h2><p class=\"note\">Queries a second of Bitkin in parts of \
              those of the peer's fastest setting with a recall of at least 0.95: the median of the \
              rounds, and the least and greatest.</p>\
              <table><tr><th>work</th><th class=\"text\">asked</th><th class=\"text\">peer</th>\
              <th>its recall</th><th>ratio</th><th>least</th><th>most</th></tr>";
    for standing in standings {
        let (class, [ratio, least, most]) = match &standing.outcome {
            Outcome::Ratio(ratio) => {
                let class = if ratio.median < 1.0 { "lose" } else { "win" };
                (class, [ratio.median, ratio.least, ratio.most].map(number))
            }
            Outcome::PeerMisses => ("note", ["it finds too little", "", ""].map(str::to_owned)),
            Outcome::BitkinMisses => ("lose", ["Bitkin failed", "", ""].map(str::to_owned)),
            Outcome::Apart => ("note", ["not in one run", "", ""].map(str::to_owned)),
        };
        let old = if standing.commit == commit {
            ""
        } else {
            " †"
        };
        let _ = write!(
            page,
            "<tr><td>{}{old}</td><td class=\"text\">{}</td><td class=\"text\">{}</td><td>{:.3}</td>\
             <td class=\"{class}\">{ratio}</td><td>{least}</td><td>{most}</td></tr>",
            escape(&standing.cell.to_string()),
            standing.way,
            escape(&standing.peer),
            standing.recall,
        );
    }
    *page += "</table>";
}

/// Bitkin first: its colour is the same everywhere.
fn ordered(lines: &[&Line]) -> Vec<String> {
    let mut names: Vec<String> = names(lines).into_iter().collect();
    names.sort_by_key(|name| !is_own(name));
    names
}

fn searches(page: &mut String, lines: &[&Line], commit: &str) {
    let limit = |name: &str| {
        let line = lines.iter().find(|line| line.system == name);
        line.and_then(|line| line.queries_per_second)
    };
    let (read, popcount) = (limit("limit-read"), limit("limit-popcount"));
    let limits = |label: &str, passes: Option<f64>| match (passes, lines.first()) {
        (Some(passes), Some(line)) => {
            let bytes = passes * line.rows as f64 * f64::from(line.bits.div_ceil(8));
            format!(
                "{label} {} passes a second ({}B/s)",
                number(passes),
                number(bytes)
            )
        }
        _ => String::new(),
    };
    let _ = write!(
        page,
        "<p class=\"note\">What one thread of the machine can do at all: {}; {}. The columns “of reading” \
         and “of counting” say how many such passes its queries are worth, in parts of these (times the \
         threads): a single query of a scan cannot pass 100 % of either, a batch can share its reading, \
         and an index can pass both.</p>",
        limits("reading all codes", read),
        limits("counting their bits in the cache", popcount)
    );
    *page += "<table><tr><th>system</th><th class=\"text\">asked</th><th>recall</th><th>queries/s</th><th>p50 µs</th>\
              <th>p90</th><th>p99</th><th>max</th><th>of reading</th><th>of counting</th></tr>";
    for (way, how) in Way::ALL {
        for name in ordered(lines) {
            for line in lines
                .iter()
                .filter(|line| line.system == name && Way::of(line) == way)
            {
                let Some(speed) = line.queries_per_second else {
                    continue;
                };
                let cell = |value: Option<f64>| value.map_or("–".to_owned(), number);
                let part = |limit: Option<f64>| match limit {
                    Some(limit) => {
                        let share = 100.0 * speed / (limit * line.threads as f64);
                        format!("{} %", number(share))
                    }
                    None => "–".to_owned(),
                };
                let (of_reading, of_counting) = (part(read), part(popcount));
                let old = if line.commit == commit { "" } else { " †" };
                let _ = write!(
                    page,
                    "<tr><td>{}{old}</td><td class=\"text\">{how}</td><td>{}</td><td>{}</td><td>{}</td>\
                     <td>{}</td><td>{}</td><td>{}</td><td>{of_reading}</td><td>{of_counting}</td></tr>",
                    escape(&line.label()),
                    line.recall
                        .map_or("–".to_owned(), |recall| format!("{recall:.4}")),
                    number(speed),
                    cell(line.p50_us),
                    cell(line.p90_us),
                    cell(line.p99_us),
                    cell(line.max_us)
                );
            }
        }
    }
    *page += "</table>";
}

/// For the terminal: how Bitkin stands, a line a peer.
pub(crate) fn summary(lines: &[Line]) -> String {
    let mut text = "Queries a second of Bitkin in parts of each peer's:\n".to_owned();
    for standing in standings(lines) {
        let ratio = match &standing.outcome {
            Outcome::Ratio(ratio) => format!(
                "{:>8} ({} to {})",
                number(ratio.median),
                number(ratio.least),
                number(ratio.most)
            ),
            Outcome::PeerMisses => "it finds too little:".to_owned(),
            Outcome::BitkinMisses => "Bitkin failed:".to_owned(),
            Outcome::Apart => "not in one run:".to_owned(),
        };
        let Standing {
            cell, way, peer, ..
        } = &standing;
        let _ = writeln!(
            text,
            "{ratio} {peer} (recall {:.3}), {cell}, {way}",
            standing.recall
        );
    }
    text
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
