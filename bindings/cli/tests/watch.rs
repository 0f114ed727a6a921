//! `ingest --watch`: files that come, change and go while it runs.
#![cfg(unix)]

mod common;

use common::{Place, Run, waves};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The program, watching. Ended when this goes, whatever became of the test.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn start(place: &Place, line: &str) -> Watching {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut child = place
            .command(&words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        // What never comes fails the test, and does not hang it.
        let pid = child.id().to_string();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(120));
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        });
        Watching { child, lines }
    }

    /// The next line of what it tells: it waits as long as that takes.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut err = String::new();
            let _ = self.child.kill();
            let _ = self.child.stderr.take().unwrap().read_to_string(&mut err);
            panic!("no line of JSON: {line:?}; {err}")
        })
    }

    /// The sum of a key over the next lines, until it is `expected`.
    fn until(&mut self, key: &str, expected: u64) {
        let mut sum = 0;
        while sum < expected {
            sum += self.next()[key].as_u64().unwrap();
        }
        assert_eq!(sum, expected, "{key}");
    }

    /// Ends it by Ctrl-C.
    fn stop(mut self) -> Run {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status();
        assert!(kill.unwrap().success());
        let mut err = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        Run {
            code: self.child.wait().unwrap().code(),
            out: String::new(),
            err,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(place: &Place) -> Vec<Value> {
    place.run("export db c -").good().json()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn pictures_go_in_as_they_come() {
    let place = Place::new();
    place.run("create db c --encoder pdq").good();
    write(&place.path("in/cats/0.ppm"), &waves(0, 64, 0));
    write(&place.path("in/note.txt"), b"no picture");
    let mut watching = Watching::start(&place, "ingest db c in --watch --format json");
    let first = watching.next();
    assert_eq!(
        (&first["inserted"], &first["ignored"]),
        (&1.into(), &1.into())
    );

    // Some at once; a name with odd letters; one in a new folder in a new folder.
    for n in 1..6 {
        write(&place.path(&format!("in/cats/{n}.ppm")), &waves(n, 64, 0));
    }
    write(&place.path("in/new/deeper/a b\nü.ppm"), &waves(6, 64, 0));
    watching.until("inserted", 6);

    // A copy; a folder with a picture that is moved in; what is no picture; what is gone at once.
    write(&place.path("in/cats/copy.ppm"), &waves(1, 64, 0));
    watching.until("known", 1);
    write(&place.path("elsewhere/moved/7.ppm"), &waves(7, 64, 0));
    std::fs::rename(place.path("elsewhere/moved"), place.path("in/moved")).unwrap();
    watching.until("inserted", 1);
    write(&place.path("in/later.txt"), b"no picture");
    write(&place.path("in/gone.ppm"), &waves(60, 64, 0));
    std::fs::remove_file(place.path("in/gone.ppm")).unwrap();
    std::fs::remove_file(place.path("in/cats/2.ppm")).unwrap();

    // One that is cut off is told, and taken once it is whole; one that changes is taken again.
    let whole = waves(8, 64, 0);
    write(&place.path("in/slow.ppm"), &whole[..whole.len() / 2]);
    watching.until("skipped", 1);
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(place.path("in/slow.ppm"))
        .unwrap();
    file.write_all(&whole[whole.len() / 2..]).unwrap();
    drop(file);
    watching.until("inserted", 1);
    write(&place.path("in/cats/3.ppm"), &waves(9, 64, 0));
    watching.until("inserted", 1);

    // Others read meanwhile, and do not write.
    assert_eq!(rows(&place).len(), 10);
    place
        .run("delete db c --ids 0")
        .bad(1, &["open for writing elsewhere", "beside it"]);
    let run = watching.stop();
    assert_eq!(run.code, Some(130), "{}", run.err);
    assert!(
        run.err.contains("9 pictures came in while it watched"),
        "{}",
        run.err
    );
    assert!(run.err.contains("skipped in/slow.ppm"), "{}", run.err);

    let rows = rows(&place);
    assert_eq!(rows.len(), 10, "those whose files are gone stay");
    let of = |source: &str| {
        let found = rows.iter().filter(|row| row["payload"]["source"] == source);
        found.collect::<Vec<_>>()
    };
    assert_eq!(of("in/cats/1.ppm")[0]["payload"]["label"], "cats");
    assert_eq!(of("in/cats/3.ppm").len(), 2);
    assert_eq!(of("in/new/deeper/a b\nü.ppm").len(), 1);
    assert_eq!(
        (of("in/slow.ppm").len(), of("in/moved/7.ppm").len()),
        (1, 1)
    );
    assert!(rows.iter().all(|row| row["payload"]["sha256"].is_string()));
    // Another ingest of the same finds nothing new.
    let run = place.run("ingest db c in").good();
    assert!(run.err.contains("0 pictures inserted"), "{}", run.err);
}

#[test]
fn only_folders_can_be_watched() {
    let place = Place::new();
    place.run("create db c --encoder pdq").good();
    write(&place.path("a.ppm"), &waves(0, 64, 0));
    place
        .run("ingest db c a.ppm --watch")
        .bad(2, &["a.ppm is no folder", "without --watch"]);
    place.run("ingest db c gone --watch").bad(1, &["gone"]);
    place
        .run("ingest db c . --watch --limit 3")
        .bad(2, &["--limit"]);
    assert_eq!(rows(&place).len(), 0);
}

#[test]
fn a_watch_ends_when_its_folders_are_gone() {
    let place = Place::new();
    place.run("create db c --encoder pdq").good();
    write(&place.path("in/0.ppm"), &waves(0, 64, 0));
    let mut watching = Watching::start(&place, "ingest db c in --watch --format json");
    assert_eq!(watching.next()["inserted"], 1);
    std::fs::remove_dir_all(place.path("in")).unwrap();
    let status = watching.child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(rows(&place).len(), 1);
}
