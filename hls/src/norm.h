// LayerNorm of residual rows, as gearshift_hls/golden.py `_norm` defines it.
//
// Interface: the words of a legal Norm descriptor, external and on-chip memory.
// Initiation interval aimed at: 16 channels a cycle in every loop of arithmetic, 4 channels a cycle
// (one word) from memory; a row of C channels about 7 C / 16 cycles, C / 8 more when the
// normalised values are written, and the latencies of reading and of the reciprocal root.
// Resources aimed at, not measured: 16 x (2 DSP a square, 2 a scaling, 1 a gain) = 80 DSP and 10
// for the row's own numbers; row and parameters in 24 BRAM18 of 16 banks.
#pragma once

#include <cstdint>

#include "contract.h"
#include "fixed_point.h"
#include "memory.h"

namespace gearshift {

namespace normalising {

constexpr int LANES = 16;       // channels a cycle
constexpr int VALUE_BYTES = 2;  // of a normalised value
constexpr int INPUT_BITS = 27;  // of a residual value that a norm tells apart

// A row and the parameters of its channels on chip.
template <class Build>
struct Row {
    Word words[Build::max_norm_channels / 4];  // as read: 4 residual values each
    std::int32_t values[Build::max_norm_channels];
    std::int32_t offsets[Build::max_norm_channels];
    std::int16_t gains[Build::max_norm_channels];
    Word results[Build::max_norm_channels / (BEAT_BYTES / VALUE_BYTES)];
};

template <class Build>
inline void load_parameters(const Word* memory, const Word* scratch, std::uint32_t address,
                            int channels, Row<Build>& row) {
    for (int pair = 0; pair < channels / 2; ++pair) {
#pragma HLS PIPELINE II = 1
        const Word word =
            read_word(memory, scratch, address + std::uint32_t(pair) * BEAT_BYTES);
        for (int each = 0; each < 2; ++each) {
#pragma HLS UNROLL
            const int place = each * int(NORM_BYTES);
            row.offsets[2 * pair + each] = get_int32(word, place + norm_record::offset);
            row.gains[2 * pair + each] =
                std::int16_t(get_int16(word, place + norm_record::gain));
        }
    }
}

// The mean of the row's values, which are saturated on the way.
template <class Build>
inline std::int64_t mean_of(Row<Build>& row, int channels, std::uint32_t reciprocal) {
    std::int64_t sum = 0;
    for (int start = 0; start < channels; start += LANES) {
#pragma HLS PIPELINE II = 1
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
            const Word& word = row.words[(start + lane) / 4];
            const std::int64_t value = saturate<INPUT_BITS>(get_int32(word, lane % 4 * 4));
            row.values[start + lane] = std::int32_t(value);
            sum += value;
        }
    }
    return shift_right(sum * reciprocal, 26);
}

// Replaces the values by their distances from the mean, 0 in the padding; returns the sum of their
// squares, at most 2^62.
template <class Build>
inline std::uint64_t deviate(Row<Build>& row, int channels, int true_channels,
                             std::int64_t mean) {
    std::uint64_t squares = 0;
    for (int start = 0; start < channels; start += LANES) {
#pragma HLS PIPELINE II = 1
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
            const int channel = start + lane;
            std::int64_t deviation = 0;
            if (channel < true_channels)
                deviation = saturate<INPUT_BITS>(row.values[channel] - mean);
            row.values[channel] = std::int32_t(deviation);
            squares += std::uint64_t(deviation * deviation);
        }
    }
    return squares;
}

// The factor of a deviation: scale / 2^shift.
struct Scale {
    std::uint32_t scale;  // 21 bits and one
    unsigned shift;
};

inline Scale scale_of(std::uint64_t squares, std::uint32_t epsilon, std::uint32_t root) {
#pragma HLS INLINE
    constexpr std::uint64_t most = (std::uint64_t(1) << 62) - 1;
    const std::uint64_t variance = squares + epsilon;
    const ReciprocalRoot found = reciprocal_root(variance < most ? variance : most);
    return {std::uint32_t(shift_right(std::int64_t(found.root) * root, 12)), 6 + found.half};
}

// Replaces the deviations by normalised values; the int8 results go into row.results.
template <class Build>
inline void normalise(Row<Build>& row, int channels, int true_channels, Scale scale,
                      unsigned shift) {
    for (int start = 0; start < channels; start += LANES) {
#pragma HLS PIPELINE II = 1
        Word word;
        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
            const int channel = start + lane;
            const std::int64_t value = saturate<16>(
                shift_right(std::int64_t(row.values[channel]) * scale.scale, scale.shift));
            row.values[channel] = std::int32_t(value);
            const std::int64_t y =
                shift_right(value * row.gains[channel] + row.offsets[channel], shift);
            word[lane] = std::uint8_t(channel < true_channels ? saturate<8>(y) : 0);
        }
        row.results[start / LANES] = word;
    }
}

// The normalised values, int16, into row.results.
template <class Build>
inline void pack_normalised(Row<Build>& row, int channels) {
    constexpr int items = BEAT_BYTES / VALUE_BYTES;
    for (int index = 0; index < channels / items; ++index) {
#pragma HLS PIPELINE II = 1
        Word word;
        for (int item = 0; item < items; ++item) {
#pragma HLS UNROLL
            put(word, item * VALUE_BYTES, VALUE_BYTES,
                std::uint32_t(row.values[index * items + item]));
        }
        row.results[index] = word;
    }
}

}  // namespace normalising

template <class Build>
void norm_unit(const std::uint32_t words[WORDS], Word* memory, Word* scratch) {
#pragma HLS INLINE off
    static_assert(Build::max_norm_channels <= 1024, "sums of squares would not fit in 62 bits");
    using namespace normalising;
    Row<Build> row;
#pragma HLS ARRAY_PARTITION variable = row.words cyclic factor = 4
#pragma HLS ARRAY_PARTITION variable = row.values cyclic factor = 16
#pragma HLS ARRAY_PARTITION variable = row.offsets cyclic factor = 16
#pragma HLS ARRAY_PARTITION variable = row.gains cyclic factor = 16
    const int channels = int(words[norm::channels]);
    const int true_channels = int(words[norm::true_channels]);
    const std::uint32_t width = words[norm::channels];
    std::uint32_t x = words[norm::x], y = words[norm::y], normalised = words[norm::normalised];

    load_parameters<Build>(memory, scratch, words[norm::parameters], channels, row);
    for (std::uint32_t each = 0; each < words[norm::rows]; ++each) {
        read_words(memory, scratch, x, 4 * width / BEAT_BYTES, row.words);
        const std::int64_t mean = mean_of<Build>(row, channels, words[norm::reciprocal]);
        const std::uint64_t squares = deviate<Build>(row, channels, true_channels, mean);
        const Scale scale = scale_of(squares, words[norm::epsilon], words[norm::root]);
        normalise<Build>(row, channels, true_channels, scale, words[norm::shift]);
        write_words(memory, scratch, y, width / BEAT_BYTES, row.results);
        if (words[norm::normalised] != 0) {
            pack_normalised<Build>(row, channels);
            write_words(memory, scratch, normalised, 2 * width / BEAT_BYTES, row.results);
        }
        x += 4 * width;
        y += width;
        normalised += 2 * width;
    }
}

}  // namespace gearshift
