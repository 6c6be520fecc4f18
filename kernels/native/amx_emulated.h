// The tile instructions in plain C++, so that tests can run the AMX kernels on a CPU without AMX.
//
// Each does what the operation of its instruction says in Intel's Software Developer's Manual,
// volume 2, and ends the process where the CPU would raise a fault. Only for tests: it is slow.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

namespace gearshift {

struct EmulatedTiles {
    static constexpr int COUNT = 8, MOST_ROWS = 16, MOST_BYTES = 64;
    bool configured = false;
    int rows[COUNT], row_bytes[COUNT];
    uint8_t data[COUNT][MOST_ROWS][MOST_BYTES];
};

inline thread_local EmulatedTiles emulated_tiles;

inline void demand(bool holds, const char *what) {
    if (holds) return;
    std::fprintf(stderr, "AMX emulation: %s\n", what);
    std::abort();
}

// From the bytes, not the structure, whose layout is tested thereby.
inline void tile_configure(const TileConfiguration &configuration) {
    uint8_t bytes[64];
    std::memcpy(bytes, &configuration, sizeof bytes);
    demand(bytes[0] == 1, "ldtilecfg: the palette is not 1");
    demand(bytes[1] == 0, "ldtilecfg: the first row is not 0");
    for (int i = 2; i < 16; i++) demand(bytes[i] == 0, "ldtilecfg: a reserved byte is not 0");
    EmulatedTiles &tiles = emulated_tiles;
    for (int tile = 0; tile < 16; tile++) {
        const int row_bytes = bytes[16 + 2 * tile] + 256 * bytes[17 + 2 * tile];
        const int rows = bytes[48 + tile];
        if (tile >= EmulatedTiles::COUNT) {
            demand(rows == 0 && row_bytes == 0, "ldtilecfg: there are eight tiles");
            continue;
        }
        demand(rows <= EmulatedTiles::MOST_ROWS, "ldtilecfg: more than 16 rows");
        demand(row_bytes <= EmulatedTiles::MOST_BYTES, "ldtilecfg: more than 64 bytes a row");
        demand((rows == 0) == (row_bytes == 0), "ldtilecfg: rows without bytes, or the reverse");
        tiles.rows[tile] = rows;
        tiles.row_bytes[tile] = row_bytes;
    }
    std::memset(tiles.data, 0, sizeof tiles.data);
    tiles.configured = true;
}

inline void tile_release() { emulated_tiles.configured = false; }

inline EmulatedTiles &tiles_with(int tile) {
    EmulatedTiles &tiles = emulated_tiles;
    demand(tiles.configured, "a tile is used before ldtilecfg");
    demand(tile < EmulatedTiles::COUNT && tiles.rows[tile] > 0, "a tile is not configured");
    return tiles;
}

template <int TILE>
void tile_zero() {
    std::memset(tiles_with(TILE).data[TILE], 0, sizeof emulated_tiles.data[TILE]);
}

template <int TILE>
void tile_load(const void *rows, int64_t stride) {
    EmulatedTiles &tiles = tiles_with(TILE);
    tile_zero<TILE>();
    for (int r = 0; r < tiles.rows[TILE]; r++)
        std::memcpy(tiles.data[TILE][r], static_cast<const char *>(rows) + r * stride,
                    static_cast<size_t>(tiles.row_bytes[TILE]));
}

template <int TILE>
void tile_store(void *rows, int64_t stride) {
    const EmulatedTiles &tiles = tiles_with(TILE);
    for (int r = 0; r < tiles.rows[TILE]; r++)
        std::memcpy(static_cast<char *>(rows) + r * stride, tiles.data[TILE][r],
                    static_cast<size_t>(tiles.row_bytes[TILE]));
}

// tdpbf16ps takes numbers below the smallest normal one as zero, and gives none.
inline float flushed(float x) { return std::fabs(x) < FLT_MIN ? std::copysign(0.0f, x) : x; }

template <int COLUMNS>
inline void dot_row(const BFloat16 *x, const uint8_t w[][64], int groups, float *sums) {
    float parts[COLUMNS][2] = {};
    for (int g = 0; g < groups; g++)
        for (int c = 0; c < COLUMNS; c++)
            for (int j = 0; j < 2; j++) {
                BFloat16 right;
                std::memcpy(&right, &w[g][4 * c + 2 * j], 2);
                parts[c][j] = flushed(std::fma(flushed(widen(x[2 * g + j])), flushed(widen(right)),
                                               parts[c][j]));
            }
    for (int c = 0; c < COLUMNS; c++)
        sums[c] = flushed(flushed(sums[c]) + flushed(parts[c][0] + parts[c][1]));
}

// Sums wrap around as the CPU's do.
template <int COLUMNS>
inline void dot_row(const uint8_t *x, const uint8_t w[][64], int groups, uint32_t *sums) {
    for (int g = 0; g < groups; g++)
        for (int c = 0; c < COLUMNS; c++)
            for (int j = 0; j < 4; j++) {
                const int product = x[4 * g + j] * static_cast<int8_t>(w[g][4 * c + j]);
                sums[c] += static_cast<uint32_t>(product);
            }
}

template <int64_t PRECISION, int SUMS, int X, int W>
void tile_dot() {
    static_assert(SUMS != X && SUMS != W && X != W, "a tile stands twice in one instruction");
    EmulatedTiles &tiles = tiles_with(SUMS);
    tiles_with(X);
    tiles_with(W);
    demand(tiles.rows[SUMS] == tiles.rows[X] && tiles.row_bytes[SUMS] == tiles.row_bytes[W] &&
               tiles.row_bytes[X] == 4 * tiles.rows[W],
           "tdp: the shapes of the tiles do not fit");
    constexpr int COLUMNS = EmulatedTiles::MOST_BYTES / 4;
    for (int r = 0; r < tiles.rows[SUMS]; r++) {
        using Element = std::conditional_t<PRECISION == GS_INT8, uint8_t, BFloat16>;
        using Sum = std::conditional_t<PRECISION == GS_INT8, uint32_t, float>;
        Element x[EmulatedTiles::MOST_BYTES / sizeof(Element)];
        Sum sums[COLUMNS];
        std::memcpy(x, tiles.data[X][r], sizeof x);
        std::memcpy(sums, tiles.data[SUMS][r], sizeof sums);
        // Columns that a narrower tile has not hold zeros, and stay so.
        dot_row<COLUMNS>(x, tiles.data[W], tiles.row_bytes[X] / 4, sums);
        std::memcpy(tiles.data[SUMS][r], sums, sizeof sums);
    }
}

}  // namespace gearshift
