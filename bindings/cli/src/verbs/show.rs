//! Pictures of rows in the terminal (`--show`).

use crate::error::Failure;
use crate::grammar::Format;
use crate::output::say;
use crate::screen::{self, Graphics, Tile};
use crate::session::Session;
use bitkin::Row;
use bitkin::ingest::find_originals;
use std::path::Path;

/// Pictures of one answer, at most: more than a screen has room for.
const MOST: usize = 30;

/// How to show pictures, if that is wanted and possible.
///
/// # Errors
/// When they would stand among lines of JSON.
pub(super) fn graphics(wanted: bool, format: Format) -> Result<Option<Graphics>, Failure> {
    if !wanted {
        return Ok(None);
    }
    if format == Format::Json {
        return Err(Failure::usage("--show goes with --format table"));
    }
    let graphics = screen::graphics();
    if graphics.is_none() {
        say("--show needs a terminal that shows pictures; --html makes a page of them");
    }
    Ok(graphics)
}

/// Shows the pictures that rows came from, each with its caption, behind the one that was searched for. Files
/// are looked for as for pages, from `database` on.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn rows(
    session: &mut Session,
    graphics: Graphics,
    database: &Path,
    query: Option<&[u8]>,
    rows: &[(Row, String)],
) -> Result<(), Failure> {
    let shown = &rows[..rows.len().min(MOST)];
    let tile = |file: Option<Vec<u8>>, caption: &str| Tile {
        file,
        caption: caption.to_owned(),
    };
    let mut tiles: Vec<Tile> = shown
        .iter()
        .map(|(_, caption)| tile(None, caption))
        .collect();
    let payloads: Vec<Option<&str>> = shown
        .iter()
        .map(|(row, _)| row.payload.as_deref())
        .collect();
    let folder = database.parent().unwrap_or(Path::new(""));
    find_originals(&payloads, folder, &mut |row, file| {
        tiles[row].file = Some(file)
    });
    if let Some(file) = query {
        tiles.insert(0, tile(Some(file.to_owned()), "the query"));
    }
    screen::show(&mut session.out, graphics, &tiles)?;
    if shown.len() < rows.len() {
        say(format!(
            "{} more are not shown; --html takes them in",
            rows.len() - shown.len()
        ));
    }
    Ok(())
}
