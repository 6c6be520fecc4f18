// The passes of Convolution: blocks of as many output rows as the input buffer and the partial sums
// hold, each with the row above and the row below.
//
// Interface: `convolution_pass` loads the rows of the next block into the input buffer, enlarged if
// the command asks for it, and says what the pass is; `step.outer` counts output rows. Row 0 of the
// buffer is the row above the block. Rows and columns beyond the map are not loaded: the pass
// multiplies zeros there.
// Initiation interval aimed at: 1 word of the map, as it is or enlarged, a cycle.
// Resources aimed at, not measured: 1,500 LUT; enlarging 16 channels of 3 additions each.
#pragma once

#include "buffers.h"
#include "check.h"
#include "contract.h"
#include "memory.h"
#include "pass.h"
#include "resize.h"

namespace gearshift {

// Sixteen channels of a pixel of the enlarged map.
inline Word enlarge_bytes(const Word& nearest, const Word& along, const Word& down,
                          const Word& across, bool is_unsigned) {
#pragma HLS INLINE
    Word result;
    for (std::uint32_t each = 0; each < BEAT_BYTES; ++each) {
#pragma HLS UNROLL
        const std::int32_t value =
            is_unsigned ? bilinear(nearest[each], along[each], down[each], across[each])
                        : bilinear(std::int8_t(nearest[each]), std::int8_t(along[each]),
                                   std::int8_t(down[each]), std::int8_t(across[each]));
        result[each] = std::uint8_t(value);
    }
    return result;
}

// Rows [first, end) of the enlarged map -> the input buffer, from word `out` on. Lines of x wait in
// the hidden buffer.
template <class Build>
void enlarge_rows(const std::uint32_t words[WORDS], std::uint32_t first, std::uint32_t end,
                  const Word* memory, const Word* scratch, Buffers<Build>& buffers,
                  std::uint32_t out) {
    const std::uint32_t width = words[convolution::width] / 2;
    const std::uint32_t height = words[convolution::height] / 2;
    const std::uint32_t pixel = words[convolution::inputs] / BEAT_BYTES, line = width * pixel;
    const bool is_unsigned = words[convolution::x_unsigned] != 0;
    std::uint32_t held[2] = {height, height};  // the lines that wait; at first none
    for (std::uint32_t row = first; row < end; ++row) {
        const std::uint32_t nearest = row / 2, down = neighbour(row, height);
        for (int each = 0; each < 2; ++each) {
            const std::uint32_t wanted = each == 0 ? nearest : down;
            if (held[wanted % 2] == wanted) continue;
            held[wanted % 2] = wanted;
            read_words(memory, scratch, words[convolution::x] + wanted * line * BEAT_BYTES, line,
                       buffers.hidden.bank[wanted % 2]);
        }
        std::uint32_t column = 0, word = 0;
        for (std::uint32_t index = 0; index < 2 * line; ++index) {
#pragma HLS PIPELINE II = 1
            const std::uint32_t here = column / 2 * pixel + word;
            const std::uint32_t along = neighbour(column, width) * pixel + word;
            const Word even_here = buffers.hidden.bank[0][here];
            const Word even_along = buffers.hidden.bank[0][along];
            const Word odd_here = buffers.hidden.bank[1][here];
            const Word odd_along = buffers.hidden.bank[1][along];
            const bool odd = nearest % 2 != 0, down_odd = down % 2 != 0;
            buffers.input.word(out + index) =
                enlarge_bytes(odd ? odd_here : even_here, odd ? odd_along : even_along,
                              down_odd ? odd_here : even_here, down_odd ? odd_along : even_along,
                              is_unsigned);
            if (++word == pixel) {
                word = 0;
                ++column;
            }
        }
        out += 2 * line;
    }
}

template <class Build>
Next convolution_pass(const std::uint32_t words[WORDS], Step& step, const Word* memory,
                      const Word* scratch, Buffers<Build>& buffers, Pass& pass) {
    const std::uint32_t height = words[convolution::height], width = words[convolution::width];
    const std::uint32_t inputs = words[convolution::inputs], first = step.outer;
    const std::uint32_t outputs = words[convolution::outputs];
    if (first == height) return Next::FINISHED;
    const std::uint32_t row_bytes = width * inputs;
    const std::uint32_t fit = std::uint32_t(Build::input_bytes) / row_bytes - 2;
    const std::uint32_t count =
        smaller(smaller(fit, std::uint32_t(Build::max_tokens) / width), height - first);

    const std::uint32_t above = first == 0 ? 0 : 1;
    const std::uint32_t end = smaller(first + count + 1, height);
    const std::uint32_t place = (1 - above) * row_bytes / BEAT_BYTES;
    if (words[convolution::upsample] != 0)
        enlarge_rows<Build>(words, first - above, end, memory, scratch, buffers, place);
    else
        fill(memory, scratch, words[convolution::x] + (first - above) * row_bytes,
             (end - first + above) * row_bytes / BEAT_BYTES, buffers.input, place);

    pass.rows = count * width;
    pass.side = 3;
    pass.channels = inputs;
    pass.channel_tiles = inputs / Sizes<Build>::input_lanes;
    pass.output_tiles = outputs / Sizes<Build>::output_lanes;
    pass.stream = words[convolution::weights];
    pass.stream_bytes =
        std::uint32_t(product_bytes(9 * std::uint64_t(inputs), outputs)) / Build::weight_ports;
    pass.inputs = Inputs::MAP;
    pass.is_unsigned = words[convolution::x_unsigned] != 0;
    pass.width = width;
    pass.height = height;
    pass.first_row = first;
    pass.format = Format::UINT8;
    pass.y_row = outputs;
    pass.y = words[convolution::y] + first * width * outputs;
    step.outer = first + count;
    return Next::PASS;
}

}  // namespace gearshift
