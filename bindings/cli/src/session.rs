//! What commands run in: where results go, and how a database is opened.

use crate::error::Failure;
use crate::grammar::Command;
use crate::output::Output;
use crate::verbs;

/// One run of the program.
pub(crate) struct Session {
    /// Where results go.
    pub(crate) out: Output,
}

impl Session {
    /// A session that writes to standard output.
    pub(crate) fn new() -> Session {
        Session {
            out: Output::stdout(),
        }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// What the command says.
    pub(crate) fn run(&mut self, command: &Command) -> Result<(), Failure> {
        match command {
            Command::Demo(arguments) => crate::demo::run(self, arguments),
            Command::Create(arguments) => verbs::create::run(arguments),
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
            Command::Train(passed) => verbs::train("train", &passed.arguments),
            Command::Adapt(passed) => verbs::train("adapt", &passed.arguments),
            Command::Eval(passed) => verbs::evaluate::run(&passed.arguments),
            Command::Model(arguments) => verbs::model::run(self, arguments),
        }
    }
}
