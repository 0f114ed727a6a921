//! How well codes retrieve: mean average precision and its curves, for any labelled collection.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bitkin::{Database, metrics};
use bitkin_benches::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::codes::{Codes, distance, named};
use super::plot::{Plot, Series};
use super::work::HELD_OUT;

/// The retrieval quality of one set of codes. Rows at one distance have no order among themselves:
/// every figure is the mean over all their orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Quality {
    /// `quality`, to be told from results of searches.
    pub(crate) system: String,
    pub(crate) work: String,
    pub(crate) bits: u32,
    pub(crate) rows: usize,
    pub(crate) queries: usize,
    /// The K of `map_at_k`.
    pub(crate) k: usize,
    /// Of no search, so none.
    pub(crate) recall: Option<f64>,
    pub(crate) queries_per_second: Option<f64>,
    pub(crate) map: f64,
    pub(crate) map_at_k: f64,
    /// Of the rows within a distance of 2; a query without any counts as 0.
    pub(crate) precision_within_2: f64,
    /// Recall and precision of all rows within each distance, 0 to the width.
    pub(crate) precision_recall: Vec<(f64, f64)>,
    /// Number of rows, and the precision of so many nearest.
    pub(crate) top: Vec<(usize, f64)>,
    pub(crate) commit: String,
}

/// Counts at each distance: all rows, and those of the query's class.
type Ties = Vec<(u64, u64)>;

/// Codes, and the class of each.
#[derive(Debug)]
pub(crate) struct Labelled {
    bytes: Vec<u8>,
    row_bytes: usize,
    labels: Vec<i64>,
}

impl Labelled {
    /// Codes of an `.npy` file, and their classes, one a line, in a text file.
    pub(crate) fn files(
        codes: &Path,
        labels: &Path,
        classes: &mut BTreeMap<String, i64>,
    ) -> Result<Labelled> {
        let found = Codes::open(codes)?;
        let text = std::fs::read_to_string(labels).map_err(named(labels))?;
        let labels: Vec<i64> = text
            .lines()
            .map(|line| class(line.trim(), classes))
            .collect();
        if found.rows() != labels.len() {
            let what = format!("{} labels for {} codes", labels.len(), found.rows());
            return Err(format!("{}: {what}", codes.display()).into());
        }
        Ok(Labelled {
            bytes: found.bytes().to_vec(),
            row_bytes: found.row_bytes(),
            labels,
        })
    }

    /// The rows of a collection, and as queries those of `asked` or some of its own. Rows whose
    /// payload has no `label` are left out.
    pub(crate) fn collections(
        database: &Path,
        name: &str,
        asked: Option<&str>,
        label: &str,
    ) -> Result<(Labelled, Labelled)> {
        let database = Database::open_read_only(database)?;
        let mut classes = BTreeMap::new();
        let mut read = |name: &str| -> Result<Labelled> {
            let collection = database.collection(name)?;
            let mut found = Labelled::empty(collection.code_bytes());
            for row in collection.rows()? {
                let row = row?;
                let payload = row.payload.as_deref().unwrap_or("null");
                let payload: Value = serde_json::from_str(payload)?;
                match &payload[label] {
                    Value::Null => {}
                    Value::String(text) => found.push(&row.code, class(text, &mut classes)),
                    other => found.push(&row.code, class(&other.to_string(), &mut classes)),
                }
            }
            match found.labels.is_empty() {
                true => Err(format!("no row of {name} has a {label:?} in its payload").into()),
                false => Ok(found),
            }
        };
        let all = read(name)?;
        if let Some(asked) = asked {
            return Ok((all, read(asked)?));
        }
        let (mut rows, mut queries) = (
            Labelled::empty(all.row_bytes),
            Labelled::empty(all.row_bytes),
        );
        for (at, (code, label)) in all.iter().enumerate() {
            let part = if at % HELD_OUT == 0 {
                &mut queries
            } else {
                &mut rows
            };
            part.push(code, label);
        }
        Ok((rows, queries))
    }

    fn empty(row_bytes: usize) -> Labelled {
        Labelled {
            bytes: Vec::new(),
            row_bytes,
            labels: Vec::new(),
        }
    }

    fn push(&mut self, code: &[u8], label: i64) {
        self.bytes.extend_from_slice(code);
        self.labels.push(label);
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        let codes = self.bytes.chunks_exact(self.row_bytes);
        codes.zip(self.labels.iter().copied())
    }
}

/// The number of a class, a new one if it was not met before.
fn class(name: &str, classes: &mut BTreeMap<String, i64>) -> i64 {
    let next = classes.len() as i64;
    *classes.entry(name.to_owned()).or_insert(next)
}

impl Quality {
    pub(crate) fn measure(
        name: &str,
        rows: &Labelled,
        queries: &Labelled,
        k: usize,
        commit: &str,
    ) -> Result<Quality> {
        if rows.row_bytes != queries.row_bytes {
            return Err("rows and queries are codes of different width".into());
        }
        if k == 0 || k > rows.len() {
            return Err(format!("there are no {k} nearest of {} rows", rows.len()).into());
        }
        let bits = 8 * rows.row_bytes;
        let all: Vec<Ties> = queries
            .iter()
            .map(|(query, label)| {
                let mut ties = vec![(0, 0); bits + 1];
                for (row, row_label) in rows.iter() {
                    let tie: &mut (u64, u64) = &mut ties[distance(query, row) as usize];
                    tie.0 += 1;
                    tie.1 += u64::from(row_label == label);
                }
                ties
            })
            .collect();
        let tops = [1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000];
        let tops = tops.into_iter().filter(|n| *n <= rows.len());
        let average =
            |ties: &Ties| metrics::expected_average_precision_of_ties(ties.iter().copied());
        let average_at = |ties: &Ties| {
            metrics::expected_average_precision_of_ties_at(ties.iter().copied(), k as u64)
        };
        Ok(Quality {
            system: "quality".to_owned(),
            work: name.to_owned(),
            bits: bits as u32,
            rows: rows.len(),
            queries: queries.len(),
            k,
            recall: None,
            queries_per_second: None,
            map: metrics::mean(all.iter().map(average)),
            map_at_k: metrics::mean(all.iter().map(average_at)),
            precision_within_2: metrics::mean(all.iter().map(|ties| {
                let within = sum(&ties[..3.min(ties.len())]);
                share(within.1, within.0)
            })),
            precision_recall: curve(&all),
            top: tops
                .map(|n| {
                    let precision = |ties: &Ties| {
                        metrics::expected_precision_of_ties_at(ties.iter().copied(), n as u64)
                    };
                    (n, metrics::mean(all.iter().map(precision)))
                })
                .collect(),
            commit: commit.to_owned(),
        })
    }
}

fn sum(ties: &[(u64, u64)]) -> (u64, u64) {
    ties.iter()
        .fold((0, 0), |sum, tie| (sum.0 + tie.0, sum.1 + tie.1))
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Precision and recall of what is within each distance, as means over the queries.
fn curve(all: &[Ties]) -> Vec<(f64, f64)> {
    let distances = all.first().map_or(0, Vec::len);
    let mut within: Vec<(u64, u64)> = vec![(0, 0); all.len()];
    let totals: Vec<u64> = all.iter().map(|ties| sum(ties).1).collect();
    let mut points = Vec::new();
    for at in 0..distances {
        for (sum, ties) in within.iter_mut().zip(all) {
            *sum = (sum.0 + ties[at].0, sum.1 + ties[at].1);
        }
        let found = within.iter().filter(|(rows, _)| *rows > 0);
        let precision = metrics::mean(found.map(|(rows, relevant)| share(*relevant, *rows)));
        let recall = within.iter().zip(&totals).filter(|(_, total)| **total > 0);
        let recall = metrics::mean(recall.map(|((_, relevant), total)| share(*relevant, *total)));
        if within.iter().any(|(rows, _)| *rows > 0) {
            points.push((recall, precision));
        }
    }
    points.dedup();
    points
}

/// Adds a measurement to a file.
pub(crate) fn append(path: &Path, found: &Quality) -> Result<()> {
    super::record::append(path, std::slice::from_ref(found))
}

/// The measurements of a file, the last one of each name and width; none if there is no file.
pub(crate) fn read(path: &Path) -> Result<Vec<Quality>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(named(path))?;
    let mut all = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let one: Quality = serde_json::from_str(line)
            .map_err(|error| format!("{}, line {}: {error}", path.display(), number + 1))?;
        all.insert((one.work.clone(), one.bits), one);
    }
    Ok(all.into_values().collect())
}

/// What was measured of labelled collections, for the page.
pub(crate) fn section(page: &mut String, all: &[Quality]) -> Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    *page += "<h2>Retrieval quality</h2><table><tr><th>codes</th><th>bits</th><th>rows</th><th>queries</th>\
              <th>mAP, all</th><th>mAP@K</th><th>K</th><th>precision within 2</th></tr>";
    for one in all {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.4}</td><td>{:.4}</td><td>{}</td>\
             <td>{:.4}</td></tr>",
            one.work.replace('<', "&lt;"),
            one.bits,
            one.rows,
            one.queries,
            one.map,
            one.map_at_k,
            one.k,
            one.precision_within_2
        );
    }
    *page += "</table>";
    let plot =
        |title: &str, across, log_across, points: &dyn Fn(&Quality) -> Vec<(f64, f64)>| Plot {
            title: title.to_owned(),
            across,
            up: "precision",
            log_across,
            series: all
                .iter()
                .map(|one| Series {
                    name: format!("{}, {} bits", one.work, one.bits),
                    points: points(one)
                        .into_iter()
                        .filter(|point| point.1 > 0.0)
                        .collect(),
                })
                .collect(),
            frontier: Vec::new(),
        };
    *page += &plot("Precision and recall", "recall", false, &|one| {
        one.precision_recall.clone()
    })
    .svg()?;
    *page += &plot("Precision of the nearest", "rows", true, &|one| {
        one.top
            .iter()
            .map(|(n, precision)| (*n as f64, *precision))
            .collect()
    })
    .svg()?;
    Ok(())
}
