//! What the commands share: where pictures and backbones come from, and progress.

use std::path::{Path, PathBuf};

use bitkin::encoder::ImageInput;
use bitkin::model::ModelFile;
use bitkin_encoder::Error;
use bitkin_encoder::backbone::{self, Backbone};
use bitkin_encoder::dataset::Dataset;
use bitkin_encoder::device::{DeviceChoice, resolve};
use bitkin_encoder::features::{Extractor, Features};
use indicatif::{ProgressBar, ProgressStyle};

/// Options that choose a backbone and how pictures are shown to it.
#[derive(clap::Args)]
pub(crate) struct BackboneArguments {
    /// Backbone to use (.safetensors): one of ours, or a MobileNetV1; the shipped one if left out
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Side in pixels of the square that pictures are resized to; the backbone's own if left out
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(8..=1024))]
    side: Option<u32>,
    /// Keep features in this file, and take those already there
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
}

/// A backbone ready to extract features.
pub(crate) struct Source {
    pub(crate) file: ModelFile,
    pub(crate) input: ImageInput,
    extractor: Extractor,
    cache: Option<PathBuf>,
    identity: String,
}

impl BackboneArguments {
    pub(crate) fn open(&self) -> Result<Source, Error> {
        let file = match &self.weights {
            Some(path) => backbone::read_file(path)
                .map_err(|e| Error::Data(format!("{}: {e}", path.display())))?,
            None => backbone::shipped()?,
        };
        // Features are always taken on the CPU here, so that a model does not depend on whether
        // a GPU was at hand when it was trained.
        let device = resolve(DeviceChoice::Cpu).ok_or(Error::Device)?;
        let backbone = Backbone::load(&file, device)?;
        let input = self
            .side
            .map_or(backbone.input(), |side| ImageInput::stretch(side, side));
        let fingerprint = file
            .backbone_fingerprint()
            .map(|f| f.to_string())
            .unwrap_or_default();
        let identity = format!("{fingerprint} {}", serde_json::json!(input));
        let mut extractor = Extractor::new(backbone, input);
        if let Some(path) = &self.cache {
            extractor.load(path, &identity)?;
        }
        Ok(Source {
            file,
            input,
            extractor,
            cache: self.cache.clone(),
            identity,
        })
    }

    /// A short name of the backbone for tables.
    pub(crate) fn name(&self) -> String {
        let stem = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned());
        self.weights
            .as_deref()
            .and_then(stem)
            .unwrap_or_else(|| "compact".into())
    }
}

impl Source {
    pub(crate) fn features(&mut self, what: &str, set: &Dataset) -> Result<Features, Error> {
        let bar = progress_bar(what);
        let before = self.extractor.known();
        let features = self.extractor.extract(set, |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        // The whole file is written anew: only when there is something to add.
        if let Some(path) = &self.cache
            && self.extractor.known() > before
        {
            self.extractor.save(path, &self.identity)?;
        }
        Ok(features)
    }
}

/// A progress bar on standard error; drawn only when that is a terminal.
pub(crate) fn progress_bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{prefix} {wide_bar} {pos}/{len} {per_sec} {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_string());
    bar
}
