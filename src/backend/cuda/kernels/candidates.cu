// Detections to candidates in rank order: yolo_seg::candidates and Candidate::rank, spread over threads.
#include "element.cuh"

// Others that one thread compares a candidate with.
static constexpr u32 RANKED = 256;

__device__ float detection(const Lane &lane, u64 index) {
    return load(lane.detections, lane.detections_stored, lane.detections_scale, index);
}

// Values of one detection: channels are rows of the dense head and columns of the end-to-end one.
__device__ float detection(const Lane &lane, u32 channel, u32 anchor) {
    if (lane.end_to_end) return detection(lane, (u64)anchor * (6 + lane.n_coefficients) + channel);
    return detection(lane, (u64)channel * lane.n_anchors + anchor);
}

__device__ Box box_of(const Lane &lane, u32 anchor) {
    const float a = detection(lane, 0u, anchor), b = detection(lane, 1u, anchor);
    const float c = detection(lane, 2u, anchor), d = detection(lane, 3u, anchor);
    Box box = {a, b, c, d};
    if (!lane.end_to_end) {
        const float half_width = c * 0.5f, half_height = d * 0.5f;
        box.x0 = a - half_width;
        box.y0 = b - half_height;
        box.x1 = a + half_width;
        box.y1 = b + half_height;
    }
    return box;
}

__device__ bool is_finite(float value) {
    return (__float_as_uint(value) & 0x7f800000) != 0x7f800000;
}

// Takes a place in the list if the box is one. The list holds every anchor: it cannot overflow.
__device__ void push(const Lane &lane, u32 anchor, u32 class_index, float score) {
    const Box box = box_of(lane, anchor);
    const bool finite = is_finite(box.x0) && is_finite(box.y0) && is_finite(box.x1) && is_finite(box.y1);
    if (!finite || !(box.x0 < box.x1) || !(box.y0 < box.y1)) return;
    const u32 place = atomicAdd(&lane.counters->n_found, 1u);
    // Bits of floats above zero are ordered as the floats; a lower anchor is larger.
    lane.keys[place] = (u64)__float_as_uint(score) << 32 | (0xffffffffu - anchor);
    lane.classes[place] = class_index;
    lane.ranks[place] = 0;
}

// yolo_seg::dense: the best class of an anchor, the lowest index on a tie.
extern "C" __global__ void score(Lane lane) {
    for (u32 anchor = thread(); anchor < lane.n_anchors; anchor += threads()) {
        float best = -__uint_as_float(0x7f800000);
        u32 best_class = 0;
        for (u32 class_index = 0; class_index < lane.n_classes; class_index++) {
            const float score = detection(lane, 4 + class_index, anchor);
            if (score > best) {
                best = score;
                best_class = class_index;
            }
        }
        if (best > lane.confidence[best_class]) push(lane, anchor, best_class, best);
    }
}

// yolo_seg::end_to_end: a class that is not an index of the model's is no detection.
extern "C" __global__ void score_end_to_end(Lane lane) {
    for (u32 anchor = thread(); anchor < lane.n_anchors; anchor += threads()) {
        const float score = detection(lane, 4u, anchor), class_value = detection(lane, 5u, anchor);
        if (!(0.0f <= class_value && class_value < (float)lane.n_classes)) continue;
        const u32 class_index = (u32)class_value;
        if ((float)class_index != class_value) continue;
        if (score > lane.confidence[class_index]) push(lane, anchor, class_index, score);
    }
}

// Adds to a candidate's rank those of some others that come before it. Keys differ, so ranks do.
extern "C" __global__ void rank(Lane lane) {
    const u32 n = lane.counters->n_found, n_blocks = pieces(n, RANKED);
    for (u32 piece = thread(); piece < n * n_blocks; piece += threads()) {
        // Neighbours in a warp have the same others.
        const u32 place = piece % n, start = piece / n * RANKED;
        const u64 own = lane.keys[place];
        u32 n_before = 0;
        for (u32 other = start; other < least(start + RANKED, n); other++) n_before += lane.keys[other] > own;
        if (n_before > 0) atomicAdd(&lane.ranks[place], n_before);
    }
}

// Brings candidates into rank order; those past the bound are cut.
extern "C" __global__ void scatter(Lane lane) {
    for (u32 place = thread(); place < lane.counters->n_found; place += threads()) {
        const u32 own = lane.ranks[place];
        if (own >= lane.max_candidates) continue;
        const u64 key = lane.keys[place];
        const u32 anchor = 0xffffffffu - (u32)key;
        const Candidate candidate = {
            box_of(lane, anchor), lane.classes[place], __uint_as_float((u32)(key >> 32)), anchor, 0};
        lane.candidates[own] = candidate;
    }
}
