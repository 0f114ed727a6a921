//! `.npy` files of codes, of ids and of real numbers.
//!
//! A small, strict reader: format versions 1 to 3, C order, and the shapes of data that the
//! database and the encoder take; and writers of codes and ids. Files are read and written in pieces, so that their size
//! does not matter.

mod write;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

pub use self::write::{CodesWriter, IdsWriter};

/// Why a `.npy` file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct NpyError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: NpyReason,
}

/// What is wrong with a `.npy` file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyReason {
    /// The system could not read it.
    #[error(transparent)]
    Io(std::io::Error),
    /// It does not begin as a `.npy` file does.
    #[error("not a .npy file")]
    NotNpy,
    /// A format version after 3.
    #[error(".npy format version {0}.{1} is not known, only 1 to 3")]
    Version(u8, u8),
    /// The header is cut short or is not what numpy writes.
    #[error("the .npy header is malformed: {0}")]
    Header(String),
    /// The elements have another type.
    #[error("the elements are {found:?}, expected {expected}")]
    Dtype {
        /// Type in the file, in numpy's notation.
        found: String,
        /// Types that can be read here.
        expected: &'static str,
    },
    /// Another number of dimensions.
    #[error("the array has shape {found:?}, expected {expected}")]
    Shape {
        /// Shape in the file.
        found: Vec<u64>,
        /// The shape that can be read here.
        expected: &'static str,
    },
    /// Column-major.
    #[error("the array is in Fortran order; write it with numpy.ascontiguousarray")]
    FortranOrder,
    /// The file is shorter or longer than its header says.
    #[error("the file has {found} bytes of elements, its header says {expected}")]
    Length {
        /// Bytes there.
        found: u64,
        /// Bytes that the shape asks for.
        expected: u64,
    },
    /// An id below zero.
    #[error("element {row} is {id}: an id cannot be negative")]
    NegativeId {
        /// Position in the array.
        row: u64,
        /// Its value.
        id: i64,
    },
}

/// Codes from a two-dimensional array of `uint8`: one row a code.
#[derive(Debug)]
pub struct CodesReader {
    array: ArrayReader,
    rows: u64,
    row_bytes: usize,
    left: u64,
}

/// Ids from a one-dimensional array of `uint64`, or of `int64` without a negative number.
#[derive(Debug)]
pub struct IdsReader {
    array: ArrayReader,
    rows: u64,
    left: u64,
    signed: bool,
}

/// A two-dimensional array of `float32`, or of `float64` rounded to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Numbers in a row.
    pub columns: usize,
    /// `[rows, columns]`, row-major.
    pub values: Vec<f32>,
}

impl Matrix {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`NpyError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, NpyError> {
        let (mut array, header) = ArrayReader::open(path.as_ref())?;
        let element = match header.dtype.as_str() {
            "<f4" => 4,
            "<f8" => 8,
            _ => {
                let expected = "<f4 (float32) or <f8 (float64)";
                return Err(array.error(NpyReason::Dtype {
                    found: header.dtype,
                    expected,
                }));
            }
        };
        array.check_length(&header.shape, element)?;
        let sides = header.shape.iter().map(|&side| usize::try_from(side).ok());
        let sides: Option<Vec<usize>> = sides.collect();
        let Some(&[rows, columns]) = sides.as_deref() else {
            let expected = "(rows, columns)";
            return Err(array.error(NpyReason::Shape {
                found: header.shape,
                expected,
            }));
        };
        let bytes = array.read(array.data_bytes as usize)?;
        let values = match element {
            4 => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b))
                .collect(),
            _ => bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|&b| f64::from_le_bytes(b) as f32)
                .collect(),
        };
        Ok(Matrix {
            rows,
            columns,
            values,
        })
    }
}

impl CodesReader {
    /// Opens a file and checks its header and length.
    ///
    /// # Errors
    /// [`NpyError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NpyError> {
        let (array, header) = ArrayReader::open(path.as_ref())?;
        if header.dtype != "|u1" {
            let expected = "|u1 (uint8)";
            return Err(array.error(NpyReason::Dtype {
                found: header.dtype,
                expected,
            }));
        }
        let &[rows, columns] = header.shape.as_slice() else {
            let expected = "(n, bytes a code)";
            return Err(array.error(NpyReason::Shape {
                found: header.shape,
                expected,
            }));
        };
        array.check_length(&header.shape, 1)?;
        let row_bytes = usize::try_from(columns).ok().filter(|&bytes| bytes > 0);
        let Some(row_bytes) = row_bytes else {
            let expected = "(n, at least 1)";
            return Err(array.error(NpyReason::Shape {
                found: header.shape,
                expected,
            }));
        };
        Ok(CodesReader {
            array,
            rows,
            row_bytes,
            left: rows,
        })
    }

    /// Number of codes in the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of one code.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The next codes, at most `rows` (at least 1) of them, row-major; empty at the end.
    ///
    /// # Errors
    /// [`NpyError`] when the file cannot be read on.
    pub fn read(&mut self, rows: usize) -> Result<Vec<u8>, NpyError> {
        let count = self.left.min(rows.max(1) as u64);
        self.left -= count;
        self.array.read(count as usize * self.row_bytes)
    }
}

impl IdsReader {
    /// Opens a file and checks its header and length.
    ///
    /// # Errors
    /// [`NpyError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NpyError> {
        let (array, header) = ArrayReader::open(path.as_ref())?;
        let signed = match header.dtype.as_str() {
            "<u8" => false,
            "<i8" => true,
            _ => {
                let expected = "<u8 (uint64) or <i8 (int64)";
                return Err(array.error(NpyReason::Dtype {
                    found: header.dtype,
                    expected,
                }));
            }
        };
        let &[rows] = header.shape.as_slice() else {
            let expected = "(n,)";
            return Err(array.error(NpyReason::Shape {
                found: header.shape,
                expected,
            }));
        };
        array.check_length(&header.shape, 8)?;
        Ok(IdsReader {
            array,
            rows,
            left: rows,
            signed,
        })
    }

    /// Number of ids in the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next ids, at most `rows` (at least 1) of them; empty at the end.
    ///
    /// # Errors
    /// [`NpyError`] when the file cannot be read on, or an id is negative.
    pub fn read(&mut self, rows: usize) -> Result<Vec<u64>, NpyError> {
        let first = self.rows - self.left;
        let count = self.left.min(rows.max(1) as u64);
        self.left -= count;
        let bytes = self.array.read(count as usize * 8)?;
        let mut ids = Vec::with_capacity(count as usize);
        for (row, &bytes) in (first..).zip(bytes.as_chunks::<8>().0) {
            let id = u64::from_le_bytes(bytes);
            if self.signed && id > i64::MAX as u64 {
                return Err(self
                    .array
                    .error(NpyReason::NegativeId { row, id: id as i64 }));
            }
            ids.push(id);
        }
        Ok(ids)
    }
}

/// A file whose header has been read; what follows are the elements.
#[derive(Debug)]
struct ArrayReader {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes after the header.
    data_bytes: u64,
}

struct Header {
    dtype: String,
    shape: Vec<u64>,
}

impl ArrayReader {
    fn open(path: &Path) -> Result<(Self, Header), NpyError> {
        let error = |reason| NpyError {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(|e| error(NpyReason::Io(e)))?;
        let length = file.metadata().map_err(|e| error(NpyReason::Io(e)))?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let (text, header_bytes) = read_header(&mut file, length).map_err(error)?;
        let header = parse_header(&text).map_err(error)?;
        let data_bytes = length - header_bytes;
        Ok((
            ArrayReader {
                path: path.to_owned(),
                file,
                data_bytes,
            },
            header,
        ))
    }

    fn error(&self, reason: NpyReason) -> NpyError {
        NpyError {
            path: self.path.clone(),
            reason,
        }
    }

    fn check_length(&self, shape: &[u64], element: u64) -> Result<(), NpyError> {
        let expected = shape
            .iter()
            .try_fold(element, |bytes, &side| bytes.checked_mul(side));
        let expected = expected.unwrap_or(u64::MAX);
        if expected == self.data_bytes {
            return Ok(());
        }
        Err(self.error(NpyReason::Length {
            found: self.data_bytes,
            expected,
        }))
    }

    fn read(&mut self, bytes: usize) -> Result<Vec<u8>, NpyError> {
        let mut buffer = vec![0; bytes];
        match self.file.read_exact(&mut buffer) {
            Ok(()) => Ok(buffer),
            Err(e) => Err(self.error(NpyReason::Io(e))),
        }
    }
}

/// The header's text, and the bytes before the elements; the file has `length` bytes.
fn read_header(file: &mut impl Read, length: u64) -> Result<(String, u64), NpyReason> {
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(|_| NpyReason::NotNpy)?;
    let [magic @ .., major, minor] = start;
    if &magic != b"\x93NUMPY" {
        return Err(NpyReason::NotNpy);
    }
    let mut size = [0; 4];
    let size_bytes = match major {
        1 => 2,
        2 | 3 => 4,
        _ => return Err(NpyReason::Version(major, minor)),
    };
    let cut = |_| NpyReason::Header("the file ends in it".to_owned());
    file.read_exact(&mut size[..size_bytes]).map_err(cut)?;
    let text_bytes = u64::from(u32::from_le_bytes(size));
    let header_bytes = 8 + size_bytes as u64 + text_bytes;
    // Checked before the text is allocated.
    if header_bytes > length {
        return Err(NpyReason::Header("the file ends in it".to_owned()));
    }
    let mut text = vec![0; text_bytes as usize];
    file.read_exact(&mut text).map_err(cut)?;
    let text = String::from_utf8(text).map_err(|e| NpyReason::Header(e.to_string()))?;
    Ok((text, header_bytes))
}

/// The header is a Python dictionary of exactly three entries, such as
/// `{'descr': '|u1', 'fortran_order': False, 'shape': (3, 32), }`.
fn parse_header(text: &str) -> Result<Header, NpyReason> {
    let mut parser = Parser { rest: text };
    let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
    parser.expect("{")?;
    while !parser.accept("}") {
        let key = parser.string()?;
        parser.expect(":")?;
        match key {
            "descr" => dtype = Some(parser.dtype()?),
            "fortran_order" => fortran_order = Some(parser.boolean()?),
            "shape" => shape = Some(parser.shape()?),
            other => return Err(NpyReason::Header(format!("unknown key {other:?}"))),
        }
        if !parser.accept(",") {
            parser.expect("}")?;
            break;
        }
    }
    let lacks = |key| NpyReason::Header(format!("it lacks {key:?}"));
    if fortran_order.ok_or_else(|| lacks("fortran_order"))? {
        return Err(NpyReason::FortranOrder);
    }
    Ok(Header {
        dtype: dtype.ok_or_else(|| lacks("descr"))?,
        shape: shape.ok_or_else(|| lacks("shape"))?,
    })
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn accept(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), NpyReason> {
        if self.accept(token) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(20).collect();
        Err(NpyReason::Header(format!(
            "expected {token:?} at {found:?}"
        )))
    }

    fn string(&mut self) -> Result<&'a str, NpyReason> {
        let quote = if self.accept("'") { '\'' } else { '"' };
        if quote == '"' {
            self.expect("\"")?;
        }
        let (string, rest) = self
            .rest
            .split_once(quote)
            .ok_or_else(|| NpyReason::Header("a string does not end".to_owned()))?;
        self.rest = rest;
        Ok(string)
    }

    fn dtype(&mut self) -> Result<String, NpyReason> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('[') {
            let expected = "a plain type, not a structured one";
            return Err(NpyReason::Dtype {
                found: "a list of fields".to_owned(),
                expected,
            });
        }
        Ok(self.string()?.to_owned())
    }

    fn boolean(&mut self) -> Result<bool, NpyReason> {
        if self.accept("True") {
            return Ok(true);
        }
        self.expect("False")?;
        Ok(false)
    }

    fn shape(&mut self) -> Result<Vec<u64>, NpyReason> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            self.rest = self.rest.trim_start();
            let digits = self.rest.len() - self.rest.trim_start_matches(char::is_numeric).len();
            let (number, rest) = self.rest.split_at(digits);
            let number = number
                .parse()
                .map_err(|_| NpyReason::Header(format!("{number:?} in the shape")))?;
            self.rest = rest;
            shape.push(number);
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this version, header text and elements.
    fn npy(version: u8, header: &str, data: &[u8]) -> tempfile::NamedTempFile {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        raw(&bytes)
    }

    fn raw(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn codes_error(file: &tempfile::NamedTempFile) -> NpyReason {
        CodesReader::open(file.path()).unwrap_err().reason
    }

    #[test]
    fn codes_are_read_in_pieces() {
        let data: Vec<u8> = (0..15).collect();
        for version in 1..=3 {
            let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 3), }     \n";
            let file = npy(version, header, &data);
            let mut codes = CodesReader::open(file.path()).unwrap();
            assert_eq!((codes.rows(), codes.row_bytes()), (5, 3));
            assert_eq!(codes.read(2).unwrap(), data[..6]);
            assert_eq!(codes.read(100).unwrap(), data[6..]);
            assert!(codes.read(1).unwrap().is_empty());
        }
        let empty = npy(
            1,
            "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 8)}",
            &[],
        );
        assert!(
            CodesReader::open(empty.path())
                .unwrap()
                .read(9)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn matrices_are_read_in_both_precisions() {
        let header = |dtype: &str, shape: &str| {
            format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}")
        };
        let numbers = [1.5f32, -2.0, 0.1, 4.0, 5.0, f32::NAN];
        let narrow: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let wide = numbers.iter().flat_map(|&v| f64::from(v).to_le_bytes());
        let wide: Vec<u8> = wide.collect();
        for (dtype, data) in [("<f4", &narrow), ("<f8", &wide)] {
            let file = npy(1, &header(dtype, "(3, 2)"), data);
            let matrix = Matrix::read(file.path()).unwrap();
            assert_eq!((matrix.rows, matrix.columns), (3, 2));
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&matrix.values), bits(&numbers));
            let short = npy(1, &header(dtype, "(4, 2)"), data);
            let error = Matrix::read(short.path()).unwrap_err();
            assert!(matches!(error.reason, NpyReason::Length { .. }), "{error}");
            let flat = npy(1, &header(dtype, "(6,)"), data);
            let error = Matrix::read(flat.path()).unwrap_err();
            assert!(matches!(error.reason, NpyReason::Shape { .. }), "{error}");
        }
        let integers = npy(1, &header("<i8", "(3, 2)"), &wide);
        let error = Matrix::read(integers.path()).unwrap_err();
        assert!(matches!(error.reason, NpyReason::Dtype { .. }), "{error}");
    }

    #[test]
    fn ids_are_read_whether_signed_or_not() {
        let data: Vec<u8> = [7u64, 1 << 40, 3]
            .iter()
            .flat_map(|id| id.to_le_bytes())
            .collect();
        for dtype in ["<u8", "<i8"] {
            let header = format!("{{'shape': (3,), 'descr': '{dtype}', 'fortran_order': False}}");
            let mut ids = IdsReader::open(npy(2, &header, &data).path()).unwrap();
            assert_eq!((ids.rows(), ids.read(2).unwrap()), (3, vec![7, 1 << 40]));
            assert_eq!(ids.read(2).unwrap(), [3]);
        }
        let negative: Vec<u8> = [5, -2i64].iter().flat_map(|id| id.to_le_bytes()).collect();
        let header = "{'shape': (2,), 'descr': '<i8', 'fortran_order': False}";
        let mut ids = IdsReader::open(npy(1, header, &negative).path()).unwrap();
        assert_eq!(ids.read(1).unwrap(), [5]);
        let reason = ids.read(1).unwrap_err().reason;
        assert!(matches!(reason, NpyReason::NegativeId { row: 1, id: -2 }));
        let unsigned = header.replace("<i8", "<u8");
        let mut ids = IdsReader::open(npy(1, &unsigned, &negative).path()).unwrap();
        assert_eq!(ids.read(2).unwrap(), [5, u64::MAX - 1]);
    }

    #[test]
    fn other_arrays_are_refused_by_name() {
        let header = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
        };
        for dtype in ["'<f4'", "'|i1'", "'|b1'", "'>u2'"] {
            let reason = codes_error(&npy(1, &header(dtype, "False", "(1, 4)"), &[0; 4]));
            assert!(
                matches!(reason, NpyReason::Dtype { .. }),
                "{dtype}: {reason}"
            );
        }
        let fields = codes_error(&npy(1, &header("[('a', '|u1')]", "False", "(1,)"), &[0]));
        assert!(matches!(fields, NpyReason::Dtype { .. }));
        for shape in ["(4,)", "()", "(1, 2, 2)", "(4, 0)"] {
            let bytes = if shape == "(4, 0)" { 0 } else { 4 };
            let reason = codes_error(&npy(1, &header("'|u1'", "False", shape), &vec![0; bytes]));
            assert!(
                matches!(reason, NpyReason::Shape { .. }),
                "{shape}: {reason}"
            );
        }
        let fortran = codes_error(&npy(1, &header("'|u1'", "True", "(2, 2)"), &[0; 4]));
        assert!(matches!(fortran, NpyReason::FortranOrder));
        for (shape, bytes) in [
            ("(2, 2)", 3),
            ("(2, 2)", 5),
            ("(99999999999, 99999999999)", 4),
        ] {
            let reason = codes_error(&npy(1, &header("'|u1'", "False", shape), &vec![0; bytes]));
            assert!(
                matches!(reason, NpyReason::Length { .. }),
                "{shape}: {reason}"
            );
        }
        let ids = npy(1, &header("'>u8'", "False", "(1,)"), &[0; 8]);
        let reason = IdsReader::open(ids.path()).unwrap_err().reason;
        assert!(matches!(reason, NpyReason::Dtype { .. }));
    }

    #[test]
    fn what_is_no_npy_is_refused() {
        for bytes in [
            &b""[..],
            b"hello",
            b"\x93NUMPX\x01\x00",
            b"PK\x03\x04aaaaaaaaaa",
        ] {
            assert!(matches!(codes_error(&raw(bytes)), NpyReason::NotNpy));
        }
        assert!(matches!(
            codes_error(&npy(4, "{}", &[])),
            NpyReason::Version(4, 0)
        ));
        // A header of 4 GB in a file of a few bytes.
        let long = raw(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}");
        assert!(matches!(codes_error(&long), NpyReason::Header(_)));
        let cut = raw(b"\x93NUMPY\x01\x00\x50");
        assert!(matches!(codes_error(&cut), NpyReason::Header(_)));
        let malformed = [
            "",
            "{",
            "{}",
            "[]",
            "{'descr'}",
            "{'descr': }",
            "{'descr': '|u1'}",
            "{'x': 1}",
            "{'descr': '|u1', 'fortran_order': Maybe, 'shape': (1, 1)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1, -1)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 99999999999999999999999)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1",
            "{'descr': '|u1",
        ];
        for header in malformed {
            let reason = codes_error(&npy(1, header, &[0]));
            assert!(matches!(reason, NpyReason::Header(_)), "{header}: {reason}");
        }
        let missing = CodesReader::open("/no/such/file.npy").unwrap_err();
        assert!(matches!(missing.reason, NpyReason::Io(_)));
        assert!(missing.to_string().contains("/no/such/file.npy"));
    }
}
