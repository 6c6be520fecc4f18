// Bilinear resizing of float32 maps into planar maps: half-pixel centres, edges repeated.
#pragma once

#include "product.h"

namespace gearshift {

struct Resize {
    // Of each thread: one row of the input, blended from two, channels last.
    static Scratch scratch(const GsResize &a, int64_t) {
        return {0, (a.width * a.channels + LANES) * 4};
    }

    static void run(const GsResize &a, const Worker &worker) {
        float *row = worker.own->at<float>();
        const Range share = worker.share(a.images * a.out_height);
        for (int64_t line = share.first; line < share.last; line++) {
            const int64_t image = line / a.out_height, y = line % a.out_height;
            const Place down = place(y, a.height, a.out_height);
            if (a.channels_last) {
                const float *x = a.x + image * a.height * a.width * a.channels;
                blend(x + down.low * a.width * a.channels, x + down.high * a.width * a.channels,
                      down.share, a.width * a.channels, row);
            }
            for (int64_t channel = 0; channel < a.channels; channel++) {
                const float *source = row + channel;
                if (!a.channels_last) {
                    const float *x = a.x + (image * a.channels + channel) * a.height * a.width;
                    blend(x + down.low * a.width, x + down.high * a.width, down.share, a.width,
                          row);
                    source = row;
                }
                across(a, source, a.channels_last ? a.channels : 1,
                       a.out + ((image * a.channels + channel) * a.out_height + y) * a.out_width);
            }
        }
    }

  private:
    struct Place {
        int64_t low, high;
        float share;
    };

    // Where pixel i of `size` new ones lies among `old` ones.
    static Place place(int64_t i, int64_t old, int64_t size) {
        double centre = (static_cast<double>(i) + 0.5) * static_cast<double>(old) /
                            static_cast<double>(size) - 0.5;
        const double end = static_cast<double>(old - 1);
        centre = centre < 0 ? 0 : centre > end ? end : centre;
        const int64_t low = static_cast<int64_t>(centre);
        return {low, low + 1 < old ? low + 1 : old - 1,
                static_cast<float>(centre - static_cast<double>(low))};
    }

    static void blend(const float *low, const float *high, float share, int64_t n, float *out) {
        for (int64_t c = 0; c < n; c += LANES) {
            const Floats a = load_columns(low, c, n), b = load_columns(high, c, n);
            store_columns(out, c, n, multiply_add(b - a, all(share), a));
        }
    }

    static void across(const GsResize &a, const float *row, int64_t step, float *out) {
        if (a.out_width == 2 * a.width) return twice(row, step, a.width, out);
        for (int64_t x = 0; x < a.out_width; x++) {
            const Place right = place(x, a.width, a.out_width);
            const float low = row[right.low * step], high = row[right.high * step];
            out[x] = low + (high - low) * right.share;
        }
    }

    // Twice as wide: the shares are 1/4 and 3/4, and the edges repeat.
    static void twice(const float *row, int64_t step, int64_t width, float *out) {
        for (int64_t x = 0; x < width; x++) {
            const float here = row[x * step];
            const float left = row[(x > 0 ? x - 1 : 0) * step];
            const float right = row[(x + 1 < width ? x + 1 : x) * step];
            out[2 * x] = left + (here - left) * 0.75f;
            out[2 * x + 1] = here + (right - here) * 0.25f;
        }
    }
};

}  // namespace gearshift
