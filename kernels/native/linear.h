// Linear layers with what stands before and after them: residual + gelu(norm(x) W^T + bias).
#pragma once

#include "functions.h"
#include "norm.h"
#include "product.h"

namespace gearshift {

// Rows of floats, normalised.
struct NormalisedRows {
    const float *data;
    int64_t stride, columns;
    GsNorm norm;
    const float *operator()(int64_t row, float *space) const {
        normalise(data + row * stride, columns, norm, space);
        return space;
    }
};

template <class T>
struct FinishLinear {
    const GsLinear &a;
    void operator()(int64_t row, int64_t rows, int64_t column, int64_t columns,
                    const float *sums) const {
        T *out = static_cast<T *>(a.out) + row * a.out_stride;
        const float *residual = a.residual ? a.residual + row * a.out_stride : nullptr;
        for (int64_t c = 0; c < columns; c += LANES) {
            const Floats bias = a.bias ? load_columns(a.bias, column + c, column + columns)
                                       : zeros();
            for (int64_t r = 0; r < rows; r++) {
                Floats y = load(sums + r * TILE_COLUMNS + c) + bias;
                if (a.gelu) y = gelu<std::is_same_v<T, float>>(y);
                if (residual)
                    y = y + load_columns(residual + r * a.out_stride, column + c, column + columns);
                store_columns(out + r * a.out_stride, column + c, column + columns, y);
            }
        }
    }
};

template <class O, class Source>
void linear_from(const GsLinear &a, const Worker &worker, const Source &source) {
    const Share share = share_product(worker, a.rows, count_pairs(a.weight.outputs), TILE_ROWS<O>);
    if (a.out_is_float)
        product<O>(worker, share, a.weight, source, FinishLinear<float>{a});
    else
        product<O>(worker, share, a.weight, source,
                   FinishLinear<typename Narrow<O::PRECISION>::Element>{a});
}

template <int64_t PRECISION>
struct Linear {
    using O = Operand<PRECISION>;
    static Scratch scratch(const GsLinear &a) {
        return {0, product_scratch<O>(a.weight.inputs)};
    }
    static void run(const GsLinear &a, const Worker &worker) {
        if (a.norm.scale)
            linear_from<O>(a, worker,
                           NormalisedRows{static_cast<const float *>(a.x), a.x_stride,
                                          a.weight.inputs, a.norm});
        else if (a.x_is_float)
            linear_from<O>(a, worker, Matrix<float>{static_cast<const float *>(a.x), a.x_stride});
        else {
            using Element = typename Narrow<PRECISION>::Element;
            linear_from<O>(a, worker,
                           Matrix<Element>{static_cast<const Element *>(a.x), a.x_stride});
        }
    }
};

}  // namespace gearshift
