// Self-attention, a few rows of queries at a time: softmax(head_dim^-0.5 Q K^T) V.
//
// Keys come in chunks; of a chunk's scores the largest is found, their exponentials are taken once
// and at once multiplied with the values, and what was summed before is scaled when a row's largest
// score grows (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). No
// matrix of scores is ever in memory.
#pragma once

#include "functions.h"
#include "product.h"

namespace gearshift {

template <int64_t PRECISION>
struct Attention {
    using O = Narrow<PRECISION>;
    using Element = typename O::Element;
    static constexpr int64_t CHUNK = 1280;  // keys; their scores stay in the second-level cache
    static constexpr int64_t SIZE = sizeof(Element);

    // The score of what is no key: its exponential is zero beside any other.
    static constexpr float LEAST = -1e30f;

    // How the keys and values of one head are laid out for products.
    struct Sizes {
        int64_t keys;          // padded to whole tiles of columns and whole lines of inputs
        int64_t key_groups;    // of a head's dimensions
        int64_t value_panels;  // of a head's dimensions
        explicit Sizes(const GsAttention &a)
            : keys(round_up(a.tokens, TILE_COLUMNS)),
              key_groups(padded<Element>(a.head_dim) / O::GROUP),
              value_panels((a.head_dim + LANES - 1) / LANES) {}
        int64_t key_bytes() const { return keys / LANES * key_groups * LINE; }
        int64_t value_bytes() const { return keys / O::GROUP * value_panels * LINE; }
        int64_t head_bytes() const { return key_bytes() + value_bytes(); }
    };

    // Of one thread: queries, scores, their exponentials and the sums of values.
    struct Space {
        Element *queries, *weights;
        float *scores, *sums;
        int64_t sum_stride;
        Space(const Worker &worker, const Sizes &sizes) : sum_stride(sizes.value_panels * LANES) {
            queries = worker.own->at<Element>();
            weights = queries + TILE_ROWS<O> * sizes.key_groups * O::GROUP;
            scores = reinterpret_cast<float *>(weights + TILE_ROWS<O> * CHUNK);
            sums = scores + TILE_ROWS<O> * CHUNK;
        }
        static int64_t bytes(const Sizes &sizes) {
            return TILE_ROWS<O> * (sizes.key_groups * 4 + CHUNK * SIZE + CHUNK * 4 +
                                   sizes.value_panels * LINE);
        }
    };

    static Scratch scratch(const GsAttention &a) {
        const Sizes sizes(a);
        return {a.images * a.heads * sizes.head_bytes(), Space::bytes(sizes)};
    }

    static void run(const GsAttention &a, const Worker &worker) {
        const Sizes sizes(a);
        const int64_t heads = a.images * a.heads;
        const int64_t pieces = sizes.keys / TILE_COLUMNS;
        const Range packing = worker.share(heads * pieces);
        for (int64_t i = packing.first; i < packing.last; i++)
            pack(a, sizes, i / pieces, i % pieces * TILE_COLUMNS, worker.shared->at<char>());
        worker.wait();
        const Space space(worker, sizes);
        const int64_t blocks = (a.tokens + TILE_ROWS<O> - 1) / TILE_ROWS<O>;
        const Range share = worker.share(heads * blocks);
        for (int64_t i = share.first; i < share.last; i++)
            rows(a, sizes, i / blocks, i % blocks * TILE_ROWS<O>,
                 worker.shared->at<char>(i / blocks * sizes.head_bytes()), space);
    }

  private:
    // Row `token` of the queries (0), keys (1) or values (2) of one head.
    static const Element *row_of(const GsAttention &a, int64_t head, int64_t token, int64_t part) {
        const int64_t image = head / a.heads;
        const int64_t row = ((image * a.tokens + token) * 3 + part) * a.heads + head % a.heads;
        return static_cast<const Element *>(a.qkv) + row * a.head_dim;
    }

    static int64_t chunk_size(const Sizes &sizes, int64_t first) {
        return sizes.keys - first < CHUNK ? sizes.keys - first : CHUNK;
    }

    // TILE_COLUMNS keys and values from `first` on; there are zeros where there are no tokens.
    static void pack(const GsAttention &a, const Sizes &sizes, int64_t head, int64_t first,
                     char *shared) {
        char *keys = shared + head * sizes.head_bytes();
        for (int64_t k = first; k < first + TILE_COLUMNS; k++)
            pack_key(k < a.tokens ? row_of(a, head, k, 1) : nullptr, a.head_dim, sizes.key_groups,
                     keys + k / LANES * sizes.key_groups * LINE + k % LANES * 4);
        // Values chunk by chunk, so that each chunk is a product of its own.
        const int64_t chunk = first / CHUNK * CHUNK;
        const int64_t groups = chunk_size(sizes, chunk) / O::GROUP;
        char *values = keys + sizes.key_bytes() + chunk / O::GROUP * sizes.value_panels * LINE;
        for (int64_t k = first; k < first + TILE_COLUMNS; k += O::GROUP)
            for (int64_t p = 0; p < sizes.value_panels; p++)
                pack_values(a, head, k, p * LANES,
                            values + (p * groups + (k - chunk) / O::GROUP) * LINE);
    }

    // A key's groups, LINE apart; a null key is zeros.
    static void pack_key(const Element *key, int64_t head_dim, int64_t groups, char *out) {
        int64_t g = 0;
        for (; key && g < head_dim / O::GROUP; g++)
            std::memcpy(out + g * LINE, key + g * O::GROUP, 4);
        for (; g < groups; g++) {
            Element group[O::GROUP] = {};
            for (int64_t j = 0; key && g * O::GROUP + j < head_dim; j++)
                group[j] = key[g * O::GROUP + j];
            std::memcpy(out + g * LINE, group, 4);
        }
    }

    // Sixteen dimensions of a group of values, side by side.
    static void pack_values(const GsAttention &a, int64_t head, int64_t first, int64_t dimension,
                            char *line) {
        auto out = reinterpret_cast<Element *>(line);
        Element rows[O::GROUP][LANES] = {};
        const int64_t left = a.head_dim - dimension, count = left < LANES ? left : LANES;
        for (int64_t j = 0; j < O::GROUP && first + j < a.tokens; j++)
            std::memcpy(rows[j], row_of(a, head, first + j, 2) + dimension,
                        static_cast<size_t>(count * SIZE));
        for (int64_t c = 0; c < LANES; c++)
            for (int64_t j = 0; j < O::GROUP; j++) out[c * O::GROUP + j] = rows[j][c];
    }

    static void rows(const GsAttention &a, const Sizes &sizes, int64_t head, int64_t first,
                     const char *keys, const Space &space) {
        const int64_t count = a.tokens - first < TILE_ROWS<O> ? a.tokens - first : TILE_ROWS<O>;
        const int64_t query_stride = sizes.key_groups * O::GROUP;
        for (int64_t r = 0; r < count; r++)
            pack_row<O>(row_of(a, head, first + r, 0), a.head_dim,
                        space.queries + r * query_stride);
        float most[MOST_TILE_ROWS], total[MOST_TILE_ROWS];
        for (int64_t r = 0; r < count; r++) most[r] = LEAST, total[r] = 0;
        const char *values = keys + sizes.key_bytes();
        for (int64_t chunk = 0; chunk < a.tokens; chunk += CHUNK) {
            const int64_t size = chunk_size(sizes, chunk);
            for (int64_t k = 0; k < size; k += TILE_COLUMNS) {
                const char *right = keys + (chunk + k) / LANES * sizes.key_groups * LINE;
                multiply<O>(space.queries, query_stride * SIZE, count, right, 2, sizes.key_groups,
                            space.scores + k, CHUNK, right + 2 * sizes.key_groups * LINE);
            }
            float scale[MOST_TILE_ROWS];
            const int64_t real = a.tokens - chunk < size ? a.tokens - chunk : size;
            for (int64_t r = 0; r < count; r++)
                scale[r] = exponentials(a, space.scores + r * CHUNK, real, size, most[r], total[r],
                                        space.weights + r * CHUNK);
            add_values(sizes, space, count, size, chunk == 0 ? nullptr : scale, values);
            values += size / O::GROUP * sizes.value_panels * LINE;
        }
        store_rows(a, head, first, count, total, space);
    }

    // A row's scores of a chunk -> their exponentials; returns what the sums before are scaled by.
    static float exponentials(const GsAttention &a, float *scores, int64_t real, int64_t size,
                              float &most, float &total, Element *out) {
        // 2^x instead of e^x, with the scale of the scores in the same factor.
        const float factor = LOG2_E / std::sqrt(static_cast<float>(a.head_dim));
        for (int64_t k = real; k < size; k++) scores[k] = LEAST;
        Floats top = all(LEAST), other = top;
        for (int64_t k = 0; k < size; k += TILE_COLUMNS) {
            top = larger(top, load(scores + k));
            other = larger(other, load(scores + k + LANES));
        }
        const float before = most, now = largest(larger(top, other)) * factor;
        most = now > before ? now : before;
        constexpr bool EXACT = PRECISION == GS_FLOAT32;
        Floats sums = zeros(), more = zeros();
        for (int64_t k = 0; k < size; k += TILE_COLUMNS) {
            Floats x = multiply_add(load(scores + k), all(factor), all(-most));
            Floats y = multiply_add(load(scores + k + LANES), all(factor), all(-most));
            x = exp2<EXACT>(x);
            y = exp2<EXACT>(y);
            store_two(out + k, x, y);
            sums = sums + x;
            more = more + y;
        }
        const float scale = before == most ? 1.0f : std::exp2(before - most);
        total = total * scale + sum(sums + more);
        return scale;
    }

    static void add_values(const Sizes &sizes, const Space &space, int64_t count, int64_t size,
                           const float *scale, const char *values) {
        const int64_t groups = size / O::GROUP;
        Tile tile;
        for (int64_t p = 0; p < sizes.value_panels; p += 2) {
            const int64_t panels = sizes.value_panels - p < 2 ? 1 : 2;
            const char *right = values + p * groups * LINE;
            float *sums = space.sums + p * LANES;
            if (!scale) {
                multiply<O>(space.weights, CHUNK * SIZE, count, right, panels, groups, sums,
                            space.sum_stride, right + panels * groups * LINE);
                continue;
            }
            multiply<O>(space.weights, CHUNK * SIZE, count, right, panels, groups, tile.floats,
                        TILE_COLUMNS, right + panels * groups * LINE);
            for (int64_t r = 0; r < count; r++)
                for (int64_t c = 0; c < panels * LANES; c += LANES) {
                    float *place = sums + r * space.sum_stride + c;
                    store(place, multiply_add(load(place), all(scale[r]),
                                              load(tile.floats + r * TILE_COLUMNS + c)));
                }
        }
    }

    static void store_rows(const GsAttention &a, int64_t head, int64_t first, int64_t count,
                           const float *total, const Space &space) {
        const int64_t image = head / a.heads;
        for (int64_t r = 0; r < count; r++) {
            const int64_t row = (image * a.tokens + first + r) * a.heads + head % a.heads;
            Element *out = static_cast<Element *>(a.out) + row * a.head_dim;
            const Floats inverse = all(1.0f / total[r]);
            for (int64_t c = 0; c < a.head_dim; c += LANES)
                store_columns(out, c, a.head_dim,
                              load(space.sums + r * space.sum_stride + c) * inverse);
        }
    }
};

}  // namespace gearshift
