//! Tables of cells and of tracks, as CSV and as Parquet.
//!
//! What a table's columns are is said once, whatever the file. Names carry units. A value that is not known is empty (CSV) or null
//! (Parquet): not measured, not tracked, no pixel size.

mod cells;
mod columns;
mod csv_file;
mod parquet_file;
mod tracks;

use std::io::Write;

pub use cells::{CellTable, channels};
pub(in crate::export) use columns::{centroid, measurements};
pub use tracks::track_table;

use super::{ExportError, Provenance};
use csv_file::CsvFile;
use parquet_file::ParquetFile;

/// What kind of file a table becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, with a line of names.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// A column's name and what is in it.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Float,
    Bool,
}

/// What is in a row; its kind is that of its column.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Absent,
}

/// A table on its way into a file.
enum TableFile<W: Write + Send> {
    Csv(Box<CsvFile<W>>),
    Parquet(Box<ParquetFile<W>>),
}

impl<W: Write + Send> TableFile<W> {
    fn new(
        format: Format,
        out: W,
        columns: Vec<Column>,
        provenance: &Provenance,
    ) -> Result<Self, ExportError> {
        Ok(match format {
            Format::Csv => TableFile::Csv(Box::new(CsvFile::new(out, &columns)?)),
            Format::Parquet => {
                TableFile::Parquet(Box::new(ParquetFile::new(out, columns, provenance)?))
            }
        })
    }

    /// A value a column, in their order.
    fn row(&mut self, values: Vec<Value>) -> Result<(), ExportError> {
        match self {
            TableFile::Csv(file) => file.row(&values),
            TableFile::Parquet(file) => file.row(values),
        }
    }

    fn finish(self) -> Result<(), ExportError> {
        match self {
            TableFile::Csv(file) => file.finish(),
            TableFile::Parquet(file) => file.finish(),
        }
    }
}

impl Value {
    fn text(text: &str) -> Value {
        match text {
            "" => Value::Absent,
            _ => Value::Text(text.to_owned()),
        }
    }

    fn int(number: Option<impl Into<i64>>) -> Value {
        number.map_or(Value::Absent, |number| Value::Int(number.into()))
    }

    fn float(number: Option<f64>) -> Value {
        number.map_or(Value::Absent, Value::Float)
    }

    /// Ids are counted from 1 and never come near the end of 63 bits.
    fn id(id: Option<u64>) -> Value {
        id.map_or(Value::Absent, |id| {
            Value::Int(i64::try_from(id).unwrap_or(i64::MAX))
        })
    }
}
