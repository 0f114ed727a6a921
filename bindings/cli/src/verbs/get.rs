//! `bitkin get`.

use super::{collection, failure, hex};
use crate::error::Failure;
use crate::grammar::{Format, Get};
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
        return Err(Failure::new(format!(
            "there is no row {id} in collection {name:?}"
        )));
    };
    let code = hex(&row.code);
    match arguments.format {
        Format::Json => {
            let payload: Value = row.payload.as_deref().map_or(Value::Null, |text| {
                serde_json::from_str(text).unwrap_or(json!(text))
            });
            session
                .out
                .line(json!({"id": row.id, "code": code, "payload": payload}).to_string())
        }
        Format::Table => {
            session.out.line(format!("id       {}", row.id))?;
            session.out.line(format!("code     {code}"))?;
            session.out.line(format!(
                "payload  {}",
                row.payload.as_deref().unwrap_or("none")
            ))
        }
    }
}
