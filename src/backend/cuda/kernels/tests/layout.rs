use std::{
    ffi::{CStr, CString, c_char, c_uint},
    mem::{offset_of, size_of},
};

use super::{
    super::{
        LaneArgs, PTX, after_engine, before_engine,
        layout::{
            CANDIDATE_BYTES, COUNTERS_BYTES, FrameParams, Header, INSTANCE_BYTES, RECORDS_AT,
            Record, TAP_BYTES,
        },
    },
    rig::kernels,
    small_head,
};
use crate::model::Head;

macro_rules! fields {
    ($type:ident as $name:literal: $($field:ident),* $(,)?) => {
        [$((concat!($name, ".", stringify!($field)), offset_of!($type, $field))),*]
    };
}

/// (name, where host.cpp must have it).
fn fields() -> Vec<(&'static str, usize)> {
    let frame = fields!(FrameParams as "FrameParams": sequence, n_samples, step_x, step_y, scale_x, scale_y, percent_low,
        percent_high, min_span, low, high, from, to, smoothed_low, smoothed_high, width, height, row_stride, pixel_bytes, sample_bytes, channels, offsets,
        max_value, width_new, height_new, left, top, policy, normalize_low, normalize_scale, iou, class_agnostic, max_cells,
        smoothed, packing, reserved);
    let header = fields!(Header as "Header": sequence, n_above, n_at_most, low, high, from, to, policy, n_found, n_kept,
        n_instances, n_words, n_cells, truncated, n_unsettled);
    let record =
        fields!(Record as "Record": class_index, score, x, y, width, height, first_word, area);
    let lane = fields!(LaneArgs as "Lane": frame, confidence, pixels, input, detections, prototypes, answer, answer_records,
        answer_words, counters, histogram, levels, columns, rows, keys, classes, ranks, candidates, overlap, kept, suppressed,
        instances, instance_words, instance_cells, word_offsets, cell_offsets, areas, logits, input_width, input_height,
        n_classes, n_coefficients, n_anchors, prototype_width, prototype_height, end_to_end, max_candidates, max_mask_words,
        max_window_cells, input_stored, detections_stored, prototypes_stored, input_scale, detections_scale,
        prototypes_scale, reserved);
    let others = [
        ("FrameParams.axis_x", offset_of!(FrameParams, mask_axes)),
        ("Record.box", offset_of!(Record, detected_box)),
        ("FrameParams", size_of::<FrameParams>()),
        ("Header", size_of::<Header>()),
        ("Record", size_of::<Record>()),
        ("Lane", size_of::<LaneArgs>()),
        ("Counters", COUNTERS_BYTES),
        ("InputTap", TAP_BYTES),
        ("Candidate", CANDIDATE_BYTES),
        ("Instance", INSTANCE_BYTES),
    ];
    [&frame[..], &header, &record, &lane, &others].concat()
}

#[test]
fn host_and_device_see_the_same_structures() {
    assert_eq!(size_of::<FrameParams>(), 256);
    assert_eq!(RECORDS_AT, 256);
    let Some(kernels) = kernels() else { return };
    let layout: unsafe extern "C" fn(*const c_char) -> c_uint =
        kernels.function("cellsegd_host_layout");
    for (name, expected) in fields() {
        let c_name = CString::new(name).unwrap();
        // SAFETY: takes a name, gives a number.
        let got = unsafe { layout(c_name.as_ptr()) };
        assert_eq!(got as usize, expected, "{name}");
    }
}

#[test]
fn frame_parameters_have_no_padding() {
    // Every byte is a field's: the last ends where the structure does, and all but the first follow the one before.
    let n_64_bit = 2 + 11;
    let n_32_bit = 6 + 3 + 1 + 4 + 1 + 2 + 1 + 2 + 8 + 10;
    assert_eq!(8 * n_64_bit + 4 * n_32_bit, size_of::<FrameParams>());
}

#[test]
fn every_launch_has_its_kernel_in_the_ptx_and_on_the_host_and_no_kernel_is_left_over() {
    let dense = small_head();
    let end_to_end = Head::YoloSegEndToEnd(*dense.shape());
    let mut launched: Vec<&str> = [
        before_engine(&dense),
        after_engine(&dense),
        after_engine(&end_to_end),
    ]
    .concat()
    .iter()
    .map(|launch| launch.name)
    .collect();
    launched.sort_unstable();
    launched.dedup();

    let mut in_ptx: Vec<&str> = PTX
        .split(".entry ")
        .skip(1)
        .filter_map(|entry| entry.split('(').next())
        .collect();
    in_ptx.sort_unstable();
    assert_eq!(in_ptx, launched);
    assert!(PTX.contains(".version 8.2\n.target sm_75\n"));
    for fused in ["fma.", "mad.rn.f", ".ftz", "div.approx", "div.full"] {
        assert!(
            !PTX.contains(fused),
            "{fused} rounds otherwise than the CPU"
        );
    }

    let Some(kernels) = kernels() else { return };
    let kernel: unsafe extern "C" fn(c_uint) -> *const c_char =
        kernels.function("cellsegd_host_kernel");
    let mut on_host = Vec::new();
    for index in 0.. {
        // SAFETY: gives a constant, or null.
        let name = unsafe { kernel(index) };
        if name.is_null() {
            break;
        }
        // SAFETY: not null, so a constant text.
        on_host.push(unsafe { CStr::from_ptr(name) }.to_str().unwrap());
    }
    on_host.sort_unstable();
    assert_eq!(on_host, launched);
}
