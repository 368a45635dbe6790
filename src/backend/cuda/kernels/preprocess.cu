// Frame to the engine's input: the functions of src/preprocess, spread over threads.
#include "element.cuh"

// What the padding holds: the grey that YOLO models are trained with.
static constexpr float FILL = 114.0f / 255.0f;

// Pixels of a row that one thread surveys.
static constexpr u32 SURVEYED = 16;

// The pixel x of a row in which pixels share bytes: PFNC's run of bits, least significant first, or GigE Vision's pairs in
// three bytes, whose middle one holds both low parts.
__device__ u32 packed_sample(const u8 *row, u32 packing, u32 x) {
    if (packing == PFNC_10 || packing == PFNC_12) {
        const u32 bits = packing == PFNC_10 ? 10 : 12;
        const u64 bit = (u64)x * bits;
        const u8 *at = row + bit / 8;
        return ((u32)at[0] | (u32)at[1] << 8) >> (bit % 8) & ((1u << bits) - 1);
    }
    const u8 *pair = row + (u64)(x / 2) * 3;
    const bool second = x & 1;
    // The middle byte is there whatever the pixel: a row of an odd width ends with it.
    const u32 high = second ? pair[2] : pair[0], low = second ? pair[1] >> 4 : pair[1];
    return packing == GIGE_10 ? high << 2 | (low & 3) : high << 4 | (low & 15);
}

// A sample of the pixel (x, y), `offset` bytes into it.
__device__ u32 sample_at(const Lane &lane, const FrameParams &frame, u32 x, u32 y, u32 offset) {
    if (frame.packing != WHOLE_BYTES) return packed_sample(lane.pixels + (u64)y * frame.row_stride, frame.packing, x);
    const u8 *at = lane.pixels + (u64)y * frame.row_stride + (u64)x * frame.pixel_bytes + offset;
    if (frame.sample_bytes == 1) return *at;
    return *(const u16 *)at;
}

// Taps::fill: input pixel `i` of an axis of `n_cam` camera pixels, `step` of them an input pixel.
__device__ InputTap input_tap(u32 i, double step, u32 n_cam) {
    const double position = ((double)i + 0.5) * step - 0.5, last = (double)(n_cam - 1);
    const double first = floor(position);
    const bool inside = 0.0 <= first && first < last;
    InputTap tap;
    tap.first = (u32)(first < 0.0 ? 0.0 : first > last ? last : first);
    tap.second = tap.first + inside;
    tap.t = inside ? (float)(position - first) : 0.0f;
    tap.reserved = 0;
    return tap;
}

// Clears what the kernels after it count in, and computes the taps of both axes: once a column and a row, because f64 is slow.
extern "C" __global__ void prepare(Lane lane) {
    const FrameParams &frame = *lane.frame;
    if (thread() == 0) *lane.counters = Counters();
    for (u32 i = thread(); i < pieces(lane.max_candidates, SET); i += threads()) {
        lane.kept[i] = 0;
        lane.suppressed[i] = 0;
    }
    for (u32 i = thread(); i < frame.width_new; i += threads()) {
        lane.columns[i] = input_tap(i, frame.step_x, frame.width);
    }
    for (u32 i = thread(); i < frame.height_new; i += threads()) {
        lane.rows[i] = input_tap(i, frame.step_y, frame.height);
    }
    if (frame.policy != PERCENTILES) return;
    for (u32 i = thread(); i < LEVELS; i += threads()) lane.levels[i] = 0;
    // Whole groups of bins: `fold` reads those.
    const u32 n_bins = pieces(frame.max_value + 1, FAN) * FAN;
    for (u32 i = thread(); i < HISTOGRAM_COPIES * n_bins; i += threads()) {
        lane.histogram[i / n_bins * BINS + i % n_bins] = 0;
    }
}

// histogram::survey, and Histogram::count where the window is made of percentiles. Neighbours that are equal are counted at once.
extern "C" __global__ void survey(Lane lane) {
    const FrameParams &frame = *lane.frame;
    const bool counting = frame.policy == PERCENTILES;
    u32 *bins = lane.histogram + (u64)(blockIdx.x % HISTOGRAM_COPIES) * BINS;
    const u32 row_pieces = pieces(frame.width, SURVEYED);
    u32 n_above = 0, n_at_most = 0;
    for (u32 piece = thread(); piece < frame.height * row_pieces; piece += threads()) {
        const u32 y = piece / row_pieces, start = piece % row_pieces * SURVEYED;
        u32 value = 0, n_equal = 0;
        for (u32 x = start; x < least(start + SURVEYED, frame.width); x++) {
            for (u32 channel = 0; channel < frame.channels; channel++) {
                const u32 sample = sample_at(lane, frame, x, y, frame.offsets[channel]);
                n_above += sample > frame.max_value;
                n_at_most += sample >= frame.max_value;
                const u32 clipped = least(sample, frame.max_value);
                if (clipped != value && n_equal > 0) {
                    if (counting) atomicAdd(&bins[value], n_equal);
                    n_equal = 0;
                }
                value = clipped;
                n_equal++;
            }
        }
        if (counting) atomicAdd(&bins[value], n_equal);
    }
    if (n_above > 0) atomicAdd(&lane.counters->n_above, (u64)n_above);
    if (n_at_most > 0) atomicAdd(&lane.counters->n_at_most, (u64)n_at_most);
}

// Adds the copies of the histogram into the first, and the sums from which `percentile` finds a rank in four steps.
extern "C" __global__ void fold(Lane lane) {
    const FrameParams &frame = *lane.frame;
    if (frame.policy != PERCENTILES) return;
    for (u32 group = thread(); group < pieces(frame.max_value + 1, FAN); group += threads()) {
        u32 n_group = 0;
        for (u32 bin = group * FAN; bin < (group + 1) * FAN; bin++) {
            u32 n = 0;
            for (u32 copy = 0; copy < HISTOGRAM_COPIES; copy++) n += lane.histogram[copy * BINS + bin];
            lane.histogram[bin] = n;
            n_group += n;
        }
        lane.levels[SUMS_16 + group] = n_group;
        if (n_group > 0) {
            atomicAdd(&lane.levels[SUMS_256 + group / FAN], n_group);
            atomicAdd(&lane.levels[SUMS_4096 + group / (FAN * FAN)], n_group);
        }
    }
}

// Which of 16 counts holds the sample at `rank`, of those that `n_before` samples precede; adds those before it.
__device__ u32 holding(const u32 *counts, u64 rank, u64 &n_before) {
    // All are loaded before the first is looked at: otherwise each would wait for the last.
    u32 n[FAN];
    for (u32 i = 0; i < FAN; i++) n[i] = counts[i];
    u32 found = FAN - 1;
    bool passed = false;
    for (u32 i = 0; i < FAN - 1; i++) {
        if (!passed && n_before + n[i] <= rank) {
            n_before += n[i];
        } else if (!passed) {
            passed = true;
            found = i;
        }
    }
    return found;
}

// Counts::values_at: the sample at a rank, as if sorted.
__device__ double value_at(const Lane &lane, u64 rank) {
    u64 n_before = 0;
    u32 found = 0;
#pragma unroll 1
    for (u32 level = 0; level < 4; level++) {
        const u32 *counts = level == 0   ? lane.levels + SUMS_4096
                            : level == 1 ? lane.levels + SUMS_256
                            : level == 2 ? lane.levels + SUMS_16
                                         : lane.histogram;
        found = found * FAN + holding(counts + found * FAN, rank, n_before);
    }
    return (double)found;
}

// Counts::percentile: linear between the two nearest ranks.
__device__ double percentile_of(const Lane &lane, double q) {
    const u64 last = lane.frame->n_samples - 1;
    const double rank = q / 100.0 * (double)last, whole = floor(rank);
    const u64 below = (u64)whole < last ? (u64)whole : last;
    const double low = value_at(lane, below), high = value_at(lane, below < last ? below + 1 : last);
    const double t = rank - whole, span = high - low;
    // From the nearer end, so that t = 1 gives `high` exactly.
    return t < 0.5 ? low + span * t : high - span * (1.0 - t);
}

// preprocess::window where it is made of percentiles, and Normalize::new.
extern "C" __global__ void percentile(Lane lane) {
    FrameParams &frame = *lane.frame;
    if (thread() != 0 || frame.policy != PERCENTILES) return;
    const double from = percentile_of(lane, frame.percent_low), to = percentile_of(lane, frame.percent_high);
    double low = from, high = to;
    if (to - from < frame.min_span || to <= from) {
        const double middle = (from + to) / 2.0, half = (double)frame.max_value / 2.0;
        low = middle - half;
        high = middle + half;
        frame.policy = LOW_CONTRAST;
    } else if (frame.smoothed) {
        low = frame.smoothed_low;
        high = frame.smoothed_high;
    }
    const float scale = (float)(1.0 / (high - low));
    const float largest = __uint_as_float(0x7f7fffff);
    frame.from = from;
    frame.to = to;
    frame.low = low;
    frame.high = high;
    frame.normalize_low = (float)low;
    frame.normalize_scale = scale < largest ? scale : largest;
}

// Normalize::apply.
__device__ float normalized(const FrameParams &frame, u32 sample) {
    const float value = ((float)least(sample, frame.max_value) - frame.normalize_low) * frame.normalize_scale;
    // Comparisons in this order: what is no number becomes 0.
    const float above = value > 0.0f ? value : 0.0f;
    return above < 1.0f ? above : 1.0f;
}

__device__ float blend(float a, float b, float t) {
    return a * (1.0f - t) + b * t;
}

// A row of the frame between two columns.
__device__ float across(const Lane &lane, const FrameParams &frame, const InputTap &column, u32 y, u32 offset) {
    const float first = normalized(frame, sample_at(lane, frame, column.first, y, offset));
    const float second = normalized(frame, sample_at(lane, frame, column.second, y, offset));
    return blend(first, second, column.t);
}

// preprocess::letterbox: one pixel of all three planes.
extern "C" __global__ void letterbox(Lane lane) {
    const FrameParams &frame = *lane.frame;
    const u32 n_pixels = lane.input_width * lane.input_height;
    for (u32 pixel = thread(); pixel < n_pixels; pixel += threads()) {
        // Before the frame's first column or row these wrap, and are past its last.
        const u32 x = pixel % lane.input_width - frame.left, y = pixel / lane.input_width - frame.top;
        const bool inside = x < frame.width_new && y < frame.height_new;
        const InputTap column = lane.columns[inside ? x : 0], row = lane.rows[inside ? y : 0];
        float value = FILL;
        for (u32 plane = 0; plane < 3; plane++) {
            // Grey has one channel, which serves all three.
            if (inside && plane < frame.channels) {
                const float above = across(lane, frame, column, row.first, frame.offsets[plane]);
                const float below = across(lane, frame, column, row.second, frame.offsets[plane]);
                value = blend(above, below, row.t);
            }
            store(lane.input, lane.input_stored, lane.input_scale, (u64)plane * n_pixels + pixel, value);
        }
    }
}
