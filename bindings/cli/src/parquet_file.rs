//! Rows as Parquet: columns `id` (uint64), `code` (fixed-size binary) and `payload` (text, nullable).
//!
//! Written so that pandas, polars and DuckDB read what they would expect; read generously, since they write the
//! same columns each in its own way. Both go row group by row group, so that the number of rows does not matter.

use crate::error::Failure;
use crate::verbs::rows::Chunk;
use bitkin::{Collection, Row};
use parquet::basic::{Compression, ConvertedType, Encoding, Type, ZstdLevel};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescriptor, ColumnPath};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a row group, as many as DuckDB makes and enough for compression.
const GROUP_ROWS: usize = 122_880;

/// Bytes of codes and payloads of a row group, about: it is gathered in memory.
const GROUP_BYTES: usize = 32 << 20;

/// Keys of the file's metadata.
const BITS: &str = "bitkin.bits";
const MODEL: &str = "bitkin.model";
const COLLECTION: &str = "bitkin.collection";

/// Writes rows.
pub(crate) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    ids: Vec<i64>,
    codes: Vec<FixedLenByteArray>,
    /// Those that are there, and for each row whether it has one.
    payloads: Vec<ByteArray>,
    has: Vec<i16>,
    bytes: usize,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins a file of rows of `collection`.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(crate) fn new(out: W, collection: &Collection) -> io::Result<Self> {
        let schema = format!(
            "message bitkin {{
                REQUIRED INT64 id (INTEGER(64, false));
                REQUIRED FIXED_LEN_BYTE_ARRAY({}) code;
                OPTIONAL BYTE_ARRAY payload (STRING);
            }}",
            collection.code_bytes()
        );
        let schema = parse_message_type(&schema).map_err(as_io)?;
        let mut facts = vec![
            KeyValue::new(BITS.to_owned(), collection.bits().to_string()),
            KeyValue::new(COLLECTION.to_owned(), collection.name().to_owned()),
        ];
        if let Some(model) = collection.model() {
            facts.push(KeyValue::new(MODEL.to_owned(), model.to_string()));
        }
        let [id, code, payload] = ["id", "code", "payload"].map(ColumnPath::from);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("bitkin ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(facts))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_column_encoding(id, Encoding::DELTA_BINARY_PACKED)
            // Codes are as good as random, and nobody asks for the least of them.
            .set_column_compression(code.clone(), Compression::UNCOMPRESSED)
            .set_column_statistics_enabled(code, EnabledStatistics::None)
            .set_column_statistics_enabled(payload, EnabledStatistics::None)
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties));
        Ok(ParquetWriter {
            file: file.map_err(as_io)?,
            ids: Vec::new(),
            codes: Vec::new(),
            payloads: Vec::new(),
            has: Vec::new(),
            bytes: 0,
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&mut self, row: Row) -> io::Result<()> {
        self.bytes += row.code.len() + row.payload.as_ref().map_or(0, String::len);
        self.ids.push(row.id as i64);
        self.codes.push(row.code.into());
        self.has.push(i16::from(row.payload.is_some()));
        self.payloads
            .extend(row.payload.map(|payload| payload.into_bytes().into()));
        if self.ids.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(as_io)?;
        for number in 0.. {
            let Some(mut column) = group.next_column().map_err(as_io)? else {
                break;
            };
            let written = match number {
                0 => column
                    .typed::<Int64Type>()
                    .write_batch(&self.ids, None, None),
                1 => column
                    .typed::<FixedLenByteArrayType>()
                    .write_batch(&self.codes, None, None),
                _ => column.typed::<ByteArrayType>().write_batch(
                    &self.payloads,
                    Some(&self.has),
                    None,
                ),
            };
            written.map_err(as_io)?;
            column.close().map_err(as_io)?;
        }
        group.close().map_err(as_io)?;
        self.ids.clear();
        self.codes.clear();
        self.payloads.clear();
        self.has.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Ends the file and gives `out` back.
    ///
    /// # Errors
    /// When the last of it cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.ids.is_empty() {
            self.end_group()?;
        }
        self.file.into_inner().map_err(as_io)
    }
}

/// What the system said, where it said something.
fn as_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other.to_string()),
        },
        other => io::Error::other(other.to_string()),
    }
}

/// Reads rows.
pub(crate) struct ParquetReader {
    name: PathBuf,
    file: SerializedFileReader<File>,
    bits: u32,
    places: Places,
    /// Rows of the whole file.
    rows: u64,
    /// The row group that is read next, or is being read.
    group: usize,
    reading: Option<Group>,
}

/// Numbers of the columns.
#[derive(Clone, Copy)]
struct Places {
    id: Option<usize>,
    code: usize,
    payload: Option<usize>,
}

/// A row group that is being read.
struct Group {
    left: usize,
    id: Option<Column>,
    code: Column,
    payload: Option<Column>,
}

struct Column {
    reader: ColumnReader,
    nullable: bool,
    /// Of whole numbers: that they are read as they are, and not by their sign.
    unsigned: bool,
}

impl ParquetReader {
    /// Opens `file`, which messages call `name`, to read rows for `collection`.
    ///
    /// # Errors
    /// When it is no Parquet file or has no rows for this collection.
    pub(crate) fn open(name: &Path, file: File, collection: &Collection) -> Result<Self, Failure> {
        let shown = name.display();
        let file = SerializedFileReader::new(file)
            .map_err(|error| unusable(name, &error).advise("is it whole, and a Parquet file?"))?;
        let metadata = file.metadata().file_metadata();
        let (bits, width) = (collection.bits(), collection.code_bytes());
        let fact = |key: &str| {
            let facts = metadata.key_value_metadata()?.iter();
            let mut found = facts.filter(|fact| fact.key == key);
            found.next()?.value.clone()
        };
        if let Some(found) = fact(BITS).filter(|found| *found != bits.to_string()) {
            return Err(Failure::new(format!(
                "{shown} has codes of {found} bits, collection {:?} of {bits}",
                collection.name()
            )));
        }
        let model = collection.model().map(|model| model.to_string());
        if let (Some(found), Some(model)) = (fact(MODEL), model)
            && found != model
        {
            return Err(Failure::new(format!(
                "{shown} has codes of model {found}, collection {:?} of {model}",
                collection.name()
            ))
            .advise("codes of two models cannot be compared; ingest the pictures instead"));
        }
        let places = Places::find(metadata.schema_descr().columns(), name, width)?;
        let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
        Ok(ParquetReader {
            name: name.to_owned(),
            bits,
            places,
            rows,
            group: 0,
            reading: None,
            file,
        })
    }

    /// Number of rows, as the file says.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The next rows, at most `rows` of them; none at the end.
    ///
    /// # Errors
    /// When the file is damaged or a row cannot be one.
    pub(crate) fn read(&mut self, rows: usize) -> Result<Chunk, Failure> {
        loop {
            let mut group = match self.reading.take() {
                Some(group) => group,
                None if self.group >= self.file.num_row_groups() => return Ok(Chunk::default()),
                None => {
                    let opened = self.open_group(self.group);
                    self.group += 1;
                    opened.map_err(|error| unusable(&self.name, &error))?
                }
            };
            let count = rows.min(group.left);
            if count == 0 {
                continue;
            }
            let width = self.bits.div_ceil(8) as usize;
            let chunk = group.read(count, width).map_err(|what| match what {
                Broken::File(error) => unusable(&self.name, &error),
                Broken::Row(what) => Failure::new(format!("{}: {what}", self.name.display())),
            })?;
            group.left -= count;
            self.reading = Some(group);
            return Ok(chunk);
        }
    }

    fn open_group(&self, number: usize) -> Result<Group, ParquetError> {
        let group = self.file.get_row_group(number)?;
        let columns = self.file.metadata().file_metadata().schema_descr();
        let open = |place: usize| {
            let column = columns.column(place);
            Ok::<_, ParquetError>(Column {
                reader: group.get_column_reader(place)?,
                nullable: column.max_def_level() > 0,
                // Older writers, and DuckDB, say it in the older way alone.
                unsigned: matches!(
                    column.converted_type(),
                    ConvertedType::UINT_32 | ConvertedType::UINT_64
                ),
            })
        };
        Ok(Group {
            left: usize::try_from(group.metadata().num_rows()).unwrap_or(0),
            id: self.places.id.map(open).transpose()?,
            code: open(self.places.code)?,
            payload: self.places.payload.map(open).transpose()?,
        })
    }
}

impl Places {
    fn find(
        columns: &[Arc<ColumnDescriptor>],
        file: &Path,
        width: usize,
    ) -> Result<Places, Failure> {
        let file = file.display();
        let (mut id, mut code, mut payload) = (None, None, None);
        for (number, column) in columns.iter().enumerate() {
            let path = column.path();
            let name = path.parts().first().map_or("", String::as_str);
            let expected = match name {
                "id" => "whole numbers",
                "code" => "binary",
                "payload" => "text",
                other => {
                    return Err(Failure::new(format!(
                        "{file} has the column {other:?}; a row has id, code and payload"
                    ))
                    .advise("select these columns before writing the file (pandas: index=False)"));
                }
            };
            let flat = path.parts().len() == 1 && column.max_rep_level() == 0;
            let kind = column.physical_type();
            let fits = flat
                && match name {
                    "id" => matches!(kind, Type::INT32 | Type::INT64),
                    "code" => matches!(kind, Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY),
                    _ => kind == Type::BYTE_ARRAY,
                };
            if !fits {
                let kind = if flat {
                    kind.to_string()
                } else {
                    "a list".to_owned()
                };
                return Err(Failure::new(format!(
                    "{file}: the column {name:?} is {kind}, expected {expected}"
                ))
                .advise(
                    "id is uint64, code binary of ceil(bits / 8) bytes, payload JSON as text",
                ));
            }
            if kind == Type::FIXED_LEN_BYTE_ARRAY && column.type_length() != width as i32 {
                return Err(Failure::new(format!(
                    "{file} has codes of {} bytes, the collection of {width}",
                    column.type_length()
                )));
            }
            match name {
                "id" => id = Some(number),
                "code" => code = Some(number),
                _ => payload = Some(number),
            }
        }
        let code = code.ok_or_else(|| {
            Failure::new(format!("{file} has no column \"code\""))
                .advise("a row has id, code and payload; id and payload may be left out")
        })?;
        Ok(Places { id, code, payload })
    }
}

/// Why rows cannot be read.
enum Broken {
    File(ParquetError),
    Row(String),
}

impl From<ParquetError> for Broken {
    fn from(error: ParquetError) -> Self {
        Broken::File(error)
    }
}

impl Group {
    fn read(&mut self, rows: usize, width: usize) -> Result<Chunk, Broken> {
        let ids = match &mut self.id {
            Some(column) => Some(column.ids(rows)?),
            None => None,
        };
        let mut codes = Vec::with_capacity(rows * width);
        for code in self.code.bytes(rows)? {
            match code {
                Some(code) if code.len() == width => codes.extend_from_slice(&code),
                Some(code) => {
                    let found = code.len();
                    let what = format!("a code has {found} bytes, those of the collection {width}");
                    return Err(Broken::Row(what));
                }
                None => return Err(Broken::Row("a row has no code".to_owned())),
            }
        }
        let mut payloads = Vec::new();
        if let Some(column) = &mut self.payload {
            for payload in column.bytes(rows)? {
                let text = payload.map(String::from_utf8).transpose();
                payloads.push(text.map_err(|_| Broken::Row("a payload is not UTF-8".to_owned()))?);
            }
            if payloads.iter().all(Option::is_none) {
                payloads.clear();
            }
        }
        Ok(Chunk {
            ids,
            codes,
            payloads,
            rows: rows as u64,
        })
    }
}

impl Column {
    fn ids(&mut self, rows: usize) -> Result<Vec<u64>, Broken> {
        let unsigned = self.unsigned;
        let signed = |id: i64| match u64::try_from(id) {
            Ok(id) => Ok(id),
            Err(_) if unsigned => Ok(id as u64),
            Err(_) => Err(Broken::Row(format!("the id {id} is negative"))),
        };
        let ids: Vec<Option<i64>> = match &mut self.reader {
            ColumnReader::Int64ColumnReader(reader) => values(reader, rows, self.nullable)?,
            ColumnReader::Int32ColumnReader(reader) => {
                let widen = |id: i32| match unsigned {
                    true => i64::from(id as u32),
                    false => i64::from(id),
                };
                let ids = values(reader, rows, self.nullable)?.into_iter();
                ids.map(|id| id.map(widen)).collect()
            }
            _ => return Err(Broken::Row("the ids are no whole numbers".to_owned())),
        };
        ids.into_iter()
            .map(|id| signed(id.ok_or_else(|| Broken::Row("a row has no id".to_owned()))?))
            .collect()
    }

    fn bytes(&mut self, rows: usize) -> Result<Vec<Option<Vec<u8>>>, Broken> {
        let nullable = self.nullable;
        let values: Vec<Option<ByteArray>> = match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => values(reader, rows, nullable)?,
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                let values = values(reader, rows, nullable)?.into_iter();
                values.map(|value| value.map(Into::into)).collect()
            }
            _ => return Err(Broken::Row("codes and payloads are no bytes".to_owned())),
        };
        let bytes = values.into_iter();
        Ok(bytes
            .map(|value| value.map(|bytes| bytes.data().to_vec()))
            .collect())
    }
}

/// The next `rows` values of a column, with those that are null.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    nullable: bool,
) -> Result<Vec<Option<T::T>>, Broken> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let some = reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if some.0 == 0 {
            return Err(Broken::Row("a column ends before its row group".to_owned()));
        }
        read += some.0;
    }
    if !nullable {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut there = values.into_iter();
    let value = |level: &i16| if *level > 0 { there.next() } else { None };
    Ok(levels.iter().map(value).collect())
}

fn unusable(file: &Path, error: &ParquetError) -> Failure {
    let text = error.to_string();
    let text = text.strip_prefix("Parquet error: ").unwrap_or(&text);
    let failure = Failure::new(format!("{} cannot be read: {text}", file.display()));
    match text.contains("Disabled feature") {
        true => failure.advise("write it with zstd, snappy, gzip, lz4 or no compression"),
        false => failure,
    }
}
