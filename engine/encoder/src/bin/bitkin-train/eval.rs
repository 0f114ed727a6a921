//! `bitkin-train eval`: the table of retrieval quality.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bitkin_encoder::Error;
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::evaluate::{Pictures, Split, Store, Verdict, Wanted, is_asked, measure};
use bitkin_encoder::features::Features;
use bitkin_encoder::train::comae::ComaeTraining;
use bitkin_encoder::train::hash::{Prior, TrainingData};
use bitkin_encoder::train::kalahash::KalaHashTraining;
use bitkin_encoder::train::purple::PurpleTraining;
use bitkin_encoder::train::ugh::{Library, UghTraining};

use crate::common::{BackboneArguments, HashArguments, Source, progress_bar};
use crate::interrupt;
use crate::report::{Claimed, Gains, Like, Report, Row, Shown, Study};
use crate::train::ugh::hyper_trained;
use crate::train::{ClassFile, comae, kalahash, purple};

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
    /// lsh, itq, pp, scdm, pp-scdm, pp-scdm-adapted, pp-scdm-latent, ugh, ugh-sparse, ugh-similar, ugh-random,
    /// ugh-all; for searches by examples like, like-sparse, like-random, like-float; with --text kalahash,
    /// kalahash-uncalibrated, kalahash-no-text, kalahash-plain; and, which train the backbone and so must be named, with --attributes comae,
    /// comae-no-point, comae-no-pair, comae-no-class, and purple, purple-graph, purple-prototypes. `all` are all of
    /// them
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    methods: Vec<String>,
    /// Numbers of prior prototypes, one a base class, with which PP + SCDM is measured too
    #[arg(long, value_delimiter = ',', value_name = "N")]
    prototypes: Vec<usize>,
    /// Rounds of hyper-training of UGH's library, one library a seed; the paper has 2000
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: usize,
    /// Write all that is measured to a file too, one JSON object a line, and what is nearest to some queries
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Queries whose nearest pictures the report has, of the first seed
    #[arg(long, default_value_t = 34, value_name = "N", requires = "report")]
    show: usize,
    /// A vector for each new class, of its name or what else is known of it, for KALAHash: .npy, its rows in the
    /// order of the sorted names, or .csv with a header and the class first
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Attributes of each base class, for COMAE: a file as of --text
    #[arg(long, value_name = "FILE")]
    attributes: Option<PathBuf>,
    #[command(flatten)]
    hash: HashArguments,
    /// Options of KALAHash, as `train --method kalahash` has them: --kalahash "--epochs 100 --rank 4"
    #[arg(long, value_name = "OPTIONS", default_value = "", value_parser = kalahash::options,
          allow_hyphen_values = true)]
    kalahash: kalahash::Training,
    /// Options of COMAE, as `train --method comae` has them
    #[arg(long, value_name = "OPTIONS", default_value = "", value_parser = comae::options,
          allow_hyphen_values = true)]
    comae: ComaeTraining,
    /// Options of PURPLE, as `train --method purple` has them: --purple "--epochs 5 --pictures 5000"
    #[arg(long, value_name = "OPTIONS", default_value = "", value_parser = purple::options,
          allow_hyphen_values = true)]
    purple: PurpleTraining,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    let mut report = match &arguments.report {
        None => None,
        Some(path) => Some(Report::create(path)?),
    };
    let mut source = arguments.backbone.open()?;
    let base_set = Dataset::open(&arguments.base)?;
    let base = source.features("base pictures", &base_set)?;
    let prior = Prior::of(arguments.hash.options(64, 0).shrinkage, &base)?;
    let pool = Dataset::open(&arguments.database)?;
    let query_set = Dataset::open(&arguments.queries)?;
    if pool.classes().0 != query_set.classes().0 {
        return Err(Error::Data(
            "the database and the queries have different classes".into(),
        ));
    }
    let vectors = |path: &Option<PathBuf>, set: &Dataset| {
        let file = path.as_deref().map(|path| ClassFile { path, names: None });
        file.map(|file| file.of(set)).transpose()
    };
    let attributes = vectors(&arguments.attributes, &base_set)?;
    let text = vectors(&arguments.text, &pool)?;
    let queries = source.features("queries", &query_set)?;
    let bits: Vec<usize> = arguments.bits.iter().map(|&b| b as usize).collect();
    let shown = match report {
        None => Vec::new(),
        Some(_) => spread(&query_set, arguments.show),
    };
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
    let mut libraries = Libraries::new(&arguments, &base);
    let fewest = all_shots.iter().copied().min().unwrap_or(0);
    let store = Store::default();
    let mut gains = Gains::default();
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
            let without_labels = match &given {
                Some(parts) => parts.sets.1.clone(),
                None => pool.draw(fewest, arguments.anchors, seed)?.1,
            };
            let training = TrainingData {
                base: &base,
                adapt: &parts.adapt,
                unlabelled: &parts.unlabelled,
            };
            let bar = progress_bar("");
            let progress = |what: &str, done: f64| {
                bar.set_prefix(what.to_owned());
                bar.set_length(100);
                bar.set_position((100.0 * done) as u64);
                interrupt::asked()
            };
            let split = Split {
                training,
                database: &parts.database,
                queries: &queries,
                pictures: Some(Pictures {
                    extractor: &source.extractor,
                    backbone: &source.file,
                    base: &base_set,
                    adapt: &parts.sets.0,
                    unlabelled: &without_labels,
                    database: &parts.sets.2,
                    queries: &query_set,
                    store: &store,
                    progress: &progress,
                }),
            };
            let wanted = Wanted {
                methods: arguments.methods.clone(),
                bits: bits.clone(),
                prototypes: arguments.prototypes.clone(),
                text: text.clone(),
                attributes: attributes.clone(),
                kalahash: arguments
                    .kalahash
                    .over(KalaHashTraining::new(64, seed, shots)),
                comae: arguments.comae.clone(),
                shown: match seed == arguments.seed {
                    true => shown.clone(),
                    false => Vec::new(),
                },
                options: arguments
                    .hash
                    .options(bits.first().copied().unwrap_or(64), seed),
                library: libraries.of(seed)?,
                purple: arguments.purple.clone(),
            };
            runs.push(measure(split, &prior, &wanted)?);
            bar.finish_and_clear();
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
        let studies: Vec<Study> = studies.collect();
        let claims = bits
            .iter()
            .flat_map(|&bits| Claimed::all(&runs, bits, shots));
        let claims: Vec<Claimed> = claims.collect();
        bits.iter().for_each(|&bits| gains.add(&runs, bits, shots));
        print(&rows, &studies, arguments.format);
        print_claims(&claims, arguments.format);
        if let Some(report) = &mut report {
            report.add(&rows)?;
            report.add(&studies)?;
            report.add(&claims)?;
            for measured in runs.iter().flatten().filter(|m| !m.shown.is_empty()) {
                report.add(&Shown::of(measured, shots, &query_set, &shown, &searched))?;
            }
        }
    }
    let claims = gains.claims();
    print_claims(&claims, arguments.format);
    match report {
        None => Ok(()),
        Some(mut report) => {
            report.add(&claims)?;
            report.finish()
        }
    }
}

/// UGH's library of each seed, which serves all widths and numbers of shots: it is learned from the base pictures
/// alone.
struct Libraries<'a> {
    base: &'a Features,
    rounds: usize,
    /// Whether its rows are asked for, and by name.
    asked: bool,
    by_name: bool,
    known: BTreeMap<u64, Arc<Library>>,
}

impl<'a> Libraries<'a> {
    fn new(arguments: &Arguments, base: &'a Features) -> Libraries<'a> {
        const ROWS: [&str; 8] = [
            "ugh",
            "ugh-sparse",
            "ugh-similar",
            "ugh-random",
            "ugh-all",
            "like",
            "like-sparse",
            "like-random",
        ];
        let methods = &arguments.methods;
        Libraries {
            base,
            rounds: arguments.rounds,
            asked: ROWS.iter().any(|row| is_asked(methods, row)),
            by_name: methods.iter().any(|m| ROWS.contains(&m.as_str())),
            known: BTreeMap::new(),
        }
    }

    fn of(&mut self, seed: u64) -> Result<Option<Arc<Library>>, Error> {
        if !self.asked {
            return Ok(None);
        }
        if let Some(library) = self.known.get(&seed) {
            return Ok(Some(library.clone()));
        }
        let mut options = UghTraining::new(seed);
        options.rounds = self.rounds;
        match hyper_trained(&options, self.base, None) {
            Ok(library) => {
                let library = Arc::new(library);
                self.known.insert(seed, library.clone());
                Ok(Some(library))
            }
            // The other methods can be measured all the same.
            Err(Error::Data(what)) if !self.by_name => {
                eprintln!("UGH is left out: {what}");
                self.asked = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
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
    /// Examples, anchors and database.
    sets: (Dataset, Dataset, Dataset),
    adapt: Features,
    unlabelled: Features,
    database: Features,
}

impl Parts {
    fn of(source: &mut Source, sets: (Dataset, Dataset, Dataset)) -> Result<Parts, Error> {
        let (adapt, unlabelled, database) = &sets;
        Ok(Parts {
            shots: adapt.pictures.len() / adapt.classes().0.len().max(1),
            adapt: source.features("examples", adapt)?,
            unlabelled: source.features("anchors", unlabelled)?,
            database: source.features("database", database)?,
            sets,
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
        "{:<22} {:>5} {:>8} {:>10} {:>8} {:>8} {:>8}  learned from",
        "method", "bits", "mAP", "± 95 %", "mAP@100", "P@10", "training"
    );
    const TEN: usize = 2;
    for row in rows {
        let bits = row.bits.map_or("float".into(), |b| b.to_string());
        let interval = row.map_ci95.map_or("-".into(), |h| format!("{h:.4}"));
        let training = row
            .training_seconds
            .map_or("-".into(), |seconds| format!("{seconds:.1} s"));
        let method = match row.prototypes {
            Some(count) => format!("{}, {count} prototypes", row.method),
            None => row.method.to_owned(),
        };
        println!(
            "{method:<22} {bits:>5} {:>8.4} {interval:>10} {:>8.4} {:>8.4} {training:>8}  {}",
            row.map_mean, row.map_at_100, row.precision[TEN].1, row.supervision
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

fn print_claims(claims: &[Claimed], format: Format) {
    if format == Format::Json {
        for claim in claims {
            println!("{}", serde_json::json!(claim));
        }
        return;
    }
    if !claims.is_empty() {
        println!(
            "{:<44} {:>5} {:>9} {:>19}",
            "claimed", "bits", "mAP by", "95 %"
        );
    }
    for claimed in claims {
        let (low, high) = (claimed.difference.low, claimed.difference.high);
        let verdict = match claimed.verdict {
            Verdict::Held => "held",
            Verdict::Reversed => "not held: the other way round",
            Verdict::Undecided => "not held: undecided",
        };
        println!(
            "{:<44} {:>5} {:>+9.4} {:>19} {verdict}",
            format!("{} > {}", claimed.better, claimed.worse),
            claimed.bits,
            claimed.difference.mean,
            format!("{low:+.4} to {high:+.4}"),
        );
    }
}
