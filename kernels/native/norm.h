// Layer normalisation, in float32: (x - mean) / sqrt(variance + epsilon) * scale + bias.
#pragma once

#include <cmath>

#include "interface.h"
#include "product.h"

namespace gearshift {

template <class T>
void normalise(const float *x, int64_t columns, const GsNorm &norm, T *out) {
    Floats total = zeros();
    for (int64_t c = 0; c < columns; c += LANES) total = total + load_columns(x, c, columns);
    const float mean = sum(total) / static_cast<float>(columns);
    Floats squares = zeros();
    for (int64_t c = 0; c < columns; c += LANES) {
        Floats centred = load_columns(x, c, columns) - all(mean);
        if (columns - c < LANES) {  // what is past the end counts as nothing, not as minus the mean
            float lanes[LANES] = {};
            store_part(lanes, centred, columns - c);
            centred = load(lanes);
        }
        squares = multiply_add(centred, centred, squares);
    }
    const float variance = sum(squares) / static_cast<float>(columns);
    const float inverse = 1.0f / std::sqrt(variance + static_cast<float>(norm.epsilon));
    for (int64_t c = 0; c < columns; c += LANES) {
        Floats centred = (load_columns(x, c, columns) - all(mean)) * all(inverse);
        Floats y = multiply_add(centred, load_columns(norm.scale, c, columns),
                                load_columns(norm.bias, c, columns));
        store_columns(out, c, columns, y);
    }
}

template <int64_t PRECISION>
struct LayerNorm {
    static Scratch scratch(const GsLayerNorm &) { return {}; }
    static void run(const GsLayerNorm &a, const Worker &worker) {
        if (a.out_is_float)
            rows(a, worker, static_cast<float *>(a.out));
        else
            rows(a, worker, static_cast<typename Narrow<PRECISION>::Element *>(a.out));
    }

  private:
    template <class T>
    static void rows(const GsLayerNorm &a, const Worker &worker, T *out) {
        const int64_t kept = a.tokens - a.skip;
        const Range share = worker.share(a.images * kept);
        for (int64_t row = share.first; row < share.last; row++) {
            const int64_t token = row / kept * a.tokens + a.skip + row % kept;
            normalise(a.x + token * a.columns, a.columns, a.norm, out + row * a.columns);
        }
    }
};

}  // namespace gearshift
