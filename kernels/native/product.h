// Products x W^T: the work of every linear layer, expert and convolution.
//
// The rows of x are brought into one form (normalised, gathered, quantised, cut out of an image), a
// block at a time, into scratch that stays in the second-level cache; then two panels of W at a
// time meet all rows of the block, tile by tile, and every tile of sums is handed to the caller to
// finish (bias, GELU, residual, ...) while it is in the first-level cache.
#pragma once

#include <type_traits>

#include "operand.h"
#include "team.h"
#if defined(GS_AMX)
#include "amx.h"
#endif

namespace gearshift {

constexpr int64_t TILE_COLUMNS = 2 * LANES;
constexpr int64_t BLOCK_BYTES = 192 * 1024;  // of x, in the second-level cache

// Rows and panels of one tile. AVX-512: 24 of 32 registers hold sums. AVX2: 12 of 16, and the rest
// hold a panel's weights, each in two, and a row's inputs.
template <class O>
constexpr int64_t TILE_ROWS =
#if defined(GS_AMX)
    O::PRECISION != GS_FLOAT32 ? AMX_ROWS : 12;
#elif defined(__AVX512F__)
    12;
#else
    6;
#endif
#if defined(__AVX512F__)
constexpr int TILE_PANELS = 2;
#else
constexpr int TILE_PANELS = 1;
#endif
constexpr int64_t MOST_TILE_ROWS = 32;

// Whether a tile always has all its rows: AMX loads them whole, other code goes row by row.
template <class O>
constexpr bool WHOLE_TILES = TILE_ROWS<O> == MOST_TILE_ROWS;

// Rows of each tile of `rows` rows: as few tiles as there can be, of like size.
template <class O>
int64_t tile_step(int64_t rows) {
    if (WHOLE_TILES<O>) return TILE_ROWS<O>;
    const int64_t tiles = (rows + TILE_ROWS<O> - 1) / TILE_ROWS<O>;
    return (rows + tiles - 1) / tiles;
}

// A tile of sums, rows TILE_COLUMNS apart; of int8, they are int32 until they are scaled.
struct Tile {
    alignas(LINE) float floats[MOST_TILE_ROWS * TILE_COLUMNS];
};

// Elements of a row of x or W with its padding: whole lines of 64 bytes.
template <class Element>
constexpr int64_t padded(int64_t inputs) {
    return round_up(inputs, LINE / static_cast<int64_t>(sizeof(Element)));
}

// Not inlined, or the compiler spills sums to memory.
template <class O, int ROWS, int COUNT>
__attribute__((noinline)) void multiply_tile(const char *x, int64_t stride, const char *panels,
                                             int64_t panel_bytes, int64_t groups, float *out,
                                             int64_t out_stride, const char *ahead) {
    typename O::Sums sums[ROWS][COUNT];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int p = 0; p < COUNT; p++) sums[r][p] = O::zero();
    // Rows three by three from one address: the CPU's addressing reaches 0, 1 and 2 strides.
    const char *rows[(ROWS + 2) / 3];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r += 3) rows[r / 3] = x + r * stride;
    for (int64_t g = 0; g < groups; g++) {
        typename O::Weights w[COUNT];
#pragma GCC unroll 2
        for (int p = 0; p < COUNT; p++) {
            const char *line = panels + p * panel_bytes + g * LINE;
            w[p] = O::weights(line);
            __builtin_prefetch(ahead + (g * COUNT + p) * LINE, 0, 2);  // to the second level
        }
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) {
            auto inputs = O::inputs(rows[r / 3] + r % 3 * stride + 4 * g);
#pragma GCC unroll 2
            for (int p = 0; p < COUNT; p++) sums[r][p] = O::dot(inputs, w[p], sums[r][p]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int p = 0; p < COUNT; p++) {
            float *place = out + r * out_stride + p * LANES;
            if constexpr (O::PRECISION == GS_INT8)
                store(reinterpret_cast<int32_t *>(place), sums[r][p]);
            else
                store(place, sums[r][p]);
        }
}

template <class O, int COUNT, int ROWS>
void multiply_rows(const char *x, int64_t stride, int64_t rows, const char *panels,
                   int64_t panel_bytes, int64_t groups, float *out, int64_t out_stride,
                   const char *ahead) {
    if (rows == ROWS)
        multiply_tile<O, ROWS, COUNT>(x, stride, panels, panel_bytes, groups, out, out_stride,
                                      ahead);
    else if constexpr (ROWS > 1)
        multiply_rows<O, COUNT, ROWS - 1>(x, stride, rows, panels, panel_bytes, groups, out,
                                         out_stride, ahead);
}

// out = the sums of up to TILE_ROWS rows of x, `stride` bytes apart, with `count` (1 or 2) panels.
// Both have `groups` groups, a multiple of 16; with AMX, x is readable and out writable for
// TILE_ROWS rows. Of int8, out holds int32. While it multiplies, as many panels as it reads are
// fetched from `ahead`, where the next ones lie.
template <class O>
GS_INLINE void multiply(const void *x, int64_t stride, int64_t rows, const void *panels,
                        int64_t count, int64_t groups, float *out, int64_t out_stride,
                        const char *ahead) {
    auto left = static_cast<const char *>(x);
    auto right = static_cast<const char *>(panels);
    constexpr int ROWS = static_cast<int>(TILE_ROWS<O>);
#if defined(GS_AMX)
    if constexpr (O::PRECISION != GS_FLOAT32) {
        multiply_amx<O::PRECISION>(left, stride, rows, right, count, groups, out, out_stride,
                                   ahead);
        return;
    }
#endif
    if (count == TILE_PANELS) {
        multiply_rows<O, TILE_PANELS, ROWS>(left, stride, rows, right, groups * LINE, groups, out,
                                            out_stride, ahead);
        return;
    }
    for (int64_t panel = 0; panel < count; panel++)
        multiply_rows<O, 1, ROWS>(left, stride, rows, right + panel * groups * LINE, groups * LINE,
                                  groups, out + panel * LANES, out_stride,
                                  ahead + panel * groups * LINE);
}

// ---------------------------------------------------------------------------------------------
// Rows of x in the form that tiles read.

// Sixteen of the last columns may be missing: those are zero.
template <class T>
GS_INLINE Floats load_columns(const T *row, int64_t column, int64_t columns) {
    return columns - column >= LANES ? load(row + column)
                                     : load_part(row + column, columns - column);
}
template <class T>
GS_INLINE void store_columns(T *row, int64_t column, int64_t columns, Floats a) {
    if (columns - column >= LANES)
        store(row + column, a);
    else
        store_part(row + column, a, columns - column);
}

// A row of floats or bfloat16 as operands, padded with zeros. Returns the scale of int8, else 1.
template <class O, class T>
float pack_row(const T *row, int64_t columns, typename O::Element *out) {
    const int64_t width = padded<typename O::Element>(columns);
    if constexpr (O::PRECISION == GS_INT8) {
        Floats most = zeros();
        for (int64_t c = 0; c < columns; c += LANES)
            most = larger(most, magnitude(load_columns(row, c, columns)));
        const float top = largest(most);
        const float inverse = top > 0 ? 127.0f / top : 0.0f;
        for (int64_t c = 0; c < width; c += LANES) {
            Floats x = c < columns ? load_columns(row, c, columns) : zeros();
            store_offset_bytes(out + c, x * all(inverse));
        }
        return top / 127.0f;
    } else {
        for (int64_t c = 0; c < width; c += LANES)
            store(out + c, c < columns ? load_columns(row, c, columns) : zeros());
        return 1.0f;
    }
}

// Rows that are in memory already.
template <class T>
struct Matrix {
    const T *data;
    int64_t stride;
    const T *operator()(int64_t row, float *) const { return data + row * stride; }
};

// ---------------------------------------------------------------------------------------------
// The part of a product that one thread computes.

struct Share {
    Range rows, pairs;  // pairs of panels
};

// Threads share rows and columns so that the busiest one has the least to do: whole tiles, and the
// packing of its rows, which costs about as much as PACKING pairs of panels.
inline Share share_product(const Worker &worker, int64_t rows, int64_t pairs, int64_t tile_rows) {
    constexpr double PACKING = 0.3;
    const int64_t tiles = (rows + tile_rows - 1) / tile_rows;
    int64_t best_parts = 1;
    double best = -1;
    for (int64_t row_parts = 1; row_parts <= worker.threads; row_parts++) {
        if (worker.threads % row_parts) continue;
        const int64_t column_parts = worker.threads / row_parts;
        const double down = static_cast<double>((tiles + row_parts - 1) / row_parts);
        const double across = static_cast<double>((pairs + column_parts - 1) / column_parts);
        const double cost = down * (across + PACKING);
        if (best < 0 || cost < best) {
            best = cost;
            best_parts = row_parts;
        }
    }
    const int64_t column_parts = worker.threads / best_parts;
    Range down = split(tiles, best_parts, worker.index / column_parts);
    Range across = split(pairs, column_parts, worker.index % column_parts);
    auto clip = [&](int64_t tile) { return tile * tile_rows < rows ? tile * tile_rows : rows; };
    return {{clip(down.first), clip(down.last)}, across};
}

template <class O>
int64_t block_rows(int64_t inputs) {
    const int64_t bytes = padded<typename O::Element>(inputs) * sizeof(typename O::Element);
    const int64_t rows = BLOCK_BYTES / bytes / TILE_ROWS<O> * TILE_ROWS<O>;
    return rows > TILE_ROWS<O> ? rows : TILE_ROWS<O>;
}

// Bytes of scratch of a thread: a block of x, its scales, and one row of floats.
template <class O>
int64_t product_scratch(int64_t inputs) {
    const int64_t rows = block_rows<O>(inputs), width = padded<typename O::Element>(inputs);
    return rows * width * static_cast<int64_t>(sizeof(typename O::Element)) +
           round_up(rows, LANES) * 4 + round_up(inputs, LANES) * 4;
}

inline int64_t count_pairs(int64_t outputs) {
    return (outputs + TILE_COLUMNS - 1) / TILE_COLUMNS;
}

// Integer sums of int8 weights with bytes that stand 128 too high -> float32.
inline void scale_tile(Tile &tile, int64_t rows, int64_t columns, const float *row_scales,
                       const GsWeight &weight, int64_t column) {
    for (int64_t c = 0; c < columns; c += LANES) {
        const Floats scale = load(weight.scale + column + c);
        const Floats correction = load(weight.correction + column + c);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t place = r * TILE_COLUMNS + c;
            const auto integers = reinterpret_cast<const int32_t *>(tile.floats + place);
            const Floats sums = to_floats(load(integers)) - correction;
            store(tile.floats + place, sums * scale * all(row_scales[r]));
        }
    }
}

// The rows and pairs of `share` of x W^T. `source(row, space)` gives a row of x, in memory or
// written to `space`; `finish(row, rows, column, columns, sums)` takes sums TILE_COLUMNS apart.
// `next`: the weights that this thread reads after these, if they are known.
template <class O, class Source, class Finish>
void product(const Worker &worker, const Share &share, const GsWeight &weight, const Source &source,
             const Finish &finish, const GsWeight *next = nullptr) {
    using Element = typename O::Element;
    const int64_t width = padded<Element>(weight.inputs), groups = width / O::GROUP;
    const int64_t rows_at_once = block_rows<O>(weight.inputs);
    Element *block = worker.own->at<Element>();
    float *scales = reinterpret_cast<float *>(block + rows_at_once * width);
    float *space = scales + round_up(rows_at_once, LANES);
    auto panels = static_cast<const char *>(weight.panels);
    Tile tile;
    for (int64_t first = share.rows.first; first < share.rows.last; first += rows_at_once) {
        const int64_t last = first + rows_at_once < share.rows.last ? first + rows_at_once
                                                                    : share.rows.last;
        const Element *x = block;
        int64_t stride = width;
        bool in_place = false;
        if constexpr (std::is_same_v<Source, Matrix<Element>>) {
            // Past the end of a matrix there may be nothing to read. Rows that only a few panels
            // meet come from memory faster in order, which a copy goes.
            const bool is_whole = !WHOLE_TILES<O> || (last - first) % TILE_ROWS<O> == 0;
            in_place = width == weight.inputs && is_whole && share.pairs.size() > 3;
            if (in_place) x = source.data + first * source.stride, stride = source.stride;
        }
        if (!in_place)
            for (int64_t row = first; row < last; row++)
                scales[row - first] =
                    pack_row<O>(source(row, space), weight.inputs, block + (row - first) * width);
        const int64_t step = tile_step<O>(last - first);
        for (int64_t pair = share.pairs.first; pair < share.pairs.last; pair++) {
            const int64_t column = pair * TILE_COLUMNS;
            const int64_t columns = weight.outputs - column < TILE_COLUMNS
                                        ? weight.outputs - column
                                        : TILE_COLUMNS;
            const int64_t pair_bytes = 2 * groups * LINE;
            const char *right = panels + pair * pair_bytes, *ahead = right + pair_bytes;
            if (pair + 1 == share.pairs.last && next)
                ahead = static_cast<const char *>(next->panels) + share.pairs.first * pair_bytes;
            for (int64_t row = first; row < last; row += step) {
                const int64_t rows = last - row < step ? last - row : step;
                multiply<O>(x + (row - first) * stride,
                            stride * static_cast<int64_t>(sizeof(Element)), rows, right,
                            columns > LANES ? 2 : 1, groups, tile.floats, TILE_COLUMNS, ahead);
                if constexpr (O::PRECISION == GS_INT8)
                    scale_tile(tile, rows, columns, scales + (row - first), weight, column);
                finish(row, rows, column, columns, tile.floats);
            }
        }
    }
}

}  // namespace gearshift
