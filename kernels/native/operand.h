// The operands of a product in each precision: how sixteen sums take in one group of inputs.
//
// A group is four bytes of a row: one float, two bfloat16, or four bytes that stand for int8 plus
// 128. Sums are float32 or, for int8, int32. Where the CPU has no instruction for bfloat16 or int8,
// the same products are made of others: results differ only in rounding, those of int8 not at all.
#pragma once

#include "interface.h"
#include "vector.h"

namespace gearshift {

template <int64_t PRECISION>
struct Operand;

template <>
struct Operand<GS_FLOAT32> {
    using Element = float;
    using Sums = Floats;
    using Weights = Floats;
    using Inputs = Floats;
    static constexpr int64_t PRECISION = GS_FLOAT32;
    static constexpr int64_t GROUP = 1;
    static GS_INLINE Sums zero() { return zeros(); }
    static GS_INLINE Weights weights(const char *p) {
        return load(reinterpret_cast<const float *>(p));
    }
    static GS_INLINE Inputs inputs(const char *p) {
        return all(*reinterpret_cast<const float *>(p));
    }
    static GS_INLINE Sums dot(Inputs x, Weights w, Sums s) { return multiply_add(x, w, s); }
};

GS_INLINE uint32_t group_at(const char *p) {
    uint32_t group;
    std::memcpy(&group, p, 4);
    return group;
}

#if defined(__AVX512BF16__)

template <>
struct Operand<GS_BFLOAT16> {
    using Element = BFloat16;
    using Sums = Floats;
    using Weights = __m512bh;
    using Inputs = __m512bh;
    static constexpr int64_t PRECISION = GS_BFLOAT16;
    static constexpr int64_t GROUP = 2;
    static GS_INLINE Sums zero() { return zeros(); }
    static GS_INLINE Weights weights(const char *p) { return (__m512bh)_mm512_load_si512(p); }
    static GS_INLINE Inputs inputs(const char *p) {
        return (__m512bh)_mm512_set1_epi32(static_cast<int>(group_at(p)));
    }
    static GS_INLINE Sums dot(Inputs x, Weights w, Sums s) {
        return {_mm512_dpbf16_ps(s.v, x, w)};
    }
};

#else

// The pairs are taken apart: the first of each pair lies in the low half of four bytes.
template <>
struct Operand<GS_BFLOAT16> {
    using Element = BFloat16;
    using Sums = Floats;
    struct Pairs {
        Floats first, second;
    };
    using Weights = Pairs;
    using Inputs = Pairs;
    static constexpr int64_t PRECISION = GS_BFLOAT16;
    static constexpr int64_t GROUP = 2;
    static GS_INLINE Sums zero() { return zeros(); }
    static GS_INLINE Weights weights(const char *p) {
#if defined(__AVX512F__)
        __m512i pairs = _mm512_load_si512(p);
        __m512i high = _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
        return {{_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))}, {_mm512_castsi512_ps(high)}};
#elif defined(__AVX2__)
        auto low = [](const char *q) {
            return _mm256_castsi256_ps(
                _mm256_slli_epi32(_mm256_load_si256(reinterpret_cast<const __m256i *>(q)), 16));
        };
        auto high = [](const char *q) {
            return _mm256_castsi256_ps(
                _mm256_and_si256(_mm256_load_si256(reinterpret_cast<const __m256i *>(q)),
                                 _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
        };
        return {{low(p), low(p + 32)}, {high(p), high(p + 32)}};
#else
        IntegerLanes pairs;
        std::memcpy(&pairs, p, sizeof pairs);
        return {{floats_of(pairs << 16)}, {floats_of(pairs & static_cast<int>(0xffff0000u))}};
#endif
    }
    static GS_INLINE Inputs inputs(const char *p) {
        auto pair = reinterpret_cast<const BFloat16 *>(p);
        return {all(widen(pair[0])), all(widen(pair[1]))};
    }
    static GS_INLINE Sums dot(Inputs x, Weights w, Sums s) {
        return multiply_add(x.second, w.second, multiply_add(x.first, w.first, s));
    }
};

#endif

template <>
struct Operand<GS_INT8> {
    using Element = uint8_t;
    using Sums = Integers;
    static constexpr int64_t PRECISION = GS_INT8;
    static constexpr int64_t GROUP = 4;
    static GS_INLINE Sums zero() { return zero_integers(); }
#if defined(__AVX512F__)
    using Weights = __m512i;
    using Inputs = __m512i;
    static GS_INLINE Weights weights(const char *p) { return _mm512_load_si512(p); }
    static GS_INLINE Inputs inputs(const char *p) {
        return _mm512_set1_epi32(static_cast<int>(group_at(p)));
    }
    static GS_INLINE Sums dot(Inputs x, Weights w, Sums s) {
#if defined(__AVX512VNNI__)
        return {_mm512_dpbusd_epi32(s.v, x, w)};
#else
        // Even and odd bytes as 16-bit integers, whose products of two fit in 32 bits.
        __m512i low = _mm512_set1_epi16(0xff);
        __m512i even = _mm512_madd_epi16(_mm512_and_si512(x, low),
                                         _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8));
        __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(x, 8), _mm512_srai_epi16(w, 8));
        return {_mm512_add_epi32(s.v, _mm512_add_epi32(even, odd))};
#endif
    }
#elif defined(__AVX2__)
    using Weights = Integers;
    using Inputs = __m256i;
    static GS_INLINE Weights weights(const char *p) {
        return {_mm256_load_si256(reinterpret_cast<const __m256i *>(p)),
                _mm256_load_si256(reinterpret_cast<const __m256i *>(p + 32))};
    }
    static GS_INLINE Inputs inputs(const char *p) {
        return _mm256_set1_epi32(static_cast<int>(group_at(p)));
    }
    static GS_INLINE __m256i dot_half(__m256i x, __m256i w, __m256i s) {
        __m256i low = _mm256_set1_epi16(0xff);
        __m256i even = _mm256_madd_epi16(_mm256_and_si256(x, low),
                                         _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
        __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
        return _mm256_add_epi32(s, _mm256_add_epi32(even, odd));
    }
    static GS_INLINE Sums dot(Inputs x, Weights w, Sums s) {
        return {dot_half(x, w.low, s.low), dot_half(x, w.high, s.high)};
    }
#else
    using Weights = IntegerLanes;
    using Inputs = uint32_t;
    static GS_INLINE Weights weights(const char *p) {
        IntegerLanes groups;
        std::memcpy(&groups, p, sizeof groups);
        return groups;
    }
    static GS_INLINE Inputs inputs(const char *p) { return group_at(p); }
    static GS_INLINE Sums dot(Inputs x, Weights w, Sums s) {
        // Byte j of every group, its sign spread by shifting it to the top and back.
        for (int j = 0; j < GROUP; j++)
            s.v += static_cast<int32_t>(x >> (8 * j) & 0xff) * ((w << (24 - 8 * j)) >> 24);
        return s;
    }
#endif
};

// What values between kernels are kept in: int8 is made of bfloat16 where a product reads it.
template <int64_t PRECISION>
using Narrow = Operand<PRECISION == GS_FLOAT32 ? GS_FLOAT32 : GS_BFLOAT16>;

}  // namespace gearshift
