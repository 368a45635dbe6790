//! The contract's messages as JSON, by their descriptors: protobuf's canonical mapping with the contract's own field names.
//!
//! Numbers, truths, texts and lists that are at their default are written all the same, so that who reads `count` finds it where
//! there are no cells; what can be absent is absent. 64-bit integers are strings, bytes are base64, enums are their names.

use std::sync::LazyLock;

use axum::http::StatusCode;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::problem::Problem;
use crate::proto;

/// Where the contract's messages live.
pub(super) const PACKAGE: &str = "cellseg.v1";

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(proto::DESCRIPTORS).expect("the descriptors are those of the build")
});

/// The descriptor of the contract's message `name`.
pub(super) fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("{PACKAGE}.{name}"))
        .expect("the contract has the messages that this program names")
}

/// Reads the contract's message `name`. `part`: what the text is, for the error, which names the field, the line and the column.
pub(super) fn decode<M: Message + Default>(
    name: &str,
    part: &str,
    text: &[u8],
) -> Result<M, Problem> {
    let wrong = |error: String| {
        Problem::bad_request(format!(
            "{part} is not {name} of the contract as JSON: {error}"
        ))
    };
    let mut json = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize(descriptor(name), &mut json)
        .map_err(|error| wrong(error.to_string()))?;
    json.end().map_err(|error| wrong(error.to_string()))?;
    message
        .transcode_to()
        .map_err(|error| wrong(error.to_string()))
}

/// Writes the contract's message `name`.
pub(super) fn encode<M: Message>(name: &str, message: &M) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    written(name, message, &mut serde_json::Serializer::new(&mut text))?;
    text.push(b'\n');
    Ok(text)
}

/// The same, as a part of other JSON.
pub(super) fn value<M: Message>(name: &str, message: &M) -> Result<serde_json::Value, Problem> {
    written(name, message, serde_json::value::Serializer)
}

fn written<M: Message, S: serde::Serializer>(
    name: &str,
    message: &M,
    serializer: S,
) -> Result<S::Ok, Problem> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false);
    let defect = |error: String| {
        tracing::error!(name, %error, "a message cannot be written as JSON");
        let detail = "a defect of the daemon while writing JSON; its log says more";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
    };
    let mut dynamic = DynamicMessage::new(descriptor(name));
    dynamic
        .transcode_from(message)
        .map_err(|error| defect(error.to_string()))?;
    dynamic
        .serialize_with_options(serializer, &options)
        .map_err(|error| defect(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto as pb;

    #[test]
    fn what_is_written_is_read_back() {
        let text =
            br#"{"model": "a", "thresholds": {"confidence": 0.25, "class_confidence": {"1": 0.5}},
            "delivery": "DELIVERY_LATEST", "tracking": {}, "measurements": {"shape": true}}"#;
        let options: pb::SessionOptions = decode("SessionOptions", "options", text).unwrap();
        assert_eq!(options.delivery(), pb::Delivery::Latest);
        assert_eq!(options.tracking, Some(pb::Tracking::default()));
        let again = encode("SessionOptions", &options).unwrap();
        let read: pb::SessionOptions = decode("SessionOptions", "options", &again).unwrap();
        assert_eq!(read, options);
    }

    #[test]
    fn what_is_zero_is_there_and_what_is_absent_is_not() {
        let summary = value("FrameSummary", &pb::FrameSummary::default()).unwrap();
        assert_eq!(summary["count"], 0);
        assert_eq!(summary["analysed_px"], "0");
        assert_eq!(summary.get("density_per_mm2"), None);
        assert_eq!(summary.get("growth"), None);
    }

    #[test]
    fn a_field_that_is_none_is_named_with_its_place() {
        for (text, words) in [
            (
                "{\"modle\": 1}",
                "unrecognized field name 'modle' at line 1 column 8",
            ),
            ("{\"thresholds\": {\"confidence\": \"high\"}}", "line 1"),
            ("{\"model\": \"a\"} x", "trailing characters"),
            ("[]", "line 1"),
            ("", "EOF"),
        ] {
            let refused =
                decode::<pb::SessionOptions>("SessionOptions", "options", text.as_bytes());
            let said = format!("{:?}", refused.unwrap_err());
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
