//! The plots of the page: recall and speed, latencies, time against rows.

use std::collections::{BTreeMap, BTreeSet};

use super::{GOOD, Way, fastest, ordered};
use crate::plot::{Plot, Series};
use crate::record::Line;

/// Settings that find less are in the tables only: the curves are wanted where recall is high.
const WORTH_A_LOOK: f64 = 0.5;

pub(super) fn recall_plot(lines: &[&Line], how: &str) -> Plot {
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
    Plot {
        title: format!("Recall and speed: {how}"),
        across: "recall",
        up: "queries a second",
        log_across: false,
        series,
        frontier,
    }
}

pub(super) fn latency_plot(lines: &[&Line]) -> Plot {
    let mut series = Vec::new();
    for name in ordered(lines) {
        let settings = lines
            .iter()
            .filter(|line| line.system == name && Way::of(line) == Way::Single);
        let settings: Vec<&Line> = settings.copied().collect();
        let Some(line) = fastest(&settings) else {
            continue;
        };
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
    Plot {
        title: "Latency of single queries: half, 90 %, 99 % and all of them take at most"
            .to_owned(),
        across: "percent of the queries",
        up: "microseconds",
        log_across: false,
        series,
        frontier: Vec::new(),
    }
}

/// Time of a single query against the number of rows, for each width.
pub(super) fn growth(lines: &[Line]) -> Vec<Plot> {
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
        // Each way that was forced has a curve of its own.
        let curves = ordered(&lines).into_iter().flat_map(|name| {
            let ways = lines.iter().filter(|line| line.system == name);
            let ways: BTreeSet<Option<u64>> = ways.map(|line| forced(line)).collect();
            ways.into_iter().map(move |way| (name.clone(), way))
        });
        for (name, way) in curves {
            let mut points = Vec::new();
            for &rows in &rows {
                let settings = lines
                    .iter()
                    .filter(|line| line.system == name && line.rows == rows && forced(line) == way);
                let good = settings.filter(|line| line.recall.is_some_and(|r| r >= GOOD));
                let best = good.filter_map(|line| line.p50_us).min_by(f64::total_cmp);
                points.extend(best.map(|micros| (rows as f64, micros)));
            }
            if !points.is_empty() {
                let way = match way {
                    None => "",
                    Some(1) => ", scan",
                    Some(_) => ", tables",
                };
                let name = format!("{name}{way}");
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

/// The way that a line's system was made to take, if it was.
fn forced(line: &Line) -> Option<u64> {
    line.params.get("way").copied().filter(|way| *way > 0)
}
