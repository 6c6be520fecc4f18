// relu(conv3x3(enlarge(x)) + bias) of channels-last maps, as Winograd's F(4x4, 3x3).
//
// The enlarged map is cut into tiles of 4x4 outputs. A tile's inputs go through the matrix B, down
// and across, to 36 points; each point is a product of its own over the channels; and the matrix A
// takes the 36 sums to 16 outputs: a quarter of the products of a direct convolution (Winograd,
// 1980; Lavin and Gray, 2016). The points, the matrices and the weights are those of
// gearshift_kernels.winograd. The bilinear enlargement is folded into B, so that a tile reads 4x4
// pixels of the small map, and no enlarged map is ever made.
//
// Error in bfloat16, RMS as a share of the outputs', 256 channels: random maps 0.66 % enlarged,
// 1.0 % not (direct 0.29 %, 0.23 %); smooth 0.28 %, 0.45 % (0.28 %, 0.24 %). float32: 0.3-1.2e-6.
#pragma once

#include "product.h"

namespace gearshift {

constexpr int64_t TILE_SIDE = 4;    // outputs of a tile, down or across
constexpr int64_t POINTS_SIDE = 6;  // points down or across
constexpr int64_t POINTS = POINTS_SIDE * POINTS_SIDE;
constexpr float POINT_1 = 0.75f, POINT_2 = 1.5f;  // the points: 0, +-POINT_1, +-POINT_2, infinity

// B: gearshift_kernels.winograd.INPUT_TRANSFORM.
constexpr float INPUT_TRANSFORM[POINTS_SIDE][POINTS_SIDE] = {
    {0.31640625f, 0.0f, -0.703125f, 0.0f, 0.25f, 0.0f},
    {0.0f, -0.421875f, -0.5625f, 0.1875f, 0.25f, 0.0f},
    {0.0f, 0.421875f, -0.5625f, -0.1875f, 0.25f, 0.0f},
    {0.0f, -0.421875f, -0.28125f, 0.75f, 0.5f, 0.0f},
    {0.0f, 0.421875f, -0.28125f, -0.75f, 0.5f, 0.0f},
    {0.0f, 0.31640625f, 0.0f, -0.703125f, 0.0f, 0.25f},
};

// From the pixels that one tile reads along an axis to its points: B, enlarging first.
//
// Tile i covers the pixels 4i - 1 .. 4i + 4 of the enlarged axis. Enlarged twice, those lie between
// the pixels 2i - 1 .. 2i + 2 of the small one, 1/4 from one and 3/4 from the other; where these
// end, the last one is read again. What is outside the enlarged axis counts as zero.
template <int64_t SCALE>
struct TileMatrix {
    static constexpr int64_t PIXELS = SCALE == 2 ? 4 : 6;
    float at[POINTS_SIDE][PIXELS] = {};

    // Of the six enlarged pixels, those from `first` to before `last` are inside.
    constexpr TileMatrix(int64_t first, int64_t last) {
        for (int64_t p = 0; p < POINTS_SIDE; p++)
            for (int64_t e = first; e < last; e++) {
                if (SCALE == 1) {
                    at[p][e] += INPUT_TRANSFORM[p][e];
                } else {
                    at[p][e / 2] += (e % 2 ? 0.25f : 0.75f) * INPUT_TRANSFORM[p][e];
                    at[p][e / 2 + 1] += (e % 2 ? 0.75f : 0.25f) * INPUT_TRANSFORM[p][e];
                }
            }
    }
};

// An axis of the map: its tiles, which pixels each reads, and its matrix.
template <int64_t SCALE>
class Axis {
  public:
    using Transform = TileMatrix<SCALE>;
    static constexpr Transform INTERIOR{0, POINTS_SIDE};

    explicit Axis(int64_t pixels)
        : pixels_(pixels), tiles_((pixels * SCALE + TILE_SIDE - 1) / TILE_SIDE),
          first_(1, inside(0)), last_(0, inside(tiles_ - 1)) {}

    int64_t tiles() const { return tiles_; }
    const Transform &transform(int64_t tile) const {
        return tile == 0 ? first_ : tile == tiles_ - 1 ? last_ : INTERIOR;
    }
    // Pixel `k` of the tile, the nearest one that there is.
    int64_t pixel(int64_t tile, int64_t k) const {
        const int64_t i = tile * TILE_SIDE / SCALE - 1 + k;
        return i < 0 ? 0 : i < pixels_ ? i : pixels_ - 1;
    }
    // How many of a tile's outputs there are.
    int64_t outputs(int64_t tile) const {
        const int64_t left = pixels_ * SCALE - tile * TILE_SIDE;
        return left < TILE_SIDE ? left : TILE_SIDE;
    }

  private:
    int64_t inside(int64_t tile) const {
        const int64_t end = pixels_ * SCALE - tile * TILE_SIDE + 1;
        return end < POINTS_SIDE ? end : POINTS_SIDE;
    }

    int64_t pixels_, tiles_;
    Transform first_, last_;
};

// A times six sums. The columns of +p and -p differ only in the signs of odd powers of p, so the
// two sums are added for the even powers and subtracted for the odd ones.
GS_INLINE void to_outputs(const Floats *m, Floats *y) {
    const Floats even_1 = m[1] + m[2], odd_1 = (m[1] - m[2]) * all(POINT_1);
    const Floats even_2 = m[3] + m[4], odd_2 = (m[3] - m[4]) * all(POINT_2);
    const Floats square_1 = all(POINT_1 * POINT_1), square_2 = all(POINT_2 * POINT_2);
    y[0] = m[0] + even_1 + even_2;
    y[1] = odd_1 + odd_2;
    y[2] = multiply_add(even_2, square_2, even_1 * square_1);
    y[3] = multiply_add(odd_2, square_2, multiply_add(odd_1, square_1, m[5]));
}

template <class O>
class WinogradConvolution {
  public:
    using Element = typename O::Element;
    static constexpr int64_t SIZE = sizeof(Element);
    static constexpr int64_t BLOCK = 576 * 1024;  // bytes, in the second-level cache

    // A block of tiles: its points (36, tiles, channels) and its sums (36, tiles, TILE_COLUMNS).
    // One line more from point to point, so that a tile's points lie in different cache sets.
    struct Block {
        int64_t channels, groups, tiles, point_stride, sum_stride;
        explicit Block(const GsConvolution &a)
            : channels(padded<Element>(a.inputs)), groups(channels / O::GROUP) {
            const int64_t fit = BLOCK / (POINTS * (channels * SIZE + TILE_COLUMNS * 4));
            tiles = fit > TILE_ROWS<O> ? fit / TILE_ROWS<O> * TILE_ROWS<O> : TILE_ROWS<O>;
            point_stride = tiles * channels + LINE / SIZE;
            sum_stride = tiles * TILE_COLUMNS + LINE / 4;
        }
        int64_t points_bytes() const { return POINTS * point_stride * SIZE; }
        int64_t bytes() const { return points_bytes() + POINTS * sum_stride * 4; }
    };

    static Scratch scratch(const GsConvolution &a) { return {0, Block(a).bytes()}; }

    static void run(const GsConvolution &a, const Worker &worker) {
        if (a.scale == 2)
            run_scaled<2>(a, worker);
        else
            run_scaled<1>(a, worker);
    }

  private:
    template <int64_t SCALE>
    struct Map {
        Axis<SCALE> down, across;
        struct Place {
            int64_t image, row, column;
        };
        Place place(int64_t tile) const {
            const int64_t line = tile / across.tiles();
            return {line / down.tiles(), line % down.tiles(), tile % across.tiles()};
        }
    };

    template <int64_t SCALE>
    static void run_scaled(const GsConvolution &a, const Worker &worker) {
        const Map<SCALE> map{Axis<SCALE>(a.height), Axis<SCALE>(a.width)};
        const Block block(a);
        Element *points = worker.own->at<Element>();
        float *sums = worker.own->at<float>(block.points_bytes());
        const Range share = worker.share(a.images * map.down.tiles() * map.across.tiles());
        for (int64_t first = share.first; first < share.last; first += block.tiles) {
            const int64_t left = share.last - first;
            const int64_t tiles = left < block.tiles ? left : block.tiles;
            for (int64_t t = 0; t < tiles; t++)
                transform_input(a, map, first + t, points + t * block.channels, block);
            for (int64_t pair = 0; pair < count_pairs(a.outputs); pair++) {
                multiply_points(a, block, pair, tiles, points, sums);
                for (int64_t t = 0; t < tiles; t++)
                    transform_sums(a, map, first + t, pair, sums + t * TILE_COLUMNS, block);
            }
        }
    }

    // One tile's channels at the 36 points; zeros in the padding.
    template <int64_t SCALE>
    static void transform_input(const GsConvolution &a, const Map<SCALE> &map, int64_t tile,
                                Element *out, const Block &block) {
        constexpr int64_t PIXELS = TileMatrix<SCALE>::PIXELS;
        const auto place = map.place(tile);
        const auto &down = map.down.transform(place.row);
        const auto &across = map.across.transform(place.column);
        const Element *rows[PIXELS];
        int64_t columns[PIXELS];
        for (int64_t k = 0; k < PIXELS; k++) {
            const int64_t row = place.image * a.height + map.down.pixel(place.row, k);
            rows[k] = static_cast<const Element *>(a.x) + row * a.width * a.inputs;
            columns[k] = map.across.pixel(place.column, k) * a.inputs;
        }
        for (int64_t c = 0; c < a.inputs; c += LANES) {
            Floats half[POINTS_SIDE][PIXELS];
#pragma GCC unroll 6
            for (int64_t k = 0; k < PIXELS; k++) {
                Floats column[PIXELS];
#pragma GCC unroll 6
                for (int64_t j = 0; j < PIXELS; j++)
                    column[j] = load_columns(rows[j] + columns[k], c, a.inputs);
#pragma GCC unroll 6
                for (int64_t p = 0; p < POINTS_SIDE; p++)
                    half[p][k] = combine<SCALE>(down, p, column);
            }
#pragma GCC unroll 6
            for (int64_t p = 0; p < POINTS_SIDE; p++)
#pragma GCC unroll 6
                for (int64_t q = 0; q < POINTS_SIDE; q++)
                    store(out + (p * POINTS_SIDE + q) * block.point_stride + c,
                          combine<SCALE>(across, q, half[p]));
        }
        for (int64_t c = round_up(a.inputs, LANES); c < block.channels; c += LANES)
            for (int64_t p = 0; p < POINTS; p++) store(out + p * block.point_stride + c, zeros());
    }

    // Row p of the matrix times the pixels. What is zero inside the map is so at its border, and
    // the compiler leaves it out.
    template <int64_t SCALE>
    static GS_INLINE Floats combine(const TileMatrix<SCALE> &matrix, int64_t p, const Floats *x) {
        Floats sum = zeros();
#pragma GCC unroll 6
        for (int64_t k = 0; k < TileMatrix<SCALE>::PIXELS; k++)
            if (Axis<SCALE>::INTERIOR.at[p][k] != 0)
                sum = multiply_add(x[k], all(matrix.at[p][k]), sum);
        return sum;
    }

    // The products of all tiles of the block with two panels of each point.
    static void multiply_points(const GsConvolution &a, const Block &block, int64_t pair,
                                int64_t tiles, const Element *points, float *sums) {
        const int64_t panels = (a.outputs + LANES - 1) / LANES, panel_bytes = block.groups * LINE;
        const int64_t count = panels - 2 * pair < 2 ? 1 : 2;
        const char *weights = static_cast<const char *>(a.panels) + 2 * pair * panel_bytes;
        for (int64_t p = 0; p < POINTS; p++) {
            const char *right = weights + p * panels * panel_bytes;
            for (int64_t t = 0; t < tiles; t += TILE_ROWS<O>)
                multiply<O>(points + p * block.point_stride + t * block.channels,
                            block.channels * SIZE,
                            tiles - t < TILE_ROWS<O> ? tiles - t : TILE_ROWS<O>, right, count,
                            block.groups, sums + p * block.sum_stride + t * TILE_COLUMNS,
                            TILE_COLUMNS, right + panels * panel_bytes);
        }
    }

    // One tile's sums of two panels to its outputs, with bias and ReLU.
    template <int64_t SCALE>
    static void transform_sums(const GsConvolution &a, const Map<SCALE> &map, int64_t tile,
                               int64_t pair, const float *sums, const Block &block) {
        const auto place = map.place(tile);
        const int64_t height = map.down.outputs(place.row);
        const int64_t width = map.across.outputs(place.column);
        const int64_t row = place.image * a.height * SCALE + place.row * TILE_SIDE;
        const int64_t row_stride = a.width * SCALE * a.outputs;
        Element *out = static_cast<Element *>(a.out) + row * row_stride +
                       place.column * TILE_SIDE * a.outputs;
        for (int64_t l = 0; l < TILE_COLUMNS; l += LANES) {
            const int64_t c = pair * TILE_COLUMNS + l;
            if (c >= a.outputs) return;
            Floats half[TILE_SIDE][POINTS_SIDE];
#pragma GCC unroll 6
            for (int64_t q = 0; q < POINTS_SIDE; q++) {
                Floats m[POINTS_SIDE], y[TILE_SIDE];
#pragma GCC unroll 6
                for (int64_t p = 0; p < POINTS_SIDE; p++)
                    m[p] = load(sums + (p * POINTS_SIDE + q) * block.sum_stride + l);
                to_outputs(m, y);
#pragma GCC unroll 4
                for (int64_t i = 0; i < TILE_SIDE; i++) half[i][q] = y[i];
            }
            // Into whole vectors first: how much of them there is to copy is known only now.
            const Floats bias = load(a.bias + c);
            Element outputs[TILE_SIDE][TILE_SIDE][LANES];
#pragma GCC unroll 4
            for (int64_t i = 0; i < TILE_SIDE; i++) {
                Floats y[TILE_SIDE];
                to_outputs(half[i], y);
#pragma GCC unroll 4
                for (int64_t j = 0; j < TILE_SIDE; j++)
                    store(outputs[i][j], larger(y[j] + bias, zeros()));
            }
            const int64_t lanes = a.outputs - c < LANES ? a.outputs - c : LANES;
            for (int64_t i = 0; i < height; i++)
                for (int64_t j = 0; j < width; j++) {
                    Element *pixel = out + i * row_stride + j * a.outputs + c;
                    if (lanes == LANES)
                        std::memcpy(pixel, outputs[i][j], LANES * SIZE);
                    else
                        std::memcpy(pixel, outputs[i][j], static_cast<size_t>(lanes * SIZE));
                }
        }
    }
};

template <int64_t PRECISION>
struct Convolution : WinogradConvolution<Narrow<PRECISION>> {};

}  // namespace gearshift
