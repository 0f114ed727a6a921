//! Writing `.npy` files, of version 1, row by row.

use std::io::{self, Write};

/// Writes codes as a two-dimensional array of `uint8`, one row a code: what [`CodesReader`] reads.
///
/// [`CodesReader`]: super::CodesReader
#[derive(Debug)]
pub struct CodesWriter<W>(ArrayWriter<W>);

/// Writes ids as a one-dimensional array of `uint64`: what [`IdsReader`] reads.
///
/// [`IdsReader`]: super::IdsReader
#[derive(Debug)]
pub struct IdsWriter<W>(ArrayWriter<W>);

impl<W: Write> CodesWriter<W> {
    /// Begins an array of `rows` codes of `row_bytes` bytes each. The number comes first in the file, so
    /// it is needed first.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W, rows: u64, row_bytes: usize) -> io::Result<Self> {
        let shape = format!("({rows}, {row_bytes})");
        ArrayWriter::new(out, "|u1", &shape, rows, row_bytes as u64).map(CodesWriter)
    }

    /// Writes some codes, row-major.
    ///
    /// # Errors
    /// When `out` cannot be written; `InvalidInput` for more rows than were announced.
    pub fn write(&mut self, codes: &[u8]) -> io::Result<()> {
        self.0.write(codes)
    }

    /// Ends the array and gives `out` back, flushed.
    ///
    /// # Errors
    /// As [`CodesWriter::write`]; `InvalidInput` for fewer rows than were announced.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> IdsWriter<W> {
    /// Begins an array of `rows` ids.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: W, rows: u64) -> io::Result<Self> {
        ArrayWriter::new(out, "<u8", &format!("({rows},)"), rows, 8).map(IdsWriter)
    }

    /// Writes one id.
    ///
    /// # Errors
    /// As [`CodesWriter::write`].
    pub fn write(&mut self, id: u64) -> io::Result<()> {
        self.0.write(&id.to_le_bytes())
    }

    /// As [`CodesWriter::finish`].
    ///
    /// # Errors
    /// As [`CodesWriter::finish`].
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

#[derive(Debug)]
struct ArrayWriter<W> {
    out: W,
    /// Bytes of elements that are still to come.
    left: u64,
}

impl<W: Write> ArrayWriter<W> {
    fn new(mut out: W, dtype: &str, shape: &str, rows: u64, row_bytes: u64) -> io::Result<Self> {
        let mut header =
            format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        // Elements begin at a multiple of 64 bytes, behind 10 bytes, the header and its line feed.
        while !(10 + header.len() + 1).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        out.write_all(b"\x93NUMPY\x01\x00")?;
        // A few dozen characters, whatever the numbers.
        out.write_all(&(header.len() as u16).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let left = rows.checked_mul(row_bytes).ok_or_else(uneven)?;
        Ok(ArrayWriter { out, left })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(uneven)?;
        self.out.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            return Err(uneven());
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn uneven() -> io::Error {
    let what = "not as many elements as the header of the .npy file says";
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::super::{CodesReader, IdsReader};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        for rows in [0, 1, 7, 1000] {
            let codes: Vec<u8> = (0..rows * 5).map(|i| (i * 37 % 251) as u8).collect();
            let mut writer = CodesWriter::new(Vec::new(), rows, 5).unwrap();
            codes
                .chunks(35)
                .for_each(|some| writer.write(some).unwrap());
            let file = writer.finish().unwrap();
            assert_eq!(file.len() % 64, codes.len() % 64);
            std::fs::write(&path, &file).unwrap();
            let mut reader = CodesReader::open(&path).unwrap();
            assert_eq!((reader.rows(), reader.row_bytes()), (rows, 5));
            assert_eq!(reader.read(2000).unwrap(), codes);

            let ids: Vec<u64> = (0..rows).map(|i| u64::MAX - 1 - i * i).collect();
            let mut writer = IdsWriter::new(Vec::new(), rows).unwrap();
            ids.iter().for_each(|&id| writer.write(id).unwrap());
            std::fs::write(&path, writer.finish().unwrap()).unwrap();
            assert_eq!(IdsReader::open(&path).unwrap().read(2000).unwrap(), ids);
        }
    }

    #[test]
    fn the_number_of_rows_is_kept_to() {
        let mut writer = CodesWriter::new(Vec::new(), 2, 3).unwrap();
        writer.write(&[1, 2, 3]).unwrap();
        assert!(writer.write(&[0; 6]).is_err());
        assert!(writer.finish().is_err());
        let ids = IdsWriter::new(Vec::new(), 1).unwrap();
        assert!(ids.finish().is_err());
    }
}
