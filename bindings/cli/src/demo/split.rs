//! Which pictures learn, which are stored, and which ask.
//!
//! A folder of pictures becomes five lists, by chance but always the same for a seed: labelled
//! **base** pictures; of each novel class a few labelled examples (**adapt**), unlabelled
//! **anchors**, the **database**, and **queries**. No picture is in two lists.

use crate::dice::{Dice, shuffle};
use crate::error::Failure;
use std::path::{Path, PathBuf};

/// Examples of each novel class.
pub(super) const SHOTS: usize = 5;
/// Pictures that a class needs.
const FEWEST: usize = SHOTS + 10;
/// Pictures taken from a class, at most: enough to measure with, and the demo stays short.
const MOST: usize = 150;

/// A picture and its class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Labelled {
    pub(super) path: PathBuf,
    pub(super) label: String,
}

/// The five lists.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) base: Vec<Labelled>,
    pub(super) adapt: Vec<Labelled>,
    pub(super) anchors: Vec<Labelled>,
    pub(super) database: Vec<Labelled>,
    pub(super) queries: Vec<Labelled>,
}

/// A class: its name and the files of its pictures, sorted.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
}

/// The classes of a folder of pictures: (base, novel).
///
/// With folders `base/` and `novel/` these decide. Otherwise the classes are sorted by name, and
/// the last 40 % of them are novel.
///
/// # Errors
/// When the folder cannot be read, or holds too few classes or pictures.
pub(super) fn classes(dir: &Path) -> Result<(Vec<Folder>, Vec<Folder>), Failure> {
    let (base, novel) = (dir.join("base"), dir.join("novel"));
    let (base, novel) = if base.is_dir() && novel.is_dir() {
        (folders(&base)?, folders(&novel)?)
    } else {
        let mut base = folders(dir)?;
        // At least two novel classes, whatever 40 % of them may be.
        let novel = (base.len() * 2 / 5).max(2).min(base.len());
        let novel = base.split_off(base.len() - novel);
        (base, novel)
    };
    if base.len() < 2 || novel.len() < 2 {
        return Err(Failure::new(format!(
            "{} holds {} base and {} novel classes; the demo needs two of each",
            dir.display(),
            base.len(),
            novel.len()
        ))
        .advise("put the pictures of each class into a folder of its own, four classes or more"));
    }
    for class in base.iter().chain(&novel) {
        if class.files.len() < FEWEST {
            return Err(Failure::new(format!(
                "class {} has {} pictures; the demo needs {FEWEST}",
                class.name,
                class.files.len()
            ))
            .advise("add pictures to its folder, or take the folder away"));
        }
    }
    Ok((base, novel))
}

/// Parts the pictures of the classes. `usable` says whether a picture can be read; one that
/// cannot be is left out, and another takes its place.
///
/// # Errors
/// When so many pictures cannot be read that a class has too few.
pub(super) fn split(
    base: &[Folder],
    novel: &[Folder],
    seed: u64,
    mut usable: impl FnMut(&Path) -> bool,
) -> Result<Split, Failure> {
    let mut split = Split::default();
    let mut draw = |class: &Folder, key: u64, number: usize, most: usize| {
        let mut files: Vec<&PathBuf> = class.files.iter().collect();
        shuffle(&mut files, &mut Dice::new(&[seed, key, number as u64]));
        let chosen = files.into_iter().filter(|file| usable(file)).take(most);
        chosen
            .map(|path| Labelled {
                path: path.clone(),
                label: class.name.clone(),
            })
            .collect::<Vec<_>>()
    };
    for (number, class) in base.iter().enumerate() {
        split.base.extend(draw(class, 1, number, MOST));
    }
    for (number, class) in novel.iter().enumerate() {
        let mut pictures = draw(class, 2, number, MOST);
        if pictures.len() < FEWEST {
            return Err(Failure::new(format!(
                "only {} pictures of class {} can be read; the demo needs {FEWEST}",
                pictures.len(),
                class.name
            )));
        }
        let rest = pictures.len() - SHOTS;
        let (queries, anchors) = ((rest / 9).clamp(3, 16), rest / 5);
        split.adapt.extend(pictures.drain(..SHOTS));
        split.queries.extend(pictures.drain(..queries));
        split.anchors.extend(pictures.drain(..anchors));
        split.database.extend(pictures);
    }
    if split.base.is_empty() {
        return Err(Failure::new("no picture of the base classes can be read"));
    }
    // The anchors carry no labels: that they lie class by class must not say what they are.
    shuffle(&mut split.anchors, &mut Dice::new(&[seed, 3]));
    Ok(split)
}

/// Puts the database's pictures into folders of their own, `dir/<class>/<file>`, so that they can
/// be ingested with one plain command; the list then names the new places.
///
/// The files are hard links where the file system allows, copies otherwise.
///
/// # Errors
/// When a folder or file cannot be made.
pub(super) fn gather(list: &mut [Labelled], dir: &Path) -> Result<(), Failure> {
    for (number, picture) in list.iter_mut().enumerate() {
        let folder = dir.join(&picture.label);
        let failed = |e: std::io::Error| {
            Failure::new(format!(
                "cannot put {} into {}: {e}",
                picture.path.display(),
                folder.display()
            ))
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let name = picture.path.file_name().unwrap_or_default();
        let mut place = folder.join(name);
        if place.exists() {
            // Two files of one name, from folders below the class's.
            place = folder.join(format!("{number}-{}", name.to_string_lossy()));
        }
        if std::fs::hard_link(&picture.path, &place).is_err() {
            std::fs::copy(&picture.path, &place).map_err(failed)?;
        }
        picture.path = place;
    }
    Ok(())
}

/// Writes a list, a line `path<TAB>label` for each picture.
///
/// # Errors
/// When the file cannot be written, or a path holds a tab or a line break.
pub(super) fn write(list: &[Labelled], file: &Path) -> Result<(), Failure> {
    let mut text = String::new();
    for Labelled { path, label } in list {
        let path = path
            .to_str()
            .filter(|path| !path.contains(['\t', '\n', '\r']));
        let Some(path) = path.filter(|_| !label.contains(['\t', '\n', '\r'])) else {
            return Err(Failure::new(format!(
                "a picture of class {} has a name that is no plain text",
                label.escape_debug()
            ))
            .advise("rename it: no tabs, no line breaks, valid UTF-8"));
        };
        text.push_str(&format!("{path}\t{label}\n"));
    }
    std::fs::write(file, text)
        .map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))
}

fn folders(dir: &Path) -> Result<Vec<Folder>, Failure> {
    let mut folders = Vec::new();
    for (path, is_dir) in entries(dir)? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !is_dir || name.starts_with('.') {
            continue;
        }
        let mut files = Vec::new();
        pictures_below(&path, &mut files)?;
        files.sort();
        if !files.is_empty() {
            folders.push(Folder { name, files });
        }
    }
    folders.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(folders)
}

fn pictures_below(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for (path, is_dir) in entries(dir)? {
        if is_dir {
            pictures_below(&path, files)?;
        } else if bitkin::image::has_picture_name(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// What lies in a folder, and whether each thing is a folder itself (links are not followed).
fn entries(dir: &Path) -> Result<Vec<(PathBuf, bool)>, Failure> {
    let failed = |e| Failure::new(format!("cannot read {}: {e}", dir.display()));
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.path(), entry.file_type()?.is_dir()))
    };
    std::fs::read_dir(dir)
        .map_err(failed)?
        .map(entry)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn folder(name: &str, count: usize) -> Folder {
        let files = (0..count)
            .map(|n| PathBuf::from(format!("{name}/{n}.png")))
            .collect();
        Folder {
            name: name.to_owned(),
            files,
        }
    }

    fn write_class(dir: &Path, name: &str, count: usize) {
        let class = dir.join(name);
        std::fs::create_dir_all(&class).unwrap();
        for n in 0..count {
            std::fs::write(class.join(format!("{n}.png")), [n as u8]).unwrap();
        }
        std::fs::write(class.join("notes.txt"), "no picture").unwrap();
    }

    #[test]
    fn no_picture_is_in_two_lists_and_none_is_lost() {
        let (base, novel) = (
            [folder("a", 20), folder("b", 200)],
            [folder("c", 15), folder("d", 90)],
        );
        let lists = split(&base, &novel, 3, |_| true).unwrap();
        let count = |list: &[Labelled], label: &str| {
            list.iter().filter(|picture| picture.label == label).count()
        };
        assert_eq!(
            (count(&lists.base, "a"), count(&lists.base, "b")),
            (20, MOST)
        );
        for label in ["c", "d"] {
            assert_eq!(count(&lists.adapt, label), SHOTS);
            assert!(count(&lists.queries, label) >= 3 && count(&lists.anchors, label) >= 2);
            assert!(count(&lists.database, label) >= 5);
        }
        let novel: Vec<_> = [lists.adapt, lists.anchors, lists.database, lists.queries].concat();
        assert_eq!(novel.len(), 105);
        assert_eq!(novel.iter().collect::<HashSet<_>>().len(), 105);
    }

    #[test]
    fn the_split_follows_from_the_seed() {
        let (base, novel) = (
            [folder("a", 20), folder("b", 20)],
            [folder("c", 40), folder("d", 40)],
        );
        let queries = |seed| split(&base, &novel, seed, |_| true).unwrap().queries;
        assert_eq!(queries(1), queries(1));
        assert_ne!(queries(1), queries(2));
    }

    #[test]
    fn unreadable_pictures_are_replaced_or_told() {
        let (base, novel) = (
            [folder("a", 20), folder("b", 20)],
            [folder("c", 40), folder("d", 40)],
        );
        let odd = |path: &Path| {
            let stem: u32 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            stem % 2 == 1
        };
        let lists = split(&base, &novel, 1, odd).unwrap();
        assert!(
            lists
                .database
                .iter()
                .chain(&lists.queries)
                .all(|picture| odd(&picture.path))
        );
        let few = split(&base, &novel, 1, |path| path.starts_with("c") || odd(path)).unwrap();
        assert!(few.adapt.len() == 2 * SHOTS);
        let error = split(&base, &novel, 1, |path| !path.starts_with("d")).unwrap_err();
        assert!(error.to_string().contains("class d"), "{error}");
    }

    #[test]
    fn classes_are_split_by_name_unless_folders_say_otherwise() {
        let names = |folders: Vec<Folder>| {
            folders
                .into_iter()
                .map(|folder| folder.name)
                .collect::<Vec<_>>()
        };
        let dir = tempfile::tempdir().unwrap();
        for name in ["e", "a", "c", "b", "d"] {
            write_class(dir.path(), name, 15);
        }
        let (base, novel) = classes(dir.path()).unwrap();
        assert_eq!(
            (names(base), names(novel)),
            (
                vec!["a".into(), "b".into(), "c".into()],
                vec!["d".into(), "e".to_owned()]
            )
        );
        for name in ["base/x", "base/y", "novel/a", "novel/b"] {
            write_class(dir.path(), name, 15);
        }
        let (base, novel) = classes(dir.path()).unwrap();
        assert_eq!(base[0].files.len(), 15);
        assert_eq!(
            (names(base), names(novel)),
            (
                vec!["x".into(), "y".into()],
                vec!["a".into(), "b".to_owned()]
            )
        );
    }

    #[test]
    fn too_few_classes_or_pictures_are_told() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            write_class(dir.path(), name, 15);
        }
        let error = classes(dir.path()).unwrap_err().to_string();
        assert!(error.contains("1 base and 2 novel classes"), "{error}");
        write_class(dir.path(), "d", 14);
        let error = classes(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("class d has 14 pictures; the demo needs 15"),
            "{error}"
        );
        assert!(classes(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn gathered_pictures_lie_by_class_under_their_own_names() {
        let dir = tempfile::tempdir().unwrap();
        write_class(dir.path(), "c", 2);
        write_class(dir.path(), "c/deep", 1);
        let picture = |name: &str| Labelled {
            path: dir.path().join(name),
            label: "c".into(),
        };
        let mut list = [
            picture("c/0.png"),
            picture("c/1.png"),
            picture("c/deep/0.png"),
        ];
        gather(&mut list, &dir.path().join("out")).unwrap();
        let places: HashSet<_> = list.iter().map(|picture| picture.path.clone()).collect();
        assert_eq!(places.len(), 3);
        assert!(places.contains(&dir.path().join("out/c/1.png")));
        assert_eq!(std::fs::read(&list[1].path).unwrap(), [1]);

        let file = dir.path().join("list.txt");
        write(&list[1..2], &file).unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            format!("{}\tc\n", list[1].path.display())
        );
        let bad = Labelled {
            path: "a\tb.png".into(),
            label: "c".into(),
        };
        assert!(write(&[bad], &file).is_err());
    }
}
