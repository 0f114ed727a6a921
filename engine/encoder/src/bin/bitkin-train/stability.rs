//! `bitkin-train stability`: the codes of a model in other arithmetic and on other devices.

use std::path::PathBuf;

use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::health::MARGIN;
use bitkin_encoder::stability::compare;

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
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    let file = ModelFile::read(&arguments.model)?;
    let compared = compare(&file, &arguments.images, arguments.limit as usize)?;
    if arguments.json {
        for line in compared {
            println!("{}", serde_json::json!(line));
        }
        return Ok(());
    }
    println!("beside f32 on the CPU; latents within {MARGIN} of zero are counted");
    println!(
        "{:<6} {:<10} {:>9} {:>12} {:>12} {:>14} {:>14}",
        "", "", "pictures", "equal bits", "equal codes", "largest |z'|", "within margin"
    );
    for row in compared {
        println!(
            "{:<6} {:<10} {:>9} {:>10.4} % {:>10.3} % {:>14.6} {:>12.4} %",
            row.arithmetic,
            row.device,
            row.pictures,
            100.0 * row.bits_equal,
            100.0 * row.codes_equal,
            row.largest,
            100.0 * row.within_margin
        );
    }
    Ok(())
}
