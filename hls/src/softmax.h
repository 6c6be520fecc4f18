// The softmax of attention in a single pass over blocks of keys: the arithmetic. The order of the
// loops and the products stand in the array's passes.
//
// The running maximum is a whole power of two, so that a new one rescales by a shift; see
// gearshift_hls/golden.py `_attend` and its sources.
//
// Interface: pure functions of one query's values, inlined into the passes. For every block of
// `output_lanes` keys: `softmax_block` turns the query's products with the keys into 8-bit weights
// and updates its state; the products of the weights with the values are added to the query's sums
// after those have been through `rescale`. In the end `inverse_total` once a query and
// `attention_result` once a channel.
// Initiation interval aimed at: 1, one query a cycle; other queries stand between two uses of a
// state. inverse_total is a pipelined divider of 33 by 20 bits.
// Resources aimed at, not measured: softmax_block 4 DSP and 2 reads of the table of powers a lane;
// attention_result 3 DSP a lane; inverse_total 1,500 LUT.
#pragma once

#include <cstdint>

#include "contract.h"
#include "fixed_point.h"

namespace gearshift {

// Of one query in one head.
struct SoftmaxState {
    std::int32_t largest;  // power of two of the largest score so far, rounded up; 23 bits
    std::int32_t total;    // of the weights; 20 bits
};

// How to read a product of a query and a key as a power of two with 10 fraction bits.
struct ScoreScale {
    std::uint16_t multiplier;
    std::uint8_t shift;  // the low 6 bits count
};

// Turns the products `dots` of a query with the first `keys` (1 .. output_lanes) keys of a block
// into weights, 0 behind them. Returns the shift by which the query's sums shrink; `first` begins
// a new state.
template <class Build>
inline unsigned softmax_block(const std::int32_t dots[Build::output_lanes], int keys, bool first,
                              ScoreScale scale, SoftmaxState& state,
                              std::uint8_t weights[Build::output_lanes]) {
#pragma HLS INLINE
    std::int64_t scores[Build::output_lanes];
#pragma HLS ARRAY_PARTITION variable = scores complete
    std::int64_t top = INT32_MIN;
    for (int key = 0; key < Build::output_lanes; ++key) {
#pragma HLS UNROLL
        scores[key] = saturate<32>(
            shift_right(std::int64_t(dots[key]) * scale.multiplier, scale.shift & 63u));
        if (key < keys && scores[key] > top) top = scores[key];
    }
    constexpr std::int64_t one = std::int64_t(1) << VALUE_BITS;
    const std::int32_t ceiling = std::int32_t((top + one - 1) >> VALUE_BITS);
    const std::int32_t largest = first || ceiling > state.largest ? ceiling : state.largest;
    const std::int32_t rise = first ? 0 : largest - state.largest;
    const unsigned fall = rise < 31 ? unsigned(rise) : 31u;

    std::int32_t sum = 0;
    for (int key = 0; key < Build::output_lanes; ++key) {
#pragma HLS UNROLL
        std::uint32_t weight = 0;
        if (key < keys) {
            weight = (power(std::uint64_t(largest * one - scores[key])) + 128) >> 8;
            if (weight > 255) weight = 255;
        }
        weights[key] = std::uint8_t(weight);
        sum += std::int32_t(weight);
    }
    state.total = (first ? 0 : std::int32_t(shift_right(state.total, fall))) + sum;
    state.largest = largest;
    return fall;
}

// A query's sum of weighted values so far, once the maximum has risen.
inline std::int32_t rescale(std::int32_t weighted, unsigned fall) {
#pragma HLS INLINE
    return std::int32_t(shift_right(weighted, fall));
}

// 2^32 / total, rounded to the nearest. total >= 128: the largest weight of a state is no less.
inline std::uint32_t inverse_total(std::int32_t total) {
#pragma HLS INLINE off
    const std::uint64_t half = std::uint64_t(total) / 2;
    return std::uint32_t(((std::uint64_t(1) << 32) + half) / std::uint64_t(total));
}

// The weighted mean of a channel, requantised.
inline std::int8_t attention_result(std::int32_t weighted, std::uint32_t inverse,
                                    std::uint16_t multiplier, std::uint8_t shift) {
#pragma HLS INLINE
    const std::int64_t mean = shift_right(std::int64_t(weighted) * inverse, 32 - VALUE_BITS);
    return std::int8_t(saturate<8>(shift_right(mean * multiplier, shift & 63u)));
}

}  // namespace gearshift
