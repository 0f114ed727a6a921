//! `bitkin-train speed`: how fast a model encodes, and what takes its time.

use std::path::PathBuf;

use bitkin::encoder::Encoder;
use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::device::DeviceChoice;
use bitkin_encoder::encoder::TorchEncoder;
use bitkin_encoder::speed::measure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The model (.safetensors)
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Pictures to encode: a folder or FILE.tar:FOLDER
    #[arg(long, value_name = "SOURCE")]
    images: String,
    /// Pictures, at most
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Rounds, of which the best counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure on the CPU, even where there is a GPU
    #[arg(long)]
    cpu: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    let file = ModelFile::read(&arguments.model)?;
    let device = match arguments.cpu {
        true => DeviceChoice::Cpu,
        false => DeviceChoice::Auto,
    };
    let encoder = TorchEncoder::load(&file, device)?;
    let folder = tempfile::tempdir().map_err(|source| Error::Io {
        path: std::env::temp_dir().display().to_string(),
        source,
    })?;
    let speed = measure(
        &file,
        &encoder,
        &arguments.images,
        arguments.limit as usize,
        arguments.rounds,
        folder.path(),
    )?;
    if arguments.json {
        println!("{}", serde_json::json!(speed));
        return Ok(());
    }
    let arithmetic = encoder.arithmetic().name();
    println!(
        "{} pictures, {}, {arithmetic}",
        speed.pictures,
        encoder.device()
    );
    for (what, rate) in [
        ("decode and resize", speed.decode_per_second),
        ("backbone", speed.forward_per_second),
        ("features to codes", speed.head_per_second),
        ("ingest, all in", speed.ingest_per_second),
    ] {
        println!("{what:<20} {rate:>10.0} a second");
    }
    println!(
        "ingest is {:.1} % of what decoding and backbone allow",
        100.0 * speed.ingest_share
    );
    println!("{:<20} {:>10} {:>10}", "one thread", "ms", "of features");
    for step in &speed.steps {
        let share = 100.0 * step.of_features;
        println!(
            "{:<20} {:>10.3} {share:>8.2} %",
            step.name, step.milliseconds
        );
    }
    Ok(())
}
