// The passes of Attention: head by head, as many queries at once as the partial sums have room for,
// and for every block of `output_lanes` keys one pass for the scores and one for the values.
//
// Interface: `attention_pass` says what the next pass is; `step.outer` counts heads, `step.middle`
// queries, `step.inner` passes. A head's keys and values are loaded into the input buffer once, its
// queries into the hidden buffer. A block's keys, and then its values, are the weights that stay in
// the array while the queries, and then their softmax weights, stream through: keys and values are
// never read twice for a set of queries (the reordered attention of Sarkar et al., "Edge-MoE").
// Initiation interval aimed at: 1 word of keys, values or queries a cycle.
// Resources aimed at, not measured: 1,000 LUT.
#pragma once

#include "buffers.h"
#include "contract.h"
#include "memory.h"
#include "pass.h"

namespace gearshift {

// `count` rows of one head, `row_bytes` apart -> side by side, from word `first` of a buffer on.
template <int bytes>
void load_head(const Word* memory, const Word* scratch, std::uint32_t address,
               std::uint32_t row_bytes, std::uint32_t count, std::uint32_t head_words,
               Banks<bytes>& buffer, std::uint32_t first) {
#pragma HLS INLINE off
    std::uint32_t word = 0;
    for (std::uint32_t index = 0; index < count * head_words; ++index) {
#pragma HLS PIPELINE II = 1
        buffer.word(first + index) = read_word(memory, scratch, address + word * BEAT_BYTES);
        if (++word == head_words) {
            word = 0;
            address += row_bytes;
        }
    }
}

// Reads multiplier and shift at `place` of a head's parameters.
inline ScoreScale head_scale(const Word& word, int place) {
#pragma HLS INLINE
    return {std::uint16_t(get_uint16(word, place + head_record::score_multiplier)),
            word[place + head_record::score_shift]};
}

template <class Build>
Next attention_pass(const std::uint32_t words[WORDS], Step& step, const Word* memory,
                    const Word* scratch, Buffers<Build>& buffers, Pass& pass) {
    constexpr std::uint32_t block = Sizes<Build>::output_lanes;
    const std::uint32_t tokens = words[attention::tokens], heads = words[attention::heads];
    const std::uint32_t head_dim = words[attention::head_dim], tiles = head_dim / block;
    const std::uint32_t blocks = (tokens + block - 1) / block;
    const std::uint32_t fit = std::uint32_t(Build::max_tokens) / (1 + tiles);
    if (step.inner == 2 * blocks) {
        step.inner = 0;
        step.middle += smaller(fit, tokens - step.middle);
        if (step.middle == tokens) {
            step.middle = 0;
            ++step.outer;
        }
    }
    const std::uint32_t head = step.outer, first = step.middle;
    if (head == heads) return Next::FINISHED;

    const std::uint32_t head_words = head_dim / BEAT_BYTES, row_bytes = 3 * heads * head_dim;
    const std::uint32_t mine = words[attention::x] + head * head_dim;
    const std::uint32_t values_word = tokens * head_words;
    const std::uint32_t count = smaller(fit, tokens - first);
    if (step.inner == 0) {
        if (first == 0) {
            load_head(memory, scratch, mine + heads * head_dim, row_bytes, tokens, head_words,
                      buffers.input, 0);
            load_head(memory, scratch, mine + 2 * heads * head_dim, row_bytes, tokens, head_words,
                      buffers.input, values_word);
        }
        load_head(memory, scratch, mine + first * row_bytes, row_bytes, count, head_words,
                  buffers.hidden, 0);
    }
    const std::uint32_t record = words[attention::parameters] + head * HEAD_BYTES;
    const Word parameters = read_word(memory, scratch, record / BEAT_BYTES * BEAT_BYTES);
    const bool of_values = step.inner % 2 == 1;

    pass.rows = count;
    pass.channels = head_dim;
    pass.tokens = tokens;
    pass.first_key = step.inner / 2 * block;
    pass.last_block = step.inner / 2 + 1 == blocks;
    const int place = int(record % BEAT_BYTES);
    if (of_values) {
        pass.channel_tiles = 1;
        pass.output_tiles = tiles;
        pass.weights = Weights::VALUES;
        pass.weight_bytes = values_word * BEAT_BYTES;
        pass.inputs = Inputs::SOFTMAX;
        pass.is_unsigned = true;
        pass.result = Result::VALUES;
        pass.scale = head_scale(parameters, place + head_record::output_multiplier);
        pass.y_row = heads * head_dim;
        pass.y = words[attention::y] + first * pass.y_row + head * head_dim;
    } else {
        pass.channel_tiles = tiles;
        pass.output_tiles = 1;
        pass.weights = Weights::KEYS;
        pass.inputs = Inputs::HIDDEN;
        pass.sums = tiles * count;
        pass.result = Result::SCORES;
        pass.scale = head_scale(parameters, place);
    }
    ++step.inner;
    return Next::PASS;
}

}  // namespace gearshift
