//! On what is measured.

use std::fs;
use std::path::Path;

/// Facts of this machine, as far as it tells them: name and value.
pub fn facts(dir: &Path) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut facts = vec![("cores", cores.to_string())];
    let mut add = |name, fact: Option<String>| facts.extend(fact.map(|fact| (name, fact)));
    add("cpu", field("/proc/cpuinfo", "model name"));
    add("memory", field("/proc/meminfo", "MemTotal"));
    add("linux", first_words("/proc/sys/kernel/osrelease", 1));
    add("file_system", file_system(dir));
    // Above 0, something else runs: figures are then not to be quoted.
    add("load", first_words("/proc/loadavg", 3));
    if cfg!(debug_assertions) {
        add("build", Some("debug: not to be quoted".to_owned()));
    }
    facts
}

/// The value behind `name:` in a file of such lines.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

fn first_words(file: &str, count: usize) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let words: Vec<&str> = text.split_whitespace().take(count).collect();
    Some(words.join(" "))
}

/// The kind of the file system that `dir` is on.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?))
    });
    let above = mounts.filter(|(point, _)| dir.starts_with(point));
    // The innermost, and of these the one mounted last.
    let (_, kind) = above.max_by_key(|(point, _)| point.components().count())?;
    Some(kind.to_owned())
}
