//! A vector of numbers for each class, from a file: attributes, or embeddings of the classes' names.

use std::collections::HashMap;
use std::path::Path;

use bitkin::npy::Matrix;

use crate::error::Error;
use crate::features::classes;

/// Vectors of named classes, all of one width.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassVectors {
    /// Names of the classes, each once.
    pub classes: Vec<String>,
    /// Names of the columns; `column 1` and so on where a file names none.
    pub columns: Vec<String>,
    /// `[classes, columns]`, row-major.
    pub values: Vec<f32>,
}

impl ClassVectors {
    /// Reads a file. A CSV file has a header line, and in each line a class, then its numbers. A `.npy` file has the
    /// numbers alone, `float32` or `float64` of shape (classes, columns): its rows are those of `names`, in order.
    ///
    /// # Errors
    /// [`Error::Data`] naming the line, class and column of what is no finite number, is there twice or missing;
    /// [`Error::Io`].
    pub fn read(path: &Path, names: &[String]) -> Result<ClassVectors, Error> {
        let vectors = match path.extension().is_some_and(|e| e == "npy") {
            true => ClassVectors::of_npy(path, names),
            false => ClassVectors::of_csv(path),
        }?;
        vectors
            .check()
            .map_err(|what| Error::Data(format!("{}: {what}", path.display())))?;
        Ok(vectors)
    }

    fn of_npy(path: &Path, names: &[String]) -> Result<ClassVectors, Error> {
        let matrix = Matrix::read(path).map_err(|e| Error::Data(e.to_string()))?;
        if matrix.rows != names.len() {
            let (path, rows, count) = (path.display(), matrix.rows, names.len());
            return Err(Error::Data(format!(
                "{path} has {rows} rows, for {count} classes: give a file with a row for each class, in the order of \
                 their names, or one that says the classes of its rows, one a line"
            )));
        }
        let columns = 1..=matrix.columns;
        Ok(ClassVectors {
            classes: names.to_vec(),
            columns: columns.map(|i| format!("column {i}")).collect(),
            values: matrix.values,
        })
    }

    fn of_csv(path: &Path) -> Result<ClassVectors, Error> {
        let bad = |e: csv::Error| match e.into_kind() {
            csv::ErrorKind::Io(source) => Error::Io {
                path: path.display().to_string(),
                source,
            },
            csv::ErrorKind::Utf8 { pos, err } => {
                let line = pos.map_or(0, |pos| pos.line());
                Error::Data(format!("{}:{line}: {err}", path.display()))
            }
            csv::ErrorKind::UnequalLengths {
                pos,
                expected_len,
                len,
            } => {
                let line = pos.map_or(0, |pos| pos.line());
                let path = path.display();
                Error::Data(format!(
                    "{path}:{line}: {len} fields, {expected_len} in the header"
                ))
            }
            other => Error::Data(format!("{}: {other:?}", path.display())),
        };
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(bad)?;
        let columns = reader.headers().map_err(bad)?.iter().skip(1);
        let mut vectors = ClassVectors {
            columns: columns.map(str::to_owned).collect(),
            classes: Vec::new(),
            values: Vec::new(),
        };
        for record in reader.records() {
            let record = record.map_err(bad)?;
            let class = record.get(0).unwrap_or_default();
            for (text, column) in record.iter().skip(1).zip(&vectors.columns) {
                let value: f32 = text.parse().map_err(|_| {
                    let line = record.position().map_or(0, csv::Position::line);
                    let path = path.display();
                    Error::Data(format!(
                        "{path}:{line}: {column} of {class:?} is {text:?}, no number"
                    ))
                })?;
                vectors.values.push(value);
            }
            vectors.classes.push(class.to_owned());
        }
        Ok(vectors)
    }

    /// Says what is wrong with them.
    fn check(&self) -> Result<(), String> {
        if self.classes.is_empty() || self.columns.is_empty() {
            let what = "it has no numbers: give a line with a class and its numbers for each class";
            return Err(what.into());
        }
        if let Some(place) = self.values.iter().position(|v| !v.is_finite()) {
            let (row, column) = (place / self.columns.len(), place % self.columns.len());
            let (class, column) = (&self.classes[row], &self.columns[column]);
            let value = self.values[place];
            return Err(format!(
                "{column} of {class:?} is {value}: give finite numbers, or leave out the column"
            ));
        }
        let mut met = HashMap::new();
        for (row, class) in self.classes.iter().enumerate() {
            if met.insert(class, row).is_some() {
                return Err(format!("the class {class:?} is there twice"));
            }
        }
        Ok(())
    }

    /// Refuses pictures of these class numbers, which are places among the classes, where they cannot be learned
    /// from.
    pub(crate) fn check_for(&self, labels: &[u32]) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Data(what));
        if let Err(what) = self.check() {
            return fail(format!("the classes' vectors: {what}"));
        }
        let found = classes(labels);
        let [_, .., last] = found[..] else {
            let what =
                "the pictures are of fewer than two classes: give some of each of at least two";
            return fail(what.into());
        };
        let count = self.classes.len();
        if self.values.len() != count * self.dim() || last as usize >= count {
            return fail(format!(
                "there are vectors of {count} classes, and pictures of class number {last}: give a vector for each"
            ));
        }
        Ok(())
    }

    /// Numbers in a vector.
    pub fn dim(&self) -> usize {
        self.columns.len()
    }

    /// The vectors of these classes, in their order.
    ///
    /// # Errors
    /// [`Error::Data`] naming classes that are not there.
    pub fn of_classes(&self, classes: &[String]) -> Result<ClassVectors, Error> {
        let rows = self
            .classes
            .iter()
            .zip(self.values.chunks_exact(self.dim().max(1)));
        let rows: HashMap<&str, &[f32]> = rows.map(|(class, row)| (class.as_str(), row)).collect();
        let missing = classes.iter().filter(|c| !rows.contains_key(c.as_str()));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        if !missing.is_empty() {
            const MOST: usize = 10;
            let more = match missing.len().saturating_sub(MOST) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown = missing[..missing.len().min(MOST)].join(", ");
            return Err(Error::Data(format!(
                "there is no vector of {shown}{more}: give one for each class of the pictures, under the name of its \
                 folder"
            )));
        }
        Ok(ClassVectors {
            classes: classes.to_vec(),
            columns: self.columns.clone(),
            values: classes
                .iter()
                .flat_map(|c| rows[c.as_str()])
                .copied()
                .collect(),
        })
    }

    /// Each column with mean 0 and standard deviation 1 over these classes.
    ///
    /// # Errors
    /// [`Error::Data`] naming columns that are the same for all of them.
    pub fn standardised(&self) -> Result<ClassVectors, Error> {
        let count = self.classes.len() as f64;
        let mut standardised = self.clone();
        let mut constant = Vec::new();
        for (place, column) in self.columns.iter().enumerate() {
            let numbers = || self.values.iter().skip(place).step_by(self.dim().max(1));
            let mean = numbers().map(|&v| f64::from(v)).sum::<f64>() / count;
            let squares = numbers().map(|&v| (f64::from(v) - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count).sqrt();
            let (least, most) = numbers().fold((f32::MAX, f32::MIN), |(least, most), &v| {
                (least.min(v), most.max(v))
            });
            if least == most || deviation == 0.0 {
                constant.push(column.as_str());
                continue;
            }
            let values = standardised.values.iter_mut();
            for value in values.skip(place).step_by(self.columns.len()) {
                *value = ((f64::from(*value) - mean) / deviation) as f32;
            }
        }
        match constant.is_empty() {
            true => Ok(standardised),
            false => Err(Error::Data(format!(
                "{}: the same for all classes of the pictures, so nothing can be learned from it: leave it out",
                constant.join(", ")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8], names: &[&str]) -> Result<ClassVectors, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let read = ClassVectors::read(&path, &names);
        read.map_err(|e| e.to_string())
    }

    fn npy(shape: &str, numbers: &[f32]) -> Vec<u8> {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(numbers.iter().flat_map(|v| v.to_le_bytes()));
        file
    }

    #[test]
    fn both_kinds_of_file_give_the_vectors_of_classes_in_their_order() {
        let table = "class,furry,\"swims, well\"\nowl, 1, 0.5\nseal,0,3e0\nelk,1,-1\n";
        let table = read("a.csv", table.as_bytes(), &[]).unwrap();
        assert_eq!(table.columns, ["furry", "swims, well"]);
        let some = table.of_classes(&["seal".into(), "owl".into()]).unwrap();
        assert_eq!(some.values, [0.0, 3.0, 1.0, 0.5]);

        let matrix = npy("(3, 2)", &[1.0, 0.5, 0.0, 3.0, 1.0, -1.0]);
        let matrix = read("a.npy", &matrix, &["owl", "seal", "elk"]).unwrap();
        assert_eq!(
            (matrix.classes, matrix.values),
            (table.classes, table.values)
        );
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        let refused = |name: &str, content: &[u8], names: &[&str], what: &str| {
            let error = read(name, content, names).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        refused(
            "a.csv",
            b"class,a\nowl,x\n",
            &[],
            "a.csv:2: a of \"owl\" is \"x\"",
        );
        refused("a.csv", b"class,a\nowl,NaN\n", &[], "a of \"owl\" is NaN");
        refused("a.csv", b"class,a\nowl,1,2\n", &[], "a.csv:2: 3 fields, 2");
        refused(
            "a.csv",
            b"class,a\nowl,1\nowl,2\n",
            &[],
            "\"owl\" is there twice",
        );
        refused("a.csv", b"class,a\n", &[], "no numbers");
        refused("a.csv", b"class\nowl\n", &[], "no numbers");
        let matrix = npy("(1, 2)", &[1.0, f32::INFINITY]);
        refused("a.npy", &matrix, &["owl"], "column 2 of \"owl\" is inf");
        refused("a.npy", &matrix, &["owl", "elk"], "1 rows, for 2 classes");
        refused("a.npy", b"class,a", &[], "not a .npy file");
        refused(
            "a.npy",
            &npy("(2,)", &[1.0, 2.0]),
            &["owl", "elk"],
            "shape [2]",
        );
    }

    #[test]
    fn classes_without_a_vector_are_named() {
        let table = read("a.csv", b"class,a\nowl,1\n", &[]).unwrap();
        let error = table.of_classes(&["elk".into(), "owl".into(), "emu".into()]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no vector of elk, emu:"), "{error}");
    }

    #[test]
    fn columns_are_standardised_and_constant_ones_named() {
        let table = read("a.csv", b"class,a,b\nowl,1,7\nelk,5,7\n", &[]).unwrap();
        let error = table.standardised().unwrap_err().to_string();
        assert!(error.contains("b: the same for all"), "{error}");
        let table = read("a.csv", b"class,a,b\nowl,1,7\nelk,5,6\n", &[]).unwrap();
        assert_eq!(table.standardised().unwrap().values, [-1.0, 1.0, 1.0, -1.0]);
    }
}
