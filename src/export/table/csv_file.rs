//! A table as comma-separated values.

use std::io::{self, Write};

use super::{Column, Value};
use crate::export::ExportError;

pub(super) struct CsvFile<W: Write>(csv::Writer<W>);

impl<W: Write> CsvFile<W> {
    pub(super) fn new(out: W, columns: &[Column]) -> Result<Self, ExportError> {
        let mut writer = csv::Writer::from_writer(out);
        writer
            .write_record(columns.iter().map(|column| &column.name))
            .map_err(io::Error::from)?;
        Ok(CsvFile(writer))
    }

    pub(super) fn row(&mut self, values: &[Value]) -> Result<(), ExportError> {
        let fields = values.iter().map(|value| match value {
            Value::Text(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => nine_digits(*number).to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Absent => String::new(),
        });
        Ok(self.0.write_record(fields).map_err(io::Error::from)?)
    }

    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        Ok(self.0.flush()?)
    }
}

/// To nine digits: more than any measurement is good for, and without the tail that binary fractions have in decimals.
fn nine_digits(number: f64) -> f64 {
    format!("{number:.8e}").parse().unwrap_or(number)
}
