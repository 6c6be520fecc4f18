// The accelerator's arithmetic on integers, as gearshift_hls/fixed_point.py defines it.
//
// Interface: pure functions of plain integers, inlined into the pipelines of the units.
// Initiation interval aimed at: 1 (no loop-carried state).
// Resources aimed at, not measured: requantise 2 DSP; gelu 2 DSP and 2 table reads; power 2 DSP and
// 2 table reads; reciprocal_root 2 DSP and 2 table reads. The tables are read by every lane of a
// unit at once, so they are asked for as ROMs of many ports in LUTs.
#pragma once

#include <cstdint>

#include "contract.h"

namespace gearshift {

// value / 2^shift, rounded to the nearest integer, halves up. |value| <= 2^62, shift 0 .. 63.
inline std::int64_t shift_right(std::int64_t value, unsigned shift) {
#pragma HLS INLINE
    const std::int64_t half = shift > 0 ? std::int64_t(1) << (shift - 1) : 0;
    return (value + half) >> shift;
}

inline std::int64_t clamp(std::int64_t value, std::int64_t low, std::int64_t high) {
#pragma HLS INLINE
    return value < low ? low : value > high ? high : value;
}

// The nearest integer that `bits` bits hold, with a sign.
template <int bits>
inline std::int64_t saturate(std::int64_t value) {
#pragma HLS INLINE
    constexpr std::int64_t limit = std::int64_t(1) << (bits - 1);
    return clamp(value, -limit, limit - 1);
}

// The nearest integer that `bits` bits hold, without one.
template <int bits>
inline std::int64_t saturate_unsigned(std::int64_t value) {
#pragma HLS INLINE
    return clamp(value, 0, (std::int64_t(1) << bits) - 1);
}

// (total + bias) x multiplier / 2^shift, in 50 bits; the low 6 bits of shift count.
inline std::int64_t requantise(std::int32_t total, std::int32_t bias, std::uint16_t multiplier,
                               std::uint8_t shift) {
#pragma HLS INLINE
    return shift_right((std::int64_t(total) + bias) * multiplier, shift & 63u);
}

// GELU of a value with 10 fraction bits -> 23 bits, 16 of them fraction.
inline std::int32_t gelu(std::int16_t value) {
#pragma HLS INLINE
#pragma HLS BIND_STORAGE variable = GELU_TABLE type = rom_np impl = lutram
    constexpr std::int32_t last = sizeof(GELU_TABLE) / sizeof(GELU_TABLE[0]) - 1;
    const std::int32_t size = value < 0 ? -std::int32_t(value) : std::int32_t(value);
    const std::int32_t place = size >> 5, part = size & 31;
    std::int32_t delta = 0;
    if (place < last) {
        const std::int32_t between = GELU_TABLE[place] * (32 - part) + GELU_TABLE[place + 1] * part;
        delta = (between + 16) >> 5;
    }
    return (value > 0 ? std::int32_t(value) * 64 : 0) - delta;
}

// 2^-(below / 1024): 17 bits, 16 of them fraction. below < 2^33.
inline std::uint32_t power(std::uint64_t below) {
#pragma HLS INLINE
#pragma HLS BIND_STORAGE variable = POWER_TABLE type = rom_np impl = lutram
    const std::uint64_t whole = below >> VALUE_BITS;
    const std::uint32_t place = (below >> 4) & 63u, part = below & 15u;
    const std::uint32_t between = std::uint32_t(POWER_TABLE[place]) * (16 - part) +
                                  std::uint32_t(POWER_TABLE[place + 1]) * part;
    const unsigned shift = whole < 31 ? unsigned(whole) : 31u;
    return std::uint32_t(shift_right((between + 8) >> 4, shift));
}

// 1 / sqrt(total) = root x 2^(-17 - half); root is in [2^16, 2^17].
struct ReciprocalRoot {
    std::uint32_t root;
    unsigned half;
};

// 1 <= total < 2^62.
inline ReciprocalRoot reciprocal_root(std::uint64_t total) {
#pragma HLS INLINE
#pragma HLS BIND_STORAGE variable = ROOT_TABLE type = rom_np impl = lutram
    // Moved to [2^60, 2^62) by an even shift.
    unsigned up = 0;
    for (int step = 32; step > 1; step >>= 1) {
#pragma HLS UNROLL
        if ((total >> (62 - step)) == 0) {
            total <<= step;
            up += unsigned(step);
        }
    }
    const std::uint64_t place = (total >> 54) - 64, part = (total >> 38) & 0xffffu;
    const std::uint64_t between = std::uint64_t(ROOT_TABLE[place]) * (65536 - part) +
                                  std::uint64_t(ROOT_TABLE[place + 1]) * part;
    return {std::uint32_t((between + 32768) >> 16), (60 - up) >> 1};
}

}  // namespace gearshift
