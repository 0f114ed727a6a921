//! The systems that are called natively: the same commands as `peers/serve.py` takes, from the same
//! files. Clocks are around the call and the gathering of its ids into vectors, as a caller has it.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bitkin::{Budget, Collection, CollectionConfig, Database, Way};
use bitkin_benches::Result;
use mih_rs::index::{RangeSearcher, TopkSearcher};
use serde_json::{Value, json};

use super::codes::{Codes, read_numbers, write_numbers};
use super::system::timed;

/// A system in this process.
trait Native: Sync {
    fn build(&mut self, rows: &Codes) -> Result<()>;

    fn set(&mut self, threads: usize, params: &Value);

    /// Ids of the `k` nearest of each query, one query after another.
    fn nearest(&self, queries: &[u8], k: usize) -> Result<Vec<Vec<u64>>>;

    fn within(&self, queries: &[u8], radius: u32) -> Result<Vec<Vec<u64>>>;

    fn delete(&mut self, _ids: &[u64]) -> Result<()> {
        Err("it cannot delete".into())
    }

    fn save(&mut self) -> Result<()> {
        Err("it cannot save".into())
    }

    fn load(&mut self) -> Result<()> {
        Err("it cannot load".into())
    }
}

/// Answers commands until there are no more.
#[allow(clippy::print_stdout, reason = "answers are its purpose")]
pub(crate) fn serve(name: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let hello = match name {
        "bitkin-native" | "bitkin-budget" => json!({
            "version": env!("CARGO_PKG_VERSION"), "durable": true,
            "radius": true, "delete": true, "save": true,
        }),
        "mih-rs" => json!({"version": "0.3", "radius": true, "delete": false, "save": false}),
        _ => return Err(format!("{name} is no native system").into()),
    };
    writeln!(out, "{hello}")?;
    let mut system = None;
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let answer = obey(name, &mut system, &command)
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn obey(name: &str, system: &mut Option<Box<dyn Native>>, command: &Value) -> Result<Value> {
    let text = |key: &str| command[key].as_str().ok_or(format!("{key} is missing"));
    let number = |key: &str| command[key].as_u64().ok_or(format!("{key} is missing"));
    let verb = text("do")?;
    if verb == "start" {
        let dir = PathBuf::from(text("dir")?);
        let threads = number("threads")? as usize;
        *system = Some(match name {
            "mih-rs" => Box::new(Mih {
                blocks: command["params"]["blocks"].as_u64().unwrap_or(0) as usize,
                searchers: None,
            }),
            _ => Box::new(Bitkin::new(&dir, number("bits")? as u32, threads)),
        });
        return Ok(json!({}));
    }
    let system = system.as_mut().ok_or("it was not started")?;
    Ok(match verb {
        "build" => {
            let rows = Codes::open(Path::new(text("rows")?))?;
            let (built, seconds) = timed(|| system.build(&rows));
            built?;
            json!({"seconds": seconds})
        }
        "set" => {
            // Cores: callers share them.
            let threads = number("threads")? / number("callers")?.max(1);
            system.set(threads as usize, &command["params"]);
            json!({})
        }
        "answers" => {
            let queries = Codes::open(Path::new(text("queries")?))?;
            let found = match command["radius"].as_u64() {
                Some(radius) => system.within(queries.bytes(), radius as u32)?,
                None => {
                    let k = number("k")? as usize;
                    let mut found = system.nearest(queries.bytes(), k)?;
                    found.iter_mut().for_each(|ids| ids.resize(k, u64::MAX));
                    found
                }
            };
            let out = text("out")?;
            let mut offsets = vec![0];
            for ids in &found {
                offsets.push(offsets[offsets.len() - 1] + ids.len() as u64);
            }
            write_numbers(Path::new(&format!("{out}.ids.npy")), &found.concat())?;
            write_numbers(Path::new(&format!("{out}.offsets.npy")), &offsets)?;
            json!({})
        }
        "time" => {
            let queries = Codes::open(Path::new(text("queries")?))?;
            let batch = number("batch")? as usize;
            let pieces: Vec<&[u8]> = queries
                .bytes()
                .chunks_exact(batch * queries.row_bytes())
                .collect();
            let wanted = match command["radius"].as_u64() {
                Some(radius) => Err(radius as u32),
                None => Ok(number("k")? as usize),
            };
            let seconds = command["seconds"].as_f64().ok_or("seconds is missing")?;
            let seconds = Duration::try_from_secs_f64(seconds)?;
            let least = number("least")? as usize;
            let callers = number("callers")? as usize;
            let system = &**system;
            let ask = |call: usize| -> Result<u64> {
                let piece = pieces.get(call % pieces.len().max(1));
                let piece = piece.ok_or("the batch is larger than the queries")?;
                let before = Instant::now();
                let found = match wanted {
                    Ok(k) => system.nearest(piece, k),
                    Err(radius) => system.within(piece, radius),
                };
                let nanos = before.elapsed().as_nanos() as u64;
                found?;
                Ok(nanos)
            };
            // Caches and threads are those of another setting, or have slept. What takes so long is no warmer
            // a second time.
            let mut warmed = 0;
            for call in 0..if batch == 1 { 3 } else { 1 } {
                warmed = ask(call)?;
            }
            if batch > 1 && u128::from(warmed) >= seconds.as_nanos() {
                write_numbers(Path::new(text("out")?), &[warmed])?;
                return Ok(json!({"calls": 1}));
            }
            let end = Instant::now() + seconds;
            // Callers begin at different queries.
            let call = |caller: usize| -> Result<Vec<u64>> {
                let first = caller * pieces.len() / callers;
                let mut nanos = Vec::new();
                while nanos.len() < least || Instant::now() < end {
                    nanos.push(ask(first + nanos.len())?);
                }
                Ok(nanos)
            };
            let nanos = std::thread::scope(|scope| {
                let others: Vec<_> = (1..callers)
                    // An error is made a text, which can leave its thread.
                    .map(|caller| scope.spawn(move || call(caller).map_err(|e| e.to_string())))
                    .collect();
                let mut nanos = call(0)?;
                for other in others {
                    nanos.extend(other.join().map_err(|_| "a caller panicked")??);
                }
                Result::Ok(nanos)
            })?;
            write_numbers(Path::new(text("out")?), &nanos)?;
            json!({"calls": nanos.len()})
        }
        "delete" => {
            let ids = read_numbers(Path::new(text("ids")?))?;
            let (deleted, seconds) = timed(|| system.delete(&ids));
            deleted?;
            json!({"seconds": seconds})
        }
        "save" => {
            system.save()?;
            json!({})
        }
        "load" => {
            let query = Codes::open(Path::new(text("query")?))?;
            let query = query.get(0).ok_or("there is no query")?;
            let (loaded, open_seconds) = timed(|| system.load());
            loaded?;
            system.set(number("threads")? as usize, &command["params"]);
            let k = number("k")? as usize;
            let (found, first_seconds) = timed(|| system.nearest(query, k));
            found?;
            json!({"open_seconds": open_seconds, "first_seconds": first_seconds})
        }
        verb => return Err(format!("there is no command {verb}").into()),
    })
}

struct Bitkin {
    path: PathBuf,
    bits: u32,
    threads: usize,
    way: Option<Way>,
    budget: Option<Budget>,
    open: Option<(Database, Collection)>,
}

impl Bitkin {
    fn new(dir: &Path, bits: u32, threads: usize) -> Bitkin {
        let path = dir.join("rows.bitkin");
        Bitkin {
            path,
            bits,
            threads,
            way: None,
            budget: None,
            open: None,
        }
    }

    fn rows(&self) -> Result<&Collection> {
        let (_, rows) = self.open.as_ref().ok_or("it was not built")?;
        Ok(rows)
    }

    fn search(
        &self,
        queries: &[u8],
        k: Option<usize>,
        radius: Option<u32>,
    ) -> Result<Vec<Vec<u64>>> {
        let rows = self.rows()?;
        let answers = if queries.len() == rows.code_bytes() {
            let mut search = rows.search(queries).threads(self.threads);
            if let Some(k) = k {
                search = search.k(k);
            }
            if let Some(radius) = radius {
                search = search.radius(radius);
            }
            if let Some(way) = self.way {
                search = search.way(way);
            }
            if let Some(budget) = self.budget {
                search = search.budget(budget);
            }
            vec![search.run()?]
        } else {
            let mut search = rows.search_batch(queries).threads(self.threads);
            if let Some(k) = k {
                search = search.k(k);
            }
            if let Some(radius) = radius {
                search = search.radius(radius);
            }
            if let Some(way) = self.way {
                search = search.way(way);
            }
            if let Some(budget) = self.budget {
                search = search.budget(budget);
            }
            search.run()?
        };
        let ids = |answer: bitkin::Answer| answer.hits.iter().map(|hit| hit.id).collect();
        Ok(answers.into_iter().map(ids).collect())
    }
}

impl Native for Bitkin {
    fn build(&mut self, rows: &Codes) -> Result<()> {
        let database = Database::create(&self.path)?;
        let collection = database.create_collection("rows", CollectionConfig::bits(self.bits))?;
        let batch = 10_000;
        let mut first = 0;
        for codes in rows.bytes().chunks(batch * rows.row_bytes()) {
            let end = first + (codes.len() / rows.row_bytes()) as u64;
            let ids: Vec<u64> = (first..end).collect();
            collection.insert(&ids, codes)?;
            first = end;
        }
        collection.compact()?;
        self.open = Some((database, collection));
        Ok(())
    }

    fn set(&mut self, threads: usize, params: &Value) {
        self.threads = threads;
        // As it thinks best, unless the settings say.
        self.way = match params["way"].as_u64() {
            Some(1) => Some(Way::Scan),
            Some(2) => Some(Way::Tables),
            _ => None,
        };
        self.budget = params["candidates"].as_u64().map(Budget::Candidates);
    }

    fn nearest(&self, queries: &[u8], k: usize) -> Result<Vec<Vec<u64>>> {
        self.search(queries, Some(k), None)
    }

    fn within(&self, queries: &[u8], radius: u32) -> Result<Vec<Vec<u64>>> {
        self.search(queries, None, Some(radius))
    }

    fn delete(&mut self, ids: &[u64]) -> Result<()> {
        self.rows()?.delete(ids)?;
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        let (database, rows) = self.open.take().ok_or("it was not built")?;
        drop(rows);
        database.close()?;
        Ok(())
    }

    fn load(&mut self) -> Result<()> {
        let database = Database::open(&self.path)?;
        let rows = database.collection("rows")?;
        self.open = Some((database, rows));
        Ok(())
    }
}

/// The crate mih-rs: codes of 64 bits, one thread. Its searchers keep their buffers from query to query.
struct Mih {
    /// 0: what it chooses by itself.
    blocks: usize,
    searchers: Option<Mutex<Searchers>>,
}

type Searchers = (TopkSearcher<'static, u64>, RangeSearcher<'static, u64>);

fn words(codes: &[u8], row_bytes: usize) -> Vec<u64> {
    let word = |code: &[u8]| {
        code.iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    codes.chunks_exact(row_bytes).map(word).collect()
}

impl Mih {
    fn searchers(&self) -> Result<MutexGuard<'_, Searchers>> {
        let searchers = self.searchers.as_ref().ok_or("it was not built")?;
        searchers.lock().map_err(|_| "a search panicked".into())
    }
}

impl Native for Mih {
    fn build(&mut self, rows: &Codes) -> Result<()> {
        if rows.row_bytes() != 8 {
            return Err("it is measured with codes of 64 bits".into());
        }
        let rows = words(rows.bytes(), 8);
        let index = match self.blocks {
            0 => mih_rs::Index::new(rows),
            blocks => mih_rs::Index::with_blocks(rows, blocks),
        };
        let index = index.map_err(|error| error.to_string())?;
        // Searchers borrow it; there is one in the life of the process.
        let index: &'static mih_rs::Index<u64> = Box::leak(Box::new(index));
        self.searchers = Some(Mutex::new((index.topk_searcher(), index.range_searcher())));
        Ok(())
    }

    fn set(&mut self, _threads: usize, _params: &Value) {}

    fn nearest(&self, queries: &[u8], k: usize) -> Result<Vec<Vec<u64>>> {
        let (searcher, _) = &mut *self.searchers()?;
        let queries = words(queries, 8).into_iter();
        Ok(queries.map(|query| wide(searcher.run(query, k))).collect())
    }

    fn within(&self, queries: &[u8], radius: u32) -> Result<Vec<Vec<u64>>> {
        let (_, searcher) = &mut *self.searchers()?;
        let queries = words(queries, 8).into_iter();
        let found = queries.map(|query| wide(searcher.run(query, radius as usize)));
        Ok(found.collect())
    }
}

fn wide(ids: &[u32]) -> Vec<u64> {
    ids.iter().map(|id| u64::from(*id)).collect()
}
