// How many multiply-accumulates a second one thread can do when its operands are at hand.
#pragma once

#include <chrono>

#include "product.h"

namespace gearshift {

// Small positive numbers in every precision: no sum overflows, none is denormal.
struct PeakOperands {
    // So many that a product's beginning and end count little; so few that the first-level cache
    // holds them.
    static constexpr int64_t GROUPS = 256, LINES = GROUPS + LANES;
    alignas(LINE) char bytes[LINES * LINE];
    PeakOperands() { std::memset(bytes, 0x3c, sizeof bytes); }
};

// Of `work`, which does `macs`: the best of a few times, since others may use the processor too.
template <class Work>
double best_rate(int64_t macs, const Work &work) {
    constexpr int64_t ROUNDS = 400;
    double best = 0;
    for (int attempt = 0; attempt < 5; attempt++) {
        const auto start = std::chrono::steady_clock::now();
        for (int64_t round = 0; round < ROUNDS; round++) work();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        const double rate = static_cast<double>(ROUNDS * macs) / taken.count();
        best = rate > best ? rate : best;
    }
    return best;
}

// The kernels' own loop: rows and panels lie a line apart, so that few lines make a long product.
template <class O>
double peak_of_vectors() {
    constexpr int ROWS = static_cast<int>(TILE_ROWS<O>), PANELS = TILE_PANELS;
    const PeakOperands operands;
    Tile tile;
    // Through an address that the compiler does not know: it takes the function as it is.
    auto multiply = multiply_tile<O, ROWS, PANELS>;
    asm volatile("" : "+r"(multiply));
    return best_rate(PeakOperands::GROUPS * ROWS * PANELS * LANES * O::GROUP, [&] {
        multiply(operands.bytes, LINE, operands.bytes, LINE, PeakOperands::GROUPS, tile.floats,
                 TILE_COLUMNS, operands.bytes);
    });
}

#if defined(GS_AMX)
template <int64_t PRECISION>
double peak_of_tiles() {
    constexpr int64_t DOTS = 4, REPEATS = 16, GROUP = Operand<PRECISION>::GROUP;
    const PeakOperands operands;
    const AmxState state;
    tile_load<4>(operands.bytes, LINE);
    tile_load<5>(operands.bytes, LINE);
    tile_load<6>(operands.bytes, LINE);
    tile_load<7>(operands.bytes, LINE);
    return best_rate(REPEATS * DOTS * AMX_TILE * AMX_TILE * AMX_TILE * GROUP, [] {
        for (int64_t i = 0; i < REPEATS; i++) {
            tile_dot<PRECISION, 0, 4, 6>();
            tile_dot<PRECISION, 1, 4, 7>();
            tile_dot<PRECISION, 2, 5, 6>();
            tile_dot<PRECISION, 3, 5, 7>();
        }
    });
}
#endif

template <int64_t PRECISION>
double peak() {
#if defined(GS_AMX)
    if constexpr (PRECISION != GS_FLOAT32) return peak_of_tiles<PRECISION>();
#endif
    return peak_of_vectors<Operand<PRECISION>>();
}

inline double peak_macs(int64_t precision) {
    switch (precision) {
        case GS_FLOAT32: return peak<GS_FLOAT32>();
        case GS_INT8: return peak<GS_INT8>();
        default: return peak<GS_BFLOAT16>();
    }
}

}  // namespace gearshift
