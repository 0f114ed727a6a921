//! Labelled pictures on disk: where training and evaluation take theirs from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bitkin::encoder::ImageInput;
use bitkin::image::{Limits, decode_for, fit, has_picture_name};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::Error;

/// One picture file, alone or inside a tar archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Picture {
    /// The file, or the archive that holds it.
    pub path: PathBuf,
    /// Where the file's bytes lie in an archive: (offset, length).
    pub member: Option<(u64, u64)>,
    /// Name of its class.
    pub label: String,
}

impl Picture {
    /// The bytes of the picture file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let io = |source| Error::Io {
            path: self.path.display().to_string(),
            source,
        };
        let mut file = File::open(&self.path).map_err(io)?;
        let mut bytes = Vec::new();
        match self.member {
            None => file.read_to_end(&mut bytes).map_err(io)?,
            Some((offset, length)) => {
                file.seek(SeekFrom::Start(offset)).map_err(io)?;
                file.take(length).read_to_end(&mut bytes).map_err(io)?
            }
        };
        Ok(bytes)
    }

    /// The file's `bytes`, decoded and brought to the shape of `input`: `input.bytes()` bytes.
    ///
    /// # Errors
    /// [`Error::Picture`].
    pub fn pixels(&self, bytes: &[u8], input: &ImageInput) -> Result<Vec<u8>, Error> {
        decode_for(bytes, &Limits::default(), Some(input.least_side()))
            .and_then(|image| fit(&image, input))
            .map_err(|source| Error::Picture {
                path: self.path.display().to_string(),
                source,
            })
    }
}

/// A set of pictures in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// The pictures.
    pub pictures: Vec<Picture>,
}

fn label_of(path: &Path) -> Option<String> {
    Some(path.parent()?.file_name()?.to_str()?.to_string())
}

impl Dataset {
    /// Reads the names of a set, without the pictures: a directory (recursively; the name of a
    /// picture's folder is its class), `ARCHIVE.tar` or `ARCHIVE.tar:PREFIX` (the same, inside
    /// the archive, below the prefix), or a text file with lines `path<TAB>label`.
    ///
    /// # Errors
    /// [`Error::Io`] when something cannot be read, [`Error::Data`] when there is no picture in
    /// it or a line is not of that form.
    pub fn open(source: &str) -> Result<Dataset, Error> {
        let (path, prefix) = match source.split_once(".tar:") {
            Some((stem, prefix)) => (PathBuf::from(format!("{stem}.tar")), prefix),
            None => (PathBuf::from(source), ""),
        };
        let io = |source| Error::Io {
            path: path.display().to_string(),
            source,
        };
        let mut pictures = Vec::new();
        if path.is_dir() {
            walk(&path, &mut pictures)?;
        } else if path.extension().is_some_and(|e| e == "tar") {
            let mut archive = tar::Archive::new(File::open(&path).map_err(io)?);
            for entry in archive.entries_with_seek().map_err(io)? {
                let entry = entry.map_err(io)?;
                let name = entry.path().map_err(io)?.into_owned();
                if !entry.header().entry_type().is_file()
                    || !has_picture_name(&name)
                    || !name.strip_prefix("./").unwrap_or(&name).starts_with(prefix)
                {
                    continue;
                }
                pictures.push(Picture {
                    path: path.clone(),
                    member: Some((entry.raw_file_position(), entry.size())),
                    label: label_of(&name).unwrap_or_default(),
                });
            }
        } else {
            let text = std::fs::read_to_string(&path).map_err(io)?;
            for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty()) {
                let Some((file, label)) = line.rsplit_once('\t') else {
                    let line = number + 1;
                    let path = path.display();
                    return Err(Error::Data(format!("{path}:{line}: not `path<TAB>label`")));
                };
                let (path, label) = (PathBuf::from(file), label.to_string());
                pictures.push(Picture {
                    path,
                    member: None,
                    label,
                });
            }
        }
        if pictures.is_empty() {
            return Err(Error::Data(format!(
                "no pictures in {source}: give a folder with a folder for each class, a .tar of \
                 that, or a list of `path<TAB>label`"
            )));
        }
        Ok(Dataset { pictures })
    }

    /// Class names in order, and each picture's class number.
    pub fn classes(&self) -> (Vec<String>, Vec<u32>) {
        let numbers = self.numbers();
        let labels = self
            .pictures
            .iter()
            .map(|p| numbers[p.label.as_str()])
            .collect();
        (numbers.into_keys().map(str::to_string).collect(), labels)
    }

    fn numbers(&self) -> BTreeMap<&str, u32> {
        let names: std::collections::BTreeSet<&str> =
            self.pictures.iter().map(|p| p.label.as_str()).collect();
        names.into_iter().zip(0..).collect()
    }

    /// Parts the set at random into `per_class` pictures of each class, `count` others of
    /// whatever class, and the rest; the order within each is the set's own.
    ///
    /// # Errors
    /// [`Error::Data`] naming a class with fewer than `per_class` pictures, or when fewer than
    /// `count` others are left.
    pub fn draw(
        &self,
        per_class: usize,
        count: usize,
        seed: u64,
    ) -> Result<(Dataset, Dataset, Dataset), Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..self.pictures.len()).collect();
        order.shuffle(&mut rng);
        let mut taken: BTreeMap<&str, usize> = self
            .pictures
            .iter()
            .map(|p| (p.label.as_str(), 0))
            .collect();
        let (mut examples, mut others, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for i in order {
            let taken = taken.entry(self.pictures[i].label.as_str()).or_default();
            if *taken < per_class {
                *taken += 1;
                examples.push(i);
            } else if others.len() < count {
                others.push(i);
            } else {
                rest.push(i);
            }
        }
        if let Some((class, have)) = taken.iter().find(|(_, n)| **n < per_class) {
            return Err(Error::Data(format!(
                "class {class} has {have} pictures, fewer than the {per_class} examples asked for"
            )));
        }
        if others.len() < count || rest.is_empty() {
            return Err(Error::Data(format!(
                "{} pictures are too few for {} examples, {count} unlabelled ones and a database",
                self.pictures.len(),
                examples.len(),
            )));
        }
        let pick = |mut indices: Vec<usize>| {
            indices.sort_unstable();
            Dataset {
                pictures: indices
                    .into_iter()
                    .map(|i| self.pictures[i].clone())
                    .collect(),
            }
        };
        Ok((pick(examples), pick(others), pick(rest)))
    }
}

fn walk(dir: &Path, pictures: &mut Vec<Picture>) -> Result<(), Error> {
    let io = |source| Error::Io {
        path: dir.display().to_string(),
        source,
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        // Of the entry itself: a link to a folder could lead in circles.
        let is_folder = entry.file_type().map_err(io)?.is_dir();
        entries.push((entry.path(), is_folder));
    }
    entries.sort();
    for (path, is_folder) in entries {
        if is_folder {
            walk(&path, pictures)?;
        } else if has_picture_name(&path) && path.is_file() {
            let label = label_of(&path).unwrap_or_default();
            pictures.push(Picture {
                path,
                member: None,
                label,
            });
        }
    }
    Ok(())
}
