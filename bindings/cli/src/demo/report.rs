//! The demo's figures, as a table and as a page.

use super::measure::K;
use super::{Evaluated, Story, split};
use crate::error::Failure;
use crate::output::{counted, grouped};
use crate::page::{Face, Method, Methods, Near, Page, Row, Thumbnail};
use crate::progress::lasting;
use std::path::Path;

impl Story {
    /// The methods in the order they are shown, the product's own first: (name, what it stores
    /// of a picture, mAP).
    fn methods(&self) -> Vec<(String, String, f64)> {
        let codes = format!("{} bits", self.bits);
        let mut rows = vec![("PP + SCDM".to_owned(), codes, self.measured.map)];
        let order = ["itq", "lsh", "float-centred"];
        let known = |e: &&Evaluated| order.contains(&e.method.as_str());
        let mut others: Vec<&Evaluated> = self.evaluated.iter().filter(known).collect();
        others.sort_by_key(|e| order.iter().position(|&method| method == e.method));
        for other in others {
            let name = match other.method.as_str() {
                "itq" => "PCA-ITQ",
                "lsh" => "LSH",
                _ => "float features (no codes)",
            };
            let stores = match other.bits {
                Some(bits) => format!("{bits} bits"),
                None => "the whole vector".to_owned(),
            };
            rows.push((name.to_owned(), stores, other.map_mean));
        }
        rows
    }

    pub(super) fn table(&self) -> Vec<Vec<String>> {
        let rows = self.methods().into_iter();
        rows.map(|(name, stores, map)| vec![name, stores, format!("{map:.3}")])
            .collect()
    }

    /// Single figures: (value, what it is).
    pub(super) fn figures(&self) -> Vec<(String, String)> {
        let (pictures, time) = self.ingested;
        let rate = pictures as f64 / time.as_secs_f64().max(1e-9);
        let micros = self.measured.search_micros;
        vec![
            (
                grouped(rate.round() as u64),
                "pictures ingested a second".to_owned(),
            ),
            (
                format!("{micros:.1} µs"),
                format!(
                    "a search for {K} of {}, median",
                    grouped(self.measured.rows as u64)
                ),
            ),
            (lasting(self.total), "the whole demo".to_owned()),
        ]
    }

    /// The page of results: two queries of each novel class (one, when there are many classes).
    ///
    /// # Errors
    /// When a picture cannot be read again.
    pub(super) fn page(&self) -> Result<Page, Failure> {
        let shots = split::SHOTS;
        let mut figures = vec![(
            format!("{:.3}", self.measured.map),
            "mAP of the codes".to_owned(),
        )];
        figures.extend(self.figures());
        let methods = self
            .methods()
            .into_iter()
            .enumerate()
            .map(|(i, (name, stores, score))| Method {
                name,
                stores,
                score,
                own: i == 0,
            });
        let each = if self.novel_classes > 12 { 1 } else { 2 };
        Ok(Page {
            title: format!(
                "{} new classes, {} examples each",
                in_words(self.novel_classes),
                in_words(shots).to_lowercase()
            ),
            lead: format!(
                "Codes of {} bits for classes that the network was never trained on: prior \
                 prototypes from {} base classes, adapted by PP + SCDM to the new ones from \
                 {} examples of each, and searched exactly in a Bitkin database.",
                self.bits,
                self.base_classes,
                in_words(shots).to_lowercase()
            ),
            figures,
            methods: Methods {
                caption: format!(
                    "Mean average precision over {} among {} of the same {} classes; 1 would be \
                     perfect. LSH and PCA-ITQ are fitted on the base classes, and are means of \
                     three seeds. PP + SCDM is the one model in the database; it also saw the {} \
                     examples of each class and the unlabelled anchors.",
                    counted(self.split.queries.len() as u64, "query picture"),
                    counted(self.measured.rows as u64, "picture"),
                    self.novel_classes,
                    in_words(shots).to_lowercase()
                ),
                score: "mAP".to_owned(),
                rows: methods.collect(),
            },
            charts: Vec::new(),
            grids: Vec::new(),
            commands: self.commands.clone(),
            rows_title: "Queries and their nearest pictures".to_owned(),
            rows_note: format!(
                "{} of each class, chosen before they were searched for, with the {K} nearest \
                 pictures of the database.",
                if each == 1 { "The first query" } else { "The first two queries" }
            ),
            rows: self.rows(each)?,
            notes: vec![
                format!(
                    "The pictures are {}. mAP is the mean over the queries of the average precision \
                     of the whole ranking; pictures at the same distance count by expectation over \
                     their orders. That of PP + SCDM is measured on the database's own answers, the \
                     others on the same lists of pictures by bitkin-train eval.",
                    if self.own_pictures { "the user's own" } else { "drawn by the demo itself" }
                ),
                "A search was timed in the program's own process, one query at a time; encoding the \
                 query picture is not part of it."
                    .to_owned(),
            ],
        })
    }

    fn rows(&self, each: usize) -> Result<Vec<Row>, Failure> {
        let mut rows: Vec<Row> = Vec::new();
        for (query, found) in self.split.queries.iter().zip(&self.measured.found) {
            // The queries lie class by class.
            if rows.iter().filter(|row| row.name == query.label).count() >= each {
                continue;
            }
            let near = found.near.iter().map(|nearest| {
                Ok(Near {
                    face: face(&nearest.picture.path)?,
                    name: nearest.picture.label.clone(),
                    distance: nearest.distance,
                    right: Some(nearest.picture.label == query.label),
                    uncertain: false,
                })
            });
            let near = near.collect::<Result<Vec<_>, Failure>>()?;
            let right = near.iter().filter(|near| near.right == Some(true)).count();
            let certain = match found.certified_radius {
                Some(radius) => format!("certain to distance {radius}"),
                None => "not certified".to_owned(),
            };
            rows.push(Row {
                query: face(&query.path)?,
                name: query.label.clone(),
                remark: format!(
                    "{right} of {} right\naverage precision {:.2}\n{certain}",
                    near.len(),
                    found.average_precision
                ),
                near,
                facts: Vec::new(),
                table: None,
            });
        }
        Ok(rows)
    }
}

fn face(path: &Path) -> Result<Face, Failure> {
    let failed =
        |e: &dyn std::fmt::Display| Failure::new(format!("cannot show {}: {e}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
    let thumbnail = Thumbnail::of_file(&bytes)
        .map_err(|e| e.about(format!("cannot show {}", path.display())))?;
    Ok(Face::Picture(thumbnail))
}

fn in_words(number: usize) -> String {
    let words = [
        "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten",
    ];
    match number.checked_sub(2).and_then(|i| words.get(i)) {
        Some(&word) => word.to_owned(),
        None => number.to_string(),
    }
}
