//! `bitkin-train eval`: the table of retrieval quality.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bitkin::metrics::mean;
use bitkin_encoder::Error;
use bitkin_encoder::dataset::{Dataset, Picture};
use bitkin_encoder::evaluate::{Measured, Split, TOPS, Wanted, measure, spearman};
use bitkin_encoder::features::Features;
use bitkin_encoder::train::hash::TrainingData;
use serde::Serialize;

use crate::common::{BackboneArguments, HashArguments, Source};
use crate::interrupt;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Pictures of the base classes: a folder of class folders, FILE.tar:FOLDER, or a text
    /// file with lines `path<TAB>label`
    #[arg(long, value_name = "SOURCE")]
    base: String,
    /// Pictures of the new classes to search among; examples and anchors are drawn from it and
    /// left out of it, unless --adapt gives them
    #[arg(long, value_name = "SOURCE")]
    database: String,
    /// Pictures of the new classes to search for
    #[arg(long, value_name = "SOURCE")]
    queries: String,
    /// The labelled examples, instead of drawing --shots of each class
    #[arg(long, value_name = "SOURCE")]
    adapt: Option<String>,
    /// The unlabelled anchors that go with --adapt
    #[arg(long, value_name = "SOURCE", requires = "adapt")]
    unlabelled: Option<String>,
    #[command(flatten)]
    backbone: BackboneArguments,
    /// Widths of the codes in bits
    #[arg(long, value_delimiter = ',', default_value = "16,64",
          value_parser = clap::value_parser!(u32).range(8..=65_536))]
    bits: Vec<u32>,
    /// Labelled examples drawn of each new class; several numbers are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "5")]
    shots: Vec<usize>,
    /// Unlabelled anchors drawn
    #[arg(long, default_value_t = 512)]
    anchors: usize,
    /// Repetitions with other seeds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Only these methods: float-centred, float-cosine, float-l2, float-whitened, float-diffused, float-lda,
    /// lsh, itq, pp, scdm, pp-scdm, pp-scdm-adapted, pp-scdm-latent
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    methods: Vec<String>,
    /// Numbers of prior prototypes, one a base class, with which PP + SCDM is measured too
    #[arg(long, value_delimiter = ',', value_name = "N")]
    prototypes: Vec<usize>,
    /// Print what is nearest to so many queries too, with --format json; of the first seed
    #[arg(long, default_value_t = 0, value_name = "N")]
    show: usize,
    #[command(flatten)]
    hash: HashArguments,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// One row of the result: a method at a width, over all seeds.
#[derive(Serialize)]
struct Row {
    method: &'static str,
    backbone: String,
    /// Whether the backbone may have been trained on the new classes.
    leaky: bool,
    bits: Option<usize>,
    /// Prior prototypes, where their number is what is looked at.
    prototypes: Option<usize>,
    shots: usize,
    seeds: usize,
    map_mean: f64,
    /// Half the width of the 95 % interval over seeds, Student's t; none for one seed.
    map_ci95: Option<f64>,
    /// Of each seed, in order.
    maps: Vec<f64>,
    /// Means over seeds of what else is measured.
    map_at_100: f64,
    /// Number of nearest rows, and their precision.
    precision: Vec<(usize, f64)>,
    precision_within_2: Option<f64>,
    training_seconds: Option<f64>,
}

impl Row {
    /// The rows of one place in every seed's measurements.
    fn of(runs: &[Vec<Measured>], place: usize, like: Like<'_>) -> Row {
        let rows: Vec<&Measured> = runs.iter().map(|run| &run[place]).collect();
        let over = |value: &dyn Fn(&Measured) -> f64| mean(rows.iter().map(|row| value(row)));
        let over_some = |value: &dyn Fn(&Measured) -> Option<f64>| {
            let values: Option<Vec<f64>> = rows.iter().map(|row| value(row)).collect();
            values.map(mean)
        };
        let maps: Vec<f64> = rows.iter().map(|row| row.quality.map).collect();
        let (map_mean, map_ci95) = interval(&maps);
        let tops = TOPS.iter().enumerate();
        Row {
            method: rows[0].method,
            backbone: like.backbone.to_owned(),
            leaky: like.leaky,
            bits: rows[0].bits,
            prototypes: rows[0].prototypes,
            shots: like.shots,
            seeds: maps.len(),
            map_mean,
            map_ci95,
            maps,
            map_at_100: over(&|row| row.quality.map_at_100),
            precision: tops
                .map(|(i, &top)| (top, over(&|row| row.quality.precision[i])))
                .collect(),
            precision_within_2: over_some(&|row| row.quality.precision_within_2),
            training_seconds: over_some(&|row| row.training_seconds),
        }
    }
}

/// What all rows of a table share.
#[derive(Clone, Copy)]
struct Like<'a> {
    backbone: &'a str,
    leaky: bool,
    shots: usize,
}

/// Whether more prototypes retrieve better, at one width.
#[derive(Serialize)]
struct Study {
    study: &'static str,
    backbone: String,
    leaky: bool,
    bits: usize,
    shots: usize,
    seeds: usize,
    /// Spearman's rank correlation of number of prototypes and mAP: mean over seeds, half the width of its 95 %
    /// interval, and the lower bound.
    spearman_mean: f64,
    spearman_ci95: Option<f64>,
    spearman_lower: Option<f64>,
    /// Number of prototypes, and what its mean mAP is of that with the most.
    share_of_most: Vec<(usize, f64)>,
}

impl Study {
    /// Of the rows of one width that have a number of prototypes; none of fewer than three numbers.
    fn of(rows: &[Row], bits: usize, like: Like<'_>) -> Option<Study> {
        let points: Vec<(usize, &Row)> = rows
            .iter()
            .filter(|row| row.bits == Some(bits))
            .filter_map(|row| Some((row.prototypes?, row)))
            .collect();
        let most = points.iter().max_by_key(|(count, _)| *count)?.1.map_mean;
        let seeds = points[0].1.seeds;
        let of_seed = |seed: usize| {
            let pairs = points.iter();
            let pairs: Vec<(f64, f64)> = pairs
                .map(|(count, row)| (*count as f64, row.maps[seed]))
                .collect();
            spearman(&pairs)
        };
        let correlations: Option<Vec<f64>> = (0..seeds).map(of_seed).collect();
        let (spearman_mean, spearman_ci95) = interval(&correlations.filter(|_| points.len() > 2)?);
        Some(Study {
            study: "prototypes",
            backbone: like.backbone.to_owned(),
            leaky: like.leaky,
            bits,
            shots: like.shots,
            seeds,
            spearman_mean,
            spearman_ci95,
            spearman_lower: spearman_ci95.map(|half| spearman_mean - half),
            share_of_most: points
                .iter()
                .map(|(count, row)| (*count, row.map_mean / most))
                .collect(),
        })
    }
}

/// A query and what is nearest to it by codes.
#[derive(Serialize)]
struct Shown {
    shown: &'static str,
    bits: Option<usize>,
    shots: usize,
    query: Place,
    nearest: Vec<Near>,
}

#[derive(Serialize)]
struct Near {
    #[serde(flatten)]
    place: Place,
    distance: u32,
}

/// A picture: its file, where in it (of an archive: offset and length), and its class.
#[derive(Serialize)]
struct Place {
    path: PathBuf,
    member: Option<(u64, u64)>,
    label: String,
}

impl Place {
    fn of(picture: &Picture) -> Place {
        Place {
            path: picture.path.clone(),
            member: picture.member,
            label: picture.label.clone(),
        }
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    if arguments.show > 0 && arguments.format == Format::Table {
        return Err(Error::Data("--show: goes with --format json".into()));
    }
    let mut source = arguments.backbone.open()?;
    let base = source.features("base pictures", &Dataset::open(&arguments.base)?)?;
    let pool = Dataset::open(&arguments.database)?;
    let query_set = Dataset::open(&arguments.queries)?;
    if pool.classes().0 != query_set.classes().0 {
        return Err(Error::Data(
            "the database and the queries have different classes".into(),
        ));
    }
    let queries = source.features("queries", &query_set)?;
    let bits: Vec<usize> = arguments.bits.iter().map(|&b| b as usize).collect();
    let shown = spread(&query_set, arguments.show);
    let mut searched = pool.clone();
    let given = match &arguments.adapt {
        None => None,
        Some(adapt) => {
            let unlabelled = arguments.unlabelled.as_deref().map(Dataset::open);
            let unlabelled = unlabelled.transpose()?.unwrap_or_default();
            let sets = (Dataset::open(adapt)?, unlabelled, pool.clone());
            Some(Parts::of(&mut source, sets)?)
        }
    };
    let all_shots = match &given {
        Some(parts) => vec![parts.shots],
        None => arguments.shots.clone(),
    };
    for shots in all_shots {
        let mut runs = Vec::new();
        for seed in (0..arguments.seeds).map(|i| arguments.seed.wrapping_add(i)) {
            let drawn;
            let parts = match &given {
                Some(parts) => parts,
                None => {
                    let sets = pool.draw(shots, arguments.anchors, seed).map_err(|e| {
                        Error::Data(format!("{e} (--shots and --anchors ask for fewer)"))
                    })?;
                    if seed == arguments.seed {
                        searched = sets.2.clone();
                    }
                    drawn = Parts::of(&mut source, sets)?;
                    &drawn
                }
            };
            let training = TrainingData {
                base: &base,
                adapt: &parts.adapt,
                unlabelled: &parts.unlabelled,
            };
            let split = Split {
                training,
                database: &parts.database,
                queries: &queries,
            };
            let wanted = Wanted {
                methods: arguments.methods.clone(),
                bits: bits.clone(),
                prototypes: arguments.prototypes.clone(),
                shown: match seed == arguments.seed {
                    true => shown.clone(),
                    false => Vec::new(),
                },
                options: arguments
                    .hash
                    .options(bits.first().copied().unwrap_or(64), seed),
            };
            runs.push(measure(split, &wanted)?);
            eprintln!("{shots} shots, seed {seed} done");
            if interrupt::asked().is_break() {
                return Err(Error::Stopped);
            }
        }
        let like = Like {
            backbone: &arguments.backbone.name(),
            leaky: source.is_leaky(),
            shots,
        };
        let places = 0..runs.first().map_or(0, Vec::len);
        let rows: Vec<Row> = places.map(|place| Row::of(&runs, place, like)).collect();
        let studies = bits.iter().filter_map(|&bits| Study::of(&rows, bits, like));
        print(&rows, &studies.collect::<Vec<_>>(), arguments.format);
        for measured in runs.iter().flatten().filter(|m| !m.shown.is_empty()) {
            print_shown(measured, shots, &query_set, &shown, &searched);
        }
    }
    Ok(())
}

/// Prints what was found for each of the queries shown, as JSON.
fn print_shown(
    measured: &Measured,
    shots: usize,
    queries: &Dataset,
    places: &[usize],
    database: &Dataset,
) {
    for (&place, found) in places.iter().zip(&measured.shown) {
        let nearest = found.iter().map(|found| Near {
            place: Place::of(&database.pictures[found.row]),
            distance: found.distance,
        });
        let shown = Shown {
            shown: measured.method,
            bits: measured.bits,
            shots,
            query: Place::of(&queries.pictures[place]),
            nearest: nearest.collect(),
        };
        println!("{}", serde_json::json!(shown));
    }
}

/// Places of so many pictures, spread over the classes.
fn spread(set: &Dataset, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..set.pictures.len()).collect();
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    // The first of each class, then the second of each, ...
    order.sort_by_cached_key(|&place| {
        let met = met.entry(set.pictures[place].label.as_str()).or_default();
        *met += 1;
        (*met, place)
    });
    order.truncate(count);
    order
}

/// The pictures of the new classes, but for the queries.
struct Parts {
    shots: usize,
    adapt: Features,
    unlabelled: Features,
    database: Features,
}

impl Parts {
    fn of(
        source: &mut Source,
        (adapt, unlabelled, database): (Dataset, Dataset, Dataset),
    ) -> Result<Parts, Error> {
        Ok(Parts {
            shots: adapt.pictures.len() / adapt.classes().0.len().max(1),
            adapt: source.features("examples", &adapt)?,
            unlabelled: source.features("anchors", &unlabelled)?,
            database: source.features("database", &database)?,
        })
    }
}

fn print(rows: &[Row], studies: &[Study], format: Format) {
    if format == Format::Json {
        for row in rows {
            println!("{}", serde_json::json!(row));
        }
        for study in studies {
            println!("{}", serde_json::json!(study));
        }
        return;
    }
    if let Some(row) = rows.first() {
        let leaky = if row.leaky { ", leaky" } else { "" };
        println!(
            "{} shots, {} seeds, {}{leaky}",
            row.shots, row.seeds, row.backbone
        );
    }
    println!(
        "{:<22} {:>5} {:>8} {:>10} {:>8} {:>8}",
        "method", "bits", "mAP", "± 95 %", "mAP@100", "P@10"
    );
    const TEN: usize = 2;
    for row in rows {
        let bits = row.bits.map_or("float".into(), |b| b.to_string());
        let interval = row.map_ci95.map_or("-".into(), |h| format!("{h:.4}"));
        let method = match row.prototypes {
            Some(count) => format!("{}, {count} prototypes", row.method),
            None => row.method.to_owned(),
        };
        println!(
            "{method:<22} {bits:>5} {:>8.4} {interval:>10} {:>8.4} {:>8.4}",
            row.map_mean, row.map_at_100, row.precision[TEN].1
        );
    }
    for study in studies {
        let lower = study.spearman_lower;
        let lower = lower.map_or("-".into(), |lower| format!("{lower:.2}"));
        let shares = study.share_of_most.iter();
        let shares: Vec<String> = shares
            .map(|(count, share)| format!("{count}: {share:.3}"))
            .collect();
        println!(
            "{} bits, more prototypes: Spearman {:.2} (lower 95 % bound {lower}); mAP in parts of that with \
             the most: {}",
            study.bits,
            study.spearman_mean,
            shares.join(", ")
        );
    }
}

/// Mean and half width of the 95 % interval by Student's t.
fn interval(values: &[f64]) -> (f64, Option<f64>) {
    const T: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return (mean, None);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let t = T.get(n - 2).copied().unwrap_or(1.96);
    (mean, Some(t * (variance / n as f64).sqrt()))
}
