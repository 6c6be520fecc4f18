// What becomes of a finished sum: requantisation, GELU, gate score, softmax, and the way out.
//
// Interface: `finish_row` takes one row's sums of an output tile; what is to be stored goes to the
// stream `answers`, one element a row and `store_lanes` channels; hidden values, softmax weights
// and the softmax state go to the buffers.
// Initiation interval aimed at: 1, one row of an output tile a cycle.
// Resources aimed at, not measured: a lane has one requantiser (2 DSP), one GELU (3 DSP and 2 reads
// of its table), a softmax lane (4 DSP) and its result (3 DSP): 384 DSP for Zcu104Build; softmax.h
// says what the divider takes.
#pragma once

#include <hls_stream.h>

#include "array.h"
#include "buffers.h"
#include "feed.h"
#include "fixed_point.h"
#include "pass.h"

namespace gearshift {

// Bias, requantisation, GELU, saturation to the format of the result.
inline std::int64_t finish_product(const Pass& pass, const Channel& channel, std::int32_t sum,
                                   std::uint32_t score) {
#pragma HLS INLINE
    std::int64_t y = requantise(sum, channel.bias, channel.multiplier, channel.shift);
    if (pass.result == Result::QUEUE)
        return shift_right(saturate<32>(y) * std::int64_t(score), SCORE_BITS);
    if (pass.gelu) {
        const std::int16_t value = std::int16_t(saturate<16>(y));
        y = shift_right(std::int64_t(gelu(value)) * pass.gelu_multiplier, pass.gelu_shift);
    }
    switch (pass.format) {
        case Format::INT8:
            return saturate<8>(y + pass.zero);
        case Format::UINT8:
            return saturate_unsigned<8>(y + pass.zero);
        case Format::INT16:
            return saturate<16>(y);
        default:
            return saturate<33>(y);
    }
}

// One query's products with a block of keys -> softmax weights and what its sums shrink by.
template <class Build>
inline void finish_scores(const Pass& pass, const Row& row,
                          const typename Array<Build>::Sums& sums, Buffers<Build>& buffers) {
#pragma HLS INLINE
    std::int32_t dots[Build::output_lanes];
    std::uint8_t weights[Build::output_lanes];
    for (int key = 0; key < Build::output_lanes; ++key) {
#pragma HLS UNROLL
        dots[key] = sums[key];
    }
    const int keys = int(smaller(Build::output_lanes, pass.tokens - pass.first_key));
    buffers.fall[row.index] = std::uint8_t(
        softmax_block<Build>(dots, keys, pass.first_key == 0, pass.scale,
                             buffers.state[row.index], weights));
    for (int key = 0; key < Build::output_lanes; ++key) {
#pragma HLS UNROLL
        buffers.softmax[row.index][key] = weights[key];
    }
}

// `store_lanes` channels of a hidden row.
template <class Build>
inline void keep_hidden(const Pass& pass, const Tile& tile, const Row& row,
                        const Answer<Build>& answer, Buffers<Build>& buffers) {
#pragma HLS INLINE
    constexpr std::uint32_t lanes = Sizes<Build>::store_lanes, words = lanes / BEAT_BYTES;
    const std::uint32_t width = pass.output_tiles / Sizes<Build>::group;
    const std::uint32_t first = (row.index * width + tile.output / Sizes<Build>::group) * words;
    for (std::uint32_t word = 0; word < words; ++word) {
#pragma HLS UNROLL
        Word packed;
        for (std::uint32_t each = 0; each < BEAT_BYTES; ++each) {
#pragma HLS UNROLL
            packed[each] = std::uint8_t(int(answer.values[word * BEAT_BYTES + each]));
        }
        buffers.hidden.word(first + word) = packed;
    }
}

// A row's finished sums of an output tile.
template <class Build>
inline void finish_row(const Pass& pass, const Tile& tile, const Row& row,
                       const typename Array<Build>::Sums& sums, const Array<Build>& array,
                       Buffers<Build>& buffers, hls::stream<Answer<Build>>& answers) {
#pragma HLS INLINE
    constexpr std::uint32_t lanes = Sizes<Build>::output_lanes, group = Sizes<Build>::group;
    if (pass.result == Result::SCORES) {
        finish_scores<Build>(pass, row, sums, buffers);
        return;
    }
    const bool of_values = pass.result == Result::VALUES;
    if (of_values && !pass.last_block) return;

    Answer<Build> answer;
    answer.row = pass.result == Result::QUEUE ? buffers.token[row.index] : row.index;
    const std::uint32_t score = pass.result == Result::QUEUE ? buffers.score[row.index] : 0;
    const std::uint32_t inverse = of_values ? inverse_total(buffers.state[row.index].total) : 0;
    const std::uint32_t part = tile.output % group;  // of the lanes that are stored together
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
#pragma HLS UNROLL
        const std::int64_t value =
            of_values ? attention_result(sums[lane], inverse, pass.scale.multiplier,
                                         pass.scale.shift)
                      : finish_product(pass, array.channel(int(lane)), sums[lane], score);
        answer.values[part * lanes + lane] = value;
    }
    if (part > 0) {  // never where an output tile is a whole word
        const Answer<Build> before = buffers.pending[row.index];
        for (std::uint32_t lane = 0; lane < part * lanes; ++lane) {
            answer.values[lane] = before.values[lane];
        }
    }
    if (part + 1 < group) {
        buffers.pending[row.index] = answer;
        return;
    }
    if (pass.result == Result::HIDDEN)
        keep_hidden<Build>(pass, tile, row, answer, buffers);
    else
        answers.write(answer);
}

}  // namespace gearshift
