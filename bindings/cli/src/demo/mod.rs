//! The whole story, on the road that a user takes: the demo shows each command and then runs that
//! very command, through the same parser.

mod measure;
mod report;
mod split;

use crate::error::Failure;
use crate::grammar::{self, Command, Line};
use crate::interrupt;
use crate::output::{Column, counted, typed};
use crate::pictures::Pictures;
use crate::progress::{Progress, lasting};
use crate::session::Session;
use crate::trainer::Trainer;
use crate::verbs::failure;
use bitkin::encoder::EncoderLibrary;
use clap::Parser;
use measure::Measured;
use split::Split;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How strongly the drawn pictures are disturbed: float features must find their classes again
/// neither always nor hardly ever (mAP between 0.4 and 0.8).
pub(crate) const STRENGTH: f32 = 0.5;

/// The collection that the demo makes.
const COLLECTION: &str = "novel";

/// Written into a folder that the demo made, so that it never clears one that it did not.
const MARK: &str = ".bitkin-demo";

/// A mean average precision that `bitkin-train eval` measured.
#[derive(Debug, serde::Deserialize)]
struct Evaluated {
    method: String,
    bits: Option<u32>,
    map_mean: f64,
}

/// What the demo has to tell at its end.
#[derive(Debug)]
struct Story {
    bits: u32,
    base_classes: usize,
    novel_classes: usize,
    own_pictures: bool,
    split: Split,
    evaluated: Vec<Evaluated>,
    measured: Measured,
    ingested: (u64, Duration),
    commands: Vec<String>,
    total: Duration,
}

/// Runs `bitkin demo`.
///
/// # Errors
/// When any of its steps fails; the message is that step's.
pub(crate) fn run(session: &mut Session, arguments: &grammar::Demo) -> Result<(), Failure> {
    let started = Instant::now();
    interrupt::watch();
    // Whatever is missing should be told before the work, not after it.
    let trainer = Trainer::find()?;
    EncoderLibrary::locate(&[]).map_err(|error| failure(error.into()))?;
    let out = &arguments.out;
    if let Some(dir) = &arguments.images {
        // Before anything of an earlier demo is cleared for it.
        split::classes(dir)?;
        apart(dir, out)?;
    }
    prepare(out)?;
    let mut road = Road {
        session,
        trainer,
        commands: Vec::new(),
    };

    let (own_pictures, dir) = match &arguments.images {
        Some(dir) => (true, dir.clone()),
        None => (false, draw(&mut road, arguments, &out.join("pictures"))?),
    };
    // The user's are listed again: `out` may lie among them, and what was cleared from it is gone.
    let (base, novel) = split::classes(&dir)?;
    let mut unreadable = 0u64;
    let mut split = split::split(&base, &novel, arguments.seed, |picture| {
        let good = !own_pictures || readable(picture);
        unreadable += u64::from(!good);
        good
    })?;
    if unreadable > 0 {
        crate::output::say(format!(
            "{} cannot be read and stay out",
            counted(unreadable, "picture")
        ));
    }
    let store = out.join("database");
    split::gather(&mut split.database, &store)?;
    let lists = Lists::write(&split, &out.join("split"))?;

    road.tell("")?;
    road.tell(format!(
        "{} base classes with {} to learn from; {} novel classes with {} examples each.",
        base.len(),
        counted(split.base.len() as u64, "picture"),
        novel.len(),
        split::SHOTS,
    ))?;

    let (model, cache) = (out.join("model.safetensors"), out.join("features.cache"));
    let (bits, seed) = (arguments.bits.to_string(), arguments.seed.to_string());
    let learning = Words::new()
        .option("--base", &lists.base)
        .option("--adapt", &lists.adapt)
        .option("--unlabelled", &lists.anchors);
    let common = Words::new()
        .option("--bits", &bits)
        .maybe("--weights", arguments.weights.as_deref())
        .option("--seed", &seed)
        .option("--cache", &cache);

    road.heading("Prior prototypes from the base classes, adapted to the novel ones")?;
    let words = Words::new()
        .word("train")
        .all(&learning)
        .all(&common)
        .option("--out", &model);
    road.walk(words)?;

    road.heading("A database whose codes are this model's")?;
    let database = out.join("demo.bitkin");
    road.walk(
        Words::new()
            .word("create")
            .word(&database)
            .word(COLLECTION)
            .option("--model", &model),
    )?;

    road.heading("Pictures in: decoded, encoded, written")?;
    let words = Words::new()
        .word("ingest")
        .word(&database)
        .word(COLLECTION)
        .word(&store);
    let ingested = road.walk(words)?.unwrap_or_default();

    road.heading("One search, as anybody would do it")?;
    if let Some(query) = split.queries.first() {
        let words = Words::new().word("search").word(&database).word(COLLECTION);
        road.walk(words.option("--image", &query.path).word("-k").word("5"))?;
    }

    road.heading("Every query, and what other codes make of the same pictures")?;
    let measured = measure::queries(&database, COLLECTION, &split.queries)?;
    let words = Words::new()
        .word("eval")
        .all(&learning)
        .option("--database", &lists.database)
        .option("--queries", &lists.queries)
        .all(&common)
        .option("--seeds", "3")
        .option("--methods", "float-centred,lsh,itq")
        .option("--format", "json");
    let evaluated = road.evaluate(words)?;
    // The cache has served both; what it holds can be computed again.
    let _ = std::fs::remove_file(&cache);

    let story = Story {
        bits: arguments.bits,
        base_classes: base.len(),
        novel_classes: novel.len(),
        own_pictures,
        split,
        evaluated,
        measured,
        ingested,
        commands: road.commands,
        total: started.elapsed(),
    };
    session.out.line("")?;
    let head = [
        Column::Text("method"),
        Column::Text("stored for a picture"),
        Column::Number("mAP"),
    ];
    session.out.table(&head, &story.table())?;
    session.out.line("")?;
    for (value, what) in story.figures() {
        session.out.line(format!("{value:>10}  {what}"))?;
    }
    let page = out.join("results.html");
    let html = story.page()?.html();
    std::fs::write(&page, html)
        .map_err(|e| Failure::new(format!("cannot write {}: {e}", page.display())))?;
    session.out.line("")?;
    session.out.line(format!(
        "Look at the results: {}",
        absolute(&page).display()
    ))?;
    session.out.flush()
}

/// Refuses pictures that lie in `out`, which would be cleared away.
fn apart(images: &Path, out: &Path) -> Result<(), Failure> {
    // What does not exist holds nothing.
    let Ok(clearing) = std::fs::canonicalize(out) else {
        return Ok(());
    };
    if absolute(images).starts_with(clearing) {
        return Err(Failure::new(format!(
            "the pictures in {} lie inside {}, which the demo clears",
            images.display(),
            out.display()
        ))
        .advise("choose another folder with --out, or move the pictures out of it"));
    }
    Ok(())
}

/// Makes `out` an empty folder. What an earlier demo left there is cleared; anything else stays,
/// and is an error.
fn prepare(out: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(format!("cannot prepare {}: {e}", out.display()))
            .advise("choose another folder with --out")
    };
    if out.join(MARK).is_file() {
        for leftover in ["pictures", "database", "split", "demo.bitkin"] {
            match std::fs::remove_dir_all(out.join(leftover)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
                _ => {}
            }
        }
    } else {
        std::fs::create_dir_all(out).map_err(failed)?;
        if std::fs::read_dir(out).map_err(failed)?.next().is_some() {
            return Err(Failure::new(format!("{} is not empty", out.display()))
                .advise("choose another folder with --out; the demo clears only what it made"));
        }
    }
    std::fs::write(
        out.join(MARK),
        "made by `bitkin demo`; the next one may clear this folder\n",
    )
    .map_err(failed)
}

fn draw(road: &mut Road<'_>, arguments: &grammar::Demo, dir: &Path) -> Result<PathBuf, Failure> {
    let set = Pictures {
        seed: arguments.seed,
        strength: arguments.strength,
        ..Pictures::default()
    };
    road.heading("Pictures of twenty kinds, drawn for the occasion")?;
    let progress = Progress::new("drawing", "pictures", Some(set.total() as u64));
    set.write(dir, interrupt::watch(), &|done| progress.set(done as u64))?;
    interrupt::check(|| format!("stopped while drawing pictures in {}", dir.display()))?;
    let time = lasting(progress.elapsed());
    progress.finish(format!(
        "{} in {time}, in {}",
        counted(set.total() as u64, "picture"),
        dir.display()
    ));
    Ok(dir.to_owned())
}

fn readable(picture: &Path) -> bool {
    crate::verbs::read_picture(picture)
        .is_ok_and(|bytes| bitkin::image::decode(&bytes, &bitkin::image::Limits::default()).is_ok())
}

fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Where the lists of the split lie.
struct Lists {
    base: PathBuf,
    adapt: PathBuf,
    anchors: PathBuf,
    database: PathBuf,
    queries: PathBuf,
}

impl Lists {
    fn write(split: &Split, dir: &Path) -> Result<Lists, Failure> {
        std::fs::create_dir_all(dir)
            .map_err(|e| Failure::new(format!("cannot create {}: {e}", dir.display())))?;
        let list = |name: &str, pictures: &[split::Labelled]| {
            let file = dir.join(name);
            split::write(pictures, &file).map(|()| file)
        };
        Ok(Lists {
            base: list("base.txt", &split.base)?,
            adapt: list("adapt.txt", &split.adapt)?,
            anchors: list("anchors.txt", &split.anchors)?,
            database: list("database.txt", &split.database)?,
            queries: list("queries.txt", &split.queries)?,
        })
    }
}

/// The words of a command.
#[derive(Clone, Default)]
struct Words(Vec<OsString>);

impl Words {
    fn new() -> Words {
        Words::default()
    }

    fn word(mut self, word: impl AsRef<OsStr>) -> Words {
        self.0.push(word.as_ref().to_owned());
        self
    }

    fn option(self, name: &str, value: impl AsRef<OsStr>) -> Words {
        self.word(name).word(value)
    }

    fn maybe(self, name: &str, value: Option<&Path>) -> Words {
        match value {
            Some(value) => self.option(name, value),
            None => self,
        }
    }

    fn all(mut self, words: &Words) -> Words {
        self.0.extend_from_slice(&words.0);
        self
    }

    /// As one would type it into a shell.
    fn typed(&self) -> String {
        let words = self.0.iter().map(|word| typed(word));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Shows commands and runs them.
struct Road<'a> {
    session: &'a mut Session,
    trainer: Trainer,
    commands: Vec<String>,
}

impl Road<'_> {
    fn tell(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.session.out.line(text)?;
        self.session.out.flush()
    }

    fn heading(&mut self, text: &str) -> Result<(), Failure> {
        interrupt::check(|| "stopped".to_owned())?;
        self.tell(format!("\n── {text}"))
    }

    fn show(&mut self, words: &Words) -> Result<(), Failure> {
        let command = format!("$ bitkin {}", words.typed());
        self.tell(&command)?;
        self.commands.push(command);
        Ok(())
    }

    /// Shows a command and runs it; an ingest tells how many pictures it wrote, and how long it
    /// took.
    fn walk(&mut self, words: Words) -> Result<Option<(u64, Duration)>, Failure> {
        self.show(&words)?;
        let line = std::iter::once(OsString::from("bitkin")).chain(words.0);
        let command = Line::try_parse_from(line)
            .map_err(|e| Failure::new(format!("the demo's own command is wrong: {e}")))?
            .command;
        let wrote = match &command {
            Command::Ingest(arguments) => Some(crate::verbs::ingest::run(self.session, arguments)?),
            _ => self.session.run(&command).map(|()| None)?,
        };
        self.session.out.flush()?;
        Ok(wrote)
    }

    /// Shows `bitkin eval` and reads what it prints.
    fn evaluate(&mut self, words: Words) -> Result<Vec<Evaluated>, Failure> {
        self.show(&words)?;
        let text = self.trainer.ask(&words.0)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line).map_err(|e| {
                    Failure::new(format!(
                        "bitkin-train eval answers what is not understood: {e}"
                    ))
                    .advise("build both from the same source: cargo build --release --workspace")
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_one_would_type_them() {
        let words = Words::new()
            .word("search")
            .option("--image", "my cat's.jpg")
            .word("");
        assert_eq!(words.typed(), r"search --image 'my cat'\''s.jpg' ''");
    }

    #[test]
    fn a_folder_that_the_demo_did_not_make_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        prepare(&out).unwrap();
        std::fs::create_dir(out.join("pictures")).unwrap();
        std::fs::write(out.join("mine.txt"), "mine").unwrap();
        prepare(&out).unwrap();
        assert!(!out.join("pictures").exists() && out.join("mine.txt").exists());

        let other = dir.path().join("other");
        std::fs::create_dir_all(other.join("pictures")).unwrap();
        let error = prepare(&other).unwrap_err().to_string();
        assert!(
            error.contains("is not empty") && error.contains("--out"),
            "{error}"
        );
        assert!(other.join("pictures").exists());
    }
}
