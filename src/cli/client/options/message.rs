//! TOML to one of the contract's messages, by the contract's own description of it: a new field is understood without a line here.

use std::ops::Range;

use prost::Message;
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What is wrong, and the bytes of the file where.
struct Fault {
    at: Range<usize>,
    what: String,
}

/// The message of that name. `Err` begins with the line, where there is one.
pub(super) fn read<M: Message + Default>(text: &str, name: &str) -> Result<M, String> {
    let contract = super::contract()?;
    let descriptor = contract
        .get_message_by_name(name)
        .ok_or_else(|| format!("the contract has no message {name}"))?;
    let line = |at: usize| 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("line {}: {}", line(at), error.message())
    })?;
    let json = table(&descriptor, parsed.get_ref(), "")
        .map_err(|fault| format!("line {}: {}", line(fault.at.start), fault.what))?;
    // Its lines are lost, but little is left to be wrong: two rules where there is one, bytes that are no base64.
    let message = DynamicMessage::deserialize(descriptor, Value::Object(json))
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

fn table(
    descriptor: &MessageDescriptor,
    table: &DeTable<'_>,
    path: &str,
) -> Result<Map<String, Value>, Fault> {
    let mut json = Map::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let path = join(path, name);
        let Some(field) = descriptor.get_field_by_name(name) else {
            let names: Vec<String> = descriptor.fields().map(|f| f.name().to_owned()).collect();
            let what = format!("{path}: no such option; there are {}", names.join(", "));
            return Err(Fault {
                at: key.span(),
                what,
            });
        };
        json.insert(name.to_owned(), of_field(&field, value, &path)?);
    }
    Ok(json)
}

fn of_field(
    field: &FieldDescriptor,
    value: &Spanned<DeValue<'_>>,
    path: &str,
) -> Result<Value, Fault> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            return Err(fault(value, path, "a table"));
        };
        return entries(&entry, value, path);
    }
    if !field.is_list() {
        return single(&field.kind(), value, path);
    }
    let items = value.get_ref().as_array();
    let items = items.ok_or_else(|| fault(value, path, "a list"))?;
    let items = items.iter().enumerate();
    items
        .map(|(i, item)| single(&field.kind(), item, &format!("{path}[{i}]")))
        .collect()
}

/// A map of the contract. TOML's keys are text, as JSON's are.
fn entries(
    entry: &MessageDescriptor,
    value: &Spanned<DeValue<'_>>,
    path: &str,
) -> Result<Value, Fault> {
    let of_map = value.get_ref().as_table();
    let of_map = of_map.ok_or_else(|| fault(value, path, "a table"))?;
    let (keys, values) = (
        entry.map_entry_key_field().kind(),
        entry.map_entry_value_field(),
    );
    let mut json = Map::new();
    for (key, value) in of_map {
        let name = key.get_ref().as_ref();
        let path = join(path, name);
        if keys == Kind::Uint32 && name.parse::<u32>().is_err() {
            let what = format!("{path}: the key must be a whole number, 0 or more");
            return Err(Fault {
                at: key.span(),
                what,
            });
        }
        json.insert(name.to_owned(), single(&values.kind(), value, &path)?);
    }
    Ok(Value::Object(json))
}

fn single(kind: &Kind, value: &Spanned<DeValue<'_>>, path: &str) -> Result<Value, Fault> {
    let text = || match value.get_ref() {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Datetime(time) => Some(Value::String(time.to_string())),
        _ => None,
    };
    let (read, right) = match kind {
        Kind::Message(descriptor) => match (descriptor.full_name(), value.get_ref()) {
            ("google.protobuf.Timestamp", _) => (text(), "a time, as 2026-03-01T12:00:00Z"),
            ("google.protobuf.Duration", _) => (text(), "a duration, as \"1.5s\""),
            (_, DeValue::Table(fields)) => {
                return table(descriptor, fields, path).map(Value::Object);
            }
            _ => (None, "a table"),
        },
        Kind::Enum(values) => return word(values, value, path),
        Kind::Bool => (value.get_ref().as_bool().map(Value::Bool), "true or false"),
        Kind::String => (text(), "text in quotes"),
        Kind::Bytes => (text(), "bytes as base64 in quotes"),
        Kind::Double | Kind::Float => (number(value), "a number"),
        Kind::Uint32 | Kind::Fixed32 => (
            whole(value, 0..=i64::from(u32::MAX)),
            "a whole number from 0 to 4294967295",
        ),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (
            whole(value, i64::from(i32::MIN)..=i64::from(i32::MAX)),
            "a whole number within 32 bits",
        ),
        Kind::Uint64 | Kind::Fixed64 => (whole(value, 0..=i64::MAX), "a whole number, 0 or more"),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            (whole(value, i64::MIN..=i64::MAX), "a whole number")
        }
    };
    read.ok_or_else(|| fault(value, path, right))
}

fn whole(value: &Spanned<DeValue<'_>>, bounds: std::ops::RangeInclusive<i64>) -> Option<Value> {
    let number = value.get_ref().as_integer()?;
    let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
    bounds.contains(&number).then(|| json!(number))
}

/// NaN and infinities are none: nothing in the contract means them.
fn number(value: &Spanned<DeValue<'_>>) -> Option<Value> {
    let number = match value.get_ref() {
        DeValue::Float(float) => float.as_str().parse().ok()?,
        DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix()).ok()? as f64,
        _ => return None,
    };
    number.is_finite().then(|| json!(number))
}

/// A value of an enum by its name, with or without the enum's own: LATEST is DELIVERY_LATEST.
fn word(values: &EnumDescriptor, value: &Spanned<DeValue<'_>>, path: &str) -> Result<Value, Fault> {
    let zero = values.default_value();
    let prefix = zero.name().trim_end_matches("UNSPECIFIED");
    if let DeValue::String(text) = value.get_ref() {
        let name = text.to_uppercase();
        for name in [format!("{prefix}{name}"), name] {
            if values.get_value_by_name(&name).is_some() {
                return Ok(Value::String(name));
            }
        }
    }
    let names = values.values().filter(|value| value.number() != 0);
    let names: Vec<String> = names
        .map(|value| format!("{:?}", value.name().trim_start_matches(prefix)))
        .collect();
    Err(fault(value, path, &format!("one of {}", names.join(", "))))
}

fn fault(value: &Spanned<DeValue<'_>>, path: &str, right: &str) -> Fault {
    let got = match value.get_ref() {
        DeValue::String(text) => format!(" {text:?}"),
        DeValue::Integer(number) => format!(" {number}"),
        DeValue::Float(number) => format!(" {number}"),
        DeValue::Boolean(truth) => format!(" {truth}"),
        DeValue::Datetime(time) => format!(" {time}"),
        DeValue::Array(_) => " is a list".to_owned(),
        DeValue::Table(_) => " is a table".to_owned(),
    };
    Fault {
        at: value.span(),
        what: format!("{path}{got}: must be {right}"),
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Delivery, SessionOptions, tiling::Mode};

    fn options(text: &str) -> Result<SessionOptions, String> {
        read(text, "cellseg.v1.SessionOptions")
    }

    #[test]
    fn enums_are_read_with_and_without_their_prefix() {
        for word in ["LATEST", "DELIVERY_LATEST", "latest"] {
            let read = options(&format!("delivery = \"{word}\"")).unwrap();
            assert_eq!(read.delivery(), Delivery::Latest, "{word}");
        }
        let read = options("tiling = { mode = \"ON\", overlap = 0.25 }").unwrap();
        assert_eq!(read.tiling.unwrap().mode(), Mode::On);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, begin, word) in [
            (
                "\n[thresholds]\nconfidense = 1",
                "line 3: thresholds.confidense: no such",
                "confidence",
            ),
            (
                "window = -1",
                "line 1: window -1: must be",
                "0 to 4294967295",
            ),
            ("window = 1.5", "line 1: window 1.5: must be", "whole"),
            (
                "[thresholds]\niou = \"high\"",
                "line 2: thresholds.iou \"high\": must be",
                "a number",
            ),
            (
                "[thresholds]\nclasses = 1",
                "line 2: thresholds.classes 1: must be",
                "a list",
            ),
            (
                "[thresholds]\nclasses = [0, true]",
                "line 2: thresholds.classes[1] true:",
                "whole",
            ),
            (
                "[thresholds]\nconfidence = nan",
                "line 2: thresholds.confidence nan:",
                "a number",
            ),
            (
                "[thresholds.class_confidence]\na = 1",
                "line 2: thresholds.class_confidence.a:",
                "key",
            ),
            (
                "tracking = [1]",
                "line 1: tracking is a list: must be",
                "a table",
            ),
            (
                "delivery = \"NEWEST\"",
                "line 1: delivery \"NEWEST\": must be",
                "\"LATEST\"",
            ),
            ("name = 1\n", "line 1: name 1: must be", "quotes"),
            ("a = ", "line 1: ", ""),
            ("a = 1\na = 2", "line 2: ", "duplicate"),
        ] {
            let error = options(text).unwrap_err();
            assert!(
                error.starts_with(begin) && error.contains(word),
                "{text}: {error}"
            );
        }
        let two = "[normalization.window]\nlow = 1\nhigh = 2\n[normalization.full_range]\n";
        assert!(options(two).is_err());
    }
}
