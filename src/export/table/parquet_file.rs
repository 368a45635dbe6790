//! A table as Parquet: every column may be null, the provenance is in the file's own metadata.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{LogicalType, Repetition, Type as PhysicalType},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type, TypePtr},
};

use super::{Column, Kind, Value};
use crate::export::{ExportError, Provenance};

/// Of a row group: what is held in memory until it is written.
const ROWS_AT_ONCE: usize = 16 * 1024;

pub(super) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    /// Not yet written.
    rows: Vec<Vec<Value>>,
}

impl<W: Write + Send> ParquetFile<W> {
    pub(super) fn new(
        out: W,
        columns: Vec<Column>,
        provenance: &Provenance,
    ) -> Result<Self, ExportError> {
        let said = KeyValue::new("cellsegd".to_owned(), provenance.object().to_string());
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(vec![said]))
            .build();
        let writer = SerializedFileWriter::new(out, schema(&columns)?, Arc::new(properties))?;
        Ok(ParquetFile {
            writer,
            columns,
            rows: Vec::new(),
        })
    }

    pub(super) fn row(&mut self, values: Vec<Value>) -> Result<(), ExportError> {
        self.rows.push(values);
        match self.rows.len() < ROWS_AT_ONCE {
            true => Ok(()),
            false => self.write_group(),
        }
    }

    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        self.writer.close()?;
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ExportError> {
        let rows = std::mem::take(&mut self.rows);
        let mut group = self.writer.next_row_group()?;
        for i in 0..self.columns.len() {
            if let Some(mut column) = group.next_column()? {
                write_column(&mut column, rows.iter().map(|row| &row[i]))?;
                column.close()?;
            }
        }
        group.close()?;
        Ok(())
    }
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|column| {
        let (physical, logical) = match column.kind {
            Kind::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Int => (PhysicalType::INT64, None),
            Kind::Float => (PhysicalType::DOUBLE, None),
            Kind::Bool => (PhysicalType::BOOLEAN, None),
        };
        Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    });
    let fields = fields.collect::<Result<_, _>>()?;
    Ok(Arc::new(
        Type::group_type_builder("table")
            .with_fields(fields)
            .build()?,
    ))
}

/// Values that are there, and for every row whether one is.
fn write_column<'a>(
    column: &mut SerializedColumnWriter<'_>,
    values: impl Iterator<Item = &'a Value> + Clone,
) -> Result<(), ParquetError> {
    let there: Vec<i16> = values
        .clone()
        .map(|value| i16::from(*value != Value::Absent))
        .collect();
    let levels = Some(&there[..]);
    match column.untyped() {
        ColumnWriter::ByteArrayColumnWriter(column) => {
            let texts: Vec<ByteArray> = values
                .filter_map(|value| match value {
                    Value::Text(text) => Some(text.as_bytes().to_vec().into()),
                    _ => None,
                })
                .collect();
            column.write_batch(&texts, levels, None)?;
        }
        ColumnWriter::Int64ColumnWriter(column) => {
            let numbers: Vec<i64> = values
                .filter_map(|value| match value {
                    Value::Int(number) => Some(*number),
                    _ => None,
                })
                .collect();
            column.write_batch(&numbers, levels, None)?;
        }
        ColumnWriter::DoubleColumnWriter(column) => {
            let numbers: Vec<f64> = values
                .filter_map(|value| match value {
                    Value::Float(number) => Some(*number),
                    _ => None,
                })
                .collect();
            column.write_batch(&numbers, levels, None)?;
        }
        ColumnWriter::BoolColumnWriter(column) => {
            let truths: Vec<bool> = values
                .filter_map(|value| match value {
                    Value::Bool(truth) => Some(*truth),
                    _ => None,
                })
                .collect();
            column.write_batch(&truths, levels, None)?;
        }
        _ => {
            return Err(ParquetError::NYI(
                "a column of a kind that no table has".to_owned(),
            ));
        }
    }
    Ok(())
}

impl From<ParquetError> for ExportError {
    fn from(error: ParquetError) -> Self {
        ExportError::Io(std::io::Error::other(error))
    }
}
