// Numbers of the engine's tensors: element.rs, bit for bit.
#pragma once
#include "lane.cuh"

// IEEE 754 binary16 to binary32: exact. A power of two is an exact factor, for subnormals too.
__device__ float from_f16(u16 half) {
    u32 bits = __float_as_uint(__uint_as_float((u32)(half & 0x7fff) << 13) * 0x1p112f);
    // All exponent bits set: infinite or no number.
    if ((half & 0x7c00) == 0x7c00) bits = (u32)(half & 0x7fff) << 13 | 0x7f800000u;
    return __uint_as_float(bits | (u32)(half & 0x8000) << 16);
}

// Rounded to the nearest, a tie to the even one.
__device__ u16 to_f16(float value) {
    const u32 bits = __float_as_uint(value);
    const u32 sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (u16)(sign | 0x7e00 | (size >> 13 & 0x3ff));
    // From 65,520 on the nearest is infinite; to 2^-25 it is zero.
    if (size >= 0x477ff000) return (u16)(sign | 0x7c00);
    if (size <= 0x33000000) return (u16)sign;
    const bool subnormal = size < 0x38800000;
    const u32 shift = subnormal ? 126 - (size >> 23) : 13;
    const u32 digits = subnormal ? (size & 0x7fffff) | 0x800000 : size - 0x38000000;
    const u32 half = digits >> shift, rest = digits & ((1u << shift) - 1), tie = 1u << (shift - 1);
    // A carry out of the fraction raises the exponent, as it should.
    return (u16)(sign | (half + (rest > tie || (rest == tie && (half & 1)))));
}

// 0 to 1 as 0 to 255, rounded half up.
__device__ u8 to_u8(float value) {
    return (u8)(u32)(value * 255.0f + 0.5f);
}

// In steps of `scale`, rounded half to even, clipped; what is no number is the least.
__device__ i8 to_i8(float value, float scale) {
    const float steps = value / scale;
    if (!(steps > -128.0f)) return -128;
    if (steps >= 127.0f) return 127;
    const float below = floorf(steps), rest = steps - below;
    const int whole = (int)below;
    return (i8)(whole + (rest > 0.5f || (rest == 0.5f && (whole & 1))));
}

// The one with this index of a tensor that the engine wrote.
__device__ float load(const void *tensor, u32 stored, float scale, u64 index) {
    switch (stored) {
        case F32: return ((const float *)tensor)[index];
        case F16: return from_f16(((const u16 *)tensor)[index]);
        case I8: return (float)((const i8 *)tensor)[index] * scale;
        default: return (float)((const u8 *)tensor)[index];
    }
}

// Into a tensor that the engine reads.
__device__ void store(void *tensor, u32 stored, float scale, u64 index, float value) {
    switch (stored) {
        case F32: ((float *)tensor)[index] = value; break;
        case F16: ((u16 *)tensor)[index] = to_f16(value); break;
        case I8: ((i8 *)tensor)[index] = to_i8(value, scale); break;
        default: ((u8 *)tensor)[index] = to_u8(value); break;
    }
}
