//! One self-contained HTML page of search results: queries with their nearest pictures, and the
//! figures measured.
//!
//! Everything is in the file: the style sheet, and the pictures as small JPEGs in `data:` URIs; there is no
//! script. Right and wrong, certain and uncertain differ by sign, shape and line as well as by colour; every
//! picture has an alternative text; the page follows the reader's light or dark scheme, and prints.

mod chart;
mod faces;

use std::fmt::Write as _;

pub use chart::{Chart, Line, Point};
pub use faces::{CodeImage, Face, Thumbnail};

/// A page of results.
#[derive(Debug, Default)]
pub struct Page {
    /// The heading.
    pub title: String,
    /// What was done, in a paragraph.
    pub lead: String,
    /// Single figures, each with what it measures.
    pub figures: Vec<(String, String)>,
    /// A comparison of methods; left out when empty.
    pub methods: Methods,
    /// Curves.
    pub charts: Vec<Chart>,
    /// Tables of what was measured.
    pub grids: Vec<Grid>,
    /// The commands that made it.
    pub commands: Vec<String>,
    /// The heading of the rows.
    pub rows_title: String,
    /// What the rows are and how they were chosen.
    pub rows_note: String,
    /// Queries and what was found.
    pub rows: Vec<Row>,
    /// Small print: how things were measured.
    pub notes: Vec<String>,
}

/// A table of one score for each of several methods.
#[derive(Debug, Default)]
pub struct Methods {
    /// What the score is.
    pub caption: String,
    /// Its short name, the head of its column.
    pub score: String,
    /// The methods, in the order shown.
    pub rows: Vec<Method>,
}

/// One line of [`Methods`].
#[derive(Debug)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What it stores of a picture.
    pub stores: String,
    /// Its score, from 0 to 1.
    pub score: f64,
    /// The method that the page is about.
    pub own: bool,
}

/// A table of what was measured.
#[derive(Debug)]
pub struct Grid {
    /// What it is of.
    pub caption: String,
    /// The heads of its columns; the first is that of the names.
    pub heads: Vec<String>,
    /// Its lines.
    pub rows: Vec<GridRow>,
}

/// One line of a [`Grid`].
#[derive(Debug)]
pub struct GridRow {
    /// Its name.
    pub name: String,
    /// More about it.
    pub about: String,
    /// It is what the page is about.
    pub own: bool,
    /// A cell for each of [`Grid::heads`] but the first; what stands in its second line is in small print.
    pub cells: Vec<String>,
}

/// A query and what was found.
#[derive(Debug)]
pub struct Row {
    /// What was searched for.
    pub query: Face,
    /// Its name or class.
    pub name: String,
    /// More about the answer, such as how much of it is right; may have several lines.
    pub remark: String,
    /// What was found, nearest first.
    pub near: Vec<Near>,
    /// What is known of the query itself: names and values.
    pub facts: Vec<(String, String)>,
    /// What was found as a table with ids and payloads, to be opened. From the start, with `open`.
    pub table: Option<Table>,
}

/// What was found, in columns.
#[derive(Debug, Default)]
pub struct Table {
    /// Shown without being asked for.
    pub open: bool,
    /// One for each of [`Row::near`].
    pub rows: Vec<Detail>,
}

/// More of a row that was found.
#[derive(Debug)]
pub struct Detail {
    /// Its key.
    pub id: u64,
    /// Its code beside the query's.
    pub code: CodeImage,
    /// Its payload: names and values.
    pub payload: Vec<(String, String)>,
}

/// One row that was found.
#[derive(Debug)]
pub struct Near {
    /// Its picture, or its code.
    pub face: Face,
    /// Its name or class.
    pub name: String,
    /// Its distance in bits.
    pub distance: u32,
    /// Whether it is of the query's class, where that is known.
    pub right: Option<bool>,
    /// The search was cut short, and a nearer row may have been missed.
    pub uncertain: bool,
}

impl Page {
    /// The page as HTML.
    pub fn html(&self) -> String {
        let mut html = String::new();
        // Writing to a String cannot fail; the result only has to be taken.
        let _ = self.write(&mut html);
        html
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let title = escape(&self.title);
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"generator\" content=\"bitkin {}\">\n\
             <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n",
            env!("CARGO_PKG_VERSION"),
            include_str!("style.css"),
        )?;
        if !self.lead.is_empty() {
            writeln!(out, "<p class=\"lead\">{}</p>", escape(&self.lead))?;
        }
        if !self.figures.is_empty() {
            out.push_str("<ul class=\"tiles\">\n");
            for (value, what) in &self.figures {
                writeln!(
                    out,
                    "<li><b>{}</b><span>{}</span></li>",
                    escape(value),
                    escape(what)
                )?;
            }
            out.push_str("</ul>\n");
        }
        if !self.methods.rows.is_empty() {
            self.methods.write(out)?;
        }
        for chart in &self.charts {
            chart.write(out)?;
        }
        for grid in &self.grids {
            grid.write(out)?;
        }
        if !self.rows.is_empty() {
            self.write_rows(out)?;
        }
        if !self.commands.is_empty() {
            out.push_str("<h2>The commands</h2>\n<pre>");
            for command in &self.commands {
                writeln!(out, "{}", escape(command))?;
            }
            out.push_str("</pre>\n");
        }
        if !self.notes.is_empty() {
            out.push_str("<footer>\n");
            for note in &self.notes {
                writeln!(out, "<p>{}</p>", escape(note))?;
            }
            out.push_str("</footer>\n");
        }
        out.push_str("</main>\n</body>\n</html>\n");
        Ok(())
    }

    fn write_rows(&self, out: &mut String) -> std::fmt::Result {
        if !self.rows_title.is_empty() {
            writeln!(out, "<h2>{}</h2>", escape(&self.rows_title))?;
        }
        if !self.rows_note.is_empty() {
            writeln!(out, "<p class=\"soft\">{}</p>", escape(&self.rows_note))?;
        }
        let near = || self.rows.iter().flat_map(|row| &row.near);
        let mut key = String::new();
        if near().any(|near| near.right.is_some()) {
            key.push_str(
                "<span><span class=\"mark\">✓</span>right: the query's class</span>\
                 <span><span class=\"mark wrong\">✗</span>wrong: another class</span>",
            );
        }
        if near().any(|near| near.uncertain) {
            key.push_str(
                "<span><span class=\"mark uncertain\">?</span>a nearer row may have been missed</span>",
            );
        }
        if near().any(|near| matches!(near.face, Face::Code(_))) {
            key.push_str(
                "<span><span class=\"bit set\"></span>a bit that is set</span>\
                 <span><span class=\"bit differs\"></span>a bit that differs from the query</span>",
            );
        }
        if !key.is_empty() {
            key.push_str("<span>the number is the distance, in bits</span>");
            writeln!(out, "<p class=\"key\">{key}</p>")?;
        }
        for row in &self.rows {
            row.write(out)?;
        }
        Ok(())
    }
}

impl Methods {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "<h2>What the codes are worth</h2>\n<p class=\"soft\">{}</p>",
            escape(&self.caption)
        )?;
        write!(
            out,
            "<table>\n<thead><tr><th scope=\"col\">method</th><th scope=\"col\">stored for a \
             picture</th><th scope=\"col\" class=\"number\">{}</th><td class=\"graph\"></td></tr>\
             </thead>\n<tbody>\n",
            escape(&self.score)
        )?;
        for method in &self.rows {
            let percent = (method.score * 100.0).clamp(0.0, 100.0);
            writeln!(
                out,
                "<tr{}><th scope=\"row\">{}</th><td>{}</td><td class=\"number\">{:.3}</td>\
                 <td class=\"graph\"><div class=\"track\" aria-hidden=\"true\">\
                 <i style=\"width:{percent:.1}%\"></i></div></td></tr>",
                if method.own { " class=\"own\"" } else { "" },
                escape(&method.name),
                escape(&method.stores),
                method.score,
            )?;
        }
        out.push_str("</tbody>\n</table>\n");
        Ok(())
    }
}

impl Grid {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "<h2>{}</h2>\n<div class=\"wide\"><table>\n<thead><tr>",
            escape(&self.caption)
        )?;
        for (place, head) in self.heads.iter().enumerate() {
            let number = if place > 0 { " class=\"number\"" } else { "" };
            write!(out, "<th scope=\"col\"{number}>{}</th>", escape(head))?;
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            write!(
                out,
                "<tr{}><th scope=\"row\">{}<small>{}</small></th>",
                if row.own { " class=\"own\"" } else { "" },
                escape(&row.name),
                escape(&row.about)
            )?;
            for cell in &row.cells {
                let (cell, small) = cell.split_once('\n').unwrap_or((cell, ""));
                write!(out, "<td class=\"number\">{}", escape(cell))?;
                if !small.is_empty() {
                    write!(out, "<small>{}</small>", escape(small))?;
                }
                out.push_str("</td>");
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody>\n</table></div>\n");
        Ok(())
    }
}

impl Row {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let name = escape(&self.name);
        let alone = if self.near.is_empty() { " alone" } else { "" };
        write!(
            out,
            "<section class=\"row{alone}\">\n<div class=\"query\">{}<div><h3>{name}</h3>\
             <p class=\"score\">{}</p></div></div>\n",
            self.query.html(&format!("The query: {name}")),
            escape(&self.remark),
        )?;
        if !self.near.is_empty() {
            out.push_str("<ol class=\"near\">\n");
            for (rank, near) in (1..).zip(&self.near) {
                near.write(rank, out)?;
            }
            out.push_str("</ol>\n");
        }
        if !self.facts.is_empty() {
            writeln!(out, "<div class=\"facts\">{}</div>", fields(&self.facts))?;
        }
        if let Some(table) = &self.table {
            table.write(&self.near, out)?;
        }
        out.push_str("</section>\n");
        Ok(())
    }
}

impl Table {
    fn write(&self, near: &[Near], out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "<details{}><summary>Ids and payloads</summary>\n<div class=\"wide\"><table>\n<thead><tr>\
             <th scope=\"col\" class=\"number\">rank</th><th scope=\"col\" class=\"number\">id</th>\
             <th scope=\"col\" class=\"number\">distance</th><th scope=\"col\">code</th>\
             <th scope=\"col\">payload</th></tr></thead>\n<tbody>\n",
            if self.open { " open" } else { "" }
        )?;
        for ((rank, near), detail) in (1..).zip(near).zip(&self.rows) {
            let doubt = if near.uncertain { "?" } else { "" };
            writeln!(
                out,
                "<tr><td class=\"number\">{rank}{doubt}</td><td class=\"number\">{}</td>\
                 <td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
                detail.id,
                near.distance,
                detail.code.html(&format!("The code of row {}", detail.id)),
                fields(&detail.payload),
            )?;
        }
        out.push_str("</tbody>\n</table></div>\n</details>\n");
        Ok(())
    }
}

/// Names and values.
fn fields(fields: &[(String, String)]) -> String {
    if fields.is_empty() {
        return "<span class=\"soft\">none</span>".to_owned();
    }
    let field = |(name, value): &(String, String)| {
        format!(
            "<div><dt>{}</dt><dd>{}</dd></div>",
            escape(name),
            escape(value)
        )
    };
    let fields: String = fields.iter().map(field).collect();
    format!("<dl>{fields}</dl>")
}

impl Near {
    fn write(&self, rank: u32, out: &mut String) -> std::fmt::Result {
        let (class, word, mark) = match (self.right, self.uncertain) {
            (Some(true), _) => (
                "right",
                ", right",
                "<span class=\"mark\" aria-hidden=\"true\">✓</span>",
            ),
            (Some(false), _) => (
                "wrong",
                ", wrong",
                "<span class=\"mark wrong\" aria-hidden=\"true\">✗</span>",
            ),
            (None, true) => (
                "uncertain",
                ", not certain",
                "<span class=\"mark uncertain\" aria-hidden=\"true\">?</span>",
            ),
            (None, false) => ("plain", "", ""),
        };
        let (name, far) = (escape(&self.name), self.distance);
        let alternative = format!("Number {rank}: {name}, distance {far}{word}");
        writeln!(
            out,
            "<li class=\"{class}\">{mark}<div class=\"frame\">{}</div><div class=\"caption\">\
             <span class=\"label\" title=\"{name}\">{name}</span><span class=\"far\">{far}</span></div></li>",
            self.face.html(&alternative),
        )
    }
}

/// Text as it may stand in HTML, in quoted attributes too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters may stand in file names, but not in HTML.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
