// Scores of all experts, the top_k best of every token, and the expert queues, as
// gearshift_hls/golden.py `_route` and gearshift_hls/descriptor.py `Route` define them.
//
// Interface: the words of a legal Route descriptor, external and on-chip memory.
// Initiation interval aimed at: 8 channels (one word) of up to 16 experts a cycle, then 1 expert a
// cycle; a token of C channels and E <= 16 experts about C / 4 + 2 E + 4 top_k cycles and the
// latencies of reading and of the divider. Weights are read once a command.
// Resources aimed at, not measured: 8 x 16 DSP of 16 by 16 bits, 6 for the powers; weights in 16
// banks of 2 BRAM36; a divider of 39 by 23 bits in 2,000 LUT.
#pragma once

#include <cstdint>

#include "check.h"
#include "contract.h"
#include "fixed_point.h"
#include "memory.h"

namespace gearshift {

namespace routing {

constexpr int CHANNELS = BEAT_BYTES / 2;  // int16 values of a word
constexpr int ENTRIES = BEAT_BYTES / entry_record::bytes;

// An expert that a token may go to.
struct Choice {
    std::int64_t logit;
    int expert;
};

template <class Build>
struct Shape {
    static constexpr int experts = Build::max_experts;
    static constexpr int lanes = experts < 16 ? experts : 16;  // experts a cycle
    static constexpr int row_words = Build::max_norm_channels / CHANNELS;

    static_assert(experts % lanes == 0, "experts are scored in whole groups");
};

inline Word no_entries() {
#pragma HLS INLINE
    Word word;
    for (std::uint32_t each = 0; each < BEAT_BYTES; ++each) {
#pragma HLS UNROLL
        word[each] = 0;
    }
    return word;
}

// What stays on chip during a command.
template <class Build>
struct Router {
    Word weights[Shape<Build>::experts][Shape<Build>::row_words];
    std::int32_t biases[Shape<Build>::experts];
    Word token[Shape<Build>::row_words];
    std::int64_t logits[Shape<Build>::experts];
    std::uint32_t counts[Shape<Build>::experts];
    Word pending[Shape<Build>::experts];  // entries of a queue that fill no word yet
};

template <class Build>
inline void load(const std::uint32_t words[WORDS], const Word* memory, const Word* scratch,
                 Router<Build>& router) {
    const std::uint32_t row_words = words[route::channels] / CHANNELS;
    for (std::uint32_t expert = 0; expert < words[route::experts]; ++expert) {
        read_words(memory, scratch, words[route::weights] + expert * row_words * BEAT_BYTES,
                   row_words, router.weights[expert]);
        const std::uint32_t biases = words[route::biases] + expert / 4 * BEAT_BYTES;
        const Word word = read_word(memory, scratch, biases);
        router.biases[expert] = get_int32(word, int(expert % 4) * 4);
        router.counts[expert] = 0;
        router.pending[expert] = no_entries();
    }
}

// Sums of 42 bits: products of the token with every expert's weights, and the bias.
template <class Build>
inline void score(Router<Build>& router, int row_words, int experts) {
    constexpr int lanes = Shape<Build>::lanes;
    for (int first = 0; first < experts; first += lanes) {
        std::int64_t sums[lanes];
#pragma HLS ARRAY_PARTITION variable = sums complete
        for (int lane = 0; lane < lanes; ++lane) {
#pragma HLS UNROLL
            const bool used = first + lane < experts;
            sums[lane] = used ? std::int64_t(router.biases[first + lane]) * 1024 : 0;
        }
        for (int index = 0; index < row_words; ++index) {
#pragma HLS PIPELINE II = 1
            const Word x = router.token[index];
            for (int lane = 0; lane < lanes; ++lane) {
#pragma HLS UNROLL
                if (first + lane >= experts) continue;
                const Word weights = router.weights[first + lane][index];
                for (int channel = 0; channel < CHANNELS; ++channel) {
#pragma HLS UNROLL
                    sums[lane] += std::int64_t(get_int16(x, 2 * channel)) *
                                  get_int16(weights, 2 * channel);
                }
            }
        }
        for (int lane = 0; lane < lanes; ++lane) {
#pragma HLS UNROLL
            router.logits[first + lane] = sums[lane];
        }
    }
}

// The `max_top_k` best experts, best first; of equal ones the lower expert first, since a later one
// only goes before what is less.
template <class Build>
inline void choose(const Router<Build>& router, int experts, Choice best[Build::max_top_k]) {
    for (int slot = 0; slot < Build::max_top_k; ++slot) {
#pragma HLS UNROLL
        best[slot] = {INT64_MIN, 0};
    }
    for (int expert = 0; expert < experts; ++expert) {
#pragma HLS PIPELINE II = 1
        const Choice now = {router.logits[expert], expert};
        for (int slot = Build::max_top_k - 1; slot >= 0; --slot) {
#pragma HLS UNROLL
            if (slot > 0 && now.logit > best[slot - 1].logit)
                best[slot] = best[slot - 1];
            else if (now.logit > best[slot].logit)
                best[slot] = now;
        }
    }
}

// A logit as a power of two with 10 fraction bits, saturated to int32.
inline std::int64_t power_of(std::int64_t logit, std::uint32_t multiplier, std::uint32_t shift) {
#pragma HLS INLINE
    return saturate<32>(shift_right(logit * std::int64_t(multiplier), shift));
}

// 2^-below of all experts, added; at most 2^22.
template <class Build>
inline std::uint32_t total_of(const Router<Build>& router, int experts, std::int64_t top,
                              std::uint32_t multiplier, std::uint32_t shift) {
    std::uint32_t total = 0;
    for (int expert = 0; expert < experts; ++expert) {
#pragma HLS PIPELINE II = 1
        const std::int64_t mine = power_of(router.logits[expert], multiplier, shift);
        total += power(std::uint64_t(top - mine));
    }
    return total;
}

inline std::uint32_t gate_score(std::uint32_t term, std::uint32_t total, std::uint32_t prune) {
#pragma HLS INLINE
    std::uint64_t share = ((std::uint64_t(term) << SCORE_BITS) + total / 2) / total;
    if (share > 65535) share = 65535;
    return share <= prune ? 0 : std::uint32_t(share);
}

// Address of an expert's queue, without the product of `queue_offset` in the loop.
struct Queues {
    std::uint32_t counts;  // address
    std::uint32_t entries;
    std::uint32_t stride;

    Queues(std::uint32_t address, std::uint32_t experts, std::uint32_t tokens)
        : counts(address),
          entries(address + std::uint32_t(queue_offset(0, experts, tokens))),
          stride(std::uint32_t(align(4 * std::uint64_t(tokens)))) {}

    std::uint32_t place(std::uint32_t expert, std::uint32_t entry) const {
#pragma HLS INLINE
        return entries + expert * stride + entry / ENTRIES * BEAT_BYTES;
    }
};

// Puts an entry behind the expert's queue; a full word goes to memory.
template <class Build>
inline void append(Router<Build>& router, const Queues& queues, int expert, std::uint32_t token,
                   std::uint32_t score, Word* memory, Word* scratch) {
#pragma HLS INLINE
    const std::uint32_t count = router.counts[expert];
    const int place = int(count % ENTRIES) * entry_record::bytes;
    Word word = router.pending[expert];
    put(word, place + entry_record::token, 2, token);
    put(word, place + entry_record::score, 2, score);
    if (count % ENTRIES == ENTRIES - 1) {
        write_word(memory, scratch, queues.place(std::uint32_t(expert), count), word);
        word = no_entries();
    }
    router.pending[expert] = word;
    router.counts[expert] = count + 1;
}

// What is pending, zeros up to the next multiple of 64 bytes, and the counts.
template <class Build>
inline void finish(const Router<Build>& router, const Queues& queues, std::uint32_t experts,
                   Word* memory, Word* scratch) {
    constexpr std::uint32_t block = ALIGNMENT / entry_record::bytes;
    for (std::uint32_t expert = 0; expert < experts; ++expert) {
        const std::uint32_t count = router.counts[expert];
        const std::uint32_t end = (count + block - 1) / block * block;
        Word word = router.pending[expert];
        for (std::uint32_t entry = count / ENTRIES * ENTRIES; entry < end; entry += ENTRIES) {
#pragma HLS PIPELINE II = 1
            write_word(memory, scratch, queues.place(expert, entry), word);
            word = no_entries();
        }
    }
    for (std::uint32_t first = 0; first < (experts + 15) / 16 * 16; first += 4) {
#pragma HLS PIPELINE II = 4
        Word word = no_entries();
        for (std::uint32_t each = 0; each < 4; ++each) {
            if (first + each < experts) put(word, int(each) * 4, 4, router.counts[first + each]);
        }
        write_word(memory, scratch, queues.counts + first * 4, word);
    }
}

}  // namespace routing

template <class Build>
void route_unit(const std::uint32_t words[WORDS], Word* memory, Word* scratch) {
#pragma HLS INLINE off
    using namespace routing;
    Router<Build> router;
#pragma HLS ARRAY_PARTITION variable = router.weights cyclic factor = 16 dim = 1
#pragma HLS ARRAY_PARTITION variable = router.biases cyclic factor = 16
#pragma HLS ARRAY_PARTITION variable = router.logits cyclic factor = 16
    const std::uint32_t row_words = words[route::channels] / CHANNELS;
    const std::uint32_t tokens = words[route::tokens], experts = words[route::experts];
    const std::uint32_t multiplier = words[route::multiplier], shift = words[route::shift];
    const Queues queues(words[route::queues], experts, tokens);
    std::uint32_t x = words[route::normalised];

    load<Build>(words, memory, scratch, router);
    for (std::uint32_t token = 0; token < tokens; ++token) {
        read_words(memory, scratch, x, row_words, router.token);
        x += row_words * BEAT_BYTES;
        score<Build>(router, int(row_words), int(experts));
        Choice best[Build::max_top_k];
#pragma HLS ARRAY_PARTITION variable = best complete
        choose<Build>(router, int(experts), best);
        const std::int64_t top = power_of(best[0].logit, multiplier, shift);
        const std::uint32_t total =
            total_of<Build>(router, int(experts), top, multiplier, shift);
        for (std::uint32_t slot = 0; slot < words[route::top_k]; ++slot) {
            const std::int64_t mine = power_of(best[slot].logit, multiplier, shift);
            const std::uint32_t term = power(std::uint64_t(top - mine));
            append<Build>(router, queues, best[slot].expert, token,
                          gate_score(term, total, words[route::prune]), memory, scratch);
        }
    }
    finish<Build>(router, queues, experts, memory, scratch);
}

}  // namespace gearshift
