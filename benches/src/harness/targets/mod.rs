//! What is aimed at, beside what is seen: every figure a ratio within one run.

mod own;

use std::fmt::Write;

use bitkin_benches::Result;
use bitkin_benches::measure::Spread;

use super::arguments::TargetArgs;
use super::peers::Say;
use super::plot::number;
use super::record::{self, Line, short};
use super::run::{Modes, Plan};
use super::system::System;
use super::work::{Wanted, Work};
use own::{Own, Owned};

const MILLION: usize = 1_000_000;

/// Queries of the works that only the planner is judged by: as many as no other work has, so that its lines
/// are not taken for those of another.
const PLANNER_QUERIES: usize = 500;

/// A work, what is asked of it, and who is asked.
struct Job {
    work: &'static str,
    bits: u32,
    rows: usize,
    queries: usize,
    ks: &'static [usize],
    radii: &'static [u32],
    systems: Vec<System>,
    modes: Modes,
    /// The targets that need it.
    serves: &'static [&'static str],
}

/// A target.
struct Target {
    name: &'static str,
    what: String,
    against: &'static str,
    aim: Aim,
    /// `None`: its work was not measured.
    seen: Option<Spread>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// It is only looked at.
    None,
}

/// Measures what the targets need that are asked for, and returns the table of them.
pub(crate) fn measure(plan: &mut Plan, arguments: &TargetArgs, say: Say<'_>) -> Result<String> {
    let asked = |name: &str| {
        let mut only = arguments.only.iter();
        arguments.only.is_empty() || only.any(|begin| name.starts_with(begin.as_str()))
    };
    let mut own = Owned::default();
    for job in jobs()? {
        let serves = job.serves.iter().any(|name| asked(name));
        if !serves || job.rows > arguments.most_rows {
            continue;
        }
        let wanted = Wanted {
            name: job.work.to_owned(),
            bits: job.bits,
            rows: job.rows,
            queries: job.queries,
            seed: plan.seed,
        };
        let rows = short(job.rows);
        say(&format!("{}, {} bits, {rows} rows", job.work, job.bits));
        let Some(work) = Work::load(&wanted, &plan.places)? else {
            say("its codes are not here");
            continue;
        };
        plan.systems.clone_from(&job.systems);
        (plan.ks, plan.radii) = (job.ks.to_vec(), job.radii.to_vec());
        plan.modes = job.modes;
        plan.run(&work, say)?;
        if (job.work, job.bits, job.rows) == ("clustered", 64, MILLION) {
            let own = [
                ("pairs", own::pairs as own::Measure, &mut own.pairs),
                ("build", own::build, &mut own.build),
                ("fresh", own::fresh, &mut own.fresh),
            ];
            for (what, measure, measured) in own {
                // The planner's work of the same name comes later.
                if asked(what) && measured.is_none() {
                    say(&format!("{what} of {rows} rows"));
                    *measured = Some(Own::measure(measure, &work, plan)?);
                }
            }
        }
    }
    let lines = record::read(&plan.results)?;
    let targets = targets(&lines, &own);
    let targets = targets.into_iter().filter(|target| asked(target.name));
    Ok(table(targets))
}

/// Bitkin by each of its ways.
fn ways(ways: &'static [u64]) -> Result<System> {
    Ok(System {
        sweep: Some(("way", ways)),
        ..System::named("bitkin-native")?
    })
}

const ALL_WAYS: &[u64] = &[0, 1, 2];
const SCANS: &[u64] = &[1];
const PLANNER: &[u64] = &[0];

fn jobs() -> Result<Vec<Job>> {
    let named = |name: &str| System::named(name);
    let flat = || -> Result<Vec<System>> {
        Ok(vec![
            ways(ALL_WAYS)?,
            named("bitkin")?,
            named("faiss-flat")?,
        ])
    };
    let with = |peers: &[&str]| -> Result<Vec<System>> {
        let peers = peers.iter().map(|name| named(name));
        let peers = peers.collect::<Result<Vec<_>>>()?;
        Ok([flat()?, peers].concat())
    };
    let multihash = System {
        sweep: Some(("nflip", &[1])),
        builds: Some(("b", &[16])),
        ..named("faiss-multihash")?
    };
    let job = |work, bits, rows, systems, serves| Job {
        work,
        bits,
        rows,
        queries: 1_000,
        ks: &[10],
        radii: &[],
        systems,
        modes: Modes::OneThread,
        serves,
    };
    let large = |work, bits, systems, serves| Job {
        queries: 200,
        modes: Modes::Single,
        ..job(work, bits, 10 * MILLION, systems, serves)
    };
    let mut jobs = vec![
        job(
            "clustered",
            64,
            MILLION,
            with(&["bitkin-budget", "faiss-hnsw", "usearch-hnsw", "mih-rs"])?,
            &[
                "scan", "batch", "nearest", "planner", "bytes", "growth", "budget", "fresh",
                "pairs", "build",
            ],
        ),
        job(
            "clustered",
            128,
            MILLION,
            flat()?,
            &["scan", "batch", "nearest", "bytes"],
        ),
        job(
            "clustered",
            256,
            MILLION,
            with(&["bitkin-budget", "faiss-hnsw"])?,
            &["scan", "batch", "nearest", "bytes", "budget"],
        ),
        job("clustered", 512, MILLION, flat()?, &["scan", "batch"]),
        job("clustered", 1024, MILLION, flat()?, &["scan", "batch"]),
        Job {
            modes: Modes::Single,
            ..job(
                "clustered",
                64,
                10 * MILLION,
                flat()?,
                &["scan", "nearest", "growth"],
            )
        },
        large("uniform", 256, vec![ways(SCANS)?], &["scan"]),
        large("uniform", 1024, vec![ways(SCANS)?], &["scan"]),
        Job {
            ks: &[],
            radii: &[31],
            ..large(
                "planted",
                256,
                vec![ways(PLANNER)?, named("bitkin")?, multihash],
                &["radius"],
            )
        },
        Job {
            ks: &[],
            radii: &[31],
            ..large("pdq-grown", 256, vec![ways(PLANNER)?], &["radius"])
        },
        Job {
            rows: 100 * MILLION,
            ..large("clustered", 64, vec![ways(PLANNER)?], &["growth"])
        },
    ];
    for work in ["clustered", "uniform"] {
        for (bits, radii) in [(64, &[6]), (128, &[12]), (256, &[25])] {
            for rows in [MILLION / 10, MILLION] {
                jobs.push(Job {
                    ks: &[1, 10, 100],
                    radii,
                    queries: PLANNER_QUERIES,
                    modes: Modes::Single,
                    ..job(work, bits, rows, vec![ways(ALL_WAYS)?], &["planner"])
                });
            }
        }
    }
    Ok(jobs)
}

/// The lines of all works, to be asked for.
struct Lines<'a>(&'a [Line]);

/// A work, as lines name it.
type Place = (&'static str, u32, usize);

impl<'a> Lines<'a> {
    fn of(&self, place: Place, system: &str, batch: usize) -> impl Iterator<Item = &'a Line> {
        let system = system.to_owned();
        self.0.iter().filter(move |line| {
            (line.work.as_str(), line.bits, line.rows) == place
                && line.system == system
                && (line.threads, line.batch) == (1, batch)
                && line.k.is_none_or(|k| k == 10)
                && line.queries != PLANNER_QUERIES
                && line.queries_per_second.is_some()
        })
    }

    fn way(&self, place: Place, way: u64, batch: usize) -> Option<&'a Line> {
        let mut lines = self.of(place, "bitkin-native", batch);
        lines.find(|line| line.params.get("way") == Some(&way))
    }

    /// The fastest setting of a system that finds so much.
    fn best(&self, place: Place, system: &str, recall: f64) -> Option<&'a Line> {
        let good = self
            .of(place, system, 1)
            .filter(|line| line.recall.is_some_and(|found| found >= recall));
        let speed = |line: &&Line| line.queries_per_second.unwrap_or_default();
        good.max_by(|a, b| speed(a).total_cmp(&speed(b)))
    }
}

fn ratio(own: Option<&Line>, other: Option<&Line>) -> Option<Spread> {
    own?.ratio(other?)
}

fn targets(lines: &[Line], own: &Owned) -> Vec<Target> {
    let lines = Lines(lines);
    let at_1m = |bits| ("clustered", bits, MILLION);
    let at_10m = ("clustered", 64, 10 * MILLION);
    let mut targets = Vec::new();
    let mut add = |name, what: String, against, aim, seen| {
        targets.push(Target {
            name,
            what,
            against,
            aim,
            seen,
        });
    };
    let widths = [64, 128, 256, 512, 1024];
    let large = [
        at_10m,
        ("uniform", 256, 10 * MILLION),
        ("uniform", 1024, 10 * MILLION),
    ];
    for place in widths.map(at_1m).into_iter().chain(large) {
        let read = lines.of(place, "limit-read", 1).next();
        let seen = ratio(lines.way(place, 1, 1), read);
        let what = format!("scan for one query, {}", shown(place));
        add(
            "scan",
            what,
            "reading the same bytes",
            Aim::AtLeast(0.9),
            seen,
        );
    }
    for place in widths.map(at_1m) {
        let flat = lines.of(place, "faiss-flat", 256).next();
        let seen = ratio(lines.way(place, 1, 256), flat);
        let what = format!("scan for 256 queries, {}", shown(place));
        add("batch", what, "FAISS flat", Aim::AtLeast(4.0), seen);
    }
    for (place, aim) in [(at_1m(64), 80.0), (at_10m, 500.0), (at_1m(128), 22.0)] {
        let seen = ratio(
            lines.best(place, "bitkin", 1.0),
            lines.best(place, "faiss-flat", 1.0),
        );
        add(
            "nearest",
            nearest(place),
            "FAISS flat",
            Aim::AtLeast(aim),
            seen,
        );
    }
    let mih = lines.best(at_1m(64), "mih-rs", 1.0);
    let planned = |place| lines.way(place, 0, 1);
    let seen = ratio(planned(at_1m(64)), mih);
    add(
        "nearest",
        nearest(at_1m(64)),
        "mih-rs",
        Aim::AtLeast(12.0),
        seen,
    );
    for (bits, peer, against, recall, aim) in [
        (64, "faiss-hnsw", "FAISS HNSW, recall 0.97", 0.97, 3.0),
        (64, "usearch-hnsw", "usearch HNSW, recall 0.97", 0.97, 3.0),
        (256, "faiss-hnsw", "FAISS HNSW, recall 0.998", 0.998, 1.0),
    ] {
        let place = at_1m(bits);
        let seen = ratio(
            lines.best(place, "bitkin", 1.0),
            lines.best(place, peer, recall),
        );
        add("nearest", nearest(place), against, Aim::AtLeast(aim), seen);
    }
    let seen = ratio(planned(at_1m(256)), lines.way(at_1m(256), 1, 1));
    add(
        "nearest",
        nearest(at_1m(256)),
        "its own scan",
        Aim::AtLeast(5.0),
        seen,
    );

    for (bits, peer, against) in [
        (64, "faiss-hnsw", "FAISS HNSW, as much (from Python)"),
        (64, "usearch-hnsw", "usearch HNSW, as much (from Python)"),
        (256, "faiss-hnsw", "FAISS HNSW, as much (from Python)"),
    ] {
        let (place, recall) = (at_1m(bits), 0.97);
        let seen = ratio(
            lines.best(place, "bitkin-budget", recall),
            lines.best(place, peer, recall),
        );
        let what = format!("with a budget, recall {recall}, {}", nearest(place));
        add("budget", what, against, Aim::None, seen);
    }

    let planted = ("planted", 256, 10 * MILLION);
    let multihash = lines.best(planted, "faiss-multihash", 0.999);
    let seen = ratio(lines.best(planted, "bitkin", 1.0), multihash);
    let what = format!("within 31, {}", shown(planted));
    add(
        "radius",
        what.clone(),
        "FAISS MultiHash 16x16, nflip 1",
        Aim::AtLeast(200.0),
        seen,
    );
    let speed = |line: &Line| Spread::of(&line.queries_per_second_rounds);
    add(
        "radius",
        what,
        "queries a second",
        Aim::AtLeast(8000.0),
        planned(planted).map(speed),
    );
    let grown = ("pdq-grown", 256, 10 * MILLION);
    let what = format!("within 31, {}", shown(grown));
    let times = |slow: Option<&Line>, fast: Option<&Line>| {
        let (slow, fast) = (slow?.queries_per_second?, fast?.queries_per_second?);
        Some(Spread::of(&[fast / slow]))
    };
    let seen = times(planned(grown), planned(planted));
    add(
        "radius",
        what,
        "time of uniform codes",
        Aim::AtMost(3.0),
        seen,
    );

    for (millions, aim) in [(10, 2.5), (100, 5.0)] {
        let place = ("clustered", 64, millions * MILLION);
        let seen = times(planned(place), planned(at_1m(64)));
        add(
            "growth",
            nearest(place),
            "time of 1M rows",
            Aim::AtMost(aim),
            seen,
        );
    }

    let cells = planner_cells(lines.0);
    let within = |most: f64| {
        let within = cells.iter().filter(|times| **times <= most).count();
        (!cells.is_empty()).then(|| Spread::of(&[100.0 * within as f64 / cells.len() as f64]))
    };
    let what = format!(
        "{} works and questions, % of them within 1.2 times",
        cells.len()
    );
    add(
        "planner",
        what,
        "the better of scan and tables",
        Aim::AtLeast(95.0),
        within(1.2),
    );
    let worst = cells.iter().copied().reduce(f64::max);
    let worst = worst.map(|times| Spread::of(&[times]));
    let what = "the worst of them, times".to_owned();
    add(
        "planner",
        what,
        "the better of scan and tables",
        Aim::AtMost(1.5),
        worst,
    );

    for (bits, aim) in [(64, 8.0), (128, 4.5), (256, 4.0)] {
        let bytes = planned(at_1m(bits)).and_then(|line| {
            let bytes = line.costs.disk_bytes? as f64 / line.rows as f64;
            Some(Spread::of(&[8.0 * bytes / f64::from(bits)]))
        });
        let what = format!("bytes a row, {}", shown(at_1m(bits)));
        add("bytes", what, "bytes of a code", Aim::AtMost(aim), bytes);
    }
    let what = |what: &str| format!("{what}, {}", shown(at_1m(64)));
    let fresh = own.fresh.as_ref().map(|own| own.ratio);
    let against = "the time after compacting";
    let fresh =
        fresh.map(|ratio| Spread::of(&[1.0 / ratio.least, 1.0 / ratio.median, 1.0 / ratio.most]));
    add(
        "fresh",
        what("10 nearest as written"),
        against,
        Aim::AtMost(3.0),
        fresh,
    );
    let pairs = own.pairs.as_ref().map(|own| own.ratio);
    let against = "comparing every two rows, in blocks";
    add(
        "pairs",
        what("pairs within 8"),
        against,
        Aim::AtLeast(25.0),
        pairs,
    );
    let build = own.build.as_ref();
    let against = "reading and writing its file";
    add(
        "build",
        what("merge with its tables"),
        against,
        Aim::None,
        build.map(|own| own.ratio),
    );
    let speed = build.map(|own| own.a_second);
    add(
        "build",
        what("merge with its tables"),
        "million rows a second",
        Aim::None,
        speed,
    );
    targets
}

/// How many times as long the planner takes as the better of both ways, in each cell that has all three.
fn planner_cells(lines: &[Line]) -> Vec<f64> {
    let way = |line: &Line, way: u64| {
        line.system == "bitkin-native"
            && (line.threads, line.batch) == (1, 1)
            && line.params.get("way") == Some(&way)
    };
    let planned = lines.iter().filter(|line| way(line, 0));
    let cells = planned.filter_map(|planned| {
        let forced = |number| {
            let mut lines = lines.iter();
            let line = lines.find(|line| way(line, number) && line.cell() == planned.cell())?;
            Some(line.ratio(planned)?.median)
        };
        Some(forced(1)?.max(forced(2)?))
    });
    cells.collect()
}

fn nearest(place: Place) -> String {
    format!("10 nearest, {}", shown(place))
}

fn shown((work, bits, rows): Place) -> String {
    format!("{work}, {bits} bits, {} rows", short(rows))
}

/// The table, in Markdown.
fn table(targets: impl Iterator<Item = Target>) -> String {
    let mut table = "| what | beside | aim | seen | |\n|---|---|---|---|---|\n".to_owned();
    for Target {
        what,
        against,
        aim,
        seen,
        ..
    } in targets
    {
        let shown = match seen {
            None => "not measured".to_owned(),
            Some(seen) if seen.least == seen.most => number(seen.median),
            Some(seen) => {
                let [median, least, most] = [seen.median, seen.least, seen.most].map(number);
                format!("{median} ({least} to {most})")
            }
        };
        let (aim, met) = match aim {
            Aim::AtLeast(aim) => (
                format!("at least {}", number(aim)),
                seen.map(|seen| seen.median >= aim),
            ),
            Aim::AtMost(aim) => (
                format!("at most {}", number(aim)),
                seen.map(|seen| seen.median <= aim),
            ),
            Aim::None => ("–".to_owned(), None),
        };
        let met = match met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        let _ = writeln!(table, "| {what} | {against} | {aim} | {shown} | {met} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(way: u64, speed: f64) -> Line {
        Line {
            system: "bitkin-native".to_owned(),
            work: "clustered".to_owned(),
            bits: 64,
            rows: MILLION,
            k: Some(10),
            threads: 1,
            batch: 1,
            params: [("way".to_owned(), way)].into(),
            queries_per_second: Some(speed),
            queries_per_second_rounds: vec![speed; 2],
            ..Line::default()
        }
    }

    #[test]
    fn the_planner_stands_beside_the_better_way() {
        let lines = [line(0, 80.0), line(1, 20.0), line(2, 100.0)];
        assert_eq!(planner_cells(&lines), [1.25]);
        assert!(planner_cells(&lines[..2]).is_empty());
        let shown = table(targets(&lines, &Owned::default()).into_iter());
        assert!(shown.contains("| at most 1.5 | 1.25 | met |"), "{shown}");
        assert!(shown.contains("| at least 95 | 0 | missed |"), "{shown}");
        assert!(shown.contains("not measured"), "{shown}");
    }

    #[test]
    fn every_target_has_a_job() {
        let jobs = jobs().unwrap();
        for target in targets(&[], &Owned::default()) {
            let mut jobs = jobs.iter();
            assert!(
                jobs.any(|job| job.serves.contains(&target.name)),
                "{}",
                target.name
            );
        }
    }
}
