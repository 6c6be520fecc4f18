// Patches of an image times the weight, plus each token's row of a table; row 0 is the class token.
#pragma once

#include "product.h"

namespace gearshift {

// The patches of all images, row by row of each image, as rows of floats: channel, row, column.
struct Patches {
    const GsPatchEmbedding &a;
    const float *operator()(int64_t patch, float *space) const {
        const int64_t size = a.patch_size, across = a.width / size;
        const int64_t each = a.height / size * across;
        const int64_t image = patch / each, down = patch % each / across, right = patch % across;
        float *out = space;
        for (int64_t channel = 0; channel < 3; channel++) {
            const float *corner = a.image + (image * 3 + channel) * a.height * a.width +
                                  down * size * a.width + right * size;
            for (int64_t y = 0; y < size; y++, out += size)
                std::memcpy(out, corner + y * a.width, static_cast<size_t>(size) * sizeof(float));
        }
        return space;
    }
};

template <int64_t PRECISION>
struct PatchEmbedding {
    using O = Operand<PRECISION>;
    static Scratch scratch(const GsPatchEmbedding &a) {
        return {0, product_scratch<O>(a.weight.inputs)};
    }
    static void run(const GsPatchEmbedding &a, const Worker &worker) {
        const int64_t each = a.height / a.patch_size * (a.width / a.patch_size);
        const int64_t width = a.weight.outputs;
        const Share share =
            share_product(worker, a.images * each, count_pairs(width), TILE_ROWS<O>);
        auto finish = [&](int64_t row, int64_t rows, int64_t column, int64_t columns,
                          const float *sums) {
            for (int64_t r = 0; r < rows; r++) {
                const int64_t patch = row + r, token = patch % each + 1;
                float *out = a.out + (patch / each * (each + 1) + token) * width;
                for (int64_t c = 0; c < columns; c += LANES) {
                    Floats y = load(sums + r * TILE_COLUMNS + c) +
                               load_columns(a.table + token * width, column + c, column + columns);
                    store_columns(out, column + c, column + columns, y);
                }
            }
        };
        product<O>(worker, share, a.weight, Patches{a}, finish);
        if (worker.index == 0)
            for (int64_t image = 0; image < a.images; image++)
                std::memcpy(a.out + image * (each + 1) * width, a.table,
                            static_cast<size_t>(width) * sizeof(float));
    }
};

}  // namespace gearshift
