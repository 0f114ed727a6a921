//! Codes in `.npy` files, which every system reads, and what else codes come in.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bitkin::npy::CodesReader;
use bitkin_benches::Result;
use memmap2::Mmap;

/// Codes in a mapped file, row-major.
#[derive(Debug)]
pub(crate) struct Codes {
    path: PathBuf,
    map: Mmap,
    start: usize,
    rows: usize,
    row_bytes: usize,
}

impl Codes {
    /// Opens a `.npy` file of `uint8[n, bytes]`.
    pub(crate) fn open(path: &Path) -> Result<Codes> {
        let reader = CodesReader::open(path)?;
        let file = File::open(path).map_err(named(path))?;
        // SAFETY: the harness writes such files under another name and renames them when they are
        // complete, and changes none of them; a user's own file must stay as it is while it runs.
        let map = unsafe { Mmap::map(&file) }.map_err(named(path))?;
        let rows = usize::try_from(reader.rows())?;
        let row_bytes = reader.row_bytes();
        let start = map.len() - rows * row_bytes;
        Ok(Codes {
            path: path.to_owned(),
            map,
            start,
            rows,
            row_bytes,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[self.start..]
    }

    /// The code of a row, if there is such a row.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        let at = (row < self.rows).then(|| row * self.row_bytes)?;
        self.bytes().get(at..at + self.row_bytes)
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes().chunks_exact(self.row_bytes)
    }
}

/// The Hamming distance of two codes of one width, a byte at a time: the definition.
pub(crate) fn distance(one: &[u8], other: &[u8]) -> u32 {
    let bytes = one.iter().zip(other);
    bytes.map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Writes an array that is complete when its name appears.
pub(crate) fn write_npy(
    path: &Path,
    dtype: &str,
    shape: &[usize],
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let folder = path.parent().ok_or("a file has a folder")?;
    fs::create_dir_all(folder).map_err(named(folder))?;
    let fresh = tempfile::NamedTempFile::new_in(folder).map_err(named(folder))?;
    let mut out = BufWriter::with_capacity(1 << 20, fresh);
    let shape: Vec<String> = shape.iter().map(|extent| format!("{extent},")).collect();
    let shape = shape.join(" ");
    let mut header =
        format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    fill(&mut out)?;
    let fresh = out.into_inner().map_err(|error| error.into_error())?;
    fresh.persist(path)?;
    Ok(())
}

/// Writes a one-dimensional array of 64-bit numbers.
pub(crate) fn write_numbers(path: &Path, numbers: &[u64]) -> Result<()> {
    write_npy(path, "<u8", &[numbers.len()], |out| {
        for number in numbers {
            out.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    })
}

/// The elements of a one-dimensional array of 64-bit numbers, signed or not.
pub(crate) fn read_numbers(path: &Path) -> Result<Vec<u64>> {
    let bytes = fs::read(path).map_err(named(path))?;
    let length = bytes.get(8..10).ok_or("an .npy file has a header")?;
    let start = 10 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    let elements = bytes.get(start..).ok_or("an .npy file has elements")?;
    let numbers = elements.as_chunks::<8>().0;
    Ok(numbers.iter().map(|n| u64::from_le_bytes(*n)).collect())
}

/// What a file of codes is, which is not an `.npy` file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Rows of so many bytes, one after another.
    Raw(usize),
    /// The same, compressed by gzip.
    Gzip(usize),
    /// Number of rows and bytes a row, each as u32, then the rows: `.u8bin`.
    U8bin,
}

/// The rows of such a file.
pub(crate) fn read_rows(path: &Path, form: Form) -> Result<(Vec<u8>, usize)> {
    let mut file = File::open(path).map_err(named(path))?;
    let mut bytes = Vec::new();
    let row_bytes = match form {
        Form::Raw(row_bytes) => {
            file.read_to_end(&mut bytes).map_err(named(path))?;
            row_bytes
        }
        Form::Gzip(row_bytes) => {
            let mut file = flate2::read::GzDecoder::new(file);
            file.read_to_end(&mut bytes).map_err(named(path))?;
            row_bytes
        }
        Form::U8bin => {
            let mut header = [0; 8];
            file.read_exact(&mut header).map_err(named(path))?;
            file.read_to_end(&mut bytes).map_err(named(path))?;
            let [rows, row_bytes] = [0, 4].map(|at| {
                let number: [u8; 4] = std::array::from_fn(|byte| header[at + byte]);
                u32::from_le_bytes(number) as usize
            });
            if rows.checked_mul(row_bytes) != Some(bytes.len()) {
                let says = format!("its header says {rows} rows of {row_bytes} bytes");
                return Err(format!("{}: {says}, its length does not", path.display()).into());
            }
            row_bytes
        }
    };
    if row_bytes == 0 || !bytes.len().is_multiple_of(row_bytes) {
        let what = format!("it does not hold whole rows of {row_bytes} bytes");
        return Err(format!("{}: {what}", path.display()).into());
    }
    Ok((bytes, row_bytes))
}

/// Writes rows as an `.npy` file.
pub(crate) fn write_rows<'a>(
    path: &Path,
    row_bytes: usize,
    rows: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<()> {
    write_npy(path, "|u1", &[rows.len(), row_bytes], |out| {
        for row in rows {
            out.write_all(row)?;
        }
        Ok(())
    })
}

/// Names the file in an error of the file system.
pub(crate) fn named(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
