// The router: a softmax over all experts in float32, the top_k of it, and the experts' queues.
#pragma once

#include <cmath>

#include "functions.h"
#include "norm.h"

namespace gearshift {

constexpr float NEVER = -INFINITY;

template <int64_t PRECISION>
struct Router {
    using Element = typename Narrow<PRECISION>::Element;

    // Of each thread: the normalised row and the scores of all experts.
    static Scratch scratch(const GsRouter &a) {
        return {0, (round_up(a.columns, LANES) + round_up(a.experts, LANES)) * 4};
    }

    static void run(const GsRouter &a, const Worker &worker) {
        float *normalised = worker.own->at<float>();
        float *scores = normalised + round_up(a.columns, LANES);
        const Range share = worker.share(a.rows);
        for (int64_t row = share.first; row < share.last; row++) {
            const float *x = a.x + row * a.columns;
            if (a.norm.scale) {
                normalise(x, a.columns, a.norm, normalised);
                x = normalised;
            }
            if (a.normalised) {
                auto out = static_cast<Element *>(a.normalised) + row * a.columns;
                for (int64_t c = 0; c < a.columns; c += LANES)
                    store_columns(out, c, a.columns, load_columns(x, c, a.columns));
            }
            logits(a, x, scores);
            softmax(scores, round_up(a.experts, LANES));
            choose(a, scores, a.index + row * a.top_k, a.score + row * a.top_k);
        }
        worker.wait();
        if (worker.index == 0) queue(a);
    }

  private:
    static void logits(const GsRouter &a, const float *x, float *out) {
        const int64_t width = round_up(a.experts, LANES);
        for (int64_t e = 0; e < width; e += LANES) {
            // Four sums, since each waits for its own last addition.
            Floats sums[4] = {load(a.bias + e), zeros(), zeros(), zeros()};
            const float *weight = a.weight + e;
            int64_t c = 0;
            for (; c + 4 <= a.columns; c += 4)
#pragma GCC unroll 4
                for (int64_t i = 0; i < 4; i++)
                    sums[i] = multiply_add(all(x[c + i]), load(weight + (c + i) * width), sums[i]);
            for (; c < a.columns; c++)
                sums[0] = multiply_add(all(x[c]), load(weight + c * width), sums[0]);
            store(out + e, (sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
    }

    // In place, over `width` values of which those that are minus infinity become 0.
    static void softmax(float *x, int64_t width) {
        Floats most = all(NEVER);
        for (int64_t e = 0; e < width; e += LANES) most = larger(most, load(x + e));
        const float top = largest(most);
        Floats total = zeros();
        for (int64_t e = 0; e < width; e += LANES) {
            // Minus infinity has no nearest whole number; 2^-300 is as much zero.
            Floats power = larger((load(x + e) - all(top)) * all(LOG2_E), all(-300.0f));
            Floats y = exp2<true>(power);
            store(x + e, y);
            total = total + y;
        }
        const Floats inverse = all(1.0f / sum(total));
        for (int64_t e = 0; e < width; e += LANES) store(x + e, load(x + e) * inverse);
    }

    // The largest first; of equal ones the lower expert. A chosen one leaves the race.
    static void choose(const GsRouter &a, float *scores, int32_t *index, float *score) {
        for (int64_t k = 0; k < a.top_k; k++) {
            int64_t best = 0;
            for (int64_t e = 1; e < a.experts; e++)
                if (scores[e] > scores[best]) best = e;
            index[k] = static_cast<int32_t>(best);
            score[k] = scores[best] > static_cast<float>(a.prune_scores) ? scores[best] : 0.0f;
            scores[best] = -1.0f;
        }
    }

    // Choices counted and put in order of their experts, each queue in token order.
    static void queue(const GsRouter &a) {
        const int64_t choices = a.rows * a.top_k;
        for (int64_t e = 0; e <= a.experts; e++) a.offsets[e] = 0;
        for (int64_t i = 0; i < choices; i++) a.offsets[a.index[i] + 1]++;
        for (int64_t e = 0; e < a.experts; e++) a.offsets[e + 1] += a.offsets[e];
        for (int64_t i = 0; i < choices; i++)
            a.order[a.offsets[a.index[i]]++] = static_cast<int32_t>(i);
        // Every offset has moved to the next one's beginning.
        for (int64_t e = a.experts; e > 0; e--) a.offsets[e] = a.offsets[e - 1];
        a.offsets[0] = 0;
    }
};

}  // namespace gearshift
