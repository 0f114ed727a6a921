//! `bitkin get`.

use super::gallery::{self, Gallery};
use super::show;
use super::{collection, failure, hex};
use crate::error::Failure;
use crate::grammar::{Format, Get};
use crate::output::plain;
use crate::session::Session;
use serde_json::{Value, json};

/// Shows one row.
///
/// # Errors
/// When there is no such row.
pub(crate) fn run(session: &mut Session, arguments: &Get) -> Result<(), Failure> {
    let database = session.open_to_read(&arguments.database)?;
    let collection = collection(&database, &arguments.name)?;
    let Some(row) = collection.get(arguments.id).map_err(failure)? else {
        let (id, name) = (arguments.id, &arguments.name);
        let failure = Failure::new(format!("there is no row {id} in collection {name:?}"));
        let mut rows = collection.rows().map_err(super::failure)?;
        return Err(match rows.next() {
            Some(Ok(first)) => failure.advise(format!("the first row is {}", first.id)),
            _ => failure.advise("the collection is empty"),
        });
    };
    let graphics = show::graphics(arguments.show, arguments.format)?;
    let code = hex(&row.code);
    let payload: Value = row.payload.as_deref().map_or(Value::Null, |text| {
        serde_json::from_str(text).unwrap_or(json!(text))
    });
    if let Some(file) = &arguments.html {
        let mut gallery = Gallery::new(&collection, &arguments.database);
        gallery.row(&row);
        let title = format!("Row {} of {}", row.id, arguments.name);
        let lead = format!(
            "A code of {} bits in {}.",
            collection.bits(),
            arguments.database.display()
        );
        gallery::store(file, gallery.page(title, lead)?)?;
    }
    match arguments.format {
        Format::Json => session
            .out
            .line(json!({"id": row.id, "code": code, "payload": payload}).to_string()),
        Format::Table => {
            session.out.line(format!("id       {}", row.id))?;
            session.out.line(format!("code     {code}"))?;
            let Value::Object(fields) = payload else {
                let text = row.payload.as_deref().unwrap_or("none");
                return session.out.line(format!("payload  {}", plain(text)));
            };
            let width = fields.keys().map(|key| key.chars().count()).max();
            let width = width.unwrap_or(0);
            for (number, (key, value)) in fields.iter().enumerate() {
                let head = if number == 0 { "payload" } else { "" };
                let value = match value {
                    Value::String(text) => plain(text),
                    other => plain(&other.to_string()),
                };
                let key = plain(key);
                session
                    .out
                    .line(format!("{head:<7}  {key:<width$}  {value}"))?;
            }
            if fields.is_empty() {
                session.out.line("payload  {}")?;
            }
            match graphics {
                Some(graphics) => {
                    let row = [(row, format!("row {}", arguments.id))];
                    show::rows(session, graphics, &arguments.database, None, &row)
                }
                None => Ok(()),
            }
        }
    }
}
