// Maps enlarged bilinearly to twice their height and width, as gearshift_hls/golden.py `enlarge`
// defines it.
//
// Interface: `bilinear` is the arithmetic of one value, also for the enlarged input of a
// convolution; `resize_unit` takes the words of a legal Resize descriptor, external and on-chip
// memory, and two buffers of a row each: rows 0, 2, 4 .. of the map go through `even`.
// Initiation interval aimed at: one word of the result a cycle, in the order of memory, so that all
// writes are bursts; a row of the map is read once, between two rows of the result.
// Resources aimed at, not measured: no DSP (factors 9 and 3 are sums), 2,500 LUT; the buffers are
// the caller's, each read twice a cycle.
#pragma once

#include <cstdint>

#include "contract.h"
#include "memory.h"

namespace gearshift {

// A value of the enlarged map from the nearest pixel, its neighbours along a row and along a
// column, and the pixel across; int16 or less.
inline std::int32_t bilinear(std::int32_t nearest, std::int32_t along, std::int32_t down,
                             std::int32_t across) {
#pragma HLS INLINE
    return (9 * nearest + 3 * (along + down) + across + 8) >> 4;
}

// Along an axis of `size` pixels: the second of the two pixels that pixel `place` of the enlarged
// axis lies between; the nearest is place / 2. Beyond the border stands the border's pixel.
inline std::uint32_t neighbour(std::uint32_t place, std::uint32_t size) {
#pragma HLS INLINE
    const std::uint32_t nearest = place / 2;
    if (place % 2 == 0) return nearest == 0 ? 0 : nearest - 1;
    return nearest + 1 == size ? nearest : nearest + 1;
}

namespace enlarging {

constexpr int ITEMS = BEAT_BYTES / 2;  // int16 values of a word

inline Word enlarge_word(const Word& nearest, const Word& along, const Word& down,
                         const Word& across) {
#pragma HLS INLINE
    Word result;
    for (int item = 0; item < ITEMS; ++item) {
#pragma HLS UNROLL
        const int place = 2 * item;
        put(result, place, 2,
            std::uint32_t(bilinear(get_int16(nearest, place), get_int16(along, place),
                                   get_int16(down, place), get_int16(across, place))));
    }
    return result;
}

// One row of the result, between the rows `nearest` and `down` (which may be the same).
inline void enlarge_row(const Word* even, const Word* odd, bool nearest_odd, bool down_odd,
                        std::uint32_t width, std::uint32_t pixel_words, Word* memory, Word* scratch,
                        std::uint32_t address) {
    for (std::uint32_t pixel = 0; pixel < 2 * width; ++pixel) {
        const std::uint32_t nearest = pixel / 2 * pixel_words;
        const std::uint32_t along = neighbour(pixel, width) * pixel_words;
        for (std::uint32_t word = 0; word < pixel_words; ++word) {
#pragma HLS PIPELINE II = 1
            const Word even_nearest = even[nearest + word], even_along = even[along + word];
            const Word odd_nearest = odd[nearest + word], odd_along = odd[along + word];
            write_word(memory, scratch, address,
                       enlarge_word(nearest_odd ? odd_nearest : even_nearest,
                                    nearest_odd ? odd_along : even_along,
                                    down_odd ? odd_nearest : even_nearest,
                                    down_odd ? odd_along : even_along));
            address += BEAT_BYTES;
        }
    }
}

}  // namespace enlarging

template <class Build>
void resize_unit(const std::uint32_t words[WORDS], Word* memory, Word* scratch,
                 Word even[Build::input_bytes / 2 / int(BEAT_BYTES)],
                 Word odd[Build::input_bytes / 2 / int(BEAT_BYTES)]) {
#pragma HLS INLINE off
    const std::uint32_t height = words[resize::height], width = words[resize::width];
    const std::uint32_t pixel_words = words[resize::channels] / enlarging::ITEMS;
    const std::uint32_t row_words = width * pixel_words;
    std::uint32_t x = words[resize::x], y = words[resize::y];
    std::uint32_t loaded = 0;  // rows

    for (std::uint32_t row = 0; row < 2 * height; ++row) {
        const std::uint32_t nearest = row / 2, down = neighbour(row, height);
        const std::uint32_t needed = (nearest > down ? nearest : down) + 1;
        if (loaded < needed) {
            if (loaded % 2 == 0)
                read_words(memory, scratch, x, row_words, even);
            else
                read_words(memory, scratch, x, row_words, odd);
            x += row_words * BEAT_BYTES;
            ++loaded;
        }
        enlarging::enlarge_row(even, odd, nearest % 2 != 0, down % 2 != 0, width, pixel_words,
                               memory, scratch, y);
        y += 2 * row_words * BEAT_BYTES;
    }
}

}  // namespace gearshift
