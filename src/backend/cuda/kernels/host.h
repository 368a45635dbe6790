// What of CUDA the kernels use, for a C++ compiler: one thread after the other.
#pragma once
#include <math.h>
#include <string.h>

#define __global__
#define __device__ static inline

struct Extent {
    unsigned x;
};
static thread_local Extent threadIdx, blockIdx, blockDim, gridDim;

static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}

static inline int __popcll(unsigned long long bits) {
    return __builtin_popcountll(bits);
}

// Threads of a launch run one after the other, and launches of one lane too.
template <class T> static inline T atomicAdd(T *at, T value) {
    const T before = *at;
    *at = before + value;
    return before;
}

template <class T> static inline T atomicOr(T *at, T value) {
    const T before = *at;
    *at = before | value;
    return before;
}
