//! What only a driver can show: over the emulated one on machines without a GPU, over a real one in `tools/gpu_check`.
//!
//! Everything that a test needs is in the binary: it runs on another machine, without this source.

#![expect(
    clippy::print_stderr,
    reason = "why a test is skipped, and what one measured"
)]

mod rig;

use self::rig::{Bench, device, frame, frames, outputs};
use super::{
    driver::{Context, DeviceBuffer, Event, Graph, Module},
    *,
};
use crate::{frame::PixelFormat, params::Normalization, preprocess};

#[test]
fn frames_are_prepared_bit_for_bit_on_the_device() {
    let Some(mut bench) = Bench::open() else {
        return;
    };
    let mut scratch = preprocess::Scratch::default();
    for (frame, normalization) in frames() {
        let params = bench.params(normalization);
        bench.copy_up(&frame, &params);
        bench.launch(&bench.kernels.before).unwrap();
        bench.stream.synchronize().unwrap();
        // SAFETY: nothing is under way.
        let got = unsafe { bench.input.bytes() };
        let preprocess::Shown {
            applied: window, ..
        } = preprocess::window(&frame, &normalization, &mut scratch);
        let mut wanted = vec![0.0; got.len() / 4];
        preprocess::letterbox(
            &frame,
            &window,
            &bench.letterbox(&frame),
            &mut wanted,
            &mut scratch,
        );
        let n_wrong = got
            .as_chunks()
            .0
            .iter()
            .zip(&wanted)
            .filter(|&(&got, wanted)| u32::from_ne_bytes(got) != wanted.to_bits())
            .count();
        let layout = frame.layout();
        assert_eq!(n_wrong, 0, "{layout:?}, {normalization:?}");
    }
}

#[test]
fn outputs_become_the_same_cells_on_the_device() {
    let Some(mut bench) = Bench::open() else {
        return;
    };
    let mut n_cells = 0;
    for (seed, (frame, normalization)) in (1..).zip(frames()) {
        let outputs = outputs(&bench.model, seed);
        bench.set_outputs(&outputs);
        let mut params = bench.params(normalization);
        params.thresholds.iou = 0.3 + 0.05 * seed as f32;
        params.thresholds.class_agnostic = seed % 2 == 0;
        bench.copy_up(&frame, &params);
        bench.launch_all().unwrap();
        let answer = bench.read(&frame, &params);
        let wanted = bench.decoded(&outputs, &frame, &params);
        let layout = frame.layout();
        assert_eq!(answer.truncated, wanted.truncated, "{layout:?}");
        assert!(answer.instances == wanted.instances, "{layout:?}");
        let preprocess::Shown {
            applied: window,
            notices,
            ..
        } = preprocess::window(&frame, &normalization, &mut preprocess::Scratch::default());
        assert_eq!(
            (answer.normalization, answer.notices),
            (window, notices),
            "{layout:?}"
        );
        n_cells += answer.instances.len();
    }
    assert!(n_cells > 500, "{n_cells} cells are no test");
}

#[test]
fn one_graph_serves_frames_of_any_shape_on_the_device() {
    let Some(mut bench) = Bench::open() else {
        return;
    };
    let outputs = outputs(&bench.model, 99);
    bench.set_outputs(&outputs);
    let (started, ended) = (
        Event::timed(&bench.context).unwrap(),
        Event::timed(&bench.context).unwrap(),
    );
    let done = Event::to_wait_for(&bench.context).unwrap();
    let (first, normalization) = &frames()[0];
    let params = bench.params(*normalization);
    bench.copy_up(first, &params);
    bench.launch_all().unwrap();
    bench.stream.synchronize().unwrap();
    let work = || {
        // SAFETY: the events live to the end of the test, the graph is dropped before them.
        unsafe { started.record_in_graph(&bench.stream) }?;
        bench.launch_all()?;
        // SAFETY: as above.
        unsafe { ended.record_in_graph(&bench.stream) }
    };
    // SAFETY: buffers and events live to the end of the test, the graph is dropped before them.
    let graph = unsafe { Graph::capture(&bench.stream, work) }.unwrap();
    let made = driver::allocations();
    for (frame, normalization) in frames() {
        let params = bench.params(normalization);
        bench.copy_up(&frame, &params);
        // SAFETY: nothing of the bench is touched before `done`.
        unsafe { graph.launch(&bench.stream) }.unwrap();
        done.record(&bench.stream).unwrap();
        done.wait().unwrap();
        assert_eq!(done.is_done(), Ok(true));
        assert!(ended.since(&started).unwrap() > std::time::Duration::ZERO);
        let answer = bench.read(&frame, &params);
        let wanted = bench.decoded(&outputs, &frame, &params);
        assert!(answer.instances == wanted.instances, "{:?}", frame.layout());
    }
    assert_eq!(driver::allocations(), made);
    drop(graph);
}

#[test]
fn a_capture_that_fails_leaves_the_stream_usable_on_the_device() {
    let Some(mut bench) = Bench::open() else {
        return;
    };
    let refused = CudaError {
        call: "a test",
        code: 1,
        detail: String::new(),
    };
    // SAFETY: nothing is recorded.
    let captured = unsafe { Graph::capture(&bench.stream, || Err(refused.clone())) };
    assert_eq!(captured.err(), Some(refused));
    let (frame, normalization) = &frames()[2];
    let params = bench.params(*normalization);
    bench.copy_up(frame, &params);
    bench.launch_all().unwrap();
    bench.read(frame, &params);
}

#[test]
fn errors_say_what_was_asked_for_on_the_device() {
    let Some(device) = device() else {
        return;
    };
    let context = Context::new(device.index as i32).unwrap();
    let error = DeviceBuffer::new(&context, 1 << 50).err().unwrap();
    assert!(!error.is_sticky());
    let text = error.to_string();
    for word in [
        "CUDA_ERROR_OUT_OF_MEMORY",
        "1125899906842624 bytes",
        "MiB are free",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let text = Module::new(&context, "no PTX at all")
        .err()
        .unwrap()
        .to_string();
    assert!(text.contains("the embedded kernels"), "{text}");
    let module = Module::new(&context, kernels::PTX).unwrap();
    let text = module.function("nothing").err().unwrap().to_string();
    assert!(text.contains("kernel nothing"), "{text}");
}

/// The floor under every frame: printed, since only a real device has one.
#[test]
fn copies_up_are_timed_on_the_device() {
    let Some(mut bench) = Bench::open() else {
        return;
    };
    let (started, ended) = (
        Event::timed(&bench.context).unwrap(),
        Event::timed(&bench.context).unwrap(),
    );
    for frame in [
        frame(PixelFormat::Mono8, 640, 640, 0),
        frame(PixelFormat::Mono16, 2048, 2040, 0),
    ] {
        let params = bench.params(Normalization::FullRange);
        let mut times: Vec<_> = (0..20)
            .map(|_| {
                started.record(&bench.stream).unwrap();
                bench.copy_up(&frame, &params);
                ended.record(&bench.stream).unwrap();
                bench.stream.synchronize().unwrap();
                ended.since(&started).unwrap()
            })
            .collect();
        times.sort();
        eprintln!(
            "copy up of {} bytes, median of 20, filling included: {:?}",
            frame.data().len(),
            times[10]
        );
    }
}

#[test]
fn a_memory_limit_is_told_what_would_be_needed() {
    let memory = Memory {
        lanes: 2,
        weights: 50 << 20,
        engine: 100 << 20,
        buffers: (30 << 20) - 1,
    };
    assert!(memory.check(0).is_ok());
    assert!(memory.check(310).is_ok());
    let text = memory.check(309).unwrap_err().to_string();
    for word in [
        "gpu.memory_limit_mib = 309",
        "2 lane(s)",
        "310 MiB",
        "about 50",
        "100",
        "30",
    ] {
        assert!(text.contains(word), "{text}");
    }
}
