// The units of hls/src one by one, for test_units.py.

#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "contract.h"
#include "fixed_point.h"
#include "memory.h"
#include "norm.h"
#include "resize.h"
#include "route.h"
#include "softmax.h"

using namespace gearshift;

namespace {

Word* word_pointer(std::uint8_t* bytes) { return reinterpret_cast<Word*>(bytes); }

template <class Build>
void run_unit(const std::uint32_t* words, std::uint8_t* memory_bytes, std::uint8_t* scratch_bytes) {
    Word* memory = word_pointer(memory_bytes);
    Word* scratch = word_pointer(scratch_bytes);
    constexpr int row = Build::input_bytes / 2 / int(BEAT_BYTES);
    static Word even[row], odd[row];
    switch (Opcode(words[0])) {
        case Opcode::Norm:
            return norm_unit<Build>(words, memory, scratch);
        case Opcode::Route:
            return route_unit<Build>(words, memory, scratch);
        case Opcode::Resize:
            return resize_unit<Build>(words, memory, scratch, even, odd);
        default:
            return;
    }
}

// Attention of one head in plain loops around the arithmetic of softmax.h.
template <class Build>
void attend(const std::int8_t* queries, const std::int8_t* keys, const std::int8_t* values,
            int tokens, int head_dim, const std::uint32_t* head, std::int8_t* y) {
    constexpr int block = Build::output_lanes;
    const ScoreScale scale = {std::uint16_t(head[0]), std::uint8_t(head[1])};
    std::vector<std::int32_t> weighted(head_dim);
    for (int query = 0; query < tokens; ++query) {
        SoftmaxState state;
        std::memset(&state, 0x5a, sizeof state);
        for (int start = 0; start < tokens; start += block) {
            const int count = tokens - start < block ? tokens - start : block;
            std::int32_t dots[block];
            std::memset(dots, 0x5a, sizeof dots);
            for (int key = 0; key < count; ++key) {
                dots[key] = 0;
                for (int c = 0; c < head_dim; ++c)
                    dots[key] += queries[query * head_dim + c] * keys[(start + key) * head_dim + c];
            }
            std::uint8_t weights[block];
            const unsigned fall =
                softmax_block<Build>(dots, count, start == 0, scale, state, weights);
            for (int c = 0; c < head_dim; ++c) {
                weighted[c] = start == 0 ? 0 : rescale(weighted[c], fall);
                for (int key = 0; key < count; ++key)
                    weighted[c] += weights[key] * values[(start + key) * head_dim + c];
            }
            for (int key = count; key < block; ++key)
                if (weights[key] != 0) weighted[0] += 1 << 20;  // must show
        }
        const std::uint32_t inverse = inverse_total(state.total);
        for (int c = 0; c < head_dim; ++c)
            y[query * head_dim + c] = attention_result(weighted[c], inverse, std::uint16_t(head[2]),
                                                       std::uint8_t(head[3]));
    }
}

}  // namespace

extern "C" {

void shift_right_all(std::int64_t count, const std::int64_t* value, const std::int64_t* shift,
                     std::int64_t* y) {
    for (std::int64_t i = 0; i < count; ++i) y[i] = shift_right(value[i], unsigned(shift[i]));
}

void requantise_all(std::int64_t count, const std::int64_t* total, const std::int64_t* bias,
                    const std::int64_t* multiplier, const std::int64_t* shift, std::int64_t* y) {
    for (std::int64_t i = 0; i < count; ++i)
        y[i] = requantise(std::int32_t(total[i]), std::int32_t(bias[i]),
                          std::uint16_t(multiplier[i]), std::uint8_t(shift[i]));
}

void saturate_all(std::int64_t count, const std::int64_t* value, std::int64_t* y) {
    for (std::int64_t i = 0; i < count; ++i) {
        y[6 * i] = saturate<8>(value[i]);
        y[6 * i + 1] = saturate<16>(value[i]);
        y[6 * i + 2] = saturate<27>(value[i]);
        y[6 * i + 3] = saturate<32>(value[i]);
        y[6 * i + 4] = saturate_unsigned<8>(value[i]);
        y[6 * i + 5] = saturate_unsigned<16>(value[i]);
    }
}

void gelu_all(std::int64_t count, const std::int64_t* value, std::int64_t* y) {
    for (std::int64_t i = 0; i < count; ++i) y[i] = gelu(std::int16_t(value[i]));
}

void power_all(std::int64_t count, const std::int64_t* below, std::int64_t* y) {
    for (std::int64_t i = 0; i < count; ++i) y[i] = power(std::uint64_t(below[i]));
}

void reciprocal_root_all(std::int64_t count, const std::int64_t* total, std::int64_t* root,
                         std::int64_t* half) {
    for (std::int64_t i = 0; i < count; ++i) {
        const ReciprocalRoot found = reciprocal_root(std::uint64_t(total[i]));
        root[i] = found.root;
        half[i] = found.half;
    }
}

// Descriptors of 32 words -> statuses.
void check_all(std::int64_t count, int small, const std::uint32_t* words,
               const std::uint32_t* memory_bytes, const std::uint32_t* write_base,
               std::int64_t* status) {
    for (std::int64_t i = 0; i < count; ++i, words += WORDS)
        status[i] = std::int64_t(small ? check<SmallBuild>(words, memory_bytes[i], write_base[i])
                                       : check<Zcu104Build>(words, memory_bytes[i], write_base[i]));
}

void unit(int small, const std::uint32_t* words, std::uint8_t* memory, std::uint8_t* scratch) {
    if (small)
        run_unit<SmallBuild>(words, memory, scratch);
    else
        run_unit<Zcu104Build>(words, memory, scratch);
}

void attention(int small, const std::int8_t* queries, const std::int8_t* keys,
               const std::int8_t* values, int tokens, int head_dim, const std::uint32_t* head,
               std::int8_t* y) {
    if (small)
        attend<SmallBuild>(queries, keys, values, tokens, head_dim, head, y);
    else
        attend<Zcu104Build>(queries, keys, values, tokens, head_dim, head, y);
}

}  // extern "C"
