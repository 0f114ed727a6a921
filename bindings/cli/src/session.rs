//! What commands run in: where results go, and how databases are opened.
//!
//! A command line opens what its verb names and closes it again. A shell keeps its database, and the
//! encoders that it loaded, from command to command; the verbs do not see the difference.

use crate::error::Failure;
use crate::grammar::Command;
use crate::output::Output;
use crate::verbs::{self, failure};
use bitkin::encoder::{Encoder, Fingerprint};
use bitkin::{Activity, Collection, Database, DatabaseOptions};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One run of the program.
pub(crate) struct Session {
    /// Where results go.
    pub(crate) out: Output,
    kept: Option<Kept>,
    encoders: Vec<(Fingerprint, Arc<dyn Encoder>)>,
}

/// The database that a shell keeps open.
struct Kept {
    path: PathBuf,
    /// None while it does not exist.
    database: Option<Arc<Database>>,
    access: Access,
    activity: Activity,
}

/// What a shell may do with its database.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Read and write.
    Write,
    /// Read, as long as it cannot be written for this reason: somebody else writes it, as a rule.
    ReadMeanwhile(String),
    /// Read, as the user wants it.
    ReadOnly,
}

/// An open database: the command's own, or the one that the session keeps.
#[derive(Debug)]
pub(crate) enum Handle {
    Own(Database),
    Kept(Arc<Database>),
}

impl Deref for Handle {
    type Target = Database;

    fn deref(&self) -> &Database {
        match self {
            Handle::Own(database) => database,
            Handle::Kept(database) => database,
        }
    }
}

impl Session {
    /// A session that writes to standard output, and keeps nothing open.
    pub(crate) fn new() -> Session {
        Session {
            out: Output::stdout(),
            kept: None,
            encoders: Vec::new(),
        }
    }

    /// Opens the database in `path` and keeps it: to write if `writing` and it can be, otherwise to read.
    /// One that does not exist is opened as soon as there is one.
    ///
    /// # Errors
    /// When there is something else, or it cannot be opened.
    pub(crate) fn keep(&mut self, path: &Path, writing: bool) -> Result<(), Failure> {
        let mut kept = Kept {
            path: path.to_owned(),
            database: None,
            access: match writing {
                true => Access::Write,
                false => Access::ReadOnly,
            },
            activity: Activity::new(),
        };
        if !writing || path.exists() && !verbs::is_empty_directory(path) {
            kept.open()?;
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// The database that is kept open, if it exists, and what may be done with it.
    pub(crate) fn kept(&self) -> Option<(Option<&Database>, &Access)> {
        let kept = self.kept.as_ref()?;
        Some((kept.database.as_deref(), &kept.access))
    }

    /// A handle to the same.
    pub(crate) fn kept_handle(&self) -> Option<Arc<Database>> {
        self.kept.as_ref()?.database.clone()
    }

    /// Closes the database that is kept open.
    ///
    /// # Errors
    /// What storage reports of its last writes.
    pub(crate) fn let_go(&mut self) -> Result<(), Failure> {
        let database = self.kept.take().and_then(|kept| kept.database);
        match database.and_then(Arc::into_inner) {
            Some(database) => verbs::close(Handle::Own(database)),
            None => Ok(()),
        }
    }

    /// Takes in what other processes have written to the database that is kept open.
    ///
    /// # Errors
    /// What storage reports.
    pub(crate) fn refresh(&mut self) -> Result<(), Failure> {
        match &self.kept {
            Some(Kept {
                database: Some(database),
                access: Access::ReadMeanwhile(_) | Access::ReadOnly,
                ..
            }) => database.refresh().map(drop).map_err(failure),
            _ => Ok(()),
        }
    }

    /// Opens a database to read, beside whoever writes it.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(crate) fn open_to_read(&mut self, path: &Path) -> Result<Handle, Failure> {
        match self.kept_at(path) {
            Some(kept) => Ok(Handle::Kept(kept.open()?)),
            None => verbs::open_to_read(path).map(Handle::Own),
        }
    }

    /// Opens a database to write.
    ///
    /// # Errors
    /// When there is none, it cannot be opened, or another process writes it; or when the user has opened
    /// the shell's for reading.
    pub(crate) fn open_to_write(&mut self, path: &Path) -> Result<Handle, Failure> {
        Ok(self.open_watched(path)?.0)
    }

    /// As [`Session::open_to_write`], with what shows, and stops, the writing of segments. Whoever stops it
    /// lets it go on before the command ends.
    ///
    /// # Errors
    /// As [`Session::open_to_write`].
    pub(crate) fn open_watched(&mut self, path: &Path) -> Result<(Handle, Activity), Failure> {
        let Some(kept) = self.kept_at(path) else {
            let activity = Activity::new();
            let database = verbs::open_to_write(path, &activity)?;
            return Ok((Handle::Own(database), activity));
        };
        kept.expect_writing()?;
        if let Access::ReadMeanwhile(_) = kept.access {
            // Whoever wrote it may be done by now.
            kept.database = Some(Arc::new(verbs::open_to_write(path, &kept.activity)?));
            kept.access = Access::Write;
        }
        Ok((Handle::Kept(kept.open()?), kept.activity.clone()))
    }

    /// Creates a database in a new or empty directory.
    ///
    /// # Errors
    /// What storage reports.
    pub(crate) fn create(&mut self, path: &Path) -> Result<Handle, Failure> {
        let kept = self.kept_at(path);
        if let Some(kept) = &kept {
            kept.expect_writing()?;
        }
        let mut options = DatabaseOptions::new();
        if let Some(kept) = &kept {
            options = options.activity(kept.activity.clone());
        }
        let database = options
            .create(path)
            .map_err(|error| verbs::named(path, error))?;
        Ok(match kept {
            Some(kept) => {
                let database = Arc::new(database);
                kept.access = Access::Write;
                kept.database = Some(Arc::clone(&database));
                Handle::Kept(database)
            }
            None => Handle::Own(database),
        })
    }

    /// Closes the database if it is the one that is kept open: its caller takes it away, or wants it for
    /// itself. The next command opens it again.
    pub(crate) fn forget(&mut self, path: &Path) {
        if let Some(kept) = self.kept_at(path) {
            kept.database = None;
        }
    }

    /// The encoder of a collection: the one that is built in, or its model, loaded into the encoder
    /// library. Loaded once.
    ///
    /// # Errors
    /// When the collection has none, or the library or the model cannot be loaded.
    pub(crate) fn encoder(&mut self, collection: &Collection) -> Result<Arc<dyn Encoder>, Failure> {
        let model = collection.model();
        let loaded = self.encoders.iter().find(|(of, _)| Some(*of) == model);
        if let Some((_, encoder)) = loaded {
            return Ok(Arc::clone(encoder));
        }
        let encoder = verbs::encoder(collection)?;
        self.encoders
            .extend(model.map(|model| (model, Arc::clone(&encoder))));
        Ok(encoder)
    }

    /// What is kept, if it is this database.
    fn kept_at(&mut self, path: &Path) -> Option<&mut Kept> {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        self.kept.as_mut().filter(|kept| {
            kept.path == path || real(&kept.path).is_some_and(|kept| real(path) == Some(kept))
        })
    }

    /// Runs one command.
    ///
    /// # Errors
    /// What the command says.
    pub(crate) fn run(&mut self, command: &Command) -> Result<(), Failure> {
        match command {
            Command::Demo(arguments) => crate::demo::run(self, arguments),
            Command::Create(arguments) => verbs::create::run(self, arguments),
            Command::Import(arguments) => verbs::import::run(self, arguments),
            Command::Export(arguments) => verbs::export::run(self, arguments),
            Command::Upsert(arguments) => verbs::import::upsert(self, arguments),
            Command::Delete(arguments) => verbs::delete::run(self, arguments),
            Command::Ingest(arguments) => verbs::ingest::run(self, arguments).map(drop),
            Command::Search(arguments) => verbs::search::run(self, arguments),
            Command::Explain(arguments) => verbs::search::explain(self, arguments),
            Command::Dedupe(arguments) => verbs::dedupe::run(self, arguments),
            Command::Get(arguments) => verbs::get::run(self, arguments),
            Command::Stats(arguments) => verbs::stats::run(self, arguments),
            Command::Verify(arguments) => verbs::verify::run(self, arguments),
            Command::Compact(arguments) => verbs::upkeep::compact(self, arguments),
            Command::Backup(arguments) => verbs::upkeep::backup(self, arguments),
            Command::Repair(arguments) => verbs::upkeep::repair(self, arguments),
            Command::Drop(arguments) => verbs::upkeep::drop(self, arguments),
            Command::Bench(arguments) => verbs::bench::run(self, arguments),
            Command::Train(passed) => verbs::train(&["train"], &passed.arguments),
            Command::Adapt(passed) => verbs::train(&["adapt"], &passed.arguments),
            Command::Eval(passed) => verbs::evaluate::run(&passed.arguments),
            Command::Model(arguments) => verbs::model::run(self, arguments),
            Command::Shell(arguments) => crate::shell::run(self, arguments),
            Command::Completions(arguments) => verbs::paper::completions(self, arguments),
            Command::Man(arguments) => verbs::paper::man(arguments),
        }
    }
}

impl Kept {
    /// Refuses to write what the user has opened for reading.
    fn expect_writing(&self) -> Result<(), Failure> {
        match self.access {
            Access::ReadOnly => Err(Failure::new(format!(
                "{} was opened with --read-only",
                self.path.display()
            ))
            .advise("start the shell without --read-only to write")),
            Access::Write | Access::ReadMeanwhile(_) => Ok(()),
        }
    }

    /// The open database, opened now if it was not.
    fn open(&mut self) -> Result<Arc<Database>, Failure> {
        if let Some(database) = &self.database {
            return Ok(Arc::clone(database));
        }
        let opened = match self.access {
            Access::Write => match verbs::open_to_write(&self.path, &self.activity) {
                Ok(database) => database,
                Err(failure) => match verbs::open_to_read(&self.path) {
                    Ok(database) => {
                        self.access = Access::ReadMeanwhile(failure.to_string());
                        database
                    }
                    Err(_) => return Err(failure),
                },
            },
            Access::ReadMeanwhile(_) | Access::ReadOnly => verbs::open_to_read(&self.path)?,
        };
        Ok(Arc::clone(self.database.insert(Arc::new(opened))))
    }
}
