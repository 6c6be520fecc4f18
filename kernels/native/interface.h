// The plain C interface of the native kernels: what a caller fills in, and what it calls.
//
// One shared library holds all kernels for one instruction set; all libraries have this interface.
// Matrices are row-major; "stride" counts elements from one row to the next. A buffer that kernels
// read or write is aligned to 64 bytes, and so is every row of a matrix of operands (`operand` is
// float for the precision float32, else bfloat16). Sizes are int64_t so that a caller in another
// language has one integer type to match. Nothing here checks its arguments: the Python side does.
#pragma once

#include <cstdint>

extern "C" {

enum GsPrecision : int64_t { GS_FLOAT32 = 0, GS_BFLOAT16 = 1, GS_INT8 = 2 };

// The right-hand side of a product x W^T, W (outputs, inputs), as the kernels stream it: panels of
// 16 outputs, in each the groups of inputs one after the other, in each group 16 outputs side by
// side. A group is 4 bytes: one float, two bfloat16 or four int8. Both sides are padded with
// zeros: outputs to a multiple of 16, inputs to a multiple of 64 bytes.
struct GsWeight {
    const void *panels;
    const float *scale;       // int8: of each output, padded to 16; else null
    const float *correction;  // int8: 128 times the sum of an output's integers, padded to 16
    int64_t outputs;
    int64_t inputs;
};

struct GsNorm {
    const float *scale;  // null: no norm
    const float *bias;
    double epsilon;
};

// out = residual + gelu(norm(x) W^T + bias), any part left out.
struct GsLinear {
    GsWeight weight;
    GsNorm norm;
    const void *x;
    const float *bias;
    const float *residual;  // of out's shape and stride; may be out itself
    void *out;
    int64_t rows, x_stride, out_stride;
    int64_t x_is_float;    // else operand
    int64_t out_is_float;  // else operand
    int64_t gelu;
};

// Every patch times the weight plus its row of the table; row 0 of the table is the class token.
struct GsPatchEmbedding {
    GsWeight weight;  // inputs in the order channel, row, column
    const float *image;  // (images, 3, height, width)
    const float *table;  // (tokens, outputs)
    float *out;          // (images, tokens, outputs)
    int64_t images, height, width, patch_size;
};

// softmax(head_dim^-0.5 Q K^T) V.
struct GsAttention {
    const void *qkv;  // operand (images, tokens, 3, heads, head_dim)
    void *out;        // operand (images, tokens, heads, head_dim)
    int64_t images, tokens, heads, head_dim;
};

// Normalised rows of x, the first `skip` rows of every image left out.
struct GsLayerNorm {
    GsNorm norm;
    const float *x;  // (images, tokens, columns)
    void *out;       // (images, tokens - skip, columns)
    int64_t images, tokens, columns, skip;
    int64_t out_is_float;
};

// The top_k experts of every row, their scores, and the queues of the experts.
struct GsRouter {
    GsNorm norm;
    const float *x;       // (rows, columns)
    const float *weight;  // (columns, experts padded to 16), zeros in the padding
    const float *bias;    // (experts padded to 16), minus infinity in the padding
    double prune_scores;
    int32_t *index;      // (rows, top_k)
    float *score;        // (rows, top_k)
    int32_t *order;      // (rows * top_k): choices row * top_k + k by expert, then by place
    int32_t *offsets;    // (experts + 1): where each expert's queue begins in order
    void *normalised;    // operand (rows, columns), or null
    int64_t rows, columns, experts, top_k;
};

// One expert's weights: all experts of a bank have one layout, at addresses of their own.
struct GsExpert {
    GsWeight fc1, fc2;
    const float *fc1_bias, *fc2_bias;
};

// Of every choice in the queues of `chosen`: score * (fc2(gelu(fc1(x)))).
struct GsExperts {
    const GsExpert *bank;    // by expert
    const int64_t *chosen;   // experts to compute, null for all that have tokens
    const void *x;           // operand (rows, columns)
    const int32_t *order, *offsets;
    const float *score;      // (rows, top_k)
    void *hidden;            // operand (choices, hidden columns padded to 64 bytes)
    float *answers;          // (rows, top_k, columns)
    int64_t experts, chosen_count, top_k, columns;
};

// out = residual + the sum of a row's top_k answers, first choice first.
struct GsCombine {
    const float *answers;   // (rows, top_k, columns)
    const float *residual;  // null: none; may be out itself
    float *out;
    int64_t rows, top_k, columns;
};

// The map enlarged bilinearly by `scale`, a 3x3 convolution with zeros around, ReLU; as Winograd's
// F(4x4, 3x3): see convolution.h.
struct GsConvolution {
    const void *panels;  // 36 points, of each the panels of a product (outputs, inputs)
    const float *bias;   // padded to 16
    const void *x;       // operand (images, height, width, inputs)
    void *out;           // operand (images, scale height, scale width, outputs)
    int64_t images, height, width, inputs, outputs, scale;
};

// Bilinear, half-pixel centres: channels-last or planar in, planar out.
struct GsResize {
    const float *x;
    float *out;  // (images, channels, out_height, out_width)
    int64_t images, channels, height, width, out_height, out_width;
    int64_t channels_last;
};

enum GsKernel : int64_t {
    GS_LINEAR, GS_PATCH_EMBEDDING, GS_ATTENTION, GS_LAYER_NORM, GS_ROUTER, GS_EXPERTS, GS_COMBINE,
    GS_CONVOLUTION, GS_RESIZE, GS_KERNELS
};

struct GsCall {
    int64_t kernel;     // GsKernel
    int64_t precision;  // GsPrecision of the products
    const void *arguments;
};

// A team of threads, the caller one of them, and their scratch memory. Null if it cannot be had.
void *gs_open(int64_t threads);
void gs_close(void *team);

// Makes room for the scratch of these calls. 0, or -1 when there is no memory.
int gs_reserve(void *team, const GsCall *calls, int64_t count);

// Runs the calls in order. `seconds` (count) gets the time of each, unless it is null.
void gs_run(void *team, const GsCall *calls, int64_t count, double *seconds);

// The name of the instruction set that this library was compiled for.
const char *gs_level(void);

// Multiply-accumulates a second of one thread in registers: the peak of a precision.
double gs_peak_macs(int64_t precision);
}
