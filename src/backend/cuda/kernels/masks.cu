// Candidates to masks at camera resolution: Letterbox::to_cam, paint::blank and Painter::paint, spread over threads.
#include "element.cuh"

__device__ u32 n_instances(const Lane &lane) {
    return least(lane.counters->n_kept, lane.frame->max_cells);
}

// Letterbox::to_cam along one axis.
__device__ float to_cam(float value, u32 before, double scale, u32 size) {
    const double cam = ((double)value - (double)before) / scale, most = (double)size;
    return (float)(cam < 0.0 ? 0.0 : cam > most ? most : cam);
}

// The two cells of one axis between whose centres a camera pixel's centre lies, and how far from the first.
struct MaskTap {
    u32 low, high;
    float weight_low, weight_high;
};

// MaskAxis::taps.
__device__ MaskTap mask_tap(const MaskAxis &axis, u32 pixel) {
    float centre = ((float)pixel + 0.5f) * axis.scale + axis.offset;
    centre = centre > axis.first ? centre : axis.first;
    centre = centre < axis.last ? centre : axis.last;
    MaskTap tap;
    tap.low = (u32)centre;
    tap.high = least(tap.low + 1, (u32)axis.last);
    tap.weight_high = centre - (float)tap.low;
    tap.weight_low = 1.0f - tap.weight_high;
    return tap;
}

// A kept candidate becomes the instance whose index is the number of those kept before it.
extern "C" __global__ void select_kept(Lane lane) {
    const FrameParams &frame = *lane.frame;
    const u32 n = least(lane.counters->n_found, lane.max_candidates);
    for (u32 own = thread(); own < n; own += threads()) {
        const u64 set = lane.kept[own / SET], bit = 1ull << own % SET;
        if (!(set & bit)) continue;
        atomicAdd(&lane.counters->n_kept, 1u);
        u32 index = __popcll(set & (bit - 1));
        for (u32 before = 0; before < own / SET; before++) index += __popcll(lane.kept[before]);
        if (index >= frame.max_cells) continue;

        const Candidate candidate = lane.candidates[own];
        Instance instance;
        instance.box.x0 = to_cam(candidate.box.x0, frame.left, frame.scale_x, frame.width);
        instance.box.y0 = to_cam(candidate.box.y0, frame.top, frame.scale_y, frame.height);
        instance.box.x1 = to_cam(candidate.box.x1, frame.left, frame.scale_x, frame.width);
        instance.box.y1 = to_cam(candidate.box.y1, frame.top, frame.scale_y, frame.height);
        instance.class_index = candidate.class_index;
        instance.score = candidate.score;
        instance.anchor = candidate.anchor;
        // A pixel belongs to a box by its own coordinate.
        instance.x = (u32)ceilf(instance.box.x0);
        instance.y = (u32)ceilf(instance.box.y0);
        instance.width = (u32)ceilf(instance.box.x1) - instance.x;
        instance.height = (u32)ceilf(instance.box.y1) - instance.y;
        instance.row_words = pieces(instance.width, WORD);
        instance.column = instance.row = instance.columns = instance.rows = 0;
        if (instance.width > 0 && instance.height > 0) {
            instance.column = mask_tap(frame.axis_x, instance.x).low;
            instance.row = mask_tap(frame.axis_y, instance.y).low;
            instance.columns = mask_tap(frame.axis_x, instance.x + instance.width - 1).high - instance.column + 1;
            instance.rows = mask_tap(frame.axis_y, instance.y + instance.height - 1).high - instance.row + 1;
        }
        lane.instances[index] = instance;
        lane.instance_words[index] = instance.row_words * instance.height;
        lane.instance_cells[index] = instance.columns * instance.rows;
        lane.areas[index] = 0;
    }
}

// Where an instance's words and cells start: after those of all before it. Sums only grow, so from the first instance past a bound
// on all are.
extern "C" __global__ void offsets(Lane lane) {
    const u32 n = n_instances(lane);
    for (u32 own = thread(); own < n; own += threads()) {
        u64 n_words = 0, n_cells = 0;
        for (u32 before = 0; before < own; before++) {
            n_words += lane.instance_words[before];
            n_cells += lane.instance_cells[before];
        }
        const u32 own_words = lane.instance_words[own], own_cells = lane.instance_cells[own];
        if (n_words + own_words > lane.max_mask_words || n_cells + own_cells > lane.max_window_cells) continue;
        lane.word_offsets[own] = (u32)n_words;
        lane.cell_offsets[own] = (u32)n_cells;
        atomicAdd(&lane.counters->n_painted, 1u);
        atomicAdd(&lane.counters->n_words, own_words);
        atomicAdd(&lane.counters->n_cells, own_cells);
    }
}

// The last of `n` instances that starts at or before `place`: the one that holds it, because those without size hold nothing.
__device__ u32 holder(const u32 *offsets, u32 n, u32 place) {
    u32 low = 0, high = n;
    while (high - low > 1) {
        const u32 middle = low + (high - low) / 2;
        if (offsets[middle] <= place) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// One prototype cell of an instance: coefficients times prototypes, added in the order of their indices.
extern "C" __global__ void logits(Lane lane) {
    const u32 n_painted = lane.counters->n_painted, n_cells = lane.counters->n_cells;
    const u32 plane = lane.prototype_width * lane.prototype_height;
    const u32 first_channel = lane.end_to_end ? 6 : 4 + lane.n_classes;
    for (u32 cell = thread(); cell < n_cells; cell += threads()) {
        const u32 index = holder(lane.cell_offsets, n_painted, cell);
        const Instance &instance = lane.instances[index];
        const u32 own = cell - lane.cell_offsets[index];
        const u32 column = instance.column + own % instance.columns, row = instance.row + own / instance.columns;
        const u32 at = row * lane.prototype_width + column;
        float logit = 0.0f;
        for (u32 i = 0; i < lane.n_coefficients; i++) {
            const float coefficient = detection(lane, first_channel + i, instance.anchor);
            const float prototype =
                load(lane.prototypes, lane.prototypes_stored, lane.prototypes_scale, (u64)i * plane + at);
            logit += coefficient * prototype;
        }
        lane.logits[cell] = logit;
    }
}

// One word of a mask: 32 pixels of a row, each between four logits. Pixels between the same cells share what is loaded.
extern "C" __global__ void paint(Lane lane) {
    const MaskAxis axis_x = lane.frame->axis_x, axis_y = lane.frame->axis_y;
    const u32 n_painted = lane.counters->n_painted, n_words = lane.counters->n_words;
    for (u32 place = thread(); place < n_words; place += threads()) {
        const u32 index = holder(lane.word_offsets, n_painted, place);
        const Instance &instance = lane.instances[index];
        const u32 own = place - lane.word_offsets[index], columns = instance.columns;
        const u32 x = own % instance.row_words * WORD, y = own / instance.row_words;
        const MaskTap down = mask_tap(axis_y, instance.y + y);
        const float *window = lane.logits + lane.cell_offsets[index];
        const float *upper = window + (down.low - instance.row) * columns;
        const float *lower = window + (down.high - instance.row) * columns;
        const u32 n_pixels = least(instance.width - x, WORD);

        u32 word = 0, loaded = 0xffffffff;
        float upper_low = 0.0f, upper_high = 0.0f, lower_low = 0.0f, lower_high = 0.0f;
        for (u32 i = 0; i < n_pixels; i++) {
            const MaskTap tap = mask_tap(axis_x, instance.x + x + i);
            if (tap.low != loaded) {
                loaded = tap.low;
                upper_low = upper[tap.low - instance.column];
                upper_high = upper[tap.high - instance.column];
                lower_low = lower[tap.low - instance.column];
                lower_high = lower[tap.high - instance.column];
            }
            const float above = upper_low * tap.weight_low + upper_high * tap.weight_high;
            const float below = lower_low * tap.weight_low + lower_high * tap.weight_high;
            const float logit = above * down.weight_low + below * down.weight_high;
            word |= (u32)(logit > 0.0f) << i;
        }
        lane.answer_words[place] = word;
        if (word != 0) atomicAdd(&lane.areas[index], (u32)__popc(word));
    }
}

// What the host reads beside the words.
extern "C" __global__ void export_answer(Lane lane) {
    const Counters &counters = *lane.counters;
    const u32 n_painted = counters.n_painted;
    for (u32 i = thread(); i < n_painted; i += threads()) {
        const Instance &instance = lane.instances[i];
        const Record record = {
            instance.box,   instance.class_index, instance.score,       instance.x,   instance.y,
            instance.width, instance.height,      lane.word_offsets[i], lane.areas[i]};
        lane.answer_records[i] = record;
    }
    if (thread() != 0) return;
    const FrameParams &frame = *lane.frame;
    Header header;
    header.sequence = frame.sequence;
    header.n_above = counters.n_above;
    header.n_at_most = counters.n_at_most;
    header.low = frame.low;
    header.high = frame.high;
    header.from = frame.from;
    header.to = frame.to;
    header.policy = frame.policy;
    header.n_found = counters.n_found;
    header.n_kept = counters.n_kept;
    header.n_instances = n_painted;
    header.n_words = counters.n_words;
    header.n_cells = counters.n_cells;
    // At the bound on candidates, at max_cells, or at a bound on masks.
    const bool cut = counters.n_found > lane.max_candidates || n_painted < counters.n_kept;
    header.truncated = cut;
    header.n_unsettled = counters.n_unsettled;
    *lane.answer = header;
}
