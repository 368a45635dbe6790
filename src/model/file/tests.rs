use prost::Message;

use super::*;
use crate::{
    model::{
        Head, HeadShape,
        onnx::schema::{
            AttributeProto, DimProto, EntryProto, GraphProto, ModelProto, NodeProto, OpsetProto,
            ShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, WeightProto,
        },
    },
    params::{MinSpan, Normalization},
};

const FLOAT: i32 = 1;
const FLOAT16: i32 = 10;
/// A dynamic dimension.
const ANY: i64 = 0;

fn tensor(name: &str, element: i32, dims: &[i64]) -> ValueInfoProto {
    let dims = dims.iter().map(|&dim| DimProto {
        value: (dim != ANY).then_some(dim),
    });
    ValueInfoProto {
        name: name.to_owned(),
        value_type: Some(TypeProto {
            tensor: Some(TensorTypeProto {
                element,
                shape: Some(ShapeProto {
                    dims: dims.collect(),
                }),
            }),
        }),
    }
}

/// An ONNX file that has an interface and no network.
fn onnx(
    input: &[i64],
    outputs: [&[i64]; 2],
    metadata: &[(&str, &str)],
    change: impl FnOnce(&mut GraphProto),
) -> Vec<u8> {
    let mut graph = GraphProto {
        node: Vec::new(),
        initializer: Vec::new(),
        input: vec![tensor("images", FLOAT, input)],
        output: vec![
            tensor("output0", FLOAT, outputs[0]),
            tensor("output1", FLOAT, outputs[1]),
        ],
    };
    change(&mut graph);
    let model = ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OpsetProto { version: 17 }],
        metadata_props: metadata
            .iter()
            .map(|&(key, value)| EntryProto {
                key: key.to_owned(),
                value: value.to_owned(),
            })
            .collect(),
    };
    model.encode_to_vec()
}

fn plain(metadata: &[(&str, &str)]) -> Vec<u8> {
    onnx(
        &[1, 3, 640, 640],
        [&[1, 38, 8400], &[1, 32, 160, 160]],
        metadata,
        |_| {},
    )
}

fn parse(bytes: Vec<u8>, manifest: &str) -> Result<ModelFile, ModelError> {
    read(
        Path::new("dir/m.onnx"),
        Cow::Owned(bytes),
        manifest,
        Rules::ONNX,
    )
}

fn refusal(bytes: Vec<u8>, manifest: &str) -> String {
    parse(bytes, manifest).unwrap_err().to_string()
}

#[test]
fn the_bundled_model_is_the_one_its_manifest_describes() {
    let model = bundled().unwrap();
    let spec = &model.spec;
    assert_eq!(spec.name, "cells_640");
    assert_eq!(spec.classes, ["cell", "nucleus"]);
    assert_eq!((spec.input_width, spec.input_height), (640, 640));
    assert_eq!(
        spec.head,
        Head::YoloSeg(HeadShape {
            classes: 2,
            coefficients: 32,
            anchors: 8400,
            prototype_width: 160,
            prototype_height: 160,
        })
    );
    let percentiles = Normalization::Percentiles {
        low: 0.5,
        high: 99.5,
        min_span: MinSpan::OfFullRange(0.006),
    };
    assert_eq!(spec.normalization, percentiles);
    assert_eq!(
        (spec.thresholds.confidence, spec.thresholds.iou),
        (0.35, 0.5)
    );
    assert!(spec.thresholds.class_agnostic);
    assert_eq!(spec.thresholds.max_cells, 5000);
    assert_eq!(spec.trained_um_per_px, Some(0.87));
    assert!(model.operators.contains("Conv") && !model.operators.contains("ConvInteger"));
    assert!(model.provenance.licence.contains("MIT OR Apache-2.0"));
    assert!(
        model.provenance.data.contains("CC0")
            && model
                .provenance
                .metrics
                .contains("T98G phase contrast, 4 images")
    );
}

#[test]
fn without_a_manifest_the_metadata_speaks() {
    let metadata = [
        ("names", "{0: 'cell', 1: 'debris'}"),
        ("task", "segment"),
        ("imgsz", "[640, 640]"),
    ];
    let spec = parse(plain(&metadata), "").unwrap().spec;
    assert_eq!(spec.name, "m");
    assert_eq!(spec.classes, ["cell", "debris"]);
    assert_eq!(spec.normalization, Normalization::FullRange);
    assert_eq!(
        (spec.thresholds.confidence, spec.thresholds.iou),
        (0.25, 0.7)
    );
    let unnamed = parse(plain(&[]), "").unwrap().spec;
    assert_eq!(unnamed.classes, ["class 0", "class 1"]);
}

#[test]
fn the_manifest_wins_over_the_metadata() {
    let manifest = r#"
        name = "mine"
        classes = ["a", "b"]
        normalization = { policy = "window", low = 100, high = 900 }
        thresholds = { iou = 0.5 }
    "#;
    let spec = parse(plain(&[("names", "{0: 'x', 1: 'y'}")]), manifest)
        .unwrap()
        .spec;
    assert_eq!(
        (spec.name.as_str(), spec.classes.join(" ")),
        ("mine", "a b".to_owned())
    );
    let window = Normalization::Window {
        low: 100.0,
        high: 900.0,
    };
    assert_eq!(spec.normalization, window);
    assert_eq!(
        (spec.thresholds.confidence, spec.thresholds.iou),
        (0.25, 0.5)
    );
}

#[test]
fn dynamic_sizes_are_those_of_the_export_or_640() {
    let dynamic = |metadata: &[(&str, &str)]| {
        let outputs: [&[i64]; 2] = [&[ANY, 37, ANY], &[ANY, 32, ANY, ANY]];
        let bytes = onnx(&[ANY, 3, ANY, ANY], outputs, metadata, |_| {});
        parse(bytes, "").unwrap().spec
    };
    for (metadata, size, anchors, prototypes) in [
        (&[("imgsz", "[320, 448]")][..], (448, 320), 2940, (112, 80)),
        (&[], (640, 640), 8400, (160, 160)),
    ] {
        let spec = dynamic(metadata);
        let shape = spec.head.shape();
        assert_eq!((spec.input_width, spec.input_height), size);
        assert_eq!(shape.anchors, anchors);
        assert_eq!((shape.prototype_width, shape.prototype_height), prototypes);
    }
}

#[test]
fn an_end_to_end_head_is_told_by_its_rows() {
    let bytes = |metadata: &[(&str, &str)]| {
        let outputs: [&[i64]; 2] = [&[1, 300, 38], &[1, 32, 160, 160]];
        onnx(&[1, 3, 640, 640], outputs, metadata, |_| {})
    };
    let spec = parse(bytes(&[("names", "{0: 'cell'}")]), "").unwrap().spec;
    assert!(matches!(
        spec.head,
        Head::YoloSegEndToEnd(HeadShape {
            classes: 1,
            anchors: 300,
            ..
        })
    ));
    assert!(refusal(bytes(&[]), "").contains("float32 [1, 300, 38]"));
    assert!(refusal(bytes(&[]), "").contains("no class names"));
}

#[test]
fn old_files_list_their_weights_among_the_inputs() {
    let bytes = onnx(
        &[1, 3, 64, 64],
        [&[1, 37, 84], &[1, 32, 16, 16]],
        &[],
        |graph| {
            graph.input.push(tensor("weight", FLOAT, &[8, 3, 3, 3]));
            graph.initializer.push(WeightProto {
                element: FLOAT,
                name: "weight".to_owned(),
                data_location: 0,
            });
        },
    );
    assert_eq!(parse(bytes, "").unwrap().spec.tensors.input, "images");
}

#[test]
fn operators_of_subgraphs_are_found() {
    let bytes = onnx(
        &[1, 3, 64, 64],
        [&[1, 37, 84], &[1, 32, 16, 16]],
        &[],
        |graph| {
            let node = |op_type: &str| NodeProto {
                op_type: op_type.to_owned(),
                ..NodeProto::default()
            };
            let mut branch = node("If");
            branch.attribute.push(AttributeProto {
                graph: Some(GraphProto {
                    node: vec![node("ConvInteger")],
                    ..GraphProto::default()
                }),
                graphs: Vec::new(),
            });
            graph.node.push(branch);
        },
    );
    assert!(parse(bytes, "").unwrap().operators.contains("ConvInteger"));
}

#[test]
fn a_model_that_fits_no_head_is_refused_with_what_was_found() {
    let good_input: &[i64] = &[1, 3, 640, 640];
    let good: [&[i64]; 2] = [&[1, 38, 8400], &[1, 32, 160, 160]];
    let with = |input: &[i64], outputs, metadata: &[(&str, &str)]| {
        refusal(onnx(input, outputs, metadata, |_| {}), "")
    };
    let cases = [
        (
            with(good_input, good, &[("task", "detect")]),
            r#"a model for the task "detect""#,
        ),
        (
            with(&[1, 1, 640, 640], good, &[]),
            "input images float32 [1, 1, 640, 640]",
        ),
        (
            with(&[8, 3, 640, 640], good, &[]),
            "input images float32 [8, 3, 640, 640]",
        ),
        (
            with(&[1, 3, 650, 640], good, &[]),
            "input images float32 [1, 3, 650, 640]",
        ),
        (
            with(good_input, [&[1, 84, 8400], &[1, 84, 8400]], &[]),
            "outputs output0 float32 [1, 84, 8400], output1",
        ),
        (
            with(good_input, [&[1, 36, 8400], good[1]], &[]),
            "[1, 36, 8400]",
        ),
        (
            with(good_input, good, &[("names", "{0: 'cell'}")]),
            "1 class names",
        ),
        (
            refusal(
                onnx(good_input, good, &[], |graph| {
                    graph.input[0] = tensor("images", FLOAT16, good_input)
                }),
                "",
            ),
            "input images float16",
        ),
        (
            refusal(
                onnx(good_input, good, &[], |graph| graph.output.truncate(1)),
                "",
            ),
            "outputs output0 float32 [1, 38, 8400];",
        ),
    ];
    for (message, found) in cases {
        assert!(message.contains(found), "{message}");
        assert!(message.contains("understood is YOLO-seg"), "{message}");
    }
}

#[test]
fn a_wrong_manifest_is_named() {
    let cases = [
        ("confidence = 0.5", "unknown field `confidence`"),
        (
            "thresholds = { confidence = 1.5 }",
            "thresholds.confidence 1.5: must be 0 to 1",
        ),
        ("thresholds = { max_cells = 0 }", "thresholds.max_cells 0"),
        (
            "trained_um_per_px = -1.0",
            "trained_um_per_px -1: must be above 0",
        ),
        (
            r#"normalization = { policy = "window", low = 9, high = 9 }"#,
            "low must be below high",
        ),
        (
            r#"normalization = { policy = "percentiles", low = 1, high = 99, min_span = 9, min_span_of_full_range = 0.1 }"#,
            "exclude each other",
        ),
    ];
    for (manifest, text) in cases {
        let message = refusal(plain(&[]), manifest);
        assert!(message.starts_with("manifest dir/m.toml: "), "{message}");
        assert!(message.contains(text), "{message}");
    }
    let message = refusal(plain(&[]), r#"sha256 = "abc""#);
    let found = sha256_of(&plain(&[]));
    assert_eq!(
        message,
        format!(
            "model dir/m.onnx: sha256 is {found}, its manifest wants abc: it was cut off or replaced; copy it again, or correct \
             dir/m.toml"
        )
    );
}

#[test]
fn what_is_not_an_onnx_file_is_refused_clearly() {
    let good = bundled().unwrap().bytes;
    let external = onnx(
        &[1, 3, 64, 64],
        [&[1, 37, 84], &[1, 32, 16, 16]],
        &[],
        |graph| {
            graph.initializer.push(WeightProto {
                element: FLOAT,
                name: "weight".to_owned(),
                data_location: 1,
            });
        },
    );
    let cases = [
        (Vec::new(), "model dir/m.onnx: 0 bytes, not an ONNX file"),
        (b"\x89PNG...".to_vec(), "7 bytes, not an ONNX file"),
        (
            vec![8; 1000],
            "1000 bytes, an ONNX file that is damaged or cut off",
        ),
        (
            good[..good.len() / 2].to_vec(),
            "an ONNX file that is damaged or cut off",
        ),
        (
            good[..good.len() - 3].to_vec(),
            "an ONNX file that is damaged or cut off",
        ),
        (external, "its weights lie in other files"),
    ];
    for (bytes, text) in cases {
        let message = refusal(bytes, "");
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn paths_that_hold_no_model_are_refused_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| load(path).unwrap_err().to_string();
    assert!(message(folder.path()).contains("not a regular file"));
    assert!(message(&folder.path().join("none.onnx")).contains("cannot be read"));
    // Sparse: no gigabytes are written.
    let huge = folder.path().join("huge.onnx");
    fs::File::create(&huge).unwrap().set_len(3 << 30).unwrap();
    assert!(message(&huge).contains("3221225472 bytes, more than an ONNX file can have"));
}

#[test]
fn a_manifest_beside_the_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.onnx");
    fs::write(&path, plain(&[])).unwrap();
    assert_eq!(load(&path).unwrap().spec.name, "mine");
    fs::write(path.with_extension("toml"), "name = \"other\"").unwrap();
    assert_eq!(load(&path).unwrap().spec.name, "other");
}

#[test]
fn a_network_computes_in_float16_where_its_weights_are_used_so() {
    for (op_type, half) in [("Conv", true), ("Cast", false)] {
        let bytes = onnx(
            &[1, 3, 640, 640],
            [&[1, 38, 8400], &[1, 32, 160, 160]],
            &[],
            |graph| {
                graph.initializer.push(WeightProto {
                    element: FLOAT16,
                    name: "w".to_owned(),
                    ..WeightProto::default()
                });
                graph.node.push(NodeProto {
                    input: vec!["x".to_owned(), "w".to_owned()],
                    op_type: op_type.to_owned(),
                    ..NodeProto::default()
                });
            },
        );
        assert_eq!(parse(bytes, "").unwrap().half_weights, half, "{op_type}");
    }
}
