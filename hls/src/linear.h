// The passes of Linear: blocks of as many rows as the input buffer and the partial sums hold.
//
// Interface: `linear_pass` loads the next block into the input buffer and says what its pass is;
// `step.outer` counts rows. Initiation interval aimed at: 1 word of x a cycle.
// Resources aimed at, not measured: 500 LUT; a block's rows come of a sequential divider.
#pragma once

#include "buffers.h"
#include "contract.h"
#include "memory.h"
#include "pass.h"

namespace gearshift {

template <class Build>
Next linear_pass(const std::uint32_t words[WORDS], Step& step, const Word* memory,
                 const Word* scratch, Buffers<Build>& buffers, Pass& pass) {
    const std::uint32_t rows = words[linear::rows], first = step.outer;
    if (first == rows) return Next::FINISHED;
    const std::uint32_t inputs = words[linear::inputs], outputs = words[linear::outputs];
    const std::uint32_t fit = std::uint32_t(Build::input_bytes) / inputs;
    const std::uint32_t count = smaller(smaller(fit, Build::max_tokens), rows - first);
    fill(memory, scratch, words[linear::x] + first * inputs, count * inputs / BEAT_BYTES,
         buffers.input, 0);

    pass.rows = count;
    pass.channels = inputs;
    pass.channel_tiles = inputs / Sizes<Build>::input_lanes;
    pass.output_tiles = outputs / Sizes<Build>::output_lanes;
    pass.stream = words[linear::weights];
    pass.stream_bytes = std::uint32_t(product_bytes(inputs, outputs)) / Build::weight_ports;
    pass.is_unsigned = words[linear::x_unsigned] != 0;
    pass.format = Format(words[linear::format]);
    pass.gelu = words[linear::gelu] != 0;
    pass.gelu_multiplier = std::uint16_t(words[linear::gelu_multiplier]);
    pass.gelu_shift = std::uint8_t(words[linear::gelu_shift]);
    pass.zero = std::uint8_t(words[linear::zero]);
    pass.y_row = outputs * ITEM_BYTES[words[linear::format]];
    pass.y = words[linear::y] + first * pass.y_row;
    pass.residual = words[linear::residual] + first * pass.y_row;
    step.outer = first + count;
    return Next::PASS;
}

}  // namespace gearshift
