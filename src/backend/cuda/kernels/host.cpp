// The kernels as a library for machines without a GPU: what tests and the emulated driver launch.
#include "host.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
// The same source as on the device.
#include "cellsegd.cu"

namespace {

struct Kernel {
    const char *name;
    void (*run)(Lane);
};

const Kernel KERNELS[] = {
    {"prepare", prepare},
    {"survey", survey},
    {"fold", fold},
    {"percentile", percentile},
    {"letterbox", letterbox},
    {"score", score},
    {"score_end_to_end", score_end_to_end},
    {"rank", rank},
    {"scatter", scatter},
    {"overlap", overlap},
    {"nms_round", nms_round},
    {"nms_finish", nms_finish},
    {"keep_all", keep_all},
    {"select_kept", select_kept},
    {"offsets", offsets},
    {"logits", logits},
    {"paint", paint},
    {"export_answer", export_answer},
};

enum Order { FORWARD, REVERSE, SHUFFLE };

u64 common_divisor(u64 a, u64 b) {
    return b == 0 ? a : common_divisor(b, a % b);
}

// Threads in an order that no kernel may depend on.
void launch(void (*run)(Lane), unsigned grid, unsigned block, const Lane &lane, int order) {
    const u64 n = (u64)grid * block;
    // Any number without a common divisor reaches every thread once.
    u64 step = n * 2 / 3 + 1;
    while (common_divisor(step, n) != 1) step++;
    for (u64 i = 0; i < n; i++) {
        const u64 at = order == FORWARD ? i : order == REVERSE ? n - 1 - i : (i * step + n / 2) % n;
        threadIdx.x = (unsigned)(at % block);
        blockIdx.x = (unsigned)(at / block);
        run(lane);
    }
}

int chosen_order() {
    const char *name = getenv("CELLSEGD_KERNEL_ORDER");
    if (name == NULL || strcmp(name, "forward") == 0) return FORWARD;
    if (strcmp(name, "reverse") == 0) return REVERSE;
    if (strcmp(name, "shuffle") == 0) return SHUFFLE;
    fprintf(stderr, "CELLSEGD_KERNEL_ORDER=%s: forward, reverse or shuffle\n", name);
    abort();
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Runs a kernel as a device would run its launch. `order`: 0 forward, 1 reverse, 2 shuffled.
EXPORT void cellsegd_host_launch_in_order(
    const char *name, unsigned grid, unsigned block, const void *lane, int order) {
    gridDim.x = grid;
    blockDim.x = block;
    for (const Kernel &kernel : KERNELS) {
        if (strcmp(kernel.name, name) == 0) return launch(kernel.run, grid, block, *(const Lane *)lane, order);
    }
    fprintf(stderr, "cellsegd_host_launch: no kernel is called %s\n", name);
    abort();
}

EXPORT void cellsegd_host_launch(const char *name, unsigned grid, unsigned block, const void *lane) {
    cellsegd_host_launch_in_order(name, grid, block, lane, chosen_order());
}

struct Field {
    const char *name;
    unsigned at;
};

#define AT(type, field) {#type "." #field, (unsigned)offsetof(type, field)}
#define SIZE(type) {#type, (unsigned)sizeof(type)}

const Field FIELDS[] = {
    SIZE(FrameParams), SIZE(Header), SIZE(Record), SIZE(Lane),
    SIZE(Counters), SIZE(InputTap), SIZE(Candidate), SIZE(Instance),
    AT(FrameParams, sequence), AT(FrameParams, n_samples), AT(FrameParams, step_x), AT(FrameParams, step_y),
    AT(FrameParams, scale_x), AT(FrameParams, scale_y), AT(FrameParams, percent_low), AT(FrameParams, percent_high),
    AT(FrameParams, min_span), AT(FrameParams, low), AT(FrameParams, high), AT(FrameParams, from), AT(FrameParams, to),
    AT(FrameParams, smoothed_low), AT(FrameParams, smoothed_high),
    AT(FrameParams, width), AT(FrameParams, height), AT(FrameParams, row_stride), AT(FrameParams, pixel_bytes),
    AT(FrameParams, sample_bytes), AT(FrameParams, channels), AT(FrameParams, offsets), AT(FrameParams, max_value),
    AT(FrameParams, width_new), AT(FrameParams, height_new), AT(FrameParams, left), AT(FrameParams, top),
    AT(FrameParams, policy), AT(FrameParams, normalize_low), AT(FrameParams, normalize_scale), AT(FrameParams, iou),
    AT(FrameParams, class_agnostic), AT(FrameParams, max_cells), AT(FrameParams, axis_x), AT(FrameParams, smoothed),
    AT(FrameParams, packing), AT(FrameParams, reserved),
    AT(Header, sequence), AT(Header, n_above), AT(Header, n_at_most), AT(Header, low), AT(Header, high),
    AT(Header, from), AT(Header, to), AT(Header, policy), AT(Header, n_found), AT(Header, n_kept),
    AT(Header, n_instances), AT(Header, n_words), AT(Header, n_cells), AT(Header, truncated), AT(Header, n_unsettled),
    AT(Record, box), AT(Record, class_index), AT(Record, score), AT(Record, x), AT(Record, y), AT(Record, width),
    AT(Record, height), AT(Record, first_word), AT(Record, area),
    AT(Lane, frame), AT(Lane, confidence), AT(Lane, pixels), AT(Lane, input), AT(Lane, detections),
    AT(Lane, prototypes), AT(Lane, answer), AT(Lane, answer_records), AT(Lane, answer_words), AT(Lane, counters),
    AT(Lane, histogram), AT(Lane, levels), AT(Lane, columns), AT(Lane, rows), AT(Lane, keys), AT(Lane, classes),
    AT(Lane, ranks), AT(Lane, candidates), AT(Lane, overlap), AT(Lane, kept), AT(Lane, suppressed),
    AT(Lane, instances), AT(Lane, instance_words), AT(Lane, instance_cells), AT(Lane, word_offsets),
    AT(Lane, cell_offsets), AT(Lane, areas), AT(Lane, logits), AT(Lane, input_width), AT(Lane, input_height),
    AT(Lane, n_classes), AT(Lane, n_coefficients), AT(Lane, n_anchors), AT(Lane, prototype_width),
    AT(Lane, prototype_height), AT(Lane, end_to_end), AT(Lane, max_candidates), AT(Lane, max_mask_words),
    AT(Lane, max_window_cells), AT(Lane, input_stored), AT(Lane, detections_stored), AT(Lane, prototypes_stored),
    AT(Lane, input_scale), AT(Lane, detections_scale), AT(Lane, prototypes_scale), AT(Lane, reserved),
};

// Sizes ("Lane") and offsets ("Lane.frame") of what host and device both read.
EXPORT unsigned cellsegd_host_layout(const char *name) {
    for (const Field &field : FIELDS) {
        if (strcmp(field.name, name) == 0) return field.at;
    }
    return ~0u;
}

// Conversions of element.cuh, for tests that try every value.
EXPORT float cellsegd_host_from_f16(unsigned short half) {
    return from_f16(half);
}

EXPORT unsigned short cellsegd_host_to_f16(float value) {
    return to_f16(value);
}

EXPORT unsigned char cellsegd_host_to_u8(float value) {
    return to_u8(value);
}

EXPORT signed char cellsegd_host_to_i8(float value, float scale) {
    return to_i8(value, scale);
}

// The name of a kernel, or null past the last.
EXPORT const char *cellsegd_host_kernel(unsigned index) {
    return index < sizeof KERNELS / sizeof KERNELS[0] ? KERNELS[index].name : NULL;
}
