//! `bitkin model`.

use crate::error::Failure;
use crate::grammar::{Format, Model, ModelAction, ModelInfo};
use crate::output::{bytes, plain};
use crate::session::Session;
use bitkin::model::ModelFile;
use serde_json::{Value, json};
use std::path::Path;

/// Does what is asked with a model file.
///
/// # Errors
/// When the file cannot be used, or bitkin-train is not installed or fails.
pub(crate) fn run(session: &mut Session, arguments: &Model) -> Result<(), Failure> {
    match &arguments.action {
        ModelAction::Info(arguments) => info(session, arguments),
        ModelAction::Import(passed) => super::train(&["model", "import"], &passed.arguments),
        ModelAction::Convert(passed) => super::train(&["model", "convert"], &passed.arguments),
    }
}

/// Reads a model file; what is wrong with it is told with its name.
///
/// # Errors
/// When it is none.
pub(crate) fn read(file: &Path) -> Result<ModelFile, Failure> {
    ModelFile::read(file).map_err(|e| super::named(file, e).advise("bitkin train makes models"))
}

fn info(session: &mut Session, arguments: &ModelInfo) -> Result<(), Failure> {
    let model = read(&arguments.file)?;
    let metadata = model.metadata();
    let numbers: usize = model
        .tensors()
        .map(|(_, tensor)| tensor.shape.iter().product::<usize>())
        .sum();
    let facts = [
        ("kind", json!(model.kind().to_string())),
        ("fingerprint", json!(model.fingerprint())),
        ("method", json!(model.method())),
        ("bits", json!(model.bits())),
        ("arithmetic", json!(model.arithmetic())),
        ("input", json!(model.input())),
        ("head", json!(metadata.model.get("head"))),
        ("backbone", json!(metadata.backbone)),
        ("backbone_fingerprint", json!(model.backbone_fingerprint())),
        ("self_contained", json!(model.is_self_contained())),
        ("tensors", json!(model.tensors().count())),
        ("numbers", json!(numbers)),
        ("bytes", json!(model.bytes().len())),
        ("notes", json!(metadata.notes)),
        ("backbone_notes", json!(metadata.backbone_notes)),
    ];
    if arguments.format == Format::Json {
        let object: serde_json::Map<String, Value> = facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        return session.out.line(Value::Object(object).to_string());
    }
    for (name, value) in facts {
        let shown = match &value {
            Value::Null => continue,
            Value::String(text) => plain(text),
            Value::Number(number) if name == "bytes" => bytes(number.as_u64().unwrap_or(0)),
            other => plain(&other.to_string()),
        };
        session.out.line(format!("{name:<20} {shown}"))?;
    }
    Ok(())
}
