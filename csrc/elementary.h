/* Elementary functions, and the operations that they are made of beyond those of simd.h. */

#ifndef S
#define S(x) NAME(splat)((REAL)(x))
#define WHERE_LESS NAME(where_less)
#define FMA NAME(multiply_add)
/* Of a REAL: the digits after the first, and the bias of its exponent. A sum with MAGIC ends in the
 * nearest whole number, halves to even. */
#define MANTISSA (REAL_IS_FLOAT ? 23 : 52)
#define BIAS (REAL_IS_FLOAT ? 127 : 1023)
#define MAGIC S(REAL_IS_FLOAT ? 12582912.0 : 6755399441055744.0)
#endif

/* Two factors of 2^n for a sum of n and MAGIC. */
INLINE V NAME(first_power_of_two)(V shifted)
{
    const M whole = (M)shifted - (M)MAGIC;
    return (V)(((whole >> 1) + (INTEGER)BIAS) << (INTEGER)MANTISSA);
}
INLINE V NAME(second_power_of_two)(V shifted)
{
    const M whole = (M)shifted - (M)MAGIC;
    return (V)((whole - (whole >> 1) + (INTEGER)BIAS) << (INTEGER)MANTISSA);
}

/* 2^n for a sum of n, BIAS and MAGIC. */
INLINE V NAME(power_of_two)(V shifted)
{
    return (V)((M)shifted << (INTEGER)MANTISSA);
}

/* (1 + less_one) 2^n; first and second are factors of the power. */
INLINE V NAME(scaled)(V less_one, V n, V first, V second)
{
#if HAS_AVX512
    (void)first, (void)second;
    return MM(_mm512_scalef_)(less_one + S(1), n);
#else
    (void)n;
    return FMA(less_one, first, first) * second;
#endif
}

/* Halves to even: a sum with a number whose last digit is 1 rounds. What is as large is whole. */
INLINE V NAME(rounded)(V x)
{
    const V magic = S(REAL_IS_FLOAT ? 8388608.0 : 4503599627370496.0), size = NAME(magnitude)(x);
    const V whole = NAME(held)(size + magic) - magic;
    return WHERE_LESS(size, magic, NAME(signed_as)(whole, x), x);
}
INLINE V NAME(rounded_down)(V x)
{
    const V whole = NAME(rounded)(x);
    return WHERE_LESS(x, whole, whole - S(1), whole);
}
INLINE V NAME(rounded_up)(V x)
{
    return -NAME(rounded_down)(-x);
}

#include "elementary_functions.h"
