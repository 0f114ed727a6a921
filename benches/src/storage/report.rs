//! How figures are printed: aligned tables for people, or JSON objects, one a line.

use serde_json::{Map, Value, json};

/// One value of a table.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    Count(u64),
    /// A number, and the decimals that mean something.
    Number(f64, usize),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Cell {
        Cell::Count(count)
    }
}

impl Cell {
    /// A number that is printed without decimals.
    pub(crate) fn whole(value: f64) -> Cell {
        Cell::Number(value, 0)
    }

    fn text(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => grouped(*count),
            Cell::Number(value, 0) => grouped(value.round() as u64),
            Cell::Number(value, decimals) => format!("{value:.decimals$}"),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Count(count) => json!(count),
            Cell::Number(value, _) => json!(value),
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Cell::Text(_))
    }
}

/// 1234567 as 1,234,567.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One figure: rows under the same headings.
#[derive(Debug)]
pub(crate) struct Table {
    figure: &'static str,
    title: String,
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
}

impl Table {
    /// A table of `figure`, whose name stands in every line of JSON.
    pub(crate) fn new(figure: &'static str, title: String, headings: &[&'static str]) -> Table {
        Table {
            figure,
            title,
            headings: headings.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Where figures are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    json: bool,
}

impl Report {
    pub(crate) fn new(json: bool) -> Report {
        Report { json }
    }

    /// The line that says on what was measured.
    pub(crate) fn machine(&self, facts: &[(&'static str, String)]) {
        if self.json {
            let mut object = Map::new();
            object.insert("figure".to_owned(), json!("machine"));
            for (name, fact) in facts {
                object.insert((*name).to_owned(), json!(fact));
            }
            println!("{}", Value::Object(object));
            return;
        }
        let facts: Vec<String> = facts
            .iter()
            .map(|(n, fact)| format!("{n} {fact}"))
            .collect();
        println!("machine: {}", facts.join("; "));
    }

    pub(crate) fn table(&self, table: &Table) {
        if self.json {
            for row in &table.rows {
                let mut object = Map::new();
                object.insert("figure".to_owned(), json!(table.figure));
                for (heading, cell) in table.headings.iter().zip(row) {
                    object.insert((*heading).to_owned(), cell.json());
                }
                println!("{}", Value::Object(object));
            }
            return;
        }
        println!("\n{}: {}", table.figure, table.title);
        let texts: Vec<Vec<String>> = table
            .rows
            .iter()
            .map(|row| row.iter().map(Cell::text).collect())
            .collect();
        let width = |column: usize| {
            let cells = texts.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|text| text.chars().count()).max().unwrap_or(0);
            widest.max(table.headings[column].chars().count())
        };
        let widths: Vec<usize> = (0..table.headings.len()).map(width).collect();
        let is_text = |column: usize| {
            let mut cells = table.rows.iter().filter_map(|row| row.get(column));
            cells.any(Cell::is_text)
        };
        let print = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (column, cell) in cells.enumerate() {
                let width = widths[column];
                line += &match is_text(column) {
                    true => format!("  {cell:<width$}"),
                    false => format!("  {cell:>width$}"),
                };
            }
            println!("{}", line.trim_end());
        };
        print(&mut table.headings.iter().copied());
        for row in &texts {
            print(&mut row.iter().map(String::as_str));
        }
        for note in &table.notes {
            println!("  {note}");
        }
    }
}
