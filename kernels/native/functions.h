// exp and GELU on sixteen floats.
#pragma once

#include "vector.h"

namespace gearshift {

// 2^f on [-1/2, 1/2], lowest power first: gearshift_kernels.approximations.exp2_coefficients.
constexpr float EXP2_DEGREE_4[] = {1.0f, 0.693121016f, 0.240223497f, 0.0559219755f, 0.00966636837f};
// The same interpolation with one node more: relative error below 2e-7.
constexpr float EXP2_DEGREE_5[] = {1.00000012f,   0.693147182f,   0.240221068f,
                                   0.0555035695f, 0.00967603177f, 0.00133908633f};

// 2^x for finite x up to 128. EXACT: to float32's own precision; else within 2^-18,
// which is far below the rounding to bfloat16 that follows.
template <bool EXACT>
GS_INLINE Floats exp2(Floats x) {
    Floats whole = nearest(x);
    Floats rest = x - whole;
    Floats power;
    if constexpr (EXACT) {
        power = all(EXP2_DEGREE_5[5]);
        for (int i = 4; i >= 0; i--) power = multiply_add(power, rest, all(EXP2_DEGREE_5[i]));
    } else {
        power = all(EXP2_DEGREE_4[4]);
        for (int i = 3; i >= 0; i--) power = multiply_add(power, rest, all(EXP2_DEGREE_4[i]));
    }
    return scale_by_power(power, whole);
}

constexpr float LOG2_E = 1.44269504f;

// erf to 2e-7: Abramowitz and Stegun, 7.1.26 (1964); EXACT as for exp2, else to 4e-6.
template <bool EXACT>
GS_INLINE Floats error_function(Floats x) {
    Floats z = magnitude(x);
    Floats t = reciprocal(multiply_add(z, all(0.3275911f), all(1.0f)));
    Floats p = all(1.061405429f);
    p = multiply_add(p, t, all(-1.453152027f));
    p = multiply_add(p, t, all(1.421413741f));
    p = multiply_add(p, t, all(-0.284496736f));
    p = multiply_add(p, t, all(0.254829592f));
    Floats tail = exp2<EXACT>(z * z * all(-LOG2_E));
    return with_sign(all(1.0f) - p * t * tail, x);
}

// x / 2 * (1 + erf(x / sqrt 2)).
template <bool EXACT>
GS_INLINE Floats gelu(Floats x) {
    Floats half = x * all(0.5f);
    return multiply_add(half, error_function<EXACT>(x * all(0.70710678f)), half);
}

}  // namespace gearshift
