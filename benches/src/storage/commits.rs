//! Commits of a single row, by one thread and by sixteen, beside SQLite and redb.
//!
//! Each as its users would run it, each commit on disk when it returns: for SQLite a connection for
//! each thread and write-ahead logging with `synchronous=FULL`, for redb one database that the
//! threads share.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitkin_storage::{Batch, CollectionId, Options, Storage};
use redb::{Database, TableDefinition};
use rusqlite::Connection;

use crate::data::{PAYLOAD, Random};
use crate::plain::Plain;
use crate::report::{Cell, Table};
use crate::{Bench, Result};
use bitkin_benches::measure::Spread;

const THREADS: [usize; 2] = [1, 16];
const ROWS: TableDefinition<'_, u64, (&[u8; 8], &[u8])> = TableDefinition::new("rows");

/// Commits the row of a code.
type Session<'a> = Box<dyn FnMut([u8; 8]) -> Result<()> + 'a>;

/// A database that rows are committed to, one by one.
trait System: Sync {
    fn name(&self) -> &'static str;

    /// What a thread commits with.
    fn session(&self) -> Result<Session<'_>>;

    /// Rows that it holds.
    fn rows(&self) -> Result<u64>;
}

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let rounds = bench.extent.rounds(7, 3);
    let seconds = bench.extent.seconds(3.0, 0.5);
    let time = Duration::from_secs_f64(seconds);
    let systems: [Box<dyn System>; 3] = [
        Box::new(Bitkin::create(&bench.path("bitkin"))?),
        Box::new(Sqlite::create(&bench.path("sqlite"))?),
        Box::new(Redb::create(&bench.path("redb"))?),
    ];
    let mut table = Table::new(
        "commits",
        format!(
            "single rows of a 64-bit code and a payload of {} bytes; {rounds} rounds of {seconds} s",
            PAYLOAD.len()
        ),
        &[
            "system",
            "threads",
            "commits/s",
            "least",
            "most",
            "bitkin_is_times",
        ],
    );
    let mut committed = [0_u64; 3];
    for threads in THREADS {
        let mut rates = [const { Vec::new() }; 3];
        let mut syncs = Vec::new();
        for round in 0..=rounds {
            // The first round warms up.
            let time = if round == 0 { time / 8 } else { time };
            for (index, system) in systems.iter().enumerate() {
                let (commits, seconds) = run(&**system, threads, time, round as u64)?;
                committed[index] += commits;
                if round > 0 {
                    rates[index].push(commits as f64 / seconds);
                }
            }
            if threads == 1 && round > 0 {
                let path = bench.path("plain");
                let mut plain = Plain::create(&path, 128)?;
                let (mut pieces, start) = (0, Instant::now());
                while start.elapsed() < time / 4 {
                    plain.write(8)?;
                    pieces += 8;
                }
                syncs.push(f64::from(pieces) / start.elapsed().as_secs_f64());
                plain.remove()?;
            }
        }
        let own = Spread::of(&rates[0]).median;
        let mut add = |name: &str, rates: &[f64]| {
            let rate = Spread::of(rates);
            table.row(vec![
                name.into(),
                (threads as u64).into(),
                Cell::whole(rate.median),
                Cell::whole(rate.least),
                Cell::whole(rate.most),
                Cell::Number(own / rate.median, 2),
            ]);
        };
        for (system, rates) in systems.iter().zip(&rates) {
            add(system.name(), rates);
        }
        if threads == 1 {
            add("plain append", &syncs);
        }
    }
    for (system, committed) in systems.iter().zip(committed) {
        let rows = system.rows()?;
        if rows != committed {
            let name = system.name();
            return Err(format!("{name} holds {rows} of {committed} rows committed").into());
        }
    }
    table.note(
        "sqlite: WAL, synchronous=FULL, a connection a thread; redb: one Database, Immediate.",
    );
    table.note("plain append: 128 bytes to the end of a file, and a sync.");
    bench.report.table(&table);
    Ok(())
}

/// Commits rows in so many threads for so long. Returns how many, and in how many seconds.
fn run(system: &dyn System, threads: usize, time: Duration, seed: u64) -> Result<(u64, f64)> {
    let ready = Barrier::new(threads);
    let work = |thread: usize| -> Result<(u64, Instant, Instant)> {
        let session = system.session();
        ready.wait();
        let mut commit = session?;
        let mut random = Random::new(1 + seed * 64 + thread as u64);
        let (mut commits, start) = (0, Instant::now());
        let mut now = start;
        while now - start < time {
            commit(random.next().to_le_bytes())?;
            commits += 1;
            now = Instant::now();
        }
        Ok((commits, start, now))
    };
    let done: Vec<(u64, Instant, Instant)> = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => Err("a thread panicked".into()),
        });
        joined.collect::<Result<_>>()
    })?;
    let commits = done.iter().map(|(commits, ..)| commits).sum();
    let start = done.iter().map(|&(_, start, _)| start).min();
    let end = done.iter().map(|&(.., end)| end).max();
    let seconds = start
        .zip(end)
        .map_or(0.0, |(start, end)| (end - start).as_secs_f64());
    Ok((commits, seconds))
}

struct Bitkin {
    storage: Storage,
    collection: CollectionId,
}

impl Bitkin {
    fn create(path: &Path) -> Result<Bitkin> {
        let storage = Storage::create(path, Options::default())?;
        let collection = storage.create_collection("rows", 64, b"")?;
        Ok(Bitkin {
            storage,
            collection,
        })
    }
}

impl System for Bitkin {
    fn name(&self) -> &'static str {
        "bitkin"
    }

    fn session(&self) -> Result<Session<'_>> {
        Ok(Box::new(|code| {
            let mut batch = Batch::new();
            batch.insert(self.collection, None, &code, Some(&[Some(PAYLOAD)]));
            self.storage.commit(batch)?;
            Ok(())
        }))
    }

    fn rows(&self) -> Result<u64> {
        Ok(self.storage.stats().rows)
    }
}

struct Sqlite {
    path: PathBuf,
}

impl Sqlite {
    fn create(path: &Path) -> Result<Sqlite> {
        let sqlite = Sqlite {
            path: path.to_owned(),
        };
        sqlite.connect()?.execute_batch(
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, code BLOB NOT NULL, payload BLOB)",
        )?;
        Ok(sqlite)
    }

    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(60))?;
        let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(format!("SQLite is in journal mode {mode}").into());
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    }
}

impl System for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn session(&self) -> Result<Session<'_>> {
        let connection = self.connect()?;
        // A statement outside of a transaction is one by itself.
        Ok(Box::new(move |code| {
            let mut insert =
                connection.prepare_cached("INSERT INTO rows (code, payload) VALUES (?1, ?2)")?;
            insert.execute((&code[..], &PAYLOAD[..]))?;
            Ok(())
        }))
    }

    fn rows(&self) -> Result<u64> {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let rows = self
            .connect()?
            .query_row("SELECT count(*) FROM rows", [], count)?;
        Ok(rows as u64)
    }
}

struct Redb {
    database: Database,
    next: AtomicU64,
}

impl Redb {
    fn create(path: &Path) -> Result<Redb> {
        let database = Database::create(path)?;
        Ok(Redb {
            database,
            next: AtomicU64::new(0),
        })
    }
}

impl System for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn session(&self) -> Result<Session<'_>> {
        Ok(Box::new(|code| {
            let transaction = self.database.begin_write()?;
            {
                let mut rows = transaction.open_table(ROWS)?;
                let id = self.next.fetch_add(1, Ordering::Relaxed);
                rows.insert(id, (&code, &PAYLOAD[..]))?;
            }
            transaction.commit()?;
            Ok(())
        }))
    }

    fn rows(&self) -> Result<u64> {
        use redb::{ReadableDatabase, ReadableTableMetadata};
        Ok(self.database.begin_read()?.open_table(ROWS)?.len()?)
    }
}
