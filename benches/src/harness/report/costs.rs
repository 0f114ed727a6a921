//! What systems take beside searches.

use std::fmt::Write;

use super::{by_cell, escape, is_bitkin, is_own, ordered};
use crate::plot::number;
use crate::record::{Costs, Line, label};

/// A peer is cheaper when Bitkin takes this many times as much; less is noise.
const MORE: f64 = 1.2;

/// One kind of cost: what it is called, and the less the better.
type Kind = (&'static str, fn(&Costs) -> Option<f64>);

const KINDS: [Kind; 7] = [
    ("takes longer to build", |costs| costs.build_seconds),
    ("holds more memory", |costs| {
        costs.resident_bytes.map(|bytes| bytes as f64)
    }),
    ("takes more disk", |costs| {
        costs.disk_bytes.map(|bytes| bytes as f64)
    }),
    ("opens more slowly when cold", |costs| {
        costs.cold_open_seconds
    }),
    ("answers its first query more slowly when cold", |costs| {
        costs.cold_first_seconds
    }),
    ("deletes more slowly", |costs| {
        costs.deletes_per_second.map(f64::recip)
    }),
    ("loses more speed by deletes", |costs| {
        costs.speed_after_deletes.map(f64::recip)
    }),
];

/// Where Bitkin takes more than a peer, a line each.
pub(super) fn dearer(lines: &[Line]) -> Vec<String> {
    let mut found = Vec::new();
    for (cell, lines) in by_cell(lines) {
        for (what, cost) in KINDS {
            let mut than = Vec::new();
            for peer in built(&lines).iter().filter(|line| !is_own(&line.system)) {
                let name = label(&peer.system, &peer.built);
                let own = lines.iter().find(|line| {
                    is_bitkin(&line.system) && line.border == peer.border && line.run == peer.run
                });
                let costs = own.and_then(|own| Some((cost(&own.costs)?, cost(&peer.costs)?)));
                // Next to nothing is often 0.
                if let Some((own, peer)) = costs
                    && own > MORE * peer
                    && peer > 0.0
                {
                    than.push(format!("{name} ({} times)", number(own / peer)));
                }
            }
            if !than.is_empty() {
                found.push(format!("{cell}: Bitkin {what} than {}", than.join(", ")));
            }
        }
    }
    found
}

/// The table of a cell.
pub(super) fn table(page: &mut String, lines: &[&Line], commit: &str) {
    *page += "<table><tr><th>system</th><th>build, s</th><th>rows/s</th><th>durable</th>\
              <th>bytes a row held</th><th>not in files</th><th>by itself</th><th>peak MB</th>\
              <th>bytes a row on disk</th><th>cold open, ms</th><th>first query, ms</th><th>deletes/s</th>\
              <th>speed after 10 % deleted</th><th>recall then</th></tr>";
    for line in built(lines) {
        let name = label(&line.system, &line.built);
        let costs = &line.costs;
        let rows = line.rows as f64;
        let cell = |value: Option<f64>| value.map_or("–".to_owned(), number);
        let bytes = |value: Option<u64>, parts: f64| cell(value.map(|bytes| bytes as f64 / parts));
        let cells = [
            cell(costs.build_seconds),
            cell(costs.build_rows_per_second),
            if costs.durable { "yes" } else { "no" }.to_owned(),
            bytes(costs.resident_bytes, rows),
            bytes(costs.anonymous_bytes, rows),
            bytes(costs.index_bytes, rows),
            bytes(costs.peak_bytes, 1e6),
            bytes(costs.disk_bytes, rows),
            cell(costs.cold_open_seconds.map(|seconds| 1e3 * seconds)),
            cell(costs.cold_first_seconds.map(|seconds| 1e3 * seconds)),
            cell(costs.deletes_per_second),
            cell(costs.speed_after_deletes),
            cell(costs.recall_after_deletes),
        ];
        let old = if line.commit == commit { "" } else { " †" };
        let cells = cells.map(|cell| format!("<td>{cell}</td>")).concat();
        let _ = write!(page, "<tr><td>{}{old}</td>{cells}</tr>", escape(&name));
    }
    *page += "</table>";
}

/// A line of each system that was built, and of each setting that it was built with.
fn built<'a>(lines: &[&'a Line]) -> Vec<&'a Line> {
    let mut built: Vec<&Line> = Vec::new();
    for name in ordered(lines) {
        let own = lines.iter().filter(|line| line.system == name);
        for line in own.filter(|line| line.costs != Costs::default()) {
            if !built
                .iter()
                .any(|known| known.system == name && known.built == line.built)
            {
                built.push(line);
            }
        }
    }
    built
}
