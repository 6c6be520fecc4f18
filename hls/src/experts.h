// The passes of Experts: two an expert whose queue is not empty, the lowest expert first.
//
// Interface: `experts_pass` says what the next pass is; `step.outer` counts experts, `step.inner`
// is 1 before an expert's second product. All tokens are loaded into the input buffer once; the
// first product gathers the rows of the queue from there and leaves its results in the hidden
// buffer, the second adds to the residual stream. Weights of an empty queue are not read.
// Initiation interval aimed at: 1 word of x a cycle, 1 beat (4 entries) of a queue a cycle.
// Resources aimed at, not measured: 700 LUT.
#pragma once

#include "buffers.h"
#include "check.h"
#include "contract.h"
#include "memory.h"
#include "pass.h"

namespace gearshift {

// Loads an expert's queue. Returns whether it is legal; `count` is its length.
template <class Build>
bool load_queue(const std::uint32_t words[WORDS], std::uint32_t expert, const Word* memory,
                const Word* scratch, Buffers<Build>& buffers, std::uint32_t& count) {
    const std::uint32_t tokens = words[experts::tokens], queues = words[experts::queues];
    constexpr std::uint32_t entries = BEAT_BYTES / entry_record::bytes;
    const std::uint32_t place = queues + 4 * expert;
    count = get_uint32(read_word(memory, scratch, place / BEAT_BYTES * BEAT_BYTES),
                       int(place % BEAT_BYTES));
    if (count > tokens) return false;
    const std::uint32_t start =
        queues + std::uint32_t(queue_offset(expert, words[experts::experts], tokens));
    bool legal = true;
    for (std::uint32_t beat = 0; beat * entries < count; ++beat) {
#pragma HLS PIPELINE II = 1
        const Word word = read_word(memory, scratch, start + beat * BEAT_BYTES);
        for (std::uint32_t each = 0; each < entries; ++each) {
#pragma HLS UNROLL
            const std::uint32_t slot = beat * entries + each;
            if (slot < count) {
                const int from = int(each) * entry_record::bytes;
                const std::uint32_t token = get_uint16(word, from + entry_record::token);
                legal = legal && token < tokens;
                buffers.token[slot] = std::uint16_t(token);
                buffers.score[slot] = std::uint16_t(get_uint16(word, from + entry_record::score));
            }
        }
    }
    return legal;
}

template <class Build>
Next experts_pass(const std::uint32_t words[WORDS], Step& step, const Word* memory,
                  const Word* scratch, Buffers<Build>& buffers, Pass& pass) {
    const std::uint32_t channels = words[experts::channels], hidden = words[experts::hidden];
    const bool second = step.inner == 1;
    if (!second) {
        if (step.outer == 0)
            fill(memory, scratch, words[experts::x],
                 words[experts::tokens] * channels / BEAT_BYTES, buffers.input, 0);
        std::uint32_t count = 0;
        for (; step.outer < words[experts::experts] && count == 0; ++step.outer) {
            if (!load_queue<Build>(words, step.outer, memory, scratch, buffers, count))
                return Next::BAD_QUEUE;
        }
        if (count == 0) return Next::FINISHED;
        step.middle = count;
    }
    const std::uint32_t inputs = second ? hidden : channels, outputs = second ? channels : hidden;
    const std::uint32_t port_bytes =
        std::uint32_t(product_bytes(channels, hidden) + product_bytes(hidden, channels)) /
        Build::weight_ports;
    const std::uint32_t expert = step.outer - 1;

    pass.rows = step.middle;
    pass.channels = inputs;
    pass.channel_tiles = inputs / Sizes<Build>::input_lanes;
    pass.output_tiles = outputs / Sizes<Build>::output_lanes;
    pass.stream = words[experts::weights] + expert * Build::weight_ports * port_bytes;
    if (second) pass.stream += std::uint32_t(product_bytes(channels, hidden)) / Build::weight_ports;
    pass.stream_bytes = port_bytes;
    pass.inputs = second ? Inputs::HIDDEN : Inputs::QUEUE;
    pass.is_unsigned = second;
    pass.result = second ? Result::QUEUE : Result::HIDDEN;
    pass.format = second ? Format::RESIDUAL : Format::UINT8;
    pass.gelu = !second;
    pass.gelu_multiplier = std::uint16_t(words[experts::gelu_multiplier]);
    pass.gelu_shift = std::uint8_t(words[experts::gelu_shift]);
    pass.zero = std::uint8_t(words[experts::zero]);
    pass.y = pass.residual = words[experts::y];
    pass.y_row = channels * ITEM_BYTES[int(Format::RESIDUAL)];
    step.inner = second ? 0 : 1;
    return Next::PASS;
}

}  // namespace gearshift
