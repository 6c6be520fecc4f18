// On-chip memories of the array, and the sizes that follow from a build.
//
// Interface: plain arrays, of which one process of a pass reads and writes each. `input` and
// `hidden` lie in two banks, so that the bytes of all input lanes are read at once.
// Resources aimed at, not measured, for Zcu104Build: input and hidden 16 UltraRAM each, sums 15
// UltraRAM, softmax weights 16 block RAM, queue and softmax states 8 block RAM.
#pragma once

#include <ap_int.h>
#include <cstdint>
#include <hls_vector.h>

#include "contract.h"
#include "memory.h"
#include "softmax.h"

namespace gearshift {

template <class Build>
struct Sizes {
    static constexpr std::uint32_t input_lanes = Build::input_lanes;
    static constexpr std::uint32_t output_lanes = Build::output_lanes;
    // Rows of a pass: partial sums that an output lane has room for.
    static constexpr std::uint32_t rows = Build::max_tokens;
    // Beats of a port for the parameters of its channels, and for its rows of a tile of weights.
    static constexpr std::uint32_t parameter_beats =
        Build::port_lanes * CHANNEL_BYTES / BEAT_BYTES;
    static constexpr std::uint32_t tile_beats = Build::port_lanes * Build::input_lanes / BEAT_BYTES;
    // Results are stored so many channels at once, that one byte each makes whole words.
    static constexpr std::uint32_t store_lanes =
        Build::output_lanes > int(BEAT_BYTES) ? Build::output_lanes : int(BEAT_BYTES);
    // Output tiles of a store.
    static constexpr std::uint32_t group = store_lanes / output_lanes;

    static_assert(Build::input_lanes == Build::output_lanes,
                  "a block of keys is the outputs of one pass and the inputs of the next");
    static_assert(parameter_beats * BEAT_BYTES == Build::port_lanes * CHANNEL_BYTES,
                  "a port brings whole beats of parameters");
    static_assert(tile_beats * BEAT_BYTES == std::uint32_t(Build::port_lanes * Build::input_lanes),
                  "a port brings whole beats of a tile");
    static_assert(Build::weight_ports <= 4, "the top function has four ports for weights");
    static_assert(Build::input_bytes / 3 <= Build::hidden_bytes,
                  "two lines of a map that is enlarged lie in the hidden buffer");
    static_assert(Build::max_tokens % Build::output_lanes == 0 &&
                      2 * Build::max_tokens * Build::max_head_dim <= Build::input_bytes,
                  "the last block of keys and values reads no further than the input buffer");
    static_assert(Build::max_tokens * Build::output_lanes <= Build::hidden_bytes,
                  "the queries of a pass lie in the hidden buffer");
};

// A row's results of `store_lanes` channels on their way to memory. 33 bits are enough for what is
// added to a residual: a value that they do not hold saturates the sum.
template <class Build>
struct Answer {
    hls::vector<ap_int<33>, Sizes<Build>::store_lanes> values;
    std::uint32_t row;
};

// A buffer of `bytes` bytes: even words in the first bank, odd ones in the second.
template <int bytes>
struct Banks {
    Word bank[2][bytes / 2 / int(BEAT_BYTES)];

    Word& word(std::uint32_t index) { return bank[index % 2][index / 2]; }
    const Word& word(std::uint32_t index) const { return bank[index % 2][index / 2]; }

    Banks() {
#pragma HLS ARRAY_PARTITION variable = bank complete dim = 1
#pragma HLS BIND_STORAGE variable = bank type = ram_t2p impl = uram
    }
};

template <class Build>
struct Buffers {
    // Tokens or map rows; in attention the keys, then the values of a head.
    Banks<Build::input_bytes> input;
    // An expert's hidden values; in attention the queries. Of a map that is enlarged, an even line
    // in the first bank, an odd one in the second.
    Banks<Build::hidden_bytes> hidden;
    // Partial sums of a pass; in attention those of the scores, then the weighted values.
    hls::vector<std::int32_t, Build::output_lanes> sums[Build::max_tokens];
    // The tokens of an expert's queue and their gate scores.
    std::uint16_t token[Build::max_tokens];
    std::uint16_t score[Build::max_tokens];
    // Of the queries of a pass: softmax weights of a block of keys, the shift that they ask for.
    hls::vector<std::uint8_t, Build::output_lanes> softmax[Build::max_tokens];
    std::uint8_t fall[Build::max_tokens];
    SoftmaxState state[Build::max_tokens];
    // Results of output tiles that are narrower than a word, until the last of a word comes.
    Answer<Build> pending[Sizes<Build>::group > 1 ? Build::max_tokens : 1];
};

// Bytes [index x lanes, (index + 1) x lanes) of a buffer.
template <int lanes, int bytes>
inline void read_lanes(const Banks<bytes>& buffer, std::uint32_t index,
                       std::uint8_t values[lanes]) {
#pragma HLS INLINE
    constexpr int beat = int(BEAT_BYTES);
    constexpr int words = lanes > beat ? lanes / beat : 1, parts = lanes < beat ? beat / lanes : 1;
    const std::uint32_t first = index / parts * words, start = index % parts * lanes;
    for (int lane = 0; lane < lanes; ++lane) {
#pragma HLS UNROLL
        values[lane] = buffer.word(first + lane / beat)[start + lane % beat];
    }
}

// `count` words from `address` on -> words [first, first + count) of a buffer.
template <int bytes>
void fill(const Word* memory, const Word* scratch, std::uint32_t address, std::uint32_t count,
          Banks<bytes>& buffer, std::uint32_t first) {
#pragma HLS INLINE off
    if (address >= SCRATCH) {
        const std::uint32_t start = (address - SCRATCH) / BEAT_BYTES;
        for (std::uint32_t index = 0; index < count; ++index) {
#pragma HLS PIPELINE II = 1
            buffer.word(first + index) = scratch[start + index];
        }
    } else {
        const std::uint32_t start = address / BEAT_BYTES;
        for (std::uint32_t index = 0; index < count; ++index) {
#pragma HLS PIPELINE II = 1
            buffer.word(first + index) = memory[start + index];
        }
    }
}

}  // namespace gearshift
