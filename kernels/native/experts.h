// The experts of a mixture, one after the other over their queues, and the sum of their answers.
#pragma once

#include "functions.h"
#include "product.h"

namespace gearshift {

// The rows of x that stand in one expert's queue.
template <class T>
struct QueuedRows {
    const T *x;
    int64_t columns, top_k;
    const int32_t *queue;
    const T *operator()(int64_t place, float *) const {
        return x + queue[place] / top_k * columns;
    }
};

template <int64_t PRECISION>
struct Experts {
    using O = Operand<PRECISION>;
    using Element = typename Narrow<PRECISION>::Element;

    static Scratch scratch(const GsExperts &a) {
        const int64_t hidden = a.bank[0].fc1.outputs;
        const int64_t fc1 = product_scratch<O>(a.columns), fc2 = product_scratch<O>(hidden);
        return {0, fc1 > fc2 ? fc1 : fc2};
    }

    // All first products, then all second ones: the threads meet once. A thread has a part of
    // the columns of all experts, or of every queue, and so reads only its part of the weights.
    static void run(const GsExperts &a, const Worker &worker) {
        each_queue(a, [&](const GsExpert &expert, int64_t first, int64_t count,
                          const GsExpert *next) {
            fc1(a, worker, expert, first, count, next ? &next->fc1 : nullptr);
        });
        worker.wait();
        each_queue(a, [&](const GsExpert &expert, int64_t first, int64_t count,
                          const GsExpert *next) {
            fc2(a, worker, expert, first, count, next ? &next->fc2 : nullptr);
        });
    }

  private:
    // The experts with tokens, one after the other, each with the one that comes next.
    template <class F>
    static void each_queue(const GsExperts &a, F f) {
        const int64_t count = a.chosen ? a.chosen_count : a.experts;
        auto tokens = [&](int64_t expert) { return a.offsets[expert + 1] - a.offsets[expert]; };
        auto following = [&](int64_t i) {
            while (i < count && !tokens(a.chosen ? a.chosen[i] : i)) i++;
            return i;
        };
        for (int64_t i = following(0); i < count;) {
            const int64_t expert = a.chosen ? a.chosen[i] : i, j = following(i + 1);
            const GsExpert *next = j < count ? &a.bank[a.chosen ? a.chosen[j] : j] : nullptr;
            f(a.bank[expert], a.offsets[expert], tokens(expert), next);
            i = j;
        }
    }

    static void fc1(const GsExperts &a, const Worker &worker, const GsExpert &expert,
                    int64_t first, int64_t count, const GsWeight *next) {
        const int64_t stride = padded<Element>(expert.fc1.outputs);
        Element *hidden = static_cast<Element *>(a.hidden) + first * stride;
        auto finish = [&](int64_t row, int64_t rows, int64_t column, int64_t columns,
                          const float *sums) {
            for (int64_t c = 0; c < columns; c += LANES) {
                const Floats bias = load_columns(expert.fc1_bias, column + c, column + columns);
                for (int64_t r = 0; r < rows; r++) {
                    const Floats y = load(sums + r * TILE_COLUMNS + c) + bias;
                    store_columns(hidden + (row + r) * stride, column + c, column + columns,
                                  gelu<PRECISION == GS_FLOAT32>(y));
                }
            }
        };
        const Share share =
            share_product(worker, count, count_pairs(expert.fc1.outputs), TILE_ROWS<O>);
        const QueuedRows<Element> rows{static_cast<const Element *>(a.x), a.columns, a.top_k,
                                       a.order + first};
        product<O>(worker, share, expert.fc1, rows, finish, next);
    }

    static void fc2(const GsExperts &a, const Worker &worker, const GsExpert &expert,
                    int64_t first, int64_t count, const GsWeight *next) {
        const int64_t stride = padded<Element>(expert.fc2.inputs);
        const int32_t *queue = a.order + first;
        auto finish = [&](int64_t row, int64_t rows, int64_t column, int64_t columns,
                          const float *sums) {
            for (int64_t c = 0; c < columns; c += LANES) {
                const Floats bias = load_columns(expert.fc2_bias, column + c, column + columns);
                for (int64_t r = 0; r < rows; r++) {
                    const int64_t choice = queue[row + r];
                    store_columns(a.answers + choice * a.columns, column + c, column + columns,
                                  (load(sums + r * TILE_COLUMNS + c) + bias) *
                                      all(a.score[choice]));
                }
            }
        };
        const Share share = share_product(worker, count, count_pairs(a.columns), TILE_ROWS<O>);
        const Matrix<Element> rows{static_cast<const Element *>(a.hidden) + first * stride,
                                   stride};
        product<O>(worker, share, expert.fc2, rows, finish, next);
    }
};

struct Combine {
    static Scratch scratch(const GsCombine &) { return {}; }
    static void run(const GsCombine &a, const Worker &worker) {
        const Range share = worker.share(a.rows);
        for (int64_t row = share.first; row < share.last; row++) {
            const float *answers = a.answers + row * a.top_k * a.columns;
            for (int64_t c = 0; c < a.columns; c += LANES) {
                Floats y = load_columns(answers, c, a.columns);
                for (int64_t k = 1; k < a.top_k; k++)
                    y = y + load_columns(answers + k * a.columns, c, a.columns);
                if (a.residual) y = load_columns(a.residual + row * a.columns, c, a.columns) + y;
                store_columns(a.out + row * a.columns, c, a.columns, y);
            }
        }
    }
};

}  // namespace gearshift
