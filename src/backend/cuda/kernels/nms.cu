// Greedy non-maximum suppression: nms::Kept::suppress, spread over threads.
//
// A candidate is kept if no kept one before it overlaps it. Rounds settle whoever depends on settled ones only; a state is
// written when it is certain and never changed, so neither the order of threads nor the number of rounds shows.
#include "element.cuh"

__device__ u32 n_candidates(const Lane &lane) {
    return least(lane.counters->n_found, lane.max_candidates);
}

__device__ float area_of(const Box &box) {
    return (box.x1 - box.x0) * (box.y1 - box.y0);
}

// nms::Kept::overlaps: above the threshold without a division, and not where the sum is no number.
__device__ bool overlaps(const Box &box, const Box &kept, float iou) {
    const float right = box.x1 < kept.x1 ? box.x1 : kept.x1, left = box.x0 > kept.x0 ? box.x0 : kept.x0;
    const float bottom = box.y1 < kept.y1 ? box.y1 : kept.y1, top = box.y0 > kept.y0 ? box.y0 : kept.y0;
    const float width = right - left, height = bottom - top;
    // Nearly always: nothing is above the threshold of nothing.
    if (!(width > 0.0f && height > 0.0f)) return false;
    const float inter = width * height;
    const float both = area_of(box) + area_of(kept) - inter;
    return inter > iou * both;
}

// Which of 64 candidates before it overlap a candidate, and may suppress it.
extern "C" __global__ void overlap(Lane lane) {
    const FrameParams &frame = *lane.frame;
    const u32 n = n_candidates(lane);
    const float iou = frame.iou;
    const bool agnostic = frame.class_agnostic != 0;
    for (u32 piece = thread(); piece < n * pieces(n, SET); piece += threads()) {
        // Neighbours in a warp have the same others.
        const u32 own = piece % n, start = piece / n * SET;
        if (own <= start) continue;
        const Candidate candidate = lane.candidates[own];
        u64 bits = 0;
        for (u32 other = start; other < least(start + SET, own); other++) {
            const Candidate &before = lane.candidates[other];
            const bool same = agnostic || before.class_index == candidate.class_index;
            if (same && overlaps(candidate.box, before.box, iou)) bits |= 1ull << (other - start);
        }
        lane.overlap[(u64)(start / SET) * lane.max_candidates + own] = bits;
    }
}

// Others write while these are read: they may be seen now or a round later.
__device__ u64 now(const u64 *set) {
    return *(const volatile u64 *)set;
}

enum Fate { OPEN, KEPT, SUPPRESSED };

// What is certain about a candidate.
__device__ Fate fate_of(const Lane &lane, u32 own) {
    Fate fate = KEPT;
    for (u32 set = 0; set < pieces(own, SET); set++) {
        const u64 bits = lane.overlap[(u64)set * lane.max_candidates + own];
        if (bits & now(&lane.kept[set])) return SUPPRESSED;
        if (bits & ~now(&lane.suppressed[set])) fate = OPEN;
    }
    return fate;
}

extern "C" __global__ void nms_round(Lane lane) {
    const u32 n = n_candidates(lane);
    for (u32 own = thread(); own < n; own += threads()) {
        const u64 bit = 1ull << own % SET;
        if ((now(&lane.kept[own / SET]) | now(&lane.suppressed[own / SET])) & bit) continue;
        const Fate fate = fate_of(lane, own);
        if (fate == OPEN) continue;
        atomicOr(fate == KEPT ? &lane.kept[own / SET] : &lane.suppressed[own / SET], bit);
        atomicAdd(&lane.counters->n_settled, 1u);
    }
}

// One thread settles in rank order what the rounds have left, seldom anything.
extern "C" __global__ void nms_finish(Lane lane) {
    const u32 n = n_candidates(lane);
    if (thread() != 0 || lane.counters->n_settled == n) return;
    lane.counters->n_unsettled = n - lane.counters->n_settled;
    for (u32 set = 0; set < pieces(n, SET); set++) {
        const u32 last = least(n - set * SET, SET);
        for (u32 i = 0; i < last; i++) {
            const u64 bit = 1ull << i;
            if ((lane.kept[set] | lane.suppressed[set]) & bit) continue;
            // All before it are settled: no fate is open.
            if (fate_of(lane, set * SET + i) == KEPT) {
                lane.kept[set] |= bit;
            } else {
                lane.suppressed[set] |= bit;
            }
        }
    }
}

// Where NMS was the network's. Nobody looks at bits past the last candidate's.
extern "C" __global__ void keep_all(Lane lane) {
    const u32 n = n_candidates(lane);
    for (u32 set = thread(); set < pieces(n, SET); set += threads()) lane.kept[set] = ~0ull;
}
