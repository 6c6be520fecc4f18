// Products by AMX, the matrix instructions for bfloat16 and int8 of Intel's server CPUs.
//
// A tile register holds 16 rows of 64 bytes. Of x that is 16 rows by 16 groups; of W, 16 groups by
// 16 outputs, which is how a panel lies in memory; of the sums, 16 rows by 16 outputs. Four tiles
// of sums (32 rows by two panels) make the most of four loaded tiles, and hide each other's
// latency. Instructions: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1,
// chapter 18, and volume 2.
//
// The process must have the system's leave to use tiles: gs_has_level (features.cpp) asks for it.
#pragma once

#include "interface.h"
#include "vector.h"

namespace gearshift {

constexpr int64_t AMX_TILE = 16;             // rows of a tile, groups of a row
constexpr int64_t AMX_ROWS = 2 * AMX_TILE;   // of x in one product

// What ldtilecfg reads: all eight tiles have all rows of all bytes.
struct alignas(LINE) TileConfiguration {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {LINE, LINE, LINE, LINE, LINE, LINE, LINE, LINE};
    uint8_t rows[16] = {AMX_TILE, AMX_TILE, AMX_TILE, AMX_TILE,
                        AMX_TILE, AMX_TILE, AMX_TILE, AMX_TILE};
};
static_assert(sizeof(TileConfiguration) == 64, "its layout is the CPU's");

}  // namespace gearshift

#if defined(GS_AMX_EMULATED)
#include "amx_emulated.h"
#else

namespace gearshift {

// Assembly, since g++ 12 does not know what memory its own functions for these instructions read
// and write, and moves stores past them.
GS_INLINE void tile_configure(const TileConfiguration &configuration) {
    asm volatile("ldtilecfg %0" ::"m"(configuration));
}
GS_INLINE void tile_release() { asm volatile("tilerelease"); }

template <int TILE>
GS_INLINE void tile_zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(TILE));
}
// Rows from memory, `stride` bytes apart.
template <int TILE>
GS_INLINE void tile_load(const void *rows, int64_t stride) {
    asm volatile("tileloadd (%0,%1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(TILE) : "memory");
}
template <int TILE>
GS_INLINE void tile_store(void *rows, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1)" ::"r"(rows), "r"(stride), "i"(TILE) : "memory");
}
// SUMS += X W: float32 sums of pairs of bfloat16, or int32 sums of fours of unsigned X, signed W.
template <int64_t PRECISION, int SUMS, int X, int W>
GS_INLINE void tile_dot() {
    if constexpr (PRECISION == GS_INT8)
        asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUMS), "i"(X), "i"(W));
    else
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUMS), "i"(X), "i"(W));
}

}  // namespace gearshift
#endif

namespace gearshift {

// While it lives, its thread can use tiles.
struct AmxState {
    AmxState() { tile_configure(TileConfiguration{}); }
    ~AmxState() { tile_release(); }
    AmxState(const AmxState &) = delete;
    AmxState &operator=(const AmxState &) = delete;
};

// DOWN tiles of x times ACROSS panels (1 or 2 of each).
template <int64_t PRECISION, int DOWN, int ACROSS>
void multiply_tiles(const char *x, int64_t stride, const char *panels, int64_t groups, float *out,
                    int64_t out_stride, const char *ahead) {
    constexpr int X = 4, W = 6;  // the first tiles of x and of W; those of the sums are 0 to 3
    tile_zero<0>();
    tile_zero<1>();
    tile_zero<2>();
    tile_zero<3>();
    const char *second = panels + groups * LINE;
    for (int64_t g = 0; g < groups; g += AMX_TILE) {
        tile_load<X>(x + 4 * g, stride);
        tile_load<W>(panels + g * LINE, LINE);
        tile_dot<PRECISION, 0, X, W>();
        if constexpr (ACROSS == 2) {
            tile_load<W + 1>(second + g * LINE, LINE);
            tile_dot<PRECISION, 1, X, W + 1>();
        }
        if constexpr (DOWN == 2) {
            tile_load<X + 1>(x + 4 * g + AMX_TILE * stride, stride);
            tile_dot<PRECISION, 2, X + 1, W>();
        }
        if constexpr (DOWN == 2 && ACROSS == 2) tile_dot<PRECISION, 3, X + 1, W + 1>();
        for (int64_t i = 0; i < AMX_TILE * ACROSS; i++)
            __builtin_prefetch(ahead + (g * ACROSS + i) * LINE, 0, 2);  // to the second level
    }
    const int64_t out_bytes = out_stride * static_cast<int64_t>(sizeof(float));
    tile_store<0>(out, out_bytes);
    if constexpr (ACROSS == 2) tile_store<1>(out + LANES, out_bytes);
    if constexpr (DOWN == 2) tile_store<2>(out + AMX_TILE * out_stride, out_bytes);
    if constexpr (DOWN == 2 && ACROSS == 2)
        tile_store<3>(out + AMX_TILE * out_stride + LANES, out_bytes);
}

// out = the sums of up to AMX_ROWS rows of x, `stride` bytes apart, with `count` (1 or 2) panels of
// `groups` groups, a multiple of 16. x is read and out is written in whole tiles: for 16 rows or
// 32. Of int8, x is bytes that stand 128 too high, and out holds int32.
template <int64_t PRECISION>
void multiply_amx(const char *x, int64_t stride, int64_t rows, const char *panels, int64_t count,
                  int64_t groups, float *out, int64_t out_stride, const char *ahead) {
    if (rows > AMX_TILE && count == 2)
        multiply_tiles<PRECISION, 2, 2>(x, stride, panels, groups, out, out_stride, ahead);
    else if (rows > AMX_TILE)
        multiply_tiles<PRECISION, 2, 1>(x, stride, panels, groups, out, out_stride, ahead);
    else if (count == 2)
        multiply_tiles<PRECISION, 1, 2>(x, stride, panels, groups, out, out_stride, ahead);
    else
        multiply_tiles<PRECISION, 1, 1>(x, stride, panels, groups, out, out_stride, ahead);
}

}  // namespace gearshift
