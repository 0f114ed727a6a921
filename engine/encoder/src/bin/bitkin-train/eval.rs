//! `bitkin-train eval`: the table of retrieval quality.

use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::evaluate::{Measured, Split, Wanted, measure};
use bitkin_encoder::features::Features;
use bitkin_encoder::train::hash::TrainingData;
use serde::Serialize;

use crate::common::{BackboneArguments, HashArguments, Source};

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
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
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
                options: arguments
                    .hash
                    .options(bits.first().copied().unwrap_or(64), seed),
            };
            runs.push(measure(split, &wanted)?);
            eprintln!("{shots} shots, seed {seed} done");
        }
        let rows: Vec<Row> = (0..runs.first().map_or(0, Vec::len))
            .map(|i| {
                let Measured {
                    method,
                    bits,
                    prototypes,
                    ..
                } = runs[0][i];
                let maps: Vec<f64> = runs.iter().map(|run| run[i].map).collect();
                let (map_mean, map_ci95) = interval(&maps);
                Row {
                    method,
                    backbone: arguments.backbone.name(),
                    leaky: source.is_leaky(),
                    bits,
                    prototypes,
                    shots,
                    seeds: maps.len(),
                    map_mean,
                    map_ci95,
                }
            })
            .collect();
        print(&rows, arguments.format);
    }
    Ok(())
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

fn print(rows: &[Row], format: Format) {
    if format == Format::Json {
        for row in rows {
            println!("{}", serde_json::json!(row));
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
        "{:<22} {:>5} {:>8} {:>10}",
        "method", "bits", "mAP", "± 95 %"
    );
    for row in rows {
        let bits = row.bits.map_or("float".into(), |b| b.to_string());
        let interval = row.map_ci95.map_or("-".into(), |h| format!("{h:.4}"));
        let method = match row.prototypes {
            Some(count) => format!("{}, {count} prototypes", row.method),
            None => row.method.to_owned(),
        };
        println!(
            "{method:<22} {bits:>5} {:>8.4} {interval:>10}",
            row.map_mean
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
