//! Pictures one at a time, from memory.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;

use sha2::{Digest, Sha256};

use super::pipeline::{Content, Item, ReadOptions, read_pictures};
use super::{Sources, described, prepare};
use crate::collection::Collection;
use crate::encoder::{Device, Encoder, EncoderLibrary, Prepared};
use crate::error::Error;
use crate::image::{ImageError, Limits};
use crate::search::Search;

impl Collection {
    /// Refuses an encoder that does not make this collection's codes.
    ///
    /// # Errors
    /// [`Error::NoModel`] or [`Error::ModelMismatch`].
    pub fn check_encoder(&self, encoder: &dyn Encoder) -> Result<(), Error> {
        let collection = || self.name().to_owned();
        let Some(expected) = self.model() else {
            return Err(Error::NoModel {
                collection: collection(),
            });
        };
        let found = encoder.fingerprint();
        if found != expected {
            return Err(Error::ModelMismatch {
                collection: collection(),
                expected,
                found,
            });
        }
        if encoder.bits() != self.bits() {
            let (expected, found) = (self.bits(), encoder.bits());
            let reason = format!("its model makes {found} bits, it has {expected}");
            return Err(Error::Damaged {
                collection: collection(),
                reason,
            });
        }
        Ok(())
    }

    /// Opens what makes the codes of this collection's pictures: the encoder that is built in, or its model in
    /// the encoder library, found as [`EncoderLibrary::locate`] says.
    ///
    /// # Errors
    /// [`Error::NoModel`], [`Error::EncoderLibrary`], and what is wrong with the database's copy of the model.
    pub fn open_encoder(
        &self,
        folders: &[&Path],
        device: Device,
    ) -> Result<Arc<dyn Encoder>, Error> {
        if let Some(encoder) = self.built_in_encoder() {
            return Ok(Arc::new(encoder));
        }
        let model = self.model_file()?;
        let encoder = EncoderLibrary::find(folders)?.open(&model, device)?;
        Ok(Arc::new(encoder))
    }

    /// The code of a picture: `ceil(bits / 8)` bytes. `file` holds the bytes of a picture file.
    ///
    /// # Errors
    /// As [`Collection::check_encoder`], [`Error::Image`] and [`Error::Encode`].
    pub fn encode_image(&self, encoder: &dyn Encoder, file: &[u8]) -> Result<Vec<u8>, Error> {
        self.encode_images(encoder, &[file])
    }

    /// The codes of pictures, row-major.
    ///
    /// # Errors
    /// As [`Collection::encode_image`], for the first picture that cannot be used.
    pub fn encode_images(&self, encoder: &dyn Encoder, files: &[&[u8]]) -> Result<Vec<u8>, Error> {
        Ok(self.encode_judged(encoder, files)?.0)
    }

    /// The codes of all pictures of `sources`, row-major, in their order. Files that are no pictures by their names
    /// are passed over. `progress` is told how many were read, and may end it.
    ///
    /// # Errors
    /// As [`Collection::check_encoder`], [`Error::Picture`] for the first picture that cannot be used,
    /// [`Error::Encode`], [`Error::Io`] for a source that cannot be read, and [`Error::Stopped`] when `progress` ended
    /// it.
    pub fn encode_sources(
        &self,
        encoder: &dyn Encoder,
        sources: &Sources,
        mut progress: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Vec<u8>, Error> {
        self.check_encoder(encoder)?;
        let batch = encoder.preferred_batch().max(1);
        let options = ReadOptions {
            encoder,
            limits: Limits::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ahead: 2 * batch,
        };
        let (mut codes, mut prepared, mut waiting, mut read) = (Vec::new(), Vec::new(), 0, 0);
        let encode = |prepared: &mut Vec<u8>, waiting: &mut usize, codes: &mut Vec<u8>| {
            let start = codes.len();
            codes.resize(start + *waiting * self.code_bytes(), 0);
            encoder.encode(prepared, &mut codes[start..])?;
            prepared.clear();
            *waiting = 0;
            Ok::<(), Error>(())
        };
        read_pictures(sources, &options, &HashSet::new(), |item| {
            match item {
                Item::Picture {
                    source,
                    content: Content::Bad(reason),
                    ..
                } => {
                    return Err(Error::Picture {
                        source_name: source,
                        reason,
                    });
                }
                Item::Picture {
                    content: Content::Prepared(picture),
                    ..
                } => {
                    prepared.extend(picture.bytes);
                    waiting += 1;
                    if waiting == batch {
                        encode(&mut prepared, &mut waiting, &mut codes)?;
                    }
                    read += 1;
                    if progress(read).is_break() {
                        return Err(Error::Stopped);
                    }
                }
                Item::Picture { .. } | Item::Ignored { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if waiting > 0 {
            encode(&mut prepared, &mut waiting, &mut codes)?;
        }
        Ok(codes)
    }

    /// The codes of pictures, and their qualities where the encoder judges them.
    fn encode_judged(
        &self,
        encoder: &dyn Encoder,
        files: &[&[u8]],
    ) -> Result<(Vec<u8>, Vec<Option<u8>>), Error> {
        self.check_encoder(encoder)?;
        let mut codes = vec![0; files.len() * self.code_bytes()];
        let mut qualities = Vec::with_capacity(files.len());
        let batch = encoder.preferred_batch().max(1);
        let chunks = codes.chunks_mut(batch * self.code_bytes());
        for (files, codes) in files.chunks(batch).zip(chunks) {
            let mut batch = Vec::with_capacity(files.len() * encoder.prepared_bytes());
            for prepared in prepare_all(encoder, files) {
                let prepared = prepared?;
                batch.extend(prepared.bytes);
                qualities.push(prepared.quality);
            }
            encoder.encode(&batch, codes)?;
        }
        Ok((codes, qualities))
    }

    /// Inserts one picture and returns its id; as [`Collection::insert_images`].
    ///
    /// # Errors
    /// As [`Collection::insert_images`].
    pub fn insert_image(
        &self,
        encoder: &dyn Encoder,
        id: Option<u64>,
        file: &[u8],
        payload: Option<&str>,
    ) -> Result<u64, Error> {
        let ids = id.as_ref().map(std::slice::from_ref);
        let inserted = self.insert_images(encoder, ids, &[file], &[payload])?;
        inserted.first().copied().ok_or(Error::Closed)
    }

    /// Inserts pictures, all or none, and returns their ids.
    ///
    /// * `ids`: one a picture; `None` assigns those that follow the largest one.
    /// * `files`: the bytes of picture files.
    /// * `payloads`: JSON objects, one a picture, or empty for none. The `sha256` of the file is
    ///   added to each, and its `quality` where the encoder judges it. Content that is known already is
    ///   inserted all the same.
    ///
    /// # Errors
    /// As [`Collection::encode_image`] and [`Collection::insert_with_payloads`].
    pub fn insert_images(
        &self,
        encoder: &dyn Encoder,
        ids: Option<&[u64]>,
        files: &[&[u8]],
        payloads: &[Option<&str>],
    ) -> Result<Vec<u64>, Error> {
        // Before the work, not after it.
        for (row, payload) in payloads.iter().enumerate() {
            described(row, *payload, "", None)?;
        }
        let (codes, qualities) = self.encode_judged(encoder, files)?;
        // As many as there are more of: if the numbers differ, inserting says so.
        let rows = files.len().max(payloads.len());
        let payloads = (0..rows).map(|row| {
            let given = payloads.get(row).copied().flatten();
            let hash = crate::database::hex(&Sha256::digest(files.get(row).unwrap_or(&&[][..])));
            described(row, given, &hash, qualities.get(row).copied().flatten())
        });
        let payloads: Vec<String> = payloads.collect::<Result<_, Error>>()?;
        let payloads: Vec<Option<&str>> = payloads.iter().map(|p| Some(p.as_str())).collect();
        self.insert_with_payloads(ids, &codes, &payloads)
    }

    /// Searches for the pictures nearest to one. `file` holds the bytes of a picture file.
    ///
    /// # Errors
    /// As [`Collection::encode_image`].
    pub fn search_image(
        &self,
        encoder: &dyn Encoder,
        file: &[u8],
    ) -> Result<Search<'static>, Error> {
        let code = self.encode_image(encoder, file)?;
        Ok(Search::new(self.snapshot(), Cow::Owned(code)))
    }
}

/// Decodes pictures on all cores; in order.
fn prepare_all(encoder: &dyn Encoder, files: &[&[u8]]) -> Vec<Result<Prepared, ImageError>> {
    let limits = &Limits::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(threads).max(1);
    let mut shares = files.chunks(share);
    let here = shares.next().unwrap_or(&[]);
    let all = move |files: &[&[u8]]| -> Vec<_> {
        let prepared = files.iter().map(|file| prepare(encoder, file, limits));
        prepared.collect()
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|files| {
                let thread = Builder::new().spawn_scoped(scope, move || all(files));
                (files, thread.ok())
            })
            .collect();
        let mut prepared = all(here);
        for (files, other) in others {
            // What panics is caught on its thread; if that died all the same, or there was none, its share is
            // done here.
            let done = other.and_then(|thread| thread.join().ok());
            prepared.extend(done.unwrap_or_else(|| all(files)));
        }
        prepared
    })
}
