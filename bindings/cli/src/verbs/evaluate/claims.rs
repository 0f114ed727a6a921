//! What papers claim of their methods, and what became of it, for the page of an evaluation.

use super::report::distinct;
use crate::page::{Grid, GridRow};
use serde::Deserialize;

/// What became of an ordering that a paper claims.
#[derive(Deserialize)]
pub(super) struct Claimed {
    claim: String,
    better: String,
    worse: String,
    bits: u32,
    shots: u32,
    difference: Difference,
    verdict: String,
}

#[derive(Deserialize)]
struct Difference {
    mean: f64,
    low: f64,
    high: f64,
}

/// A table for each number of examples: a line a claim, a column a width.
pub(super) fn claims(claimed: &[&Claimed], own: &str) -> Vec<Grid> {
    let shots = distinct(claimed.iter().map(|claim| claim.shots));
    let grids = shots.into_iter().map(|shots| {
        let of_shots: Vec<&Claimed> = claimed
            .iter()
            .copied()
            .filter(|claim| claim.shots == shots)
            .collect();
        let bits = distinct(of_shots.iter().map(|claim| claim.bits));
        let mut rows: Vec<GridRow> = Vec::new();
        for claim in of_shots {
            let name = format!("{} better than {}", claim.better, claim.worse);
            let place = rows.iter().position(|row| row.name == name);
            let place = place.unwrap_or_else(|| {
                rows.push(GridRow {
                    name,
                    about: claim.claim.clone(),
                    own: claim.better == own,
                    cells: vec![String::new(); bits.len()],
                });
                rows.len() - 1
            });
            if let Ok(column) = bits.binary_search(&claim.bits) {
                rows[place].cells[column] = claim.told();
            }
        }
        let widths = bits.iter().map(|bits| format!("{bits} bits"));
        Grid {
            caption: format!(
                "What papers claim, and we, with labelled examples of each class: {shots}; differences of mAP, and \
                 their 95 % intervals by paired bootstrap over seeds and queries"
            ),
            heads: std::iter::once("claim".to_owned()).chain(widths).collect(),
            rows,
        }
    });
    grids.collect()
}

impl Claimed {
    fn told(&self) -> String {
        let Difference { mean, low, high } = self.difference;
        let verdict = match self.verdict.as_str() {
            "held" => "held",
            "reversed" => "the other way round",
            _ => "undecided",
        };
        format!("{mean:+.3} {verdict}\n{low:+.3} to {high:+.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_has_a_line_and_each_width_a_column() {
        let claimed = |better: &str, bits: u32, shots: u32, verdict: &str| Claimed {
            claim: "UGH".into(),
            better: better.into(),
            worse: "lsh".into(),
            bits,
            shots,
            difference: Difference {
                mean: -0.01,
                low: -0.02,
                high: 0.0,
            },
            verdict: verdict.into(),
        };
        let all = [
            claimed("ugh", 16, 5, "held"),
            claimed("itq", 16, 5, "undecided"),
            claimed("ugh", 128, 5, "reversed"),
            claimed("ugh", 16, 1, "held"),
        ];
        let grids = claims(&all.iter().collect::<Vec<_>>(), "ugh");
        assert_eq!(grids.len(), 2);
        assert_eq!(grids[0].heads, ["claim", "16 bits"]);
        assert_eq!(grids[1].heads, ["claim", "16 bits", "128 bits"]);
        let [ugh, itq] = &grids[1].rows[..] else {
            panic!("{:?}", grids[1].rows);
        };
        assert!(ugh.own && !itq.own);
        assert_eq!(
            ugh.cells,
            [
                "-0.010 held\n-0.020 to +0.000",
                "-0.010 the other way round\n-0.020 to +0.000"
            ]
        );
        assert_eq!(itq.cells[1], "");
    }
}
