//! What is searched: rows and queries, generated or read, and kept as `.npy` files in the cache.

use std::path::{Path, PathBuf};

use bitkin_benches::Result;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::codes::{self, Codes, Form};
use super::generate::{self, Kind};

/// Rows and queries of one width.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) bits: u32,
    pub(crate) rows: Codes,
    pub(crate) queries: Codes,
    /// Hash of both.
    pub(crate) data: String,
}

/// What to make or read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// Of generated codes; files have their own.
    pub(crate) bits: u32,
    /// Of generated codes; of others at most so many.
    pub(crate) rows: usize,
    pub(crate) queries: usize,
    pub(crate) seed: u64,
}

/// Real codes that come with no queries, and collections that are asked for themselves, give one in
/// so many of their rows, which is then not searched.
pub(crate) const HELD_OUT: usize = 12;

/// Where files are kept from run to run, and where real codes are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) cache: PathBuf,
    pub(crate) data: PathBuf,
}

/// Names that `--work` knows, beside those of the generators.
const REAL: [&str; 4] = ["orb", "pdq", "ecfp", GROWN];

/// Real perceptual hashes, made as many as are wanted.
const GROWN: &str = "pdq-grown";

/// Whether there is such a work; whether its width is its own.
pub(crate) fn is_generated(name: &str) -> Result<bool> {
    if Kind::ALL.iter().any(|(known, _)| *known == name) {
        return Ok(true);
    }
    if REAL.contains(&name) {
        return Ok(false);
    }
    let generated = Kind::ALL.iter().map(|(name, _)| *name);
    let known: Vec<&str> = generated.chain(REAL).collect();
    let known = known.join(", ");
    Err(format!("there is no work named {name:?}; there are {known}, and --files").into())
}

impl Work {
    /// What it turned out to be.
    pub(crate) fn as_wanted(&self) -> Wanted {
        Wanted {
            name: self.name.clone(),
            bits: self.bits,
            rows: self.rows.rows(),
            queries: self.queries.rows(),
            seed: 0,
        }
    }

    /// Makes or reads the work; from the cache if it is there. `None` if its files are not here.
    pub(crate) fn load(wanted: &Wanted, places: &Places) -> Result<Option<Work>> {
        let Wanted { name, .. } = wanted;
        match Kind::ALL.iter().find(|(known, _)| known == name) {
            Some((_, kind)) => Work::generate(wanted, *kind, places).map(Some),
            None if name == GROWN => Work::grown(wanted, places),
            None => Work::real(wanted, places),
        }
    }

    /// Real codes, grown; `None` if they are not here.
    fn grown(wanted: &Wanted, places: &Places) -> Result<Option<Work>> {
        let base = Wanted {
            name: "pdq".to_owned(),
            ..wanted.clone()
        };
        let Some(Work {
            rows: base, bits, ..
        }) = Work::real(&base, places)?
        else {
            return Ok(None);
        };
        let Wanted {
            name,
            rows,
            queries,
            seed,
            ..
        } = wanted;
        // Without a number, ten times as many.
        let rows = if *rows == usize::MAX {
            10 * base.rows()
        } else {
            *rows
        };
        let stem = format!("{name}-{rows}-seed{seed}-v{}", generate::VERSION);
        let file = places.cache.join(format!("{stem}.npy"));
        if !file.exists() {
            generate::grow(&base, bits, rows, *seed, &file)?;
        }
        let rows = Codes::open(&file)?;
        let file = places.cache.join(format!("{stem}-queries{queries}.npy"));
        if !file.exists() {
            Kind::Planted.queries(bits, *queries, *seed, &rows, &file)?;
        }
        Work::of(name.clone(), bits, rows, Codes::open(&file)?).map(Some)
    }

    fn generate(wanted: &Wanted, kind: Kind, places: &Places) -> Result<Work> {
        let Wanted {
            name,
            bits,
            rows,
            queries,
            seed,
        } = wanted;
        let stem = format!("{name}-{bits}x{rows}-seed{seed}-v{}", generate::VERSION);
        let file = places.cache.join(format!("{stem}.npy"));
        if !file.exists() {
            kind.rows(*bits, *rows, *seed, &file)?;
        }
        let rows = Codes::open(&file)?;
        let file = places.cache.join(format!("{stem}-queries{queries}.npy"));
        if !file.exists() {
            kind.queries(*bits, *queries, *seed, &rows, &file)?;
        }
        Work::of(name.clone(), *bits, rows, Codes::open(&file)?)
    }

    /// Real codes. They have their own width, and as many rows as there are.
    fn real(wanted: &Wanted, places: &Places) -> Result<Option<Work>> {
        let Wanted { name, queries, .. } = wanted;
        let (folder, form, own_queries) = match name.as_str() {
            "orb" => (
                "codes_orb/dev_db_256.bin",
                Form::Raw(32),
                Some("codes_orb/dev_q_256.bin"),
            ),
            "pdq" => ("codes_pdq/vpdq_256.bin", Form::Raw(32), None),
            _ => (
                "codes_ecfp4_muv/muv_ecfp4_1024.bin.gz",
                Form::Gzip(128),
                None,
            ),
        };
        let source = places.data.join(folder);
        if !source.exists() {
            return Ok(None);
        }
        let rows_file = places.cache.join(format!("{name}.npy"));
        let queries_file = places.cache.join(format!("{name}-queries{queries}.npy"));
        if !rows_file.exists() || !queries_file.exists() {
            let (bytes, row_bytes) = codes::read_rows(&source, form)?;
            let all: Vec<&[u8]> = bytes.chunks_exact(row_bytes).collect();
            let asked;
            let (rows, asked): (Vec<&[u8]>, Vec<&[u8]>) = match own_queries {
                Some(file) => {
                    asked = codes::read_rows(&places.data.join(file), form)?.0;
                    (all, asked.chunks_exact(row_bytes).collect())
                }
                None => {
                    let split = |held: bool| {
                        let rows = all.iter().enumerate();
                        let rows = rows.filter(move |(at, _)| (at % HELD_OUT == 0) == held);
                        rows.map(|(_, row)| *row).collect()
                    };
                    (split(false), split(true))
                }
            };
            // Spread over all, not the first ones, which resemble each other.
            let step = (asked.len() / queries.max(&1)).max(1);
            let asked: Vec<&[u8]> = asked.into_iter().step_by(step).take(*queries).collect();
            codes::write_rows(&rows_file, row_bytes, rows.into_iter())?;
            codes::write_rows(&queries_file, row_bytes, asked.into_iter())?;
        }
        let rows = Codes::open(&rows_file)?;
        let bits = 8 * rows.row_bytes() as u32;
        Work::of(name.clone(), bits, rows, Codes::open(&queries_file)?).map(Some)
    }

    /// A user's own files: `.npy` or `.u8bin`, or else raw rows of `row_bytes`.
    pub(crate) fn files(
        rows: &Path,
        queries: &Path,
        row_bytes: Option<usize>,
        places: &Places,
    ) -> Result<Work> {
        let name = rows.file_stem().unwrap_or_default().to_string_lossy();
        let rows = open(rows, row_bytes, places)?;
        let bits = 8 * rows.row_bytes() as u32;
        Work::of(
            name.into_owned(),
            bits,
            rows,
            open(queries, row_bytes, places)?,
        )
    }

    pub(crate) fn of(name: String, bits: u32, rows: Codes, queries: Codes) -> Result<Work> {
        if rows.row_bytes() != queries.row_bytes() {
            return Err(format!(
                "{} has codes of {} bytes, {} of {}: they must be of one width",
                rows.path().display(),
                rows.row_bytes(),
                queries.path().display(),
                queries.row_bytes()
            )
            .into());
        }
        for codes in [&rows, &queries] {
            if codes.rows() == 0 {
                return Err(format!("{} has no rows", codes.path().display()).into());
            }
        }
        let mut hash = Xxh3::new();
        for codes in [&rows, &queries] {
            hash.update(&(codes.rows() as u64).to_le_bytes());
            hash.update(codes.bytes());
        }
        Ok(Work {
            name,
            bits,
            rows,
            queries,
            data: format!("{:032x}", hash.digest128()),
        })
    }
}

fn open(path: &Path, row_bytes: Option<usize>, places: &Places) -> Result<Codes> {
    let form = match (path.extension().and_then(|e| e.to_str()), row_bytes) {
        (Some("npy"), _) => return Codes::open(path),
        (Some("u8bin"), _) => Form::U8bin,
        (_, Some(row_bytes)) => Form::Raw(row_bytes),
        (_, None) => {
            let what = "is neither .npy nor .u8bin: say --row-bytes N for raw rows";
            return Err(format!("{} {what}", path.display()).into());
        }
    };
    let (bytes, row_bytes) = codes::read_rows(path, form)?;
    let file = places
        .cache
        .join(format!("file-{:032x}-{row_bytes}.npy", xxh3_128(&bytes)));
    if !file.exists() {
        codes::write_rows(&file, row_bytes, bytes.chunks_exact(row_bytes))?;
    }
    Codes::open(&file)
}
