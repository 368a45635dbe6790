// What host and device both read, as layout.rs has it field by field, and what only the device keeps.
#pragma once

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Bits of masks and sets of candidates.
static constexpr u32 WORD = 32;
static constexpr u32 SET = 64;

static constexpr u32 HISTOGRAM_COPIES = 8;
static constexpr u32 BINS = 65536;
// Sums of 16, of 256 and of 4,096 bins lie one after the other in `levels`.
static constexpr u32 FAN = 16;
static constexpr u32 SUMS_16 = 0, SUMS_256 = 4096, SUMS_4096 = 4096 + 256, LEVELS = 4096 + 256 + 16;

enum Policy { FULL_RANGE = 0, WINDOW = 1, PERCENTILES = 2, LOW_CONTRAST = 3 };
enum Packing { WHOLE_BYTES = 0, PFNC_10 = 1, PFNC_12 = 2, GIGE_10 = 3, GIGE_12 = 4 };
enum Stored { F32 = 0, F16 = 1, U8 = 2, I8 = 3 };

struct MaskAxis {
    float scale, offset, first, last;
};

struct FrameParams {
    u64 sequence;
    u64 n_samples;
    double step_x, step_y;
    double scale_x, scale_y;
    double percent_low, percent_high, min_span;
    double low, high;
    double from, to;
    double smoothed_low, smoothed_high;
    u32 width, height, row_stride, pixel_bytes, sample_bytes, channels;
    u32 offsets[3];
    u32 max_value;
    u32 width_new, height_new, left, top;
    u32 policy;
    float normalize_low, normalize_scale;
    float iou;
    u32 class_agnostic;
    u32 max_cells;
    MaskAxis axis_x, axis_y;
    u32 smoothed;
    u32 packing;
    u32 reserved[4];
};

// Cleared for each frame.
struct Counters {
    u64 n_above, n_at_most;
    u32 n_found;      // detections above their confidence
    u32 n_settled;    // candidates whose fate NMS knows
    u32 n_unsettled;  // those left to nms_finish
    u32 n_kept;       // candidates that NMS left
    u32 n_painted;    // instances within the bounds, and their sizes
    u32 n_words, n_cells;
    u32 reserved[5];
};

// Between which two samples of an axis an input pixel lies, and how far from the first.
struct InputTap {
    u32 first, second;
    float t;
    u32 reserved;
};

struct Box {
    float x0, y0, x1, y1;
};

struct Candidate {
    Box box;  // input pixels; finite and not empty
    u32 class_index;
    float score;
    u32 anchor;
    u32 reserved;
};

struct Instance {
    Box box;  // camera pixels
    u32 class_index;
    float score;
    u32 anchor;
    u32 x, y, width, height;              // the mask's, camera pixels
    u32 column, row, columns, rows;       // of the prototype cells that the mask is made of
    u32 row_words;
};

struct Header {
    u64 sequence;
    u64 n_above, n_at_most;
    double low, high, from, to;
    u32 policy;
    u32 n_found, n_kept, n_instances, n_words, n_cells;
    u32 truncated;
    u32 n_unsettled;
};

struct Record {
    Box box;
    u32 class_index;
    float score;
    u32 x, y, width, height;
    u32 first_word;
    u32 area;
};

// The one parameter of every kernel.
struct Lane {
    FrameParams *frame;
    const float *confidence;  // per class; infinite for one that nobody asked for
    const u8 *pixels;
    void *input;
    const void *detections;
    const void *prototypes;
    Header *answer;
    Record *answer_records;
    u32 *answer_words;
    Counters *counters;
    u32 *histogram;  // [copy][bin]
    u32 *levels;
    InputTap *columns;
    InputTap *rows;
    // Detections that passed, in any order: what they are ranked by, class, and how many are before each.
    u64 *keys;
    u32 *classes;
    u32 *ranks;
    Candidate *candidates;  // by rank
    u64 *overlap;           // [set of 64 before][candidate]: neighbours in a warp read neighbours
    u64 *kept;
    u64 *suppressed;
    Instance *instances;
    u32 *instance_words;
    u32 *instance_cells;
    u32 *word_offsets;
    u32 *cell_offsets;
    u32 *areas;
    float *logits;
    u32 input_width, input_height;
    u32 n_classes, n_coefficients, n_anchors;
    u32 prototype_width, prototype_height;
    u32 end_to_end;
    u32 max_candidates, max_mask_words, max_window_cells;
    u32 input_stored, detections_stored, prototypes_stored;
    float input_scale, detections_scale, prototypes_scale;
    u32 reserved;
};

// Each thread takes every threads()-th piece of the work from thread() on.
__device__ u32 thread() {
    return blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ u32 threads() {
    return gridDim.x * blockDim.x;
}

__device__ u32 least(u32 a, u32 b) {
    return a < b ? a : b;
}

// Pieces of `size` that hold `n`.
__device__ u32 pieces(u32 n, u32 size) {
    return (n + size - 1) / size;
}
