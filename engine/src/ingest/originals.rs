//! The pictures that rows came from, found again by their payloads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::source::{Found, Sources, read_file};
use super::{PicturePayload, content_hash};
use crate::image::{ImageError, Limits};

/// Finds the files of the pictures that rows came from: `found` gets the position of a payload and the bytes of
/// the file that it tells of, in any order.
///
/// A source is looked for as it was written down and, if it is relative, from `folder` on too. Rows that tell of no
/// picture are passed over, and so are files that are gone or hold something else by now. An archive is gone through
/// once, whatever the number of its pictures.
pub fn find_originals(
    payloads: &[Option<&str>],
    folder: &Path,
    found: &mut dyn FnMut(usize, Vec<u8>),
) {
    let mut archives: BTreeMap<PathBuf, BTreeMap<String, Vec<(usize, String)>>> = BTreeMap::new();
    for (row, payload) in payloads.iter().enumerate() {
        let payload: Option<PicturePayload> =
            payload.and_then(|payload| serde_json::from_str(payload).ok());
        let Some((source, sha256)) = payload.and_then(|p| Some((p.source?, p.sha256))) else {
            continue;
        };
        let places = [PathBuf::from(&source), folder.join(&source)];
        if let Some(path) = places.iter().find(|path| path.is_file()) {
            if let Some(bytes) = original(path, &sha256) {
                found(row, bytes);
            }
            continue;
        }
        // A member's name may hold ".tar:" itself: the first one that leaves an archive ends its path.
        let split = |place: &Path| {
            let text = place.to_str()?.to_owned();
            let ends = text.match_indices(".tar:").map(|(at, _)| at + 4);
            let mut ends = ends.filter(|&at| Path::new(&text[..at]).is_file());
            let at = ends.next()?;
            Some((PathBuf::from(&text[..at]), text[at + 1..].to_owned()))
        };
        if let Some((archive, member)) = places.iter().find_map(|place| split(place)) {
            let members = archives.entry(archive).or_default();
            members.entry(member).or_default().push((row, sha256));
        }
    }
    for (archive, mut members) in archives {
        let Ok(sources) = Sources::archive(&archive, members.keys().cloned().collect()) else {
            continue;
        };
        let prefix = format!("{}:", archive.to_string_lossy());
        // What cannot be read on is not found: whoever asks can do without.
        let _ = sources.read(Limits::default().max_file_bytes, &mut |file| {
            let Found::File(file) = file else {
                return Ok(());
            };
            let member = file.source.strip_prefix(&prefix).unwrap_or_default();
            if let (Some(rows), Ok(bytes)) = (members.remove(member), file.bytes) {
                let hash = crate::database::hex(&content_hash(&bytes));
                for (row, _) in rows.into_iter().filter(|(_, sha256)| *sha256 == hash) {
                    found(row, bytes.clone());
                }
            }
            Ok(())
        });
    }
}

/// The bytes of a file, if they are still those of this hash.
fn original(path: &Path, sha256: &str) -> Option<Vec<u8>> {
    let bytes = read_picture_file(path).ok()??.file;
    (crate::database::hex(&content_hash(&bytes)) == sha256).then_some(bytes)
}

/// A picture's file and the payload that tells of it: what [`Picture`](super::Picture) takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PictureFile {
    /// Its bytes.
    pub file: Vec<u8>,
    /// `source` and, if the folder has a name, `label`, as an ingest of the folder would give them.
    pub payload: String,
}

/// Reads a file that may be a picture, as an ingest of its folder would; `None` if it is none, by its name and by
/// its first bytes.
///
/// # Errors
/// [`ImageError`] when it cannot be read, or is larger than pictures may be.
pub fn read_picture_file(path: &Path) -> Result<Option<PictureFile>, ImageError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let label = super::source::folder_name(parent.unwrap_or(Path::new(".")));
    match read_file(path, label, false, Limits::default().max_file_bytes) {
        Found::Ignored(_) => Ok(None),
        Found::File(file) => {
            let mut payload = serde_json::Map::new();
            payload.insert("source".to_owned(), file.source.into());
            if let Some(label) = file.label {
                payload.insert("label".to_owned(), label.into());
            }
            Ok(Some(PictureFile {
                file: file.bytes?,
                payload: serde_json::Value::Object(payload).to_string(),
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn originals_are_found_in_folders_and_archives() {
        let dir = tempfile::tempdir().unwrap();
        let pictures: Vec<Vec<u8>> = (0..4_u8).map(|i| vec![b'P', b'6', i, 9]).collect();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write("in/a.ppm", &pictures[0]);
        write("in/changed.ppm", b"P6 something else");
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in [("x/b.ppm", &pictures[1]), ("x/odd.tar:c.ppm", &pictures[2])] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        write("all.tar", &archive.into_inner().unwrap());

        let payload = |source: &str, bytes: &[u8]| {
            let sha256 = crate::database::hex(&content_hash(bytes));
            serde_json::json!({"source": source, "sha256": sha256}).to_string()
        };
        let absolute = dir.path().join("in/a.ppm");
        let payloads = [
            Some(payload("in/a.ppm", &pictures[0])),
            Some(payload("all.tar:x/b.ppm", &pictures[1])),
            None,
            Some(payload("all.tar:x/odd.tar:c.ppm", &pictures[2])),
            Some(payload("in/changed.ppm", &pictures[3])),
            Some(payload("gone.ppm", &pictures[3])),
            Some(payload("all.tar:x/gone.ppm", &pictures[3])),
            Some(payload(absolute.to_str().unwrap(), &pictures[0])),
            Some("{\"source\": 7}".to_owned()),
            Some(payload("all.tar:x/b.ppm", &pictures[3])),
        ];
        let payloads: Vec<Option<&str>> = payloads.iter().map(Option::as_deref).collect();
        let mut got = Vec::new();
        find_originals(&payloads, dir.path(), &mut |row, bytes| {
            got.push((row, bytes))
        });
        got.sort();
        let expected = [(0, 0), (1, 1), (3, 2), (7, 0)].map(|(row, i)| (row, pictures[i].clone()));
        assert_eq!(got, expected);
    }

    #[test]
    fn a_file_is_read_as_its_folder_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cat").join("1.ppm");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        assert!(read_picture_file(&path).is_err());
        std::fs::write(&path, b"P6 1 1 255 abc").unwrap();
        let picture = read_picture_file(&path).unwrap().unwrap();
        assert_eq!(picture.file, b"P6 1 1 255 abc");
        let payload: PicturePayload =
            serde_json::from_str(&picture.payload.replace('}', ",\"sha256\":\"\"}")).unwrap();
        assert_eq!(payload.label.as_deref(), Some("cat"));
        assert_eq!(payload.source.as_deref(), path.to_str());
        let note = dir.path().join("note.txt");
        std::fs::write(&note, "no picture").unwrap();
        assert_eq!(read_picture_file(&note).unwrap(), None);
    }
}
