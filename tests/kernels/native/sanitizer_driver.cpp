// Calls every kernel with random awkward sizes, in buffers of exactly the size that it may touch,
// for a build with sanitizers: they end the process at the first byte read or written outside.
//
//     driver check SEED ROUNDS    every output must be written, to the last element
//     driver outside | undefined | race    a mistake on purpose, for the sanitizer to find
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <random>

#include "kernels.cpp"

namespace {

using gearshift::BFloat16;
using gearshift::round_up;

std::mt19937_64 generator;

int64_t pick(std::initializer_list<int64_t> values) {
    return values.begin()[generator() % values.size()];
}
int64_t rows_of() { return pick({1, 2, 11, 15, 16, 17, 31, 32, 33, 48, 65}); }
int64_t columns_of() { return pick({1, 5, 15, 16, 17, 31, 32, 33, 64, 70, 129}); }
bool coin() { return generator() & 1; }

// Aligned as interface.h asks, and not a byte more than `count` elements.
template <class T>
class Buffer {
  public:
    explicit Buffer(int64_t count) : count_(count) {
        void *memory = nullptr;
        if (posix_memalign(&memory, gearshift::LINE, static_cast<size_t>(count) * sizeof(T)))
            std::abort();
        data_.reset(static_cast<T *>(memory));
    }
    template <class Fill>
    static Buffer filled(int64_t count, Fill fill) {
        Buffer buffer(count);
        for (int64_t i = 0; i < count; i++) buffer.data_[i] = fill();
        return buffer;
    }
    T *get() const { return data_.get(); }
    int64_t count() const { return count_; }

  private:
    struct Free {
        void operator()(T *memory) const { std::free(memory); }
    };
    int64_t count_;
    std::unique_ptr<T[], Free> data_;
};

float number() { return std::uniform_real_distribution<float>(-1, 1)(generator); }

Buffer<float> floats(int64_t count) { return Buffer<float>::filled(count, number); }
Buffer<float> unwritten(int64_t count) {
    return Buffer<float>::filled(count, [] { return NAN; });
}

// What stands between kernels: float32, or bfloat16 for the other precisions.
struct Operands {
    int64_t precision;
    Buffer<float> wide;
    Buffer<BFloat16> narrow;
    Operands(int64_t precision_, int64_t count, float (*fill)())
        : precision(precision_),
          wide(Buffer<float>::filled(precision == GS_FLOAT32 ? count : 0, fill)),
          narrow(Buffer<BFloat16>::filled(precision == GS_FLOAT32 ? 0 : count, [&] {
              return gearshift::narrow(fill());
          })) {}
    void *get() const {
        return precision == GS_FLOAT32 ? static_cast<void *>(wide.get()) : narrow.get();
    }
};
float nothing() { return NAN; }

void demand_written(const Buffer<float> &buffer, const char *kernel) {
    for (int64_t i = 0; i < buffer.count(); i++)
        if (!std::isfinite(buffer.get()[i])) {
            std::fprintf(stderr, "%s: element %ld of %ld is not written\n", kernel,
                         static_cast<long>(i), static_cast<long>(buffer.count()));
            std::exit(3);
        }
}
void demand_written(const Operands &operands, const char *kernel) {
    demand_written(operands.wide, kernel);
    Buffer<float> values(operands.narrow.count());
    for (int64_t i = 0; i < values.count(); i++)
        values.get()[i] = gearshift::widen(operands.narrow.get()[i]);
    demand_written(values, kernel);
}

int64_t group_of(int64_t precision) {
    return precision == GS_FLOAT32 ? 1 : precision == GS_BFLOAT16 ? 2 : 4;
}
int64_t panel_bytes(int64_t precision, int64_t inputs) {
    return round_up(inputs, 16 * group_of(precision)) / group_of(precision) * gearshift::LINE;
}

// Panels of small numbers: nothing here looks at a product's value.
struct Weight {
    Buffer<char> panels;
    Buffer<float> scale, correction;
    GsWeight view;
    Weight(int64_t precision, int64_t outputs, int64_t inputs)
        : panels(round_up(outputs, 16) / 16 * panel_bytes(precision, inputs)),
          scale(floats(round_up(outputs, 16))), correction(floats(round_up(outputs, 16))) {
        std::memset(panels.get(), 0x3c, static_cast<size_t>(panels.count()));
        const bool is_int8 = precision == GS_INT8;
        view = {panels.get(), is_int8 ? scale.get() : nullptr,
                is_int8 ? correction.get() : nullptr, outputs, inputs};
    }
};

struct Norm {
    Buffer<float> scale, bias;
    explicit Norm(int64_t columns) : scale(floats(columns)), bias(floats(columns)) {}
    GsNorm view(bool used) const { return {used ? scale.get() : nullptr, bias.get(), 1e-6}; }
};

// A team of its own for each call, so that its scratch is no larger than the call asks for.
template <class Arguments>
void run(GsKernel kernel, int64_t precision, const Arguments &arguments) {
    const GsCall call{kernel, precision, &arguments};
    void *team = gs_open(pick({1, 2, 3}));
    if (!team || gs_reserve(team, &call, 1)) std::abort();
    double seconds;
    gs_run(team, &call, 1, &seconds);
    gs_close(team);
}

void linear(int64_t precision) {
    const int64_t rows = rows_of(), inputs = columns_of(), outputs = columns_of();
    const Weight weight(precision, outputs, inputs);
    const Norm norm(inputs);
    const bool is_normed = coin(), x_is_float = is_normed || coin(), out_is_float = coin();
    const int64_t x_stride = round_up(inputs, x_is_float || precision == GS_FLOAT32 ? 16 : 32);
    const int64_t out_stride = outputs + pick({0, 16});
    const int64_t x_count = (rows - 1) * x_stride + inputs;
    const int64_t out_count = (rows - 1) * out_stride + outputs;
    const Operands x(x_is_float ? static_cast<int64_t>(GS_FLOAT32) : precision, x_count, number);
    const auto bias = floats(outputs), residual = floats(out_count);
    // Zeros, since nothing may be written between the rows.
    const Operands out(out_is_float ? static_cast<int64_t>(GS_FLOAT32) : precision, out_count,
                       out_stride == outputs ? nothing : [] { return 0.0f; });
    run(GS_LINEAR, precision,
        GsLinear{weight.view, norm.view(is_normed), x.get(), coin() ? bias.get() : nullptr,
                 coin() ? residual.get() : nullptr, out.get(), rows, x_stride, out_stride,
                 x_is_float, out_is_float, coin()});
    demand_written(out, "linear");
}

void patch_embedding(int64_t precision) {
    const int64_t images = pick({1, 3}), size = pick({1, 2, 7, 8, 16});
    const int64_t down = pick({1, 2, 5}), across = pick({1, 3, 4}), outputs = columns_of();
    const int64_t tokens = down * across + 1;
    const Weight weight(precision, outputs, 3 * size * size);
    const auto image = floats(images * 3 * down * size * across * size);
    const auto table = floats(tokens * outputs);
    const auto out = unwritten(images * tokens * outputs);
    run(GS_PATCH_EMBEDDING, precision,
        GsPatchEmbedding{weight.view, image.get(), table.get(), out.get(), images, down * size,
                         across * size, size});
    demand_written(out, "patch embedding");
}

void attention(int64_t precision) {
    const int64_t images = pick({1, 2}), tokens = pick({1, 2, 16, 17, 33, 129, 1290});
    const int64_t heads = pick({1, 3}), head_dim = pick({1, 5, 16, 32, 33, 64});
    const int64_t width = heads * head_dim;
    const Operands qkv(precision, images * tokens * 3 * width, number);
    const Operands out(precision, images * tokens * width, nothing);
    run(GS_ATTENTION, precision,
        GsAttention{qkv.get(), out.get(), images, tokens, heads, head_dim});
    demand_written(out, "attention");
}

void layer_norm(int64_t precision) {
    const int64_t images = pick({1, 3}), tokens = pick({2, 5, 17}), columns = columns_of();
    const int64_t skip = pick({0, 1});
    const bool out_is_float = coin();
    const Norm norm(columns);
    const auto x = floats(images * tokens * columns);
    const Operands out(out_is_float ? static_cast<int64_t>(GS_FLOAT32) : precision,
                       images * (tokens - skip) * columns, nothing);
    run(GS_LAYER_NORM, precision,
        GsLayerNorm{norm.view(true), x.get(), out.get(), images, tokens, columns, skip,
                    out_is_float});
    demand_written(out, "layer norm");
}

// The router, the experts that it chose, and the sum of their answers.
void mixture(int64_t precision) {
    const int64_t rows = rows_of(), columns = columns_of(), hidden_columns = columns_of();
    const int64_t experts = pick({1, 3, 16, 17}), top_k = experts < 3 ? 1 : pick({1, 2, 3});
    const int64_t padded_experts = round_up(experts, 16), choices = rows * top_k;
    const Norm norm(columns);
    const auto x = floats(rows * columns), gate = floats(columns * padded_experts);
    const auto bias = floats(padded_experts);
    for (int64_t e = experts; e < padded_experts; e++) bias.get()[e] = -INFINITY;
    const Buffer<int32_t> index(choices), order(choices), offsets(experts + 1);
    const auto score = unwritten(choices);
    const Operands normalised(precision, rows * columns, nothing);
    run(GS_ROUTER, precision,
        GsRouter{norm.view(true), x.get(), gate.get(), bias.get(), 0.0, index.get(), score.get(),
                 order.get(), offsets.get(), normalised.get(), rows, columns, experts, top_k});
    demand_written(score, "router: score");
    demand_written(normalised, "router: normalised");

    const Weight fc1(precision, hidden_columns, columns), fc2(precision, columns, hidden_columns);
    const auto fc1_bias = floats(hidden_columns), fc2_bias = floats(columns);
    const auto bank = Buffer<GsExpert>::filled(experts, [&] {
        return GsExpert{fc1.view, fc2.view, fc1_bias.get(), fc2_bias.get()};
    });
    int64_t next = 0;
    const auto chosen = Buffer<int64_t>::filled(experts, [&] { return next++; });
    const int64_t line = precision == GS_FLOAT32 ? 16 : 32;
    const Operands hidden(precision, choices * round_up(hidden_columns, line), number);
    const auto answers = unwritten(choices * columns);
    run(GS_EXPERTS, precision,
        GsExperts{bank.get(), coin() ? chosen.get() : nullptr, normalised.get(), order.get(),
                  offsets.get(), score.get(), hidden.get(), answers.get(), experts, experts,
                  top_k, columns});
    demand_written(answers, "experts");

    const auto out = unwritten(rows * columns);
    run(GS_COMBINE, precision,
        GsCombine{answers.get(), coin() ? x.get() : nullptr, out.get(), rows, top_k, columns});
    demand_written(out, "combine");
}

void convolution(int64_t precision) {
    const int64_t images = pick({1, 2}), height = pick({1, 2, 3, 7, 9}), width = pick({1, 3, 8});
    const int64_t inputs = columns_of(), outputs = columns_of(), scale = pick({1, 2});
    const int64_t product = precision == GS_FLOAT32 ? GS_FLOAT32 : GS_BFLOAT16;
    const Weight weight(product, 36 * round_up(outputs, 16), inputs);
    const auto bias = floats(round_up(outputs, 16));
    const Operands x(precision, images * height * width * inputs, number);
    const Operands out(precision, images * height * scale * width * scale * outputs, nothing);
    GsConvolution arguments{};
    arguments.panels = weight.panels.get(), arguments.bias = bias.get();
    arguments.x = x.get(), arguments.out = out.get();
    arguments.images = images, arguments.height = height, arguments.width = width;
    arguments.inputs = inputs, arguments.outputs = outputs, arguments.scale = scale;
    run(GS_CONVOLUTION, precision, arguments);
    demand_written(out, "convolution");
}

void resize(int64_t precision) {
    const int64_t images = pick({1, 2}), channels = pick({1, 3, 16, 21});
    const int64_t height = pick({1, 2, 5}), width = pick({1, 3, 17});
    const int64_t out_height = height * pick({1, 2, 3}), out_width = width * pick({1, 2, 3});
    const auto x = floats(images * channels * height * width);
    const auto out = unwritten(images * channels * out_height * out_width);
    run(GS_RESIZE, precision,
        GsResize{x.get(), out.get(), images, channels, height, width, out_height, out_width,
                 coin()});
    demand_written(out, "resize");
}

void check(uint64_t seed, int rounds) {
    generator.seed(seed);
    for (int round = 0; round < rounds; round++)
        for (int64_t precision : {GS_FLOAT32, GS_BFLOAT16, GS_INT8}) {
            linear(precision);
            patch_embedding(precision);
            attention(precision);
            layer_norm(precision);
            mixture(precision);
            convolution(precision);
            resize(precision);
        }
}

// 17 rows summed from 3 answers each, into `out`, from `answers`.
GsCombine combination(const float *answers, float *out) {
    return {answers, nullptr, out, 17, 3, 32};
}

// The last element lies past the end.
void outside() {
    const auto answers = floats(17 * 3 * 32), out = floats(17 * 32 - 1);
    run(GS_COMBINE, GS_FLOAT32, combination(answers.get(), out.get()));
}

// A size that no sum of bytes can hold.
void undefined() {
    GsLinear arguments{};
    arguments.weight.inputs = INT64_MAX;
    run(GS_LINEAR, GS_FLOAT32, arguments);
}

// Two teams at once that write the same rows.
void race() {
    const auto answers = floats(17 * 3 * 32), out = floats(17 * 32);
    auto work = [&, arguments = combination(answers.get(), out.get())] {
        const GsCall call{GS_COMBINE, GS_FLOAT32, &arguments};
        void *team = gs_open(1);
        for (int i = 0; i < 100; i++) gs_run(team, &call, 1, nullptr);
        gs_close(team);
    };
    std::thread one(work), two(work);
    one.join();
    two.join();
}

}  // namespace

int main(int count, char **words) {
    const char *word = count > 1 ? words[1] : "";
    if (!std::strcmp(word, "check") && count == 4)
        check(std::strtoull(words[2], nullptr, 10), std::atoi(words[3]));
    else if (!std::strcmp(word, "outside"))
        outside();
    else if (!std::strcmp(word, "undefined"))
        undefined();
    else if (!std::strcmp(word, "race"))
        race();
    else
        return std::fputs("driver check SEED ROUNDS | outside | undefined | race\n", stderr), 2;
    std::puts("done");
}
