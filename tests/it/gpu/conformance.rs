//! What every backend must do, whatever it runs on: one suite, over the CPU and over a GPU.
//!
//! The GPU's engine is named by `CELLSEGD_TEST_ENGINE` (tools/gpu_check, on a real GPU); without it the suite runs on the emulated
//! one. `CELLSEGD_REQUIRE_GPU=1` makes a missing GPU a failure. Nothing here needs a file of the source tree.

use std::{env, path::Path, process::Command};

use cellsegd::{
    backend::{Backend, Lane, LaneError, Ticket, cpu::CpuBackend, cuda::CudaBackend},
    config::{EngineSettings, GpuSettings},
    frame::Frame,
    model::{self, ModelFile},
    params::{MinSpan, Normalization, Params, Span},
    segmentation::RawSegmentation,
};

use super::{
    machine::{Machine, TRT_10, skipped, words},
    models::{self, Pixels, agreement},
};

/// Bytes of the largest frame that the suite sends.
const MAX_FRAME_BYTES: u64 = 8 << 20;

#[test]
fn conformance_of_the_cpu() {
    let file = model::bundled().unwrap();
    let reference = on_cpu(file.clone());
    conforms(&on_cpu(file), &reference, 1.0);
}

#[test]
fn conformance_of_the_gpu() {
    let Some(engine) = env::var_os("CELLSEGD_TEST_ENGINE") else {
        return on_the_emulated_gpu();
    };
    let file = model::load_engine(Path::new(&engine)).unwrap();
    let settings = GpuSettings {
        device: env::var("CELLSEGD_GPU__DEVICE").unwrap_or_else(|_| "0".to_owned()),
        tensorrt: env::var_os("CELLSEGD_GPU__TENSORRT").map(Into::into),
        ..GpuSettings::default()
    };
    let gpu = match CudaBackend::new(&file, &settings, 2, MAX_FRAME_BYTES) {
        Ok(gpu) => gpu,
        Err(error) => panic!("{}: {error}", Path::new(&engine).display()),
    };
    // The ONNX file that it was built from, if it lies beside it.
    let twin = file.cpu_model().unwrap();
    let twin = twin.unwrap_or_else(|| model::bundled().unwrap());
    // The emulation computes the network with the CPU's own library.
    let at_least = match (env::var_os("CELLSEGD_FAKE_ENGINE"), &*gpu.model().precision) {
        (Some(_), _) => 1.0,
        (None, "fp32") => 0.99,
        (None, _) => 0.98,
    };
    conforms(&gpu, &on_cpu(twin), at_least);
}

/// The same test in another process, with the emulation's libraries before all others.
fn on_the_emulated_gpu() {
    if env::var("CELLSEGD_REQUIRE_GPU").is_ok_and(|value| value == "1") {
        panic!("CELLSEGD_REQUIRE_GPU=1, but CELLSEGD_TEST_ENGINE names no engine");
    }
    let Some(machine) = Machine::new(TRT_10) else {
        return skipped("no GPU, and none can be emulated");
    };
    rerun(&machine, "conformance_of_the_gpu", "batch=1");
}

fn rerun(machine: &Machine, test: &str, plan: &str) {
    let engine = machine.engine(&format!("tensorrt=10.3.0\ncompute=8.9\n{plan}"));
    let mut again: Command = machine.rerun(&format!("gpu::conformance::{test}"));
    let output = again.env("CELLSEGD_TEST_ENGINE", engine).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    machine.assert_nothing_is_left();
}

#[test]
fn an_engine_of_two_frames_answers_as_an_engine_of_one() {
    let Some(engine) = env::var_os("CELLSEGD_TEST_ENGINE") else {
        return match Machine::new(TRT_10) {
            Some(machine) => rerun(
                &machine,
                "an_engine_of_two_frames_answers_as_an_engine_of_one",
                "batch=2",
            ),
            None => skipped("no GPU, and none can be emulated"),
        };
    };
    let file = model::load_engine(Path::new(&engine)).unwrap();
    let gpu = CudaBackend::new(&file, &GpuSettings::default(), 1, MAX_FRAME_BYTES).unwrap();
    let model = gpu.model();
    let params = Params::new(model.thresholds.clone(), model.normalization);
    frames_together_are_answered_as_one_by_one(&mut *open(&gpu), &params);
}

fn on_cpu(file: ModelFile) -> CpuBackend {
    CpuBackend::new(file, &EngineSettings::default(), 1).unwrap()
}

/// `at_least`: the mean IoU with the reference's cells; 1: every bit.
fn conforms(backend: &dyn Backend, reference: &dyn Backend, at_least: f64) {
    let (mut lane, mut expected) = (open(backend), open(reference));
    let model = backend.model();
    let default = Params::new(model.thresholds.clone(), model.normalization);
    let mut n_cells = 0;
    for (i, frame) in models::frames().iter().enumerate() {
        for (what, steady, params) in variations(&default, frame) {
            let found = segment(&mut *lane, frame, &params);
            let wanted = segment(&mut *expected, frame, &params);
            n_cells += wanted.instances.len();
            if steady || at_least == 1.0 {
                compare(&format!("frame {i}, {what}"), &found, &wanted, at_least);
            }
        }
    }
    assert!(0 < n_cells, "frames without cells show nothing");
    nothing_of_a_frame_is_left_for_the_next(&mut *lane, &default);
    frames_together_are_answered_as_one_by_one(&mut *lane, &default);
    a_frame_that_nobody_waits_for_is_given_up(&mut *lane, &default);
}

/// Thresholds and normalisations that change from frame to frame in one stream, and whether scores that differ in their last
/// digits leave the cells the same.
fn variations(default: &Params, frame: &Frame) -> Vec<(&'static str, bool, Params)> {
    let with = |change: &dyn Fn(&mut Params)| {
        let mut params = default.clone();
        change(&mut params);
        params
    };
    let top = frame.max_value() as f64;
    vec![
        ("defaults", true, default.clone()),
        (
            "everything that is the least bit like a cell",
            false,
            with(&|params| {
                params.thresholds.confidence = 0.05;
                params.thresholds.iou = 0.9;
                params.thresholds.class_agnostic = true;
            }),
        ),
        (
            "three cells",
            false,
            with(&|params| params.thresholds.max_cells = 3),
        ),
        (
            "percentiles",
            true,
            with(&|params| {
                params.normalization = Normalization::Percentiles {
                    low: 1.0,
                    high: 99.0,
                    min_span: MinSpan::Counts(1.0),
                };
            }),
        ),
        (
            "earlier frames' percentiles",
            true,
            with(&|params| {
                params.smoothed = Some(Span {
                    low: 0.15 * top,
                    high: 0.5 * top,
                });
            }),
        ),
        (
            "a window",
            true,
            with(&|params| {
                params.normalization = Normalization::Window {
                    low: 0.1 * top,
                    high: 0.6 * top,
                };
            }),
        ),
    ]
}

fn nothing_of_a_frame_is_left_for_the_next(lane: &mut dyn Lane, params: &Params) {
    let frames = models::frames();
    let [first, _, again] = [0, 1, 0].map(|i| facts(&segment(lane, &frames[i], params)));
    assert_eq!(first, again);
}

fn frames_together_are_answered_as_one_by_one(lane: &mut dyn Lane, params: &Params) {
    let frames = &models::frames()[..3];
    let together = lane.segment_many(frames, params, &Ticket::default());
    let together: Vec<String> = together.unwrap().iter().map(facts).collect();
    let one_by_one = frames
        .iter()
        .map(|frame| facts(&segment(lane, frame, params)));
    assert_eq!(together, one_by_one.collect::<Vec<_>>());
}

fn a_frame_that_nobody_waits_for_is_given_up(lane: &mut dyn Lane, params: &Params) {
    let ticket = Ticket::default();
    ticket.cancel();
    let frame = &models::frames()[0];
    match lane.segment(frame, params, &ticket) {
        Err(LaneError::Frame(_)) => {}
        other => panic!("{other:?}"),
    }
    segment(lane, frame, params);
}

fn open(backend: &dyn Backend) -> Box<dyn Lane> {
    backend.open_lane().unwrap()
}

fn segment(lane: &mut dyn Lane, frame: &Frame, params: &Params) -> RawSegmentation {
    let ticket = Ticket::default();
    let found = lane.segment(frame, params, &ticket).unwrap();
    assert!(0 < ticket.beats(), "a lane at work gives signs of life");
    found
}

/// Everything but how long it took.
fn facts(found: &RawSegmentation) -> String {
    let RawSegmentation {
        width,
        height,
        instances,
        normalization,
        own_span,
        truncated,
        notices,
        ..
    } = found;
    format!("{width} {height} {normalization:?} {own_span:?} {truncated} {notices:?} {instances:?}")
}

fn compare(what: &str, found: &RawSegmentation, wanted: &RawSegmentation, at_least: f64) {
    assert_eq!(
        (found.width, found.height),
        (wanted.width, wanted.height),
        "{what}"
    );
    if at_least == 1.0 {
        assert_eq!(
            found.instances.len(),
            wanted.instances.len(),
            "{what}: cells"
        );
        assert_eq!(facts(found), facts(wanted), "{what}");
        return;
    }
    assert_eq!(
        format!("{:?} {:?}", found.normalization, found.notices),
        format!("{:?} {:?}", wanted.normalization, wanted.notices),
        "{what}"
    );
    let (found, wanted) = (pixels(found), pixels(wanted));
    let (there, _) = agreement(&wanted, &found);
    let (back, _) = agreement(&found, &wanted);
    assert!(
        at_least <= there.min(back),
        "{what}: {} cells against {}, mean IoU {there:.4} and {back:.4}",
        found.len(),
        wanted.len()
    );
}

fn pixels(found: &RawSegmentation) -> Vec<Pixels> {
    let of_one = |instance: &cellsegd::segmentation::RawInstance| {
        let mask = &instance.mask;
        (0..mask.height())
            .flat_map(|y| (0..mask.width()).map(move |x| (x, y)))
            .filter(|&(x, y)| mask.get(x, y))
            .map(|(x, y)| (mask.x() + x, mask.y() + y))
            .collect()
    };
    found.instances.iter().map(of_one).collect()
}
