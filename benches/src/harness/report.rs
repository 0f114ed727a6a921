//! Results as one page that needs nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bitkin_benches::Result;
use bitkin_benches::measure::Spread;

use super::plot::{Plot, Series, number};
use super::quality::{self, Quality};
use super::record::{Cell, Line, short};

/// Peers are compared at settings that find at least this share.
const GOOD: f64 = 0.95;

/// Settings that find less are in the tables only: the curves are wanted where recall is high.
const WORTH_A_LOOK: f64 = 0.5;

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
}

impl Way {
    const ALL: [(Way, &'static str); 3] = [
        (Way::Single, "one query at a time, one thread"),
        (Way::Batch, "in batches, one thread"),
        (Way::Parallel, "in batches, all threads"),
    ];

    fn of(line: &Line) -> Way {
        match (line.batch, line.threads) {
            (1, _) => Way::Single,
            (_, 1) => Way::Batch,
            _ => Way::Parallel,
        }
    }
}

/// How Bitkin stands to the best setting of a peer in one cell.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) cell: Cell,
    pub(crate) way: &'static str,
    pub(crate) peer: String,
    pub(crate) recall: f64,
    /// Queries a second of Bitkin in parts of the peer's, at the same border.
    pub(crate) ratio: Spread,
}

/// Bitkin beside each peer's fastest setting that finds enough, at the border that the peer has.
pub(crate) fn standings(lines: &[Line]) -> Vec<Standing> {
    let mut standings = Vec::new();
    for (cell, lines) in by_cell(lines) {
        for (way, how) in Way::ALL {
            let lines = lines.iter().filter(|line| Way::of(line) == way);
            let lines: Vec<&Line> = lines.copied().collect();
            for peer in names(&lines) {
                if is_bitkin(&peer) {
                    continue;
                }
                let settings = lines.iter().filter(|line| line.system == peer);
                let good = settings.filter(|line| line.recall.is_some_and(|r| r >= GOOD));
                let best = good.max_by(|a, b| {
                    let speed = |line: &Line| line.queries_per_second.unwrap_or(0.0);
                    speed(a).total_cmp(&speed(b))
                });
                let Some(best) = best else { continue };
                let own = lines
                    .iter()
                    .find(|line| is_bitkin(&line.system) && line.border == best.border);
                let Some(ratio) = own.and_then(|own| own.ratio(best)) else {
                    continue;
                };
                standings.push(Standing {
                    cell: cell.clone(),
                    way: how,
                    peer: best.label(),
                    recall: best.recall.unwrap_or_default(),
                    ratio,
                });
            }
        }
    }
    standings
}

fn is_bitkin(system: &str) -> bool {
    system == "bitkin" || system == "bitkin-native"
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
    ratios(&mut page, &standings);
    for (cell, lines) in by_cell(lines) {
        let _ = write!(page, "<h2>{}</h2>", escape(&cell.to_string()));
        for (way, how) in Way::ALL {
            let lines = lines.iter().filter(|line| Way::of(line) == way);
            let lines: Vec<&Line> = lines.copied().collect();
            page += &recall_plot(&lines, how)?.svg()?;
        }
        page += &latency_plot(&lines)?.svg()?;
        searches(&mut page, &lines, commit);
        costs(&mut page, &lines);
    }
    for plot in growth(lines) {
        page += &plot.svg()?;
    }
    quality::section(&mut page, quality)?;
    page += "</html>\n";
    Ok(page)
}

fn head(page: &mut String, lines: &[Line], commit: &str) {
    let commits: BTreeSet<&str> = lines.iter().map(|line| line.commit.as_str()).collect();
    let seeds: BTreeSet<u64> = lines.iter().map(|line| line.seed).collect();
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
         <p class=\"note\">All systems ran in one run on the same files, in turns, each in a process of \
         its own. A row counts as found when it is no farther than the true k-th neighbour. Ratios are \
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
    let mut lost: Vec<&Standing> = standings.iter().filter(|s| s.ratio.median < 1.0).collect();
    lost.sort_by(|a, b| a.ratio.median.total_cmp(&b.ratio.median));
    if lost.is_empty() {
        *page += "<p>In no cell of this run, beside settings that find at least 95 %.</p>";
    } else {
        let all = standings.len();
        let _ = write!(page, "<p>In {} of {all} comparisons:</p><ul>", lost.len());
        for standing in &lost {
            let _ = write!(
                page,
                "<li>{}, {}: {} (recall {:.3}) answers {} times as many queries</li>",
                escape(&standing.cell.to_string()),
                standing.way,
                escape(&standing.peer),
                standing.recall,
                number(1.0 / standing.ratio.median)
            );
        }
        *page += "</ul>";
    }
    let failed: BTreeSet<String> = lines
        .iter()
        .filter_map(|line| {
            let error = line.error.as_ref()?;
            Some(format!("{}, {}: {error}", line.cell(), line.label()))
        })
        .collect();
    if !failed.is_empty() {
        *page += "<h3>Systems that failed or were not there</h3><ul>";
        for failure in failed {
            let _ = write!(page, "<li>{}</li>", escape(&failure));
        }
        *page += "</ul>";
    }
}

fn ratios(page: &mut String, standings: &[Standing]) {
    *page += "<h2>Bitkin beside each peer</h2><p class=\"note\">Queries a second of Bitkin in parts of \
              those of the peer's fastest setting with a recall of at least 0.95: the median of the \
              rounds, and the least and greatest.</p>\
              <table><tr><th>work</th><th class=\"text\">asked</th><th class=\"text\">peer</th><th>its recall</th><th>ratio</th>\
              <th>least</th><th>most</th></tr>";
    for standing in standings {
        let class = if standing.ratio.median < 1.0 {
            "lose"
        } else {
            "win"
        };
        let _ = write!(
            page,
            "<tr><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td><td>{:.3}</td>\
             <td class=\"{class}\">{}</td><td>{}</td><td>{}</td></tr>",
            escape(&standing.cell.to_string()),
            standing.way,
            escape(&standing.peer),
            standing.recall,
            number(standing.ratio.median),
            number(standing.ratio.least),
            number(standing.ratio.most)
        );
    }
    *page += "</table>";
}

fn recall_plot(lines: &[&Line], how: &str) -> Result<Plot> {
    let mut series = Vec::new();
    let mut all = Vec::new();
    for name in ordered(lines) {
        let lines = lines.iter().filter(|line| line.system == name);
        let mut points: Vec<(f64, f64)> = lines
            .filter_map(|line| Some((line.recall?, line.queries_per_second?)))
            .filter(|(recall, _)| *recall >= WORTH_A_LOOK)
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        all.extend(points.iter().copied());
        if !points.is_empty() {
            series.push(Series { name, points });
        }
    }
    let beaten = |point: &(f64, f64)| {
        let mut better = all
            .iter()
            .filter(|other| other.0 >= point.0 && other.1 >= point.1);
        better.any(|other| other != point)
    };
    let frontier = all.iter().filter(|point| !beaten(point)).copied().collect();
    Ok(Plot {
        title: format!("Recall and speed: {how}"),
        across: "recall",
        up: "queries a second",
        log_across: false,
        series,
        frontier,
    })
}

/// Bitkin first: its colour is the same everywhere.
fn ordered(lines: &[&Line]) -> Vec<String> {
    let mut names: Vec<String> = names(lines).into_iter().collect();
    names.sort_by_key(|name| !is_bitkin(name));
    names
}

fn latency_plot(lines: &[&Line]) -> Result<Plot> {
    let mut series = Vec::new();
    for name in ordered(lines) {
        let settings = lines.iter().filter(|line| {
            let single = Way::of(line) == Way::Single;
            line.system == name && single && line.recall.is_some_and(|r| r >= GOOD)
        });
        let best = settings.max_by(|a, b| {
            let speed = |line: &Line| line.queries_per_second.unwrap_or(0.0);
            speed(a).total_cmp(&speed(b))
        });
        let Some(line) = best else { continue };
        let shares = [
            (50.0, line.p50_us),
            (90.0, line.p90_us),
            (99.0, line.p99_us),
            (100.0, line.max_us),
        ];
        let points = shares
            .into_iter()
            .filter_map(|(share, us)| Some((share, us?)))
            .collect();
        series.push(Series {
            name: line.label(),
            points,
        });
    }
    Ok(Plot {
        title: "Latency of single queries: half, 90 %, 99 % and all of them take at most"
            .to_owned(),
        across: "percent of the queries",
        up: "microseconds",
        log_across: false,
        series,
        frontier: Vec::new(),
    })
}

/// Time of a single query against the number of rows, for each width.
fn growth(lines: &[Line]) -> Vec<Plot> {
    type Kind = (String, u32, Option<usize>, Option<u32>);
    let mut kinds: BTreeMap<Kind, Vec<&Line>> = BTreeMap::new();
    for line in lines.iter().filter(|line| Way::of(line) == Way::Single) {
        let kind = (line.work.clone(), line.bits, line.k, line.radius);
        kinds.entry(kind).or_default().push(line);
    }
    let mut plots = Vec::new();
    for ((work, bits, k, radius), lines) in kinds {
        let rows: BTreeSet<usize> = lines.iter().map(|line| line.rows).collect();
        if rows.len() < 2 {
            continue;
        }
        let mut series = Vec::new();
        for name in ordered(&lines) {
            let mut points = Vec::new();
            for &rows in &rows {
                let settings = lines
                    .iter()
                    .filter(|line| line.system == name && line.rows == rows);
                let good = settings.filter(|line| line.recall.is_some_and(|r| r >= GOOD));
                let best = good.filter_map(|line| line.p50_us).min_by(f64::total_cmp);
                points.extend(best.map(|micros| (rows as f64, micros)));
            }
            if !points.is_empty() {
                series.push(Series { name, points });
            }
        }
        let question = match (k, radius) {
            (Some(k), _) => format!("{k} nearest"),
            (_, radius) => format!("radius {}", radius.unwrap_or_default()),
        };
        plots.push(Plot {
            title: format!(
                "Time against rows: {work}, {bits} bits, {question}, recall 0.95 or more"
            ),
            across: "rows",
            up: "microseconds, half of the queries",
            log_across: true,
            series,
            frontier: Vec::new(),
        });
    }
    plots
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
        "<p class=\"note\">What one thread of the machine can do at all: {}; {}. The column “of reading” \
         says how many of the bytes of a full pass a single query went through, as if it read them all: \
         a scan cannot pass 100 %, an index can.</p>",
        limits("reading all codes", read),
        limits("counting their bits in the cache", popcount)
    );
    *page += "<table><tr><th>system</th><th class=\"text\">asked</th><th>recall</th><th>queries/s</th><th>p50 µs</th>\
              <th>p90</th><th>p99</th><th>max</th><th>of reading</th></tr>";
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
                let of_reading = match (way, read) {
                    (Way::Single, Some(read)) => format!("{:.0} %", 100.0 * speed / read),
                    _ => "–".to_owned(),
                };
                let old = if line.commit == commit { "" } else { " †" };
                let _ = write!(
                    page,
                    "<tr><td>{}{old}</td><td class=\"text\">{how}</td><td>{}</td><td>{}</td><td>{}</td>\
                     <td>{}</td><td>{}</td><td>{}</td><td>{of_reading}</td></tr>",
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

fn costs(page: &mut String, lines: &[&Line]) {
    *page += "<table><tr><th>system</th><th>build, s</th><th>rows/s</th><th>durable</th><th>bytes a row held</th>\
              <th>peak MB</th><th>bytes a row on disk</th><th>cold open, ms</th><th>first query, ms</th>\
              <th>deletes/s</th><th>speed after 10 % deleted</th></tr>";
    for name in ordered(lines) {
        let Some(line) = lines.iter().find(|line| line.system == name) else {
            continue;
        };
        let costs = &line.costs;
        if costs.build_seconds.is_none() {
            continue;
        }
        let rows = line.rows as f64;
        let cell = |value: Option<f64>| value.map_or("–".to_owned(), number);
        let bytes = |value: Option<u64>, parts: f64| cell(value.map(|bytes| bytes as f64 / parts));
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&name),
            cell(costs.build_seconds),
            cell(costs.build_rows_per_second),
            if costs.durable { "yes" } else { "no" },
            bytes(costs.resident_bytes, rows),
            bytes(costs.peak_bytes, 1e6),
            bytes(costs.disk_bytes, rows),
            cell(costs.cold_open_seconds.map(|s| 1e3 * s)),
            cell(costs.cold_first_seconds.map(|s| 1e3 * s)),
            cell(costs.deletes_per_second),
            cell(costs.speed_after_deletes)
        );
    }
    *page += "</table>";
}

/// For the terminal: how Bitkin stands, in a few words a peer.
pub(crate) fn summary(lines: &[Line]) -> String {
    let mut text = String::new();
    for standing in standings(lines) {
        let _ = writeln!(
            text,
            "{:>8} times ({} to {}) {} (recall {:.3}): {}, {}",
            number(standing.ratio.median),
            number(standing.ratio.least),
            number(standing.ratio.most),
            standing.peer,
            standing.recall,
            standing.cell,
            standing.way
        );
    }
    let cells: BTreeSet<String> = lines.iter().map(|line| short(line.rows)).collect();
    let _ = writeln!(
        text,
        "Bitkin's queries a second in parts of each peer's (rows: {})",
        cells.into_iter().collect::<Vec<_>>().join(", ")
    );
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
