//! Frame to answer, with the bundled network between: everything that the CPU lane says, the kernels say too.

use std::path::Path;

use bytes::Bytes;

use super::{
    F32, Random,
    costs::print,
    noise,
    rig::{ORDERS, Rig, header},
};
use crate::{
    backend::{
        Backend, Ticket,
        cpu::{CpuBackend, raw_outputs},
    },
    config::{EngineKind, EngineSettings},
    decode::Bounds,
    frame::{Frame, FrameLimits, FrameMetadata, Layout, PixelFormat, decode_image},
    model::bundled,
    params::{Normalization, Params},
    segmentation::NoticeCode,
};

/// A frame of the demonstration, with fewer significant bits than it has, or as it is (0).
fn demo(name: &str, significant_bits: u32) -> Frame {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("demo")
        .join(name);
    let limits = FrameLimits::default();
    let (layout, data) = decode_image(&std::fs::read(path).unwrap(), 0, &limits).unwrap();
    let layout = Layout {
        significant_bits,
        ..layout
    };
    let metadata = FrameMetadata {
        pixel_size_um: Some(0.2),
        ..FrameMetadata::default()
    };
    Frame::new(layout, data, metadata, &limits).unwrap()
}

fn flat() -> Frame {
    let layout = Layout {
        format: PixelFormat::Mono8,
        width: 50,
        height: 40,
        row_stride: 0,
        significant_bits: 0,
    };
    let data = Bytes::from(vec![255; 2000]);
    let limits = FrameLimits::default();
    Frame::new(layout, data, FrameMetadata::default(), &limits).unwrap()
}

#[test]
fn the_kernels_around_the_network_say_what_the_cpu_lane_says() {
    let file = bundled().unwrap();
    let model = file.spec.clone();
    let settings = EngineSettings {
        kind: EngineKind::Rten,
        threads: 1,
        onnxruntime: None,
    };
    let backend = CpuBackend::new(file, &settings, 1).unwrap();
    let Some(mut rig) = Rig::new(&model, &F32, &Bounds::default()) else {
        return;
    };
    let mut lane = backend.open_lane().unwrap();

    let usual = Params::new(model.thresholds.clone(), model.normalization);
    let mut everything = usual.clone();
    everything.thresholds.confidence = 0.0001;
    everything.thresholds.class_agnostic = false;
    let mut few = usual.clone();
    few.thresholds.max_cells = 9;
    few.normalization = Normalization::FullRange;
    let window = Params {
        normalization: Normalization::Window {
            low: 1000.0,
            high: 30_000.5,
        },
        ..usual.clone()
    };
    let colour = noise(PixelFormat::Bgr8, (333, 201), 5, 0, &mut Random(8));
    let (mut notices, mut n_cells) = (Vec::new(), Vec::new());
    for (name, frame, params) in [
        ("as it comes", demo("t01.png", 0), &usual),
        ("at almost no confidence", demo("t02.png", 0), &everything),
        ("more than max_cells", demo("t03.png", 0), &few),
        ("clipped", demo("t04.png", 14), &window),
        ("flat", flat(), &usual),
        ("colour", colour, &everything),
    ] {
        let expected = lane.segment(&frame, params, &Ticket::default()).unwrap();
        rig.before(&frame, params);
        let input = rig.input.bytes().as_chunks().0;
        let input: Vec<f32> = input.iter().map(|&v| f32::from_ne_bytes(v)).collect();
        let (detections, prototypes) = raw_outputs(&backend, &input);
        rig.detections
            .write(detections.iter().map(|v| v.to_ne_bytes()));
        rig.prototypes
            .write(prototypes.iter().map(|v| v.to_ne_bytes()));
        for order in ORDERS {
            rig.order = order;
            rig.before(&frame, params);
            let got = rig.after(&frame, params);
            assert_eq!(got.normalization, expected.normalization, "{name}");
            assert_eq!(got.notices, expected.notices, "{name}");
            assert_eq!(got.truncated, expected.truncated, "{name}");
            assert!(got.instances == expected.instances, "{name}");
        }
        print(&format!(
            "{name}: {} candidates, {} masks, {} prototype cells, {} words",
            rig.header(header::N_FOUND),
            expected.instances.len(),
            rig.header(header::N_CELLS),
            rig.header(header::N_WORDS),
        ));
        n_cells.push(expected.instances.len());
        notices.extend(expected.notices.iter().map(|notice| notice.code));
    }
    // The cases are what they are called.
    assert!(
        n_cells[0] > 30 && n_cells[1] > 100 && n_cells[2] == 9 && n_cells[5] > 100,
        "{n_cells:?}"
    );
    for code in [
        NoticeCode::BitsClipped,
        NoticeCode::Saturated,
        NoticeCode::LowContrast,
        NoticeCode::ScaleFarFromTrained,
    ] {
        assert!(notices.contains(&code), "{code:?} in {notices:?}");
    }
}
