//! Schemas of the contract's messages, made from their descriptors: names, types and the contract's own comments.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
    schema::AdditionalProperties,
};

use crate::server::json;

/// Of those messages, and of all that they hold, by the names that [`reference`] leads to.
pub(super) fn of(messages: &BTreeSet<&'static str>) -> BTreeMap<String, Schema> {
    let mut schemas = BTreeMap::new();
    let mut left: Vec<Kind> = messages
        .iter()
        .map(|name| Kind::Message(json::descriptor(name)))
        .collect();
    while let Some(kind) = left.pop() {
        match kind {
            Kind::Message(message) if !is_well_known(&message) => {
                if let Entry::Vacant(place) = schemas.entry(short(message.full_name())) {
                    left.extend(held(&message));
                    place.insert(of_message(&message));
                }
            }
            Kind::Enum(each) => {
                schemas.insert(short(each.full_name()), of_enum(&each));
            }
            _ => {}
        }
    }
    schemas
}

/// Where a message's schema lies.
pub(super) fn reference(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// What the fields of a message are, those of its maps' values too.
fn held(message: &MessageDescriptor) -> Vec<Kind> {
    let fields = message.fields();
    fields
        .map(|field| match field.kind() {
            Kind::Message(entry) if entry.is_map_entry() => entry.map_entry_value_field().kind(),
            kind => kind,
        })
        .collect()
}

fn of_message(message: &MessageDescriptor) -> Schema {
    let path = message.path();
    let about = comment(message.parent_file_descriptor_proto(), path);
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(about)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for field in message.fields() {
        object = object.property(field.name(), of_field(&field));
    }
    object.into()
}

fn of_field(field: &FieldDescriptor) -> RefOr<Schema> {
    let about = comment(
        field.parent_message().parent_file_descriptor_proto(),
        field.path(),
    );
    match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(about)
            .additional_properties(Some(AdditionalProperties::RefOr(of_kind(
                &entry.map_entry_value_field().kind(),
                None,
            ))))
            .into(),
        kind if field.is_list() => ArrayBuilder::new()
            .items(of_kind(&kind, None))
            .description(about)
            .into(),
        kind => of_kind(&kind, about),
    }
}

fn of_kind(kind: &Kind, about: Option<String>) -> RefOr<Schema> {
    let of = |schema_type: Type| {
        ObjectBuilder::new()
            .schema_type(schema_type)
            .description(about.clone())
    };
    let known = |format| Some(SchemaFormat::KnownFormat(format));
    let leads_to = |full_name: &str| {
        let mut reference = reference(&short(full_name));
        reference.description = about.clone().unwrap_or_default();
        RefOr::Ref(reference)
    };
    match kind {
        Kind::Double => of(Type::Number).format(known(KnownFormat::Double)).into(),
        Kind::Float => of(Type::Number).format(known(KnownFormat::Float)).into(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            of(Type::Integer).format(known(KnownFormat::Int32)).into()
        }
        Kind::Uint32 | Kind::Fixed32 => of(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(u32::MAX))
            .into(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            of(Type::String).pattern(Some("^-?[0-9]{1,19}$")).into()
        }
        Kind::Uint64 | Kind::Fixed64 => of(Type::String).pattern(Some("^[0-9]{1,20}$")).into(),
        Kind::Bool => of(Type::Boolean).into(),
        Kind::String => of(Type::String).into(),
        Kind::Bytes => of(Type::String).content_encoding("base64").into(),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => {
                of(Type::String).format(known(KnownFormat::DateTime)).into()
            }
            "google.protobuf.Duration" => of(Type::String)
                .pattern(Some(r"^-?[0-9]+(\.[0-9]{1,9})?s$"))
                .into(),
            name => leads_to(name),
        },
        Kind::Enum(each) => leads_to(each.full_name()),
    }
}

fn of_enum(each: &EnumDescriptor) -> Schema {
    let file = each.parent_file_descriptor_proto();
    let about = comment(file, each.path()).unwrap_or_default();
    let values: Vec<String> = each.values().map(|value| value.name().to_owned()).collect();
    let meanings = each.values().map(|value| {
        let meaning = comment(file, value.path()).unwrap_or_default();
        format!("{}: {meaning}", value.name())
    });
    let lines: Vec<String> = std::iter::once(about).chain(meanings).collect();
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(lines.join("\n- ")))
        .enum_values(Some(values))
        .into()
}

/// Those whose JSON is a text of its own.
fn is_well_known(message: &MessageDescriptor) -> bool {
    message.full_name().starts_with("google.protobuf.")
}

/// `FrameReply` of `cellseg.v1.FrameReply`.
fn short(full_name: &str) -> String {
    let package = format!("{}.", json::PACKAGE);
    full_name
        .strip_prefix(&package)
        .unwrap_or(full_name)
        .to_owned()
}

/// What the contract says of it: before it, or behind it on its line.
fn comment(file: &prost_types::FileDescriptorProto, path: &[i32]) -> Option<String> {
    let info = file.source_code_info.as_ref()?;
    let location = info.location.iter().find(|it| it.path == path)?;
    let text = [location.leading_comments(), location.trailing_comments()];
    let text = text.map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
    let text = text.join(" ").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_says_what_the_contract_says() {
        let schemas = of(&BTreeSet::from(["SessionOptions", "FrameReply"]));
        let text = serde_json::to_value(&schemas).unwrap();
        let options = &text["SessionOptions"];
        assert_eq!(options["properties"]["model"]["type"], "string");
        let said = options["properties"]["model"]["description"]
            .as_str()
            .unwrap();
        assert!(said.starts_with("a name from ListModels"), "{said}");
        assert_eq!(
            options["properties"]["delivery"]["$ref"],
            "#/components/schemas/Delivery"
        );
        assert_eq!(text["FrameReply"]["properties"]["id"]["type"], "string");
        assert!(text["Normalization.Percentiles"].is_object());
        let delivery = text["Delivery"]["description"].as_str().unwrap();
        assert!(
            delivery.contains("DELIVERY_LATEST: live view"),
            "{delivery}"
        );
    }
}
