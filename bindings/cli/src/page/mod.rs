//! One self-contained HTML page of search results: queries with their nearest pictures, and the
//! figures measured.
//!
//! Everything is in the file: the style sheet, and the pictures as small JPEGs in `data:` URIs.
//! Right and wrong differ by sign, shape and line as well as by colour; every picture has an
//! alternative text; the page follows the reader's light or dark scheme, and prints.

use crate::error::Failure;
use crate::pictures::jpeg;
use base64::Engine;
use image::RgbImage;
use image::imageops::{self, FilterType};
use std::fmt::Write as _;

/// Side of a thumbnail in pixels: sharp on dense screens at the size that the page shows.
const THUMBNAIL: u32 = 128;

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
    /// The commands that made it.
    pub commands: Vec<String>,
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

/// A query and its nearest pictures.
#[derive(Debug)]
pub struct Row {
    /// The picture that was searched for.
    pub query: Thumbnail,
    /// Its name or class.
    pub name: String,
    /// More about the answer, such as how much of it is right; may have several lines.
    pub remark: String,
    /// What was found, nearest first.
    pub near: Vec<Near>,
}

/// One picture that was found.
#[derive(Debug)]
pub struct Near {
    /// The picture.
    pub picture: Thumbnail,
    /// Its name or class.
    pub name: String,
    /// Its distance in bits.
    pub distance: u32,
    /// Whether it is of the query's class, where that is known.
    pub right: Option<bool>,
}

/// A picture made small, as the bytes of a JPEG file.
#[derive(Clone, Debug)]
pub struct Thumbnail(Vec<u8>);

impl Thumbnail {
    /// Shrinks a picture so that it covers a thumbnail's square (the page crops the rest), and
    /// encodes it. Small pictures keep their pixels.
    ///
    /// # Errors
    /// When the picture has no pixels.
    pub fn new(picture: &RgbImage) -> Result<Thumbnail, Failure> {
        let (width, height) = picture.dimensions();
        let short = width.min(height);
        if short == 0 {
            return Err(Failure::new("a picture without pixels cannot be shown"));
        }
        // A panorama is cropped here: nobody sees what lies beyond the square.
        let (width, height) = (width.min(short * 2), height.min(short * 2));
        let (x, y) = (
            (picture.width() - width) / 2,
            (picture.height() - height) / 2,
        );
        let middle = imageops::crop_imm(picture, x, y, width, height).to_image();
        let small = if short <= THUMBNAIL {
            middle
        } else {
            let scaled =
                |side: u32| (u64::from(side) * u64::from(THUMBNAIL) / u64::from(short)) as u32;
            imageops::resize(&middle, scaled(width), scaled(height), FilterType::Triangle)
        };
        jpeg(&small, 84).map(Thumbnail)
    }

    fn uri(&self) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(&self.0);
        format!("data:image/jpeg;base64,{text}")
    }
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
        out.push_str("<h2>Queries and their nearest pictures</h2>\n");
        if !self.rows_note.is_empty() {
            writeln!(out, "<p class=\"soft\">{}</p>", escape(&self.rows_note))?;
        }
        let judged = self
            .rows
            .iter()
            .flat_map(|row| &row.near)
            .any(|near| near.right.is_some());
        if judged {
            out.push_str(
                "<p class=\"key\"><span><span class=\"mark\">✓</span>right: the query's class\
                 </span><span><span class=\"mark wrong\">✗</span>wrong: another class</span>\
                 <span>the number is the distance, in bits</span></p>\n",
            );
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

impl Row {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let name = escape(&self.name);
        write!(
            out,
            "<section class=\"row\">\n<div class=\"query\"><img src=\"{}\" alt=\"The query: {name}\">\
             <div><h3>{name}</h3><p class=\"score\">{}</p></div></div>\n<ol class=\"near\">\n",
            self.query.uri(),
            escape(&self.remark),
        )?;
        for (rank, near) in (1..).zip(&self.near) {
            near.write(rank, out)?;
        }
        out.push_str("</ol>\n</section>\n");
        Ok(())
    }
}

impl Near {
    fn write(&self, rank: u32, out: &mut String) -> std::fmt::Result {
        let (class, word, mark) = match self.right {
            Some(true) => (
                "right",
                ", right",
                "<span class=\"mark\" aria-hidden=\"true\">✓</span>",
            ),
            Some(false) => (
                "wrong",
                ", wrong",
                "<span class=\"mark wrong\" aria-hidden=\"true\">✗</span>",
            ),
            None => ("plain", "", ""),
        };
        let name = escape(&self.name);
        writeln!(
            out,
            "<li class=\"{class}\">{mark}<div class=\"frame\"><img src=\"{}\" alt=\"Number {rank}: \
             {name}, distance {far}{word}\"></div><div class=\"caption\"><span class=\"label\" \
             title=\"{name}\">{name}</span><span class=\"far\">{far}</span></div></li>",
            self.picture.uri(),
            far = self.distance,
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
