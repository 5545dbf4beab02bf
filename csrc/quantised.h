/* Integers for numbers and back, in float32: an item is a chunk of a row, or some short rows.
 *
 * Loops are plain: compilers make
 * vectors of them at each instruction set.
 */
#include "rows.h"

#ifndef QUANTISED_ONCE
#define QUANTISED_ONCE
/* Added to numbers of at most 2^22 in size, it leaves them rounded, halves to even. */
#define QUANTISED_MAGIC 12582912.0f

/* The place of a row's first scale. */
WORDS_INLINE int64_t quantised_scale(const struct quantised_args *args, int64_t row)
{
    const int64_t place = row / args->period * args->scale_rows + row % args->period / args->step;
    return args->each ? place * args->row_length : place;
}
#endif

/* Rows whose elements share a scale, or have one each; `zeros` may be missing. */
#define ROWS_OF(function, from, to)                                                                \
    static void NAME(function##_items)(const struct quantised_args *args, int64_t first,           \
                                        int64_t last)                                              \
    {                                                                                              \
        const float *scales = (const float *)(intptr_t)args->scales;                               \
        const CELL *zeros = (const CELL *)(intptr_t)args->zeros, none = 0;                         \
        for (int64_t item = first; item < last; item++) {                                          \
            const struct row_item rows = row_item(&args->base, item);                              \
            for (int64_t row = rows.first; row < rows.last; row++) {                               \
                const int64_t place = row * args->row_length + rows.start;                         \
                const int64_t scale = quantised_scale(args, row);                                  \
                const from *of = (const from *)(intptr_t)args->source + place;                     \
                to *target = (to *)(intptr_t)args->target + place;                                 \
                if (!args->each) {                                                                 \
                    NAME(function)(target, of, scales + scale, zeros ? zeros + scale : &none, 0,   \
                                   0, rows.count);                                                 \
                } else if (zeros) {                                                                \
                    NAME(function)(target, of, scales + scale + rows.start,                        \
                                   zeros + scale + rows.start, 1, 1, rows.count);                  \
                } else {                                                                           \
                    NAME(function)(target, of, scales + scale + rows.start, &none, 1, 0,           \
                                   rows.count);                                                    \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    KERNEL(quantised_##function, quantised_args, NAME(function##_items)(args, first, last))

#ifndef NUMBERS_ALONE
/* Clamped before it is rounded, which gives the same; NaN is the least. */
INLINE void NAME(quantize)(CELL *restrict to, const float *restrict of, const float *restrict scale,
                           const CELL *restrict zero, const int scales, const int zeros,
                           int64_t count)
{
    const float only_scale = *scale;
    const int32_t only_zero = *zero;
    for (int64_t i = 0; i < count; i++) {
        const float divisor = scales ? scale[i] : only_scale;
        const int32_t shift = zeros ? zero[i] : only_zero;
        const float low = (float)(LEAST - shift), high = (float)(MOST - shift);
        float number = of[i] / divisor;
        number = number > low ? number : low;
        number = number < high ? number : high;
        number = (number + QUANTISED_MAGIC) - QUANTISED_MAGIC;
        to[i] = (CELL)((int32_t)number + shift);
    }
}

ROWS_OF(quantize, float, CELL)
#endif

INLINE void NAME(dequantize)(float *restrict to, const CELL *restrict of,
                             const float *restrict scale, const CELL *restrict zero,
                             const int scales, const int zeros, int64_t count)
{
    const float only_scale = *scale, only_zero = (float)*zero;
    for (int64_t i = 0; i < count; i++) {
        const float factor = scales ? scale[i] : only_scale;
        to[i] = ((float)of[i] - (zeros ? (float)zero[i] : only_zero)) * factor;
    }
}

ROWS_OF(dequantize, CELL, float)

#undef ROWS_OF
