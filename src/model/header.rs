//! The header that ultralytics writes before a plan: 4 bytes, little-endian, length; so many bytes of JSON; the plan.

use serde_json::Value;

/// What such a header says, as far as we ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// "segment".
    pub task: Option<String>,
    /// Height, width.
    pub size: Option<[usize; 2]>,
    /// Of the classes, in order.
    pub names: Option<Vec<String>>,
    /// The largest stride of the network.
    pub stride: Option<u64>,
    /// Frames at a time.
    pub batch: Option<u64>,
    /// "fp16", where the arguments of the export say it.
    pub precision: Option<String>,
    /// "8.4.190".
    pub version: Option<String>,
}

impl Header {
    /// Whether `bytes` begin as such a header does: its length, less than 16 MiB, and an object. Parses nothing.
    pub(super) fn is_marked(bytes: &[u8]) -> bool {
        bytes.get(3..5) == Some(&[0, b'{'])
    }

    /// The header and where the plan begins. None: there is no header, the file is a bare plan.
    pub(super) fn read(bytes: &[u8]) -> Option<(Header, usize)> {
        let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        let json = bytes.get(4..length.checked_add(4)?)?;
        // Cheap, and true of every object; most plans fail here.
        if json.first() != Some(&b'{') {
            return None;
        }
        let value: Value = serde_json::from_slice(json).ok()?;
        Some((Header::of(&value), 4 + length))
    }

    fn of(value: &Value) -> Header {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let half = value["args"]["half"] == true;
        let int8 = value["args"]["int8"] == true;
        Header {
            task: text("task"),
            size: size(&value["imgsz"]),
            names: names(&value["names"]),
            stride: value["stride"].as_u64(),
            batch: value["batch"].as_u64(),
            precision: match (int8, half) {
                (true, _) => Some("int8".to_owned()),
                (_, true) => Some("fp16".to_owned()),
                _ => None,
            },
            version: text("version"),
        }
    }
}

/// `[height, width]`, or one number for both.
fn size(value: &Value) -> Option<[usize; 2]> {
    let side = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    match value {
        Value::Array(sides) => match &sides[..] {
            [height, width] => Some([side(height)?, side(width)?]),
            _ => None,
        },
        one => side(one).map(|side| [side, side]),
    }
}

/// `{"0": "cell", "1": "nucleus"}` or `["cell", "nucleus"]`.
fn names(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::Array(names) => names.iter().map(text).collect(),
        Value::Object(names) => (0..names.len())
            .map(|index| text(names.get(&index.to_string())?))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str, plan: &[u8]) -> Vec<u8> {
        let mut bytes = (json.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.extend_from_slice(plan);
        bytes
    }

    #[test]
    fn what_ultralytics_writes_is_read() {
        let json = r#"{"task": "segment", "imgsz": [640, 960], "names": {"0": "cell", "1": "it's"}, "stride": 32, "batch": 1,
            "version": "8.4.190", "args": {"half": true, "int8": false}, "channels": 3, "end2end": false}"#;
        let (header, at) = Header::read(&file(json, b"plan")).unwrap();
        assert_eq!(at, 4 + json.len());
        assert_eq!(
            header,
            Header {
                task: Some("segment".to_owned()),
                size: Some([640, 960]),
                names: Some(vec!["cell".to_owned(), "it's".to_owned()]),
                stride: Some(32),
                batch: Some(1),
                precision: Some("fp16".to_owned()),
                version: Some("8.4.190".to_owned()),
            }
        );
    }

    #[test]
    fn what_is_no_header_is_a_bare_plan() {
        let whole = file("{}", b"plan");
        for (bytes, header) in [
            (&whole[..], true),
            (&file("{}", b"")[..], true),
            (b"", false),
            (b"ftr", false),
            (&whole[..5], false),
            (b"ftrt\x00\x00\x00\x00plan", false),
            (&file("[1]", b"plan"), false),
            (&file("{\"a\"}", b"plan"), false),
            (b"\x03\x00\x00\x00{ \xff", false),
            (b"\xff\xff\xff\xff{}", false),
        ] {
            assert_eq!(Header::read(bytes).is_some(), header, "{bytes:?}");
        }
    }

    #[test]
    fn odd_metadata_says_nothing() {
        for json in [
            r#"{"imgsz": "640", "names": "cell"}"#,
            r#"{"imgsz": [640], "names": {"1": "cell"}}"#,
            r#"{"imgsz": [-1, 2.5], "names": {"0": 1}}"#,
        ] {
            let (header, _) = Header::read(&file(json, b"")).unwrap();
            assert_eq!((header.size, header.names), (None, None), "{json}");
        }
        let (header, _) = Header::read(&file(r#"{"imgsz": 320, "names": ["a"]}"#, b"")).unwrap();
        assert_eq!(header.size, Some([320, 320]));
        assert_eq!(header.names, Some(vec!["a".to_owned()]));
    }
}
