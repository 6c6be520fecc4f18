// Sixteen floats at a time, on whatever the compiler was told to use: AVX-512, AVX2 or plain C++.
//
// Every kernel is written once on these types. Reductions add in one order on all instruction
// sets.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define GS_INLINE inline __attribute__((always_inline))

namespace gearshift {

constexpr int64_t LANES = 16;
constexpr int64_t LINE = 64;  // bytes of a cache line, and of sixteen floats

using BFloat16 = uint16_t;

GS_INLINE float widen(BFloat16 narrow) {
    uint32_t bits = static_cast<uint32_t>(narrow) << 16;
    float wide;
    std::memcpy(&wide, &bits, 4);
    return wide;
}

// To the nearest bfloat16, ties to even; NaN stays NaN.
GS_INLINE BFloat16 narrow(float wide) {
    uint32_t bits;
    std::memcpy(&bits, &wide, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<BFloat16>((bits >> 16) | 0x40);
    return static_cast<BFloat16>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

#if defined(__AVX512F__)

struct Floats {
    __m512 v;
};
struct Integers {
    __m512i v;
};

GS_INLINE Floats zeros() { return {_mm512_setzero_ps()}; }
GS_INLINE Floats all(float x) { return {_mm512_set1_ps(x)}; }
GS_INLINE Floats load(const float *p) { return {_mm512_loadu_ps(p)}; }
GS_INLINE void store(float *p, Floats a) { _mm512_storeu_ps(p, a.v); }
GS_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
GS_INLINE Floats load_part(const float *p, int64_t n) {
    return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
GS_INLINE void store_part(float *p, Floats a, int64_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), a.v);
}
GS_INLINE Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
GS_INLINE Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
GS_INLINE Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
GS_INLINE Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
GS_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
// 1 / a, to float32's own precision but for the last bit: an estimate of 14 bits, made better once.
GS_INLINE Floats reciprocal(Floats a) {
    const __m512 estimate = _mm512_rcp14_ps(a.v);
    const __m512 error = _mm512_fnmadd_ps(a.v, estimate, _mm512_set1_ps(1.0f));
    return {_mm512_fmadd_ps(estimate, error, estimate)};
}
GS_INLINE Floats larger(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
GS_INLINE Floats magnitude(Floats a) { return {_mm512_abs_ps(a.v)}; }
GS_INLINE Floats nearest(Floats a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n for whole n, however far below zero; a is near one.
GS_INLINE Floats scale_by_power(Floats a, Floats n) { return {_mm512_scalef_ps(a.v, n.v)}; }
// The sign of `sign` on the magnitude `a` >= 0.
GS_INLINE Floats with_sign(Floats a, Floats sign) {
    __m512i bit = _mm512_and_si512(_mm512_castps_si512(sign.v), _mm512_set1_epi32(INT32_MIN));
    return {_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(a.v), bit))};
}
GS_INLINE Floats load(const BFloat16 *p) {
    __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}
GS_INLINE void store(BFloat16 *p, Floats a) {
#if defined(__AVX512BF16__)
    // The instruction takes denormal numbers as zero, which changes nothing that matters here.
    __m256bh half = _mm512_cvtneps_pbh(a.v);
    std::memcpy(p, &half, 32);
#else
    __m512i bits = _mm512_castps_si512(a.v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
    up = _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
#endif
}
GS_INLINE Integers zero_integers() { return {_mm512_setzero_si512()}; }
GS_INLINE Floats to_floats(Integers a) { return {_mm512_cvtepi32_ps(a.v)}; }
GS_INLINE void store(int32_t *p, Integers a) { _mm512_storeu_si512(p, a.v); }
GS_INLINE Integers load(const int32_t *p) { return {_mm512_loadu_si512(p)}; }
// Sixteen floats, whole and from -127 to 127, plus 128 as bytes.
GS_INLINE void store_offset_bytes(uint8_t *p, Floats a) {
    __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(a.v), _mm512_set1_epi32(128));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(p), _mm512_cvtepi32_epi8(whole));
}

#elif defined(__AVX2__)

struct Floats {
    __m256 low, high;
};
struct Integers {
    __m256i low, high;
};

GS_INLINE Floats zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
GS_INLINE Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
GS_INLINE Floats load(const float *p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
GS_INLINE void store(float *p, Floats a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
GS_INLINE Floats load_part(const float *p, int64_t n) {
    float copy[LANES] = {};
    std::memcpy(copy, p, static_cast<size_t>(n) * sizeof(float));
    return load(copy);
}
GS_INLINE void store_part(float *p, Floats a, int64_t n) {
    float copy[LANES];
    store(copy, a);
    std::memcpy(p, copy, static_cast<size_t>(n) * sizeof(float));
}
GS_INLINE Floats operator+(Floats a, Floats b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
GS_INLINE Floats operator-(Floats a, Floats b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
GS_INLINE Floats operator*(Floats a, Floats b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
GS_INLINE Floats operator/(Floats a, Floats b) {
    return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
GS_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
GS_INLINE Floats larger(Floats a, Floats b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
GS_INLINE Floats magnitude(Floats a) {
    __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
GS_INLINE Floats nearest(Floats a) {
    constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.low, mode), _mm256_round_ps(a.high, mode)};
}
GS_INLINE __m256 scale_half(__m256 a, __m256 n) {
    n = _mm256_max_ps(n, _mm256_set1_ps(-250.0f));  // where the result is zero already
    // Two steps, so that results below the smallest normal number are right as well.
    __m256 part = _mm256_round_ps(_mm256_mul_ps(n, _mm256_set1_ps(0.5f)),
                                  _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m256 rest = _mm256_sub_ps(n, part);
    auto power = [](__m256 e) {
        __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(e), _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
    };
    return _mm256_mul_ps(_mm256_mul_ps(a, power(part)), power(rest));
}
GS_INLINE Floats scale_by_power(Floats a, Floats n) {
    return {scale_half(a.low, n.low), scale_half(a.high, n.high)};
}
GS_INLINE Floats with_sign(Floats a, Floats sign) {
    __m256 bit = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(a.low, _mm256_and_ps(sign.low, bit)),
            _mm256_or_ps(a.high, _mm256_and_ps(sign.high, bit))};
}
GS_INLINE Floats load(const BFloat16 *p) {
    auto half = [](const BFloat16 *q) {
        __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i *>(q));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
    };
    return {half(p), half(p + 8)};
}
GS_INLINE __m256i rounded_half(__m256 a) {
    __m256i bits = _mm256_castps_si256(a);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256 nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
    up = _mm256_blendv_epi8(up, quiet, _mm256_castps_si256(nan));
    return _mm256_srli_epi32(up, 16);
}
GS_INLINE void store(BFloat16 *p, Floats a) {
    __m256i packed = _mm256_packus_epi32(rounded_half(a.low), rounded_half(a.high));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), _mm256_permute4x64_epi64(packed, 0xd8));
}
GS_INLINE Integers zero_integers() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
GS_INLINE Floats to_floats(Integers a) {
    return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
}
GS_INLINE void store(int32_t *p, Integers a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), a.low);
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p + 8), a.high);
}
GS_INLINE Integers load(const int32_t *p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + 8))};
}
GS_INLINE void store_offset_bytes(uint8_t *p, Floats a) {
    int32_t whole[LANES];
    store(whole, {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)});
    for (int64_t i = 0; i < LANES; i++) p[i] = static_cast<uint8_t>(whole[i] + 128);
}

#else

// The compiler's own vectors, which it turns into whatever the CPU has.
typedef float FloatLanes __attribute__((vector_size(64)));
typedef int32_t IntegerLanes __attribute__((vector_size(64)));

struct Floats {
    FloatLanes v;
};
struct Integers {
    IntegerLanes v;
};

GS_INLINE Floats all(float x) { return {FloatLanes{} + x}; }
GS_INLINE Floats zeros() { return {FloatLanes{}}; }
GS_INLINE Floats load(const float *p) {
    Floats a;
    std::memcpy(&a.v, p, sizeof a.v);
    return a;
}
GS_INLINE void store(float *p, Floats a) { std::memcpy(p, &a.v, sizeof a.v); }
GS_INLINE Floats load_part(const float *p, int64_t n) {
    Floats a = zeros();
    std::memcpy(&a.v, p, static_cast<size_t>(n) * sizeof(float));
    return a;
}
GS_INLINE void store_part(float *p, Floats a, int64_t n) {
    std::memcpy(p, &a.v, static_cast<size_t>(n) * sizeof(float));
}
GS_INLINE Floats operator+(Floats a, Floats b) { return {a.v + b.v}; }
GS_INLINE Floats operator-(Floats a, Floats b) { return {a.v - b.v}; }
GS_INLINE Floats operator*(Floats a, Floats b) { return {a.v * b.v}; }
GS_INLINE Floats operator/(Floats a, Floats b) { return {a.v / b.v}; }
GS_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return {a.v * b.v + c.v}; }
GS_INLINE Floats larger(Floats a, Floats b) { return {a.v > b.v ? a.v : b.v}; }
GS_INLINE IntegerLanes bits_of(FloatLanes a) { return reinterpret_cast<IntegerLanes>(a); }
GS_INLINE FloatLanes floats_of(IntegerLanes a) { return reinterpret_cast<FloatLanes>(a); }
GS_INLINE Floats magnitude(Floats a) { return {floats_of(bits_of(a.v) & 0x7fffffff)}; }
GS_INLINE Floats with_sign(Floats a, Floats sign) {
    return {floats_of(bits_of(a.v) | (bits_of(sign.v) & INT32_MIN))};
}
// Beyond 2^22 a float's last bit is worth 1: adding and taking away rounds. Larger ones are far
// outside what any caller asks for, except that they must stay large.
GS_INLINE Floats nearest(Floats a) {
    const FloatLanes unit = FloatLanes{} + 12582912.0f;
    const FloatLanes rounded = (a.v + unit) - unit;
    return {magnitude(a).v < 4194304.0f ? rounded : a.v};
}
GS_INLINE Floats scale_by_power(Floats a, Floats n) {
    // In two steps, so that results below the smallest normal number are right as well.
    const FloatLanes whole = n.v > -250.0f ? n.v : FloatLanes{} - 250.0f;
    const IntegerLanes power = __builtin_convertvector(whole, IntegerLanes);
    const IntegerLanes part = power >> 1, rest = power - part;
    return {a.v * floats_of((part + 127) << 23) * floats_of((rest + 127) << 23)};
}
GS_INLINE Floats load(const BFloat16 *p) {
    typedef uint16_t Half __attribute__((vector_size(32)));
    Half half;
    std::memcpy(&half, p, sizeof half);
    return {floats_of(__builtin_convertvector(half, IntegerLanes) << 16)};
}
GS_INLINE void store(BFloat16 *p, Floats a) {
    float lanes[LANES];
    store(lanes, a);
    for (int64_t i = 0; i < LANES; i++) p[i] = narrow(lanes[i]);
}
GS_INLINE Integers zero_integers() { return {IntegerLanes{}}; }
GS_INLINE Floats to_floats(Integers a) { return {__builtin_convertvector(a.v, FloatLanes)}; }
GS_INLINE void store(int32_t *p, Integers a) { std::memcpy(p, &a.v, sizeof a.v); }
GS_INLINE Integers load(const int32_t *p) {
    Integers a;
    std::memcpy(&a.v, p, sizeof a.v);
    return a;
}
GS_INLINE void store_offset_bytes(uint8_t *p, Floats a) {
    float lanes[LANES];
    store(lanes, nearest(a));
    for (int64_t i = 0; i < LANES; i++)
        p[i] = static_cast<uint8_t>(static_cast<int>(lanes[i]) + 128);
}

#endif

#if !defined(__AVX512F__)
GS_INLINE Floats reciprocal(Floats a) { return all(1.0f) / a; }
#endif

// Halves added to halves: 8 lanes, 4, 2, 1.
#if defined(__AVX512F__)
GS_INLINE float sum(Floats a) { return _mm512_reduce_add_ps(a.v); }
GS_INLINE float largest(Floats a) { return _mm512_reduce_max_ps(a.v); }
#else
template <class F>
GS_INLINE float reduce(Floats a, F f) {
    float lanes[LANES];
    store(lanes, a);
    for (int64_t half = LANES / 2; half; half /= 2)
        for (int64_t i = 0; i < half; i++) lanes[i] = f(lanes[i], lanes[i + half]);
    return lanes[0];
}
GS_INLINE float sum(Floats a) {
    return reduce(a, [](float x, float y) { return x + y; });
}
GS_INLINE float largest(Floats a) {
    return reduce(a, [](float x, float y) { return x > y ? x : y; });
}
#endif

// Thirty-two lanes to memory.
GS_INLINE void store_two(float *p, Floats a, Floats b) {
    store(p, a);
    store(p + LANES, b);
}
GS_INLINE void store_two(BFloat16 *p, Floats a, Floats b) {
#if defined(__AVX512BF16__)
    __m512bh both = _mm512_cvtne2ps_pbh(b.v, a.v);
    std::memcpy(p, &both, sizeof both);
#else
    store(p, a);
    store(p + LANES, b);
#endif
}

GS_INLINE Floats load_part(const BFloat16 *p, int64_t n) {
    BFloat16 copy[LANES] = {};
    std::memcpy(copy, p, static_cast<size_t>(n) * sizeof(BFloat16));
    return load(copy);
}

GS_INLINE void store_part(BFloat16 *p, Floats a, int64_t n) {
    BFloat16 copy[LANES];
    store(copy, a);
    std::memcpy(p, copy, static_cast<size_t>(n) * sizeof(BFloat16));
}

}  // namespace gearshift
