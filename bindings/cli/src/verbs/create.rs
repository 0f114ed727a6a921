//! `bitkin create`.

use super::{close, discard, failure, is_empty_directory, report};
use crate::error::Failure;
use crate::grammar::{BuiltInEncoder, Create};
use crate::session::Session;
use bitkin::CollectionConfig;
use bitkin::encoder::{Device, EncoderLibrary};
use bitkin::model::{ModelFile, ModelKind};
use serde_json::json;
use std::path::Path;

/// Creates a collection, and the database if there is none.
///
/// # Errors
/// When the model cannot be used, the name is taken, or the database cannot be written; a
/// database that was begun for it is taken away again.
pub(crate) fn run(session: &mut Session, arguments: &Create) -> Result<(), Failure> {
    let path = &arguments.database;
    // The model is read first: if it is of no use, nothing is made.
    let (config, what) = match (
        &arguments.kind.bits,
        &arguments.kind.model,
        arguments.kind.encoder,
    ) {
        (_, Some(file), _) => {
            let model = super::model::read(file)?;
            model.expect_kind(ModelKind::Hash).map_err(|e| {
                Failure::new(format!("{}: {e}", file.display()))
                    .advise("bitkin train makes models; a backbone is given to it by --weights")
            })?;
            try_out(&model, file)?;
            let config = CollectionConfig::model(&model);
            let bits = model.bits().unwrap_or_default();
            (
                config,
                format!("codes of {bits} bits by model {}", short(&model)),
            )
        }
        (_, _, Some(BuiltInEncoder::Pdq)) => {
            (CollectionConfig::pdq(), "PDQ hashes of 256 bits".to_owned())
        }
        (Some(bits), None, None) => (
            CollectionConfig::bits(*bits),
            format!("codes of {bits} bits"),
        ),
        (None, None, None) => {
            return Err(Failure::usage(
                "say --bits N, --model FILE or --encoder pdq",
            ));
        }
    };
    let config = arguments.index.iter().fold(config, |config, field| {
        config.index(&field.field, field.kind)
    });
    let config = config.planes(arguments.planes);
    let (fresh, was_empty) = (!path.exists(), is_empty_directory(path));
    let database = if fresh || was_empty {
        session.create(path)?
    } else {
        session.open_to_write(path)?
    };
    let created = database
        .create_collection(&arguments.name, config)
        .map_err(failure);
    let facts = created.as_ref().ok().map(|collection| {
        json!({
            "created": collection.name(),
            "bits": collection.bits(),
            "model": collection.model(),
        })
    });
    let closed = close(database);
    if created.is_err() && (fresh || was_empty) {
        // Made by this very command, a moment ago, and holding nothing.
        session.forget(path);
        discard(path, fresh);
    }
    created?;
    closed?;
    let planes = if arguments.planes {
        ", with bit planes"
    } else {
        ""
    };
    let told = format!(
        "created {} in {}: {what}{planes}",
        arguments.name,
        path.display()
    );
    report(session, arguments.format, facts.unwrap_or_default(), &told)
}

/// Refuses a model that cannot encode, because a tensor is missing or has a wrong shape: only the
/// encoder library knows. Without a library that can be loaded, the ingest will tell.
fn try_out(model: &ModelFile, file: &Path) -> Result<(), Failure> {
    let Ok(library) = EncoderLibrary::find(&[]) else {
        return Ok(());
    };
    match library.open(model, Device::Cpu) {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(error.into())
            .about(file.display())
            .advise("bitkin train makes models")),
    }
}

fn short(model: &ModelFile) -> String {
    model.fingerprint().to_string().chars().take(12).collect()
}
