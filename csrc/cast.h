/* Floats of 32 and 64 bits to floats of 16 bits and back, by blocks of elements: to the nearest, ties
 * to even. Subnormals keep their values whatever the float mode, NaN stays NaN.
 *
 * Loops are plain integer arithmetic, of which compilers make vectors, except where the instruction
 * set has conversions of its own.
 */
#ifndef CAST_ONCE
#define CAST_ONCE
/* Doubles that are floats on their way, at a time. */
enum { CAST_RUN = 256 };

WORDS_INLINE uint32_t cast_bits(float number)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

WORDS_INLINE float cast_float(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Where a condition holds, the first; by masks, since a branch around a sum of floats keeps
 * compilers from making vectors of a loop. */
WORDS_INLINE uint32_t cast_either(int condition, uint32_t yes, uint32_t no)
{
    const uint32_t mask = -(uint32_t)condition;
    return (yes & mask) | (no & ~mask);
}
#endif

INLINE uint16_t NAME(half_of)(float number)
{
    const uint32_t bits = cast_bits(number);
    /* Signed: few instruction sets compare vectors of other integers. */
    const int32_t size = (int32_t)(bits & 0x7FFFFFFF);
    /* Half of the last place, less one where that is even. */
    const uint32_t normal = (uint32_t)(size - (112 << 23) + 0xFFF + ((size >> 13) & 1)) >> 13;
    /* Below 2^-14, the sum with a half leaves the subnormal's bits, rounded, at its end. */
    const uint32_t small = cast_bits(cast_float((uint32_t)size) + 0.5f) - 0x3F000000;
    const uint32_t nan = 0x7E00 | ((uint32_t)size >> 13 & 0x3FF);
    uint32_t half = cast_either(size < 0x38800000, small, normal);
    half = cast_either(size >= 0x47800000, 0x7C00, half);
    half = cast_either(size > 0x7F800000, nan, half);
    return (uint16_t)(half | (bits >> 16 & 0x8000));
}

INLINE float NAME(of_half)(uint16_t half)
{
    const int32_t bits = half, exponent = bits & 0x7C00, fraction = bits & 0x3FF;
    const uint32_t shifted = (uint32_t)(bits & 0x7FFF) << 13;
    const uint32_t small = cast_bits((float)fraction * 0x1p-24f);
    /* As instructions do, a NaN becomes a quiet one. */
    const uint32_t special = shifted | cast_either(fraction > 0, 0x7FC00000, 0x7F800000);
    uint32_t size = cast_either(exponent == 0, small, shifted + (112u << 23));
    size = cast_either(exponent == 0x7C00, special, size);
    return cast_float(size | (uint32_t)(bits & 0x8000) << 16);
}

INLINE void NAME(halves_of)(uint16_t *restrict to, const float *restrict of, int64_t count)
{
    int64_t i = 0;
#if HAS_AVX512
    for (; i + 16 <= count; i += 16) {
        const __m256i halves = _mm512_cvtps_ph(_mm512_loadu_ps(of + i),
                                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_storeu_si256((__m256i *)(to + i), halves);
    }
#endif
    for (; i < count; i++) {
        to[i] = NAME(half_of)(of[i]);
    }
}

INLINE void NAME(of_halves)(float *restrict to, const uint16_t *restrict of, int64_t count)
{
    int64_t i = 0;
#if HAS_AVX512
    for (; i + 16 <= count; i += 16) {
        const __m256i halves = _mm256_loadu_si256((const __m256i *)(of + i));
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(halves));
    }
#endif
    for (; i < count; i++) {
        to[i] = NAME(of_half)(of[i]);
    }
}

#if REAL_IS_FLOAT
INLINE void NAME(to_halves)(uint16_t *restrict to, const REAL *restrict of, int64_t count)
{
    NAME(halves_of)(to, of, count);
}

INLINE void NAME(from_halves_of)(REAL *restrict to, const uint16_t *restrict of, int64_t count)
{
    NAME(of_halves)(to, of, count);
}

/* bfloat16 is a float's upper half; NaN is the quiet one, of its sign. */
INLINE void NAME(to_brains)(uint16_t *restrict to, const float *restrict of, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = cast_bits(of[i]);
        const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
        const uint32_t nan = 0x7FC0 | (bits >> 16 & 0x8000);
        const int32_t size = (int32_t)(bits & 0x7FFFFFFF);
        to[i] = (uint16_t)cast_either(size > 0x7F800000, nan, rounded);
    }
}

INLINE void NAME(from_brains)(float *restrict to, const uint16_t *restrict of, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = cast_float((uint32_t)of[i] << 16);
    }
}
#else
/* By way of a float that is rounded to odd: what was cut off is seen in its last bit, so that the
 * second rounding is the only one. */
INLINE void NAME(to_halves)(uint16_t *restrict to, const REAL *restrict of, int64_t count)
{
    float floats[CAST_RUN];
    for (int64_t start = 0; start < count; start += CAST_RUN) {
        const int64_t some = lesser(CAST_RUN, count - start);
        for (int64_t i = 0; i < some; i++) {
            const double number = of[start + i];
            const float nearest = (float)number;
            const double back = nearest;
            const uint32_t bits = cast_bits(nearest);
            const uint32_t above = fabs(back) > fabs(number), inexact = back != number;
            floats[i] = cast_float((bits - above) | inexact);
        }
        NAME(halves_of)(to + start, floats, some);
    }
}

INLINE void NAME(from_halves_of)(REAL *restrict to, const uint16_t *restrict of, int64_t count)
{
    float floats[CAST_RUN];
    for (int64_t start = 0; start < count; start += CAST_RUN) {
        const int64_t some = lesser(CAST_RUN, count - start);
        NAME(of_halves)(floats, of + start, some);
        for (int64_t i = 0; i < some; i++) {
            to[start + i] = floats[i];
        }
    }
}
#endif

/* A work item is a block of elements. */
#define CAST(name, from, to, function)                                                             \
    KERNEL(name, cast_args, {                                                                      \
        const int64_t start = first * CAST_BLOCK;                                                  \
        const int64_t count = lesser(last * CAST_BLOCK, args->count) - start;                      \
        NAME(function)((to *)(intptr_t)args->target + start,                                       \
                       (const from *)(intptr_t)args->source + start, count);                       \
    })

CAST(cast_halves_to, REAL, uint16_t, to_halves)
CAST(cast_halves_from, uint16_t, REAL, from_halves_of)
#if REAL_IS_FLOAT
CAST(cast_brains_to, float, uint16_t, to_brains)
CAST(cast_brains_from, uint16_t, float, from_brains)
#endif

#undef CAST
