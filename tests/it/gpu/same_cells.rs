//! The whole program from an ONNX file to cells, under each TensorRT: the same cells as on the CPU, and nothing made per frame.

use std::fs;

use cellsegd::{
    frame::Frame,
    proto::{self as pb, frame_reply::Outcome, stream_request::Request},
};

use super::{
    machine::{Machine, RTX, RTX_13, Served, TRT_8, TRT_10, TRT_11, Trt},
    models,
};

#[tokio::test(flavor = "multi_thread")]
async fn tensorrt_8_finds_the_cells_that_the_cpu_finds() {
    from_onnx_to_cells(TRT_8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tensorrt_10_finds_the_cells_that_the_cpu_finds() {
    from_onnx_to_cells(TRT_10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tensorrt_11_finds_the_cells_that_the_cpu_finds() {
    from_onnx_to_cells(TRT_11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tensorrt_rtx_finds_the_cells_that_the_cpu_finds() {
    from_onnx_to_cells(RTX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tensorrt_rtx_1_3_finds_the_cells_that_the_cpu_finds() {
    from_onnx_to_cells(RTX_13).await;
}

/// As a user does it: build, inspect, doctor, serve.
async fn from_onnx_to_cells(trt: Trt) {
    let Some(machine) = Machine::new(trt) else {
        return;
    };
    let (onnx, engine) = (machine.path("cell.onnx"), machine.path("cell.engine"));
    fs::write(&onnx, models::ONNX).unwrap();
    let (onnx, engine) = (onnx.to_str().unwrap(), engine.to_str().unwrap());
    machine.ok(&["engine", "build", onnx, "-o", engine]);
    machine.assert_nothing_is_left();
    let inspected = machine.ok(&["engine", "inspect", engine]);
    assert!(inspected.contains(trt.name), "{inspected}");
    let doctor = machine.ok(&["doctor", "--model", engine]);
    for words in [trt.name, "Emulated GPU 0"] {
        assert!(doctor.contains(words), "{words}:\n{doctor}");
    }

    let frames = models::frames();
    let served = machine.serve(&["--model", engine, "--lanes", "2"]).await;
    let first = cells(&served, &frames).await;
    let made = made(&machine);
    let again = cells(&served, &frames).await;
    assert_eq!(
        self::made(&machine),
        made,
        "buffers, captures, graphs and shapes after as many frames again"
    );
    assert_same(&first, &again);
    let (_, opened) = served.open(Default::default()).await;
    assert!(opened.backend.starts_with(trt.name), "{}", opened.backend);
    assert!(
        opened.device.contains("Emulated GPU 0"),
        "{}",
        opened.device
    );
    assert_eq!(served.health("cell/gpu").await, Ok(1));
    let (status, log) = served.stop();
    assert!(status.success(), "{status}\n{log}");
    assert!(!log.contains("no CUDA graph"), "{log}");
    machine.assert_nothing_is_left();

    let cpu = machine.serve(&["--model", onnx]).await;
    let expected = cells(&cpu, &frames).await;
    assert_same(&first, &expected);
    cpu.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lanes_overlap_and_neither_waits_for_the_other() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    // A device that is slow to begin: what did not wait for it would read junk.
    let machine = machine.with("CELLSEGD_FAKE_DELAY_US", "2000");
    let engine = machine.engine("tensorrt=10.3.0\ncompute=8.9");
    let served = machine
        .serve(&["--model", engine.to_str().unwrap(), "--lanes", "2"])
        .await;
    let frames = models::frames();
    let answers = cells(&served, &frames).await;
    assert!(
        2 <= machine.count("peak_busy_streams"),
        "streams at work at the same time: {}",
        machine.count("peak_busy_streams")
    );
    served.stop();
    let cpu = machine.serve_on_cpu().await;
    assert_same(&answers, &cells(&cpu, &frames).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_precision_tensors_find_almost_the_same_cells() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let engine = machine.engine("tensorrt=10.3.0\ncompute=8.9\ninput=fp16\noutput=fp16");
    let served = machine.serve(&["--model", engine.to_str().unwrap()]).await;
    let frames = &models::frames()[..1];
    let halves = cells(&served, frames).await;
    served.stop();
    let cpu = machine.serve_on_cpu().await;
    let singles = cells(&cpu, frames).await;
    let (n_halves, n_singles) = (halves[0].instances.len(), singles[0].instances.len());
    assert!(
        0 < n_singles && n_halves.abs_diff(n_singles) * 20 <= n_singles,
        "{n_halves} cells, {n_singles} in single precision"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_runs_in_a_batch_of_any_size() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let cpu = machine.serve_on_cpu().await;
    let frames = &models::frames()[..2];
    let expected = cells(&cpu, frames).await;
    cpu.stop();
    for batch in ["4", "dynamic:1,2,4"] {
        let engine = machine.engine(&format!("tensorrt=10.3.0\ncompute=8.9\nbatch={batch}"));
        let served = machine
            .serve(&["--model", engine.to_str().unwrap(), "--lanes", "2"])
            .await;
        assert_same(&cells(&served, frames).await, &expected);
        served.stop();
        machine.assert_nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_give_the_cells_that_the_cpu_finds_in_tiles() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let options = pb::SessionOptions {
        tiling: Some(pb::Tiling {
            mode: pb::tiling::Mode::On.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    // Twice as wide as the network's input, and one that is larger in one direction only.
    let frames = [models::frames()[3].clone(), models::frames()[2].clone()];
    let engine = machine.engine("tensorrt=10.3.0\ncompute=8.9");
    let served = machine.serve(&["--model", engine.to_str().unwrap()]).await;
    let found = replies_with(&served, options.clone(), &frames).await;
    served.stop();
    let cpu = machine.serve_on_cpu().await;
    let expected = replies_with(&cpu, options, &frames).await;
    cpu.stop();
    let tiles = |replies: &[pb::FrameReply]| -> Vec<u32> {
        let timings = replies.iter().filter_map(|reply| reply.timing.as_ref());
        timings.map(|timing| timing.tiles).collect()
    };
    assert_eq!(tiles(&expected), [4, 2]);
    assert_eq!(tiles(&found), [4, 2]);
    assert_same(&segmented(found), &segmented(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_tensorrt_10_each_lane_needs_a_profile_of_a_dynamic_engine() {
    let Some(machine) = Machine::new(TRT_8) else {
        return;
    };
    let keys = "tensorrt=8.6.1\ncompute=8.9\nbatch=dynamic:1,1,4\nprofiles=2";
    let engine = machine.engine(keys);
    let engine = engine.to_str().unwrap();
    let refused = machine.fails(78, &["serve", "--model", engine, "--lanes", "3"]);
    for words in ["3", "2 lane", "TensorRT 8.6.1"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let frames = &models::frames()[..2];
    let served = machine.serve(&["--model", engine, "--lanes", "2"]).await;
    let found = cells(&served, frames).await;
    served.stop();
    let cpu = machine.serve_on_cpu().await;
    assert_same(&found, &cells(&cpu, frames).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_graph_the_cells_are_the_same() {
    let Some(machine) = Machine::new(TRT_10) else {
        return;
    };
    let machine = machine.with_fault("capture");
    let engine = machine.engine("tensorrt=10.3.0\ncompute=8.9");
    let served = machine
        .serve(&["--model", engine.to_str().unwrap(), "--lanes", "2"])
        .await;
    let frames = models::frames();
    let found = cells(&served, &frames).await;
    let log = served.stop().1;
    assert_eq!(log.matches("no CUDA graph").count(), 1, "{log}");
    let cpu = machine.serve_on_cpu().await;
    assert_same(&found, &cells(&cpu, &frames).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kernels_that_rtx_compiled_are_kept_for_the_next_start() {
    let Some(machine) = Machine::new(RTX) else {
        return;
    };
    let engine = machine.engine("tensorrt=1.7.1\nflavour=rtx");
    for (compiled, from_cache) in [(1, 0), (0, 1)] {
        let served = machine.serve(&["--model", engine.to_str().unwrap()]).await;
        served.stop();
        assert_eq!(
            (
                machine.count("rtx_kernels_compiled"),
                machine.count("rtx_kernels_from_cache")
            ),
            (compiled, from_cache)
        );
    }
}

/// What a lane makes once and a frame never.
fn made(machine: &Machine) -> [i64; 7] {
    [
        "cuMemAlloc",
        "cuMemHostAlloc",
        "cuStreamBeginCapture",
        "cuGraphInstantiate",
        "cuModuleLoad",
        "enqueueV3",
        "setInputShape",
    ]
    .map(|name| machine.count(name))
}

/// The answers to `frames`, four of them in flight.
pub(super) async fn cells(served: &Served, frames: &[Frame]) -> Vec<pb::Segmentation> {
    segmented(replies(served, frames).await)
}

/// Answers that have cells or none, but no failure.
pub(super) fn segmented(replies: Vec<pb::FrameReply>) -> Vec<pb::Segmentation> {
    let segmentation = |reply: pb::FrameReply| match reply.outcome {
        Some(Outcome::Segmentation(segmentation)) => segmentation,
        other => panic!("frame {}: {other:?}", reply.id),
    };
    replies.into_iter().map(segmentation).collect()
}

pub(super) async fn replies(served: &Served, frames: &[Frame]) -> Vec<pb::FrameReply> {
    replies_with(served, pb::SessionOptions::default(), frames).await
}

async fn replies_with(
    served: &Served,
    options: pb::SessionOptions,
    frames: &[Frame],
) -> Vec<pb::FrameReply> {
    let options = pb::SessionOptions {
        window: 4,
        ..options
    };
    let (mut session, _) = served.open(options).await;
    let requests = session.requests();
    let messages: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(i, frame)| models::message(i as u64 + 1, frame))
        .collect();
    tokio::spawn(async move {
        for message in messages {
            let request = pb::StreamRequest {
                request: Some(Request::Frame(message)),
            };
            if requests.send(request).await.is_err() {
                return;
            }
        }
    });
    let mut replies = Vec::new();
    for id in 1..=frames.len() as u64 {
        let reply = session.frame_reply().await;
        assert_eq!(reply.id, id);
        replies.push(reply);
    }
    replies
}

pub(super) fn assert_same(found: &[pb::Segmentation], expected: &[pb::Segmentation]) {
    assert!(
        expected.iter().any(|answer| !answer.instances.is_empty()),
        "frames without cells show nothing"
    );
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(
            found.instances.len(),
            expected.instances.len(),
            "cells of frame {i}"
        );
        assert!(found == expected, "frame {i}: other cells");
    }
}

/// Without a daemon; also what is run on another architecture (tools/aarch64), where a frame takes long.
#[test]
fn segment_writes_the_same_files_whatever_computes() {
    let mut by_cpu = None;
    for trt in [TRT_8, TRT_10, TRT_11, RTX, RTX_13] {
        let Some(machine) = Machine::new(trt) else {
            return;
        };
        let names = ["cell.onnx", "cell.engine", "cells.png", "out"];
        let [onnx, engine, image, out] = names.map(|name| machine.path(name).display().to_string());
        fs::write(&onnx, models::ONNX).unwrap();
        fs::write(&image, models::CELLS).unwrap();
        let segment = |model: &str| {
            machine.ok(&["segment", &image, "--model", model, "--out", &out, "--json"]);
            let written = format!("{out}/cells.json");
            let cells = fs::read_to_string(&written).unwrap();
            fs::remove_file(&written).unwrap();
            cells
        };
        machine.ok(&["engine", "build", &onnx, "-o", &engine]);
        let by_gpu = segment(&engine);
        assert_eq!(machine.count("peak_busy_streams"), 1, "{trt:?}");
        machine.assert_nothing_is_left();
        let by_cpu = by_cpu.get_or_insert_with(|| segment(&onnx));
        assert!(by_cpu.contains("\"counts\""), "cells are found: {by_cpu}");
        assert!(by_gpu == *by_cpu, "{trt:?}: other cells");
    }
}
