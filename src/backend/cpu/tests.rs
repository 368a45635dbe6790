use std::path::PathBuf;

use bytes::Bytes;

use super::*;
use crate::{
    backend::Ticket,
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat},
    model::bundled,
    params::{Normalization, Params},
};

fn settings(kind: EngineKind) -> EngineSettings {
    EngineSettings {
        kind,
        threads: 1,
        onnxruntime: None,
    }
}

fn open(kind: EngineKind) -> Result<CpuLane, BackendError> {
    let backend = CpuBackend::new(bundled().unwrap(), &settings(kind), 1)?;
    let network = backend.engine.open().unwrap();
    Ok(CpuLane::new(backend.model, network))
}

fn params(normalization: Normalization) -> Params {
    Params::new(bundled().unwrap().spec.thresholds.clone(), normalization)
}

/// Bright discs on a dark ground.
fn frame(radius: i32) -> Frame {
    let (width, height) = (400, 300);
    let sample = |x: i32, y: i32| {
        let (dx, dy) = (x % 80 - 40, y % 75 - 37);
        match dx * dx + dy * dy < radius * radius {
            true => 9000 + (x * y % 500) as u16,
            false => 1000 + (x * 7 + y * 13) as u16 % 300,
        }
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| sample(x, y)));
    let layout = Layout {
        format: PixelFormat::Mono16,
        width: width as u32,
        height: height as u32,
        row_stride: 0,
        significant_bits: 0,
    };
    let data: Vec<u8> = pixels.flat_map(u16::to_le_bytes).collect();
    let limits = FrameLimits::default();
    Frame::new(layout, Bytes::from(data), FrameMetadata::default(), &limits).unwrap()
}

/// Detections and prototypes of two frames, one after the other on the same lane.
fn raw_outputs(mut lane: CpuLane) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for frame in [frame(20), frame(9)] {
        let percentiles = bundled().unwrap().spec.normalization;
        lane.infer(&frame, &params(percentiles), &Ticket::default())
            .unwrap();
        let outputs = lane.network.outputs();
        all.push(outputs.detections.to_vec());
        all.push(outputs.prototypes.to_vec());
    }
    all
}

#[test]
fn both_engines_give_the_same_raw_outputs() {
    let rten = raw_outputs(open(EngineKind::Rten).unwrap());
    assert_eq!(rten[0].len(), 38 * 8400);
    assert_eq!(rten[1].len(), 32 * 160 * 160);
    assert!(
        rten[0] != rten[2] && rten[1] != rten[3],
        "the frames differ"
    );

    let onnxruntime = match open(EngineKind::OnnxRuntime) {
        Ok(lane) => raw_outputs(lane),
        Err(why) => return skip(&why.to_string()),
    };
    for (ours, theirs) in rten.iter().zip(&onnxruntime) {
        assert_eq!(ours.len(), theirs.len());
        let pairs = ours.iter().zip(theirs);
        let worst = pairs.map(|(a, b)| (a - b).abs() / a.abs().max(1.0));
        let worst = worst.fold(0.0, f32::max);
        assert!(worst <= 1e-4, "differs by {worst}");
    }
}

#[expect(clippy::print_stderr, reason = "says why a test did not run")]
fn skip(why: &str) {
    assert!(
        std::env::var_os("CELLSEGD_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "{why}"
    );
    eprintln!("skipped: {why}");
}

#[test]
fn a_cancelled_frame_is_given_up_before_the_network_runs() {
    let mut lane = open(EngineKind::Rten).unwrap();
    let ticket = Ticket::default();
    ticket.cancel();
    let result = lane.infer(&frame(20), &params(Normalization::FullRange), &ticket);
    assert!(matches!(result, Err(LaneError::Frame(why)) if why == "cancelled"));
    assert_eq!(ticket.beats(), 1);
}

#[test]
fn a_named_library_that_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "no library").unwrap();
    for path in [PathBuf::from("/nowhere/libonnxruntime.so"), text] {
        for kind in [EngineKind::OnnxRuntime, EngineKind::Auto] {
            let settings = EngineSettings {
                onnxruntime: Some(path.clone()),
                ..settings(kind)
            };
            let error = CpuBackend::new(bundled().unwrap(), &settings, 1)
                .err()
                .unwrap();
            let named = format!(
                "ONNX Runtime: {} (engine.onnxruntime of the settings): ",
                path.display()
            );
            assert!(error.to_string().starts_with(&named), "{kind:?}: {error}");
        }
    }
}

#[test]
fn what_rten_computes_wrongly_is_refused_on_it() {
    for (operator, what) in [
        ("ConvInteger", "dynamic int8"),
        ("NonMaxSuppression", "the graph's own"),
    ] {
        let mut model = bundled().unwrap();
        model.operators.insert(operator.to_owned());
        let error = CpuBackend::new(model, &settings(EngineKind::Rten), 1)
            .err()
            .unwrap();
        let text = format!(
            "model cells_640 on rten: it has {operator} ({what}), which rten computes wrongly"
        );
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}

#[test]
fn a_damaged_graph_is_an_error_of_the_engine() {
    let mut model = bundled().unwrap();
    model.spec.tensors.prototypes = "none".to_owned();
    let error = CpuBackend::new(model, &settings(EngineKind::Rten), 1)
        .err()
        .unwrap();
    assert!(error.to_string().contains("none"), "{error}");
}

#[test]
fn one_core_is_left_and_the_rest_is_shared() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(default_threads(1), (cores - 1).max(1));
    assert_eq!(default_threads(1000), 1);
}

#[test]
fn the_version_in_the_log_is_the_one_that_is_built_in() {
    let manifest = include_str!("../../../Cargo.toml");
    assert!(manifest.contains(&format!("rten = {{ version = \"{}\"", rten::VERSION)));
}
