//! What the training program reports of an evaluation, and the page that shows it.

use super::claims::{Claimed, claims};
use crate::error::Failure;
use crate::page::{Chart, Face, Grid, GridRow, Line, Near, Page, Point, Row, Thumbnail};
use serde::Deserialize;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A line of the training program's report.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Reported {
    Shown(Shown),
    Study(Study),
    Claimed(Claimed),
    Measured(Measured),
}

/// A method at a width, over all seeds.
#[derive(Deserialize)]
pub(super) struct Measured {
    method: String,
    what: String,
    backbone: String,
    leaky: bool,
    bits: Option<u32>,
    prototypes: Option<u32>,
    shots: u32,
    seeds: u32,
    map_mean: f64,
    map_ci95: Option<f64>,
    precision: Vec<(u32, f64)>,
    training_seconds: Option<f64>,
    coding_microseconds: Option<f64>,
    supervision: String,
}

/// Whether more prototypes retrieve better.
#[derive(Deserialize)]
pub(super) struct Study {
    #[serde(rename = "study")]
    _study: String,
    bits: u32,
    shots: u32,
    spearman_mean: f64,
    spearman_lower: Option<f64>,
}

/// A query and what is nearest to it.
#[derive(Deserialize)]
pub(super) struct Shown {
    shown: String,
    bits: Option<u32>,
    prototypes: Option<u32>,
    shots: u32,
    query: Picture,
    nearest: Vec<Found>,
}

#[derive(Deserialize)]
pub(super) struct Found {
    #[serde(flatten)]
    picture: Picture,
    distance: u32,
}

/// A picture file, or where it lies in an archive: offset and length.
#[derive(PartialEq, Deserialize)]
pub(super) struct Picture {
    path: PathBuf,
    member: Option<(u64, u64)>,
    label: String,
}

/// What codes are compared with on charts; the rest stands in the table.
const DRAWN: [&str; 12] = [
    "pp-scdm",
    "float-centred",
    "float-diffused",
    "itq",
    "lsh",
    "ugh",
    "ugh-all",
    "purple",
    "comae",
    "kalahash",
    "pp",
    "scdm",
];

/// The method that the page is about.
const OWN: &str = "pp-scdm";

/// The method of which there is one width, its own: a level to compare with, as floats are.
const WHOLE: &str = "ugh-all";

pub(super) fn page_of(reported: &[Reported]) -> Result<Page, Failure> {
    let rows: Vec<&Measured> = reported
        .iter()
        .filter_map(|line| match line {
            Reported::Measured(row) => Some(row),
            _ => None,
        })
        .collect();
    let Some(first) = rows.first() else {
        return Err(Failure::new("nothing was measured"));
    };
    let table = Measurements {
        bits: distinct(rows.iter().filter_map(|row| row.width())),
        shots: distinct(rows.iter().map(|row| row.shots)),
        rows: &rows,
    };
    let leaky = match first.leaky {
        true => {
            " Leaky: the backbone may have been trained on the very classes that are searched for."
        }
        false => "",
    };
    let studies = reported.iter().filter_map(|line| match line {
        Reported::Study(study) => Some(study),
        _ => None,
    });
    let studied = studies.map(|study| {
        let lower = study.spearman_lower;
        let lower = lower.map_or_else(String::new, |lower| {
            format!(", lower bound of its 95 % interval over seeds {lower:.2}")
        });
        format!(
            "{} bits, {} examples: Spearman's rank correlation of the number of prototypes and mAP is {:.2}{lower}.",
            study.bits, study.shots, study.spearman_mean
        )
    });
    let mut notes = vec![
        "Mean average precision over the whole ranking, with the mean over all orders of pictures at one \
         distance; lines end in 95 % intervals over seeds (Student's t)."
            .to_owned(),
    ];
    notes.extend(studied);
    Ok(Page {
        title: format!("Retrieval quality: {}", first.backbone),
        lead: format!(
            "Codes of pictures of classes that training saw {} labelled examples of, beside floats and other \
             codes of the same features; {}.{leaky}",
            words(&table.shots),
            match first.seeds {
                1 => "one seed".to_owned(),
                seeds => format!("means over {seeds} seeds"),
            }
        ),
        figures: table.figures(),
        charts: table.charts(),
        grids: {
            let mut grids = table.grids();
            let claimed = reported.iter().filter_map(|line| match line {
                Reported::Claimed(claimed) => Some(claimed),
                _ => None,
            });
            grids.extend(claims(&claimed.collect::<Vec<_>>(), OWN));
            grids
        },
        rows_title: "What is found".to_owned(),
        rows_note: "The first queries of each class, and what is nearest to them.".to_owned(),
        rows: shown(reported, &table)?,
        notes,
        ..Page::default()
    })
}

/// Ascending, each once.
pub(super) fn distinct(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// `1, 5 and 10`.
fn words(numbers: &[u32]) -> String {
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    match texts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// All that was measured.
struct Measurements<'a> {
    rows: &'a [&'a Measured],
    bits: Vec<u32>,
    shots: Vec<u32>,
}

impl Measurements<'_> {
    /// Of a method at a width, which floats do not have.
    fn of(&self, method: &str, bits: u32, shots: u32) -> Option<&Measured> {
        let mut rows = self.rows.iter().copied();
        rows.find(|row| {
            row.method == method
                && row.prototypes.is_none()
                && row.shots == shots
                && row.width().is_none_or(|width| width == bits)
        })
    }

    /// The widest codes, with as many examples as papers have.
    fn main(&self) -> Option<(u32, u32)> {
        const USUAL: u32 = 5;
        let shots = match self.shots.contains(&USUAL) {
            true => USUAL,
            false => *self.shots.first()?,
        };
        Some((*self.bits.last()?, shots))
    }

    fn figures(&self) -> Vec<(String, String)> {
        let Some((bits, shots)) = self.main() else {
            return Vec::new();
        };
        let Some(own) = self.of(OWN, bits, shots) else {
            return Vec::new();
        };
        let mut figures = vec![(
            format!("{:.3}", own.map_mean),
            format!("mAP of PP + SCDM, {bits} bits, {shots} examples of a class"),
        )];
        for (method, name) in [("float-centred", "float features"), ("itq", "PCA-ITQ")] {
            if let Some(other) = self.of(method, bits, shots) {
                figures.push((
                    format!("{:.2}×", own.map_mean / other.map_mean),
                    format!("that of {name} ({:.3})", other.map_mean),
                ));
            }
        }
        figures
    }

    fn charts(&self) -> Vec<Chart> {
        let Some((bits, shots)) = self.main() else {
            return Vec::new();
        };
        let lines = |points: &dyn Fn(&str) -> Vec<Point>| -> Vec<Line> {
            let lines = DRAWN.iter().map(|method| Line {
                name: (*method).to_owned(),
                own: *method == OWN,
                points: points(method),
            });
            lines.filter(|line| !line.points.is_empty()).collect()
        };
        let point = |x: u32, row: &Measured| Point {
            x: f64::from(x),
            y: row.map_mean,
            half: row.map_ci95,
        };
        let mut charts = Vec::new();
        if self.bits.len() > 1 {
            charts.push(Chart {
                title: format!("By width of the code, {shots} examples of a class"),
                across: "bits".to_owned(),
                up: "mAP".to_owned(),
                logarithmic: true,
                lines: lines(&|method| {
                    let widths = self.bits.iter();
                    let found = widths.filter_map(|&x| Some(point(x, self.of(method, x, shots)?)));
                    found.collect()
                }),
            });
        }
        if self.shots.len() > 1 {
            charts.push(Chart {
                title: format!("By labelled examples, {bits} bits"),
                across: "examples of a class".to_owned(),
                up: "mAP".to_owned(),
                logarithmic: false,
                lines: lines(&|method| {
                    let shots = self.shots.iter();
                    let found = shots.filter_map(|&x| Some(point(x, self.of(method, bits, x)?)));
                    found.collect()
                }),
            });
        }
        charts.push(Chart {
            title: format!("Precision of the nearest, {bits} bits, {shots} examples of a class"),
            across: "pictures found".to_owned(),
            up: "precision".to_owned(),
            logarithmic: true,
            lines: lines(&|method| {
                let row = self.of(method, bits, shots);
                let tops = row.into_iter().flat_map(|row| &row.precision);
                tops.map(|&(top, y)| Point {
                    x: f64::from(top),
                    y,
                    half: None,
                })
                .collect()
            }),
        });
        let studied = self.bits.iter().map(|&bits| Line {
            name: format!("pp-scdm, {bits} bits"),
            own: Some(&bits) == self.bits.last(),
            points: self
                .rows
                .iter()
                .filter(|row| row.bits == Some(bits) && row.shots == shots)
                .filter_map(|row| Some(point(row.prototypes?, row)))
                .collect(),
        });
        let studied: Vec<Line> = studied.filter(|line| !line.points.is_empty()).collect();
        if !studied.is_empty() {
            charts.push(Chart {
                title: format!("By number of prior prototypes, {shots} examples of a class"),
                across: "prototypes, one a base class".to_owned(),
                up: "mAP".to_owned(),
                logarithmic: false,
                lines: studied,
            });
        }
        charts
    }

    /// A table for each number of examples: a line for each method, a column for each width.
    fn grids(&self) -> Vec<Grid> {
        let grid = |&shots: &u32| {
            let mut heads = vec!["method".to_owned()];
            heads.extend(self.bits.iter().map(|bits| format!("{bits} bits")));
            heads.extend(self.has_others().then(|| "as they are".to_owned()));
            heads.extend(["P@10", "training", "coding"].map(str::to_owned));
            let of_shots = || self.rows.iter().copied().filter(|row| row.shots == shots);
            let mut rows: Vec<GridRow> = Vec::new();
            for row in of_shots() {
                let name = row.name();
                if !rows.iter().any(|told| told.name == name) {
                    let all = of_shots().filter(|other| other.name() == name);
                    rows.push(self.line(row, &all.collect::<Vec<_>>()));
                }
            }
            Grid {
                caption: format!(
                    "mAP, ± 95 % over seeds, with labelled examples of each class: {shots}; the rest is of the widest codes"
                ),
                heads,
                rows,
            }
        };
        self.shots.iter().map(grid).collect()
    }

    /// Whether there are rows of no width that was asked for: floats, all bits of a library.
    fn has_others(&self) -> bool {
        self.rows.iter().any(|row| row.width().is_none())
    }

    /// A method, of which `first` is one, at all its widths.
    fn line(&self, first: &Measured, all: &[&Measured]) -> GridRow {
        let at = |width: Option<u32>| {
            let row = all.iter().find(|row| row.width() == width);
            row.map_or_else(String::new, |row| match row.map_ci95 {
                Some(half) => format!("{:.3} ± {half:.3}", row.map_mean),
                None => format!("{:.3}", row.map_mean),
            })
        };
        let widest = all.iter().max_by_key(|row| row.width()).unwrap_or(&first);
        let ten = widest.precision.iter().find(|(top, _)| *top == 10);
        let some = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let mut cells: Vec<String> = self.bits.iter().map(|&bits| at(Some(bits))).collect();
        cells.extend(self.has_others().then(|| at(None)));
        cells.extend([
            some(ten.map(|(_, precision)| format!("{precision:.3}"))),
            some(widest.training_seconds.map(|s| format!("{s:.1} s"))),
            some(widest.coding_microseconds.map(|us| format!("{us:.1} µs"))),
        ]);
        let name = first.name();
        GridRow {
            own: name == OWN,
            about: match first.supervision.as_str() {
                "none" => first.what.clone(),
                learned => format!("{}; learned from {learned}", first.what),
            },
            name,
            cells,
        }
    }
}

impl Measured {
    /// The width that was asked for; floats have none, and all bits of a library their own.
    fn width(&self) -> Option<u32> {
        self.bits.filter(|_| self.method != WHOLE)
    }

    fn name(&self) -> String {
        match self.prototypes {
            Some(count) => format!("{}, {count} prototypes", self.method),
            None => self.method.clone(),
        }
    }
}

/// Queries with what is nearest to them by the page's own method, and how many of those that are nearest by others
/// are right.
fn shown(reported: &[Reported], table: &Measurements<'_>) -> Result<Vec<Row>, Failure> {
    let Some((bits, shots)) = table.main() else {
        return Ok(Vec::new());
    };
    let of_main = reported.iter().filter_map(|line| match line {
        Reported::Shown(shown)
            if shown.bits == Some(bits) && shown.shots == shots && shown.prototypes.is_none() =>
        {
            Some(shown)
        }
        _ => None,
    });
    let of_main: Vec<&Shown> = of_main.collect();
    let mut rows = Vec::new();
    for shown in of_main.iter().filter(|shown| shown.shown == OWN) {
        let near = shown.nearest.iter().map(|found| {
            Ok(Near {
                face: found.picture.face()?,
                name: found.picture.label.clone(),
                distance: found.distance,
                right: Some(found.picture.label == shown.query.label),
                uncertain: false,
            })
        });
        let others = of_main.iter().filter(|other| {
            other.shown != OWN && DRAWN.contains(&&*other.shown) && other.query == shown.query
        });
        let others: Vec<String> = others
            .map(|other| format!("{} {}", other.shown, other.right()))
            .collect();
        let mut remark = format!(
            "{} of {} are of its class",
            shown.right(),
            shown.nearest.len()
        );
        if !others.is_empty() {
            remark = format!("{remark}; by {}", others.join(", "));
        }
        rows.push(Row {
            query: shown.query.face()?,
            name: shown.query.label.clone(),
            remark,
            near: near.collect::<Result<_, Failure>>()?,
            facts: Vec::new(),
            table: None,
        });
    }
    Ok(rows)
}

impl Shown {
    /// How many of the nearest are of the query's class.
    fn right(&self) -> usize {
        let right = |found: &&Found| found.picture.label == self.query.label;
        self.nearest.iter().filter(right).count()
    }
}

impl Picture {
    fn face(&self) -> Result<Face, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!("{}: {error}", self.path.display()))
        };
        let bytes = read(&self.path, self.member).map_err(|error| failed(&error))?;
        Thumbnail::of_file(&bytes)
            .map(Face::Picture)
            .map_err(|error| failed(&error))
    }
}

/// A file, or a part of it.
fn read(path: &Path, part: Option<(u64, u64)>) -> std::io::Result<Vec<u8>> {
    let Some((offset, length)) = part else {
        return std::fs::read(path);
    };
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_becomes_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("a.png");
        image::RgbImage::new(8, 8).save(&picture).unwrap();
        let row = |method: &str, bits: Option<u32>, prototypes: Option<u32>, map: f64| {
            serde_json::json!({
                "method": method, "what": "w", "backbone": "<net>", "leaky": true, "bits": bits,
                "prototypes": prototypes, "shots": 5, "seeds": 3, "map_mean": map, "map_ci95": 0.01,
                "map_at_100": 0.5, "precision": [[1, 0.9], [10, 0.7]], "training_seconds": null,
                "coding_microseconds": 2.5, "supervision": "labels of base classes",
                "maps": [map], "precision_within_2": null,
            })
        };
        let place = serde_json::json!({"path": picture, "member": null, "label": "wren"});
        let mut near = place.clone();
        near["distance"] = 3.into();
        let lines = [
            row("float-centred", None, None, 0.25),
            row("pp-scdm", Some(16), None, 0.4),
            row("pp-scdm", Some(64), None, 0.5),
            row("pp-scdm", Some(64), Some(5), 0.3),
            // Of a width that no other method has, and that the page is not about.
            row("ugh-all", Some(20_000), None, 0.3),
            serde_json::json!({
                "study": "prototypes", "backbone": "b", "bits": 64, "shots": 5, "spearman_mean": 0.9,
                "spearman_lower": 0.8, "share_of_most": [],
            }),
            serde_json::json!({
                "claim": "UGH", "better": "ugh", "worse": "lsh", "bits": 64, "shots": 5, "seeds": 3,
                "difference": {"mean": 0.02, "low": 0.01, "high": 0.03}, "verdict": "held",
            }),
            serde_json::json!({
                "shown": "pp-scdm", "bits": 64, "prototypes": null, "shots": 5, "query": place, "nearest": [near],
            }),
            serde_json::json!({
                "shown": "ugh", "bits": 64, "prototypes": null, "shots": 5, "query": place, "nearest": [],
            }),
        ];
        let reported: Vec<Reported> = lines
            .into_iter()
            .map(|line| serde_json::from_value(line).unwrap())
            .collect();
        let page = page_of(&reported).unwrap();
        assert_eq!(page.figures[0].0, "0.500");
        assert_eq!(page.figures[1].0, "2.00×");
        let titles: Vec<&str> = page
            .charts
            .iter()
            .map(|chart| chart.title.as_str())
            .collect();
        assert_eq!(titles.len(), 3, "{titles:?}");
        assert!(titles.iter().all(|title| !title.contains("20000")));
        assert_eq!(page.rows.len(), 1);
        let grid = &page.grids[0];
        assert_eq!(grid.rows.len(), 4);
        assert!(
            grid.rows
                .iter()
                .all(|row| row.cells.len() + 1 == grid.heads.len())
        );
        assert_eq!(
            grid.rows[1].cells[..3],
            ["0.400 ± 0.010", "0.500 ± 0.010", ""]
        );
        let html = page.html();
        for said in [
            "&lt;net&gt;",
            "Leaky",
            "1 of 1 are of its class; by ugh 0",
            "lower bound",
            "5 prototypes",
            "w; learned from labels of base classes",
            "ugh better than lsh",
            "+0.020 held<small>+0.010 to +0.030</small>",
        ] {
            assert!(html.contains(said), "{said}");
        }
        assert!(page_of(&[]).is_err());
    }
}
