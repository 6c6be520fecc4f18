// Bilinear resizing of float32 maps into planar maps: half-pixel centres, edges repeated.
#pragma once

#include "product.h"

namespace gearshift {

struct Resize {
    // Of each thread: two rows of the input and one blended from them, planar. A row has one pixel
    // more at either end, where its edge is repeated.
    static int64_t row_floats(const GsResize &a) {
        return round_up(a.channels * (a.width + 2), LANES);
    }
    static Scratch scratch(const GsResize &a) { return {0, 3 * row_floats(a) * 4}; }

    static void run(const GsResize &a, const Worker &worker) {
        const int64_t floats = row_floats(a);
        float *rows[2] = {worker.own->at<float>(), worker.own->at<float>() + floats};
        float *blended = rows[1] + floats;
        int64_t held[2] = {-1, -1};  // which rows of the input stand there
        const Range share = worker.share(a.images * a.out_height);
        for (int64_t line = share.first; line < share.last; line++) {
            const int64_t image = line / a.out_height, y = line % a.out_height;
            const Place down = place(y, a.height, a.out_height);
            const int64_t low = image * a.height + down.low, high = image * a.height + down.high;
            // Neighbouring lines read the same rows: each is brought into order once.
            const int64_t low_at = held[1] == low;
            if (held[low_at] != low) fetch(a, low, rows[low_at]), held[low_at] = low;
            int64_t high_at = low_at;
            if (high != low) {
                high_at = 1 - low_at;
                if (held[high_at] != high) fetch(a, high, rows[high_at]), held[high_at] = high;
            }
            blend(rows[low_at], rows[high_at], down.share, floats, blended);
            for (int64_t channel = 0; channel < a.channels; channel++)
                across(a, blended + channel * (a.width + 2) + 1,
                       a.out + ((image * a.channels + channel) * a.out_height + y) * a.out_width);
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

    // A row of all channels, counted over all images.
    static void fetch(const GsResize &a, int64_t row, float *out) {
        const int64_t image = row / a.height, y = row % a.height, width = a.width + 2;
        for (int64_t channel = 0; channel < a.channels; channel++) {
            float *pixels = out + channel * width + 1;
            if (a.channels_last) {
                const float *x = a.x + row * a.width * a.channels + channel;
                for (int64_t i = 0; i < a.width; i++) pixels[i] = x[i * a.channels];
            } else {
                const float *x = a.x + ((image * a.channels + channel) * a.height + y) * a.width;
                std::memcpy(pixels, x, static_cast<size_t>(a.width) * sizeof(float));
            }
            pixels[-1] = pixels[0];
            pixels[a.width] = pixels[a.width - 1];
        }
    }

    static void blend(const float *low, const float *high, float share, int64_t n, float *out) {
        for (int64_t c = 0; c < n; c += LANES) {
            const Floats a = load(low + c), b = load(high + c);
            store(out + c, multiply_add(b - a, all(share), a));
        }
    }

    static void across(const GsResize &a, const float *row, float *out) {
        if (a.out_width == 2 * a.width) return twice(row, a.width, out);
        for (int64_t x = 0; x < a.out_width; x++) {
            const Place right = place(x, a.width, a.out_width);
            out[x] = row[right.low] + (row[right.high] - row[right.low]) * right.share;
        }
    }

    // Twice as wide: the shares are 1/4 and 3/4. The compiler makes vectors of this.
    static void twice(const float *__restrict row, int64_t width, float *__restrict out) {
        for (int64_t x = 0; x < width; x++) {
            out[2 * x] = row[x - 1] + (row[x] - row[x - 1]) * 0.75f;
            out[2 * x + 1] = row[x] + (row[x + 1] - row[x]) * 0.25f;
        }
    }
};

}  // namespace gearshift
