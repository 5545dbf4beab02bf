/* Softmax: subtract the largest, exponentiate, divide by the sum, which is one of doubles.
 *
 * A work item is some rows, or some columns of a block; what is left over at an end has the bits of
 * a vector.
 */
#include "rows.h"
#include "softmax_row.h"

#ifndef SOFTMAX_ONCE
#define SOFTMAX_ONCE
enum { SHORT_ROW = 16 };
#endif

INLINE W NAME(finished)(int logarithm, W value, W whole)
{
    return logarithm ? value - whole : value * whole;
}

/* What results are finished with: the sum's logarithm, or its reciprocal. */
INLINE double NAME(whole_of)(int logarithm, double sum)
{
    return logarithm ? log(sum) : 1.0 / sum;
}

INLINE void NAME(softmax_row)(int logarithm, const REAL *source, REAL *target, int64_t length)
{
    const V top = S(NAME(largest)(source, length));
    const int64_t end = length - length % LANES, left = length - end;
    W sums[2] = {{0}, {0}};
    for (int64_t i = 0; i < end; i += LANES) {
        const V x = NAME(load)(source + i) - top;
        NAME(store)(target + i, NAME(exponentiated)(logarithm, x, LANES, sums));
    }
    /* What is left stays in a register: reading what a mask has just written is slow. */
    V rest = top;
    if (left > 0) {
        rest = NAME(load_first)(source + end, left, top) - top;
        rest = NAME(exponentiated)(logarithm, rest, left, sums);
    }
    const double sum = WIDE(sum_of_lanes)(sums[0] + sums[1]);
    const W whole = WIDE(splat)(NAME(whole_of)(logarithm, sum));
    for (int64_t i = 0; i < end; i += WIDE_LANES) {
        const W value = NAME(load_wide)(target + i);
        NAME(store_wide)(target + i, NAME(finished)(logarithm, value, whole));
    }
    UNROLL for (int part = 0; part < PARTS; part++) {
        const int64_t done = part * WIDE_LANES;
        if (done < left) {
            const W value = NAME(finished)(logarithm, NAME(widened)(rest, part), whole);
            NAME(store_wide_some)(target + end + done, left - done, value);
        }
    }
}

/* Of n columns side by side, a vector of them at most: the largest elements so far. */
INLINE void NAME(raise)(const REAL *x, REAL *tops, int64_t n)
{
    const V top = NAME(load)(tops);
    NAME(store)(tops, NAME(larger)(NAME(load_some)(x, n, top), top));
}

/* The exponentials, and their sums so far. */
INLINE void NAME(exponentiate)(int logarithm, const REAL *x, REAL *target, const REAL *tops,
                               double *sums, int64_t n)
{
    const V top = NAME(load)(tops), less = NAME(load_some)(x, n, top) - top;
    W own[PARTS];
    UNROLL for (int part = 0; part < PARTS; part++) {
        own[part] = WIDE(load)(sums + part * WIDE_LANES);
    }
    NAME(store_some)(target, n, NAME(exponentiated)(logarithm, less, LANES, own));
    UNROLL for (int part = 0; part < PARTS; part++) {
        WIDE(store)(sums + part * WIDE_LANES, own[part]);
    }
}

/* The results of a vector of doubles of columns at most. */
INLINE void NAME(finish)(int logarithm, REAL *target, const double *wholes, int64_t n)
{
    const W whole = WIDE(load)(wholes), value = NAME(load_wide_some)(target, n, whole);
    NAME(store_wide_some)(target, n, NAME(finished)(logarithm, value, whole));
}

/* `count` columns side by side, `step` elements from line to line; line by line, since lines may
 * are far apart. The sums and largest elements are in memory of whole vectors. */
INLINE void NAME(softmax_block)(int logarithm, const REAL *source, REAL *target, int64_t length,
                                int64_t step, int64_t count, double *sums, REAL *tops)
{
    const int64_t end = count - count % LANES, wide_end = count - count % WIDE_LANES;
    for (int64_t i = 0; i < count; i += LANES) {
        NAME(store)(tops + i, S(-INFINITY));
        UNROLL for (int part = 0; part < PARTS; part++) {
            WIDE(store)(sums + i + part * WIDE_LANES, (W){0});
        }
    }
    for (int64_t k = 0; k < length; k++) {
        const REAL *line = source + k * step;
        for (int64_t i = 0; i < end; i += LANES) {
            NAME(raise)(line + i, tops + i, LANES);
        }
        if (end < count) {
            NAME(raise)(line + end, tops + end, count - end);
        }
    }
    for (int64_t k = 0; k < length; k++) {
        const REAL *from = source + k * step;
        REAL *to = target + k * step;
        for (int64_t i = 0; i < end; i += LANES) {
            NAME(exponentiate)(logarithm, from + i, to + i, tops + i, sums + i, LANES);
        }
        if (end < count) {
            NAME(exponentiate)(logarithm, from + end, to + end, tops + end, sums + end,
                               count - end);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        sums[i] = NAME(whole_of)(logarithm, sums[i]);
    }
    for (int64_t k = 0; k < length; k++) {
        REAL *line = target + k * step;
        for (int64_t i = 0; i < wide_end; i += WIDE_LANES) {
            NAME(finish)(logarithm, line + i, sums + i, WIDE_LANES);
        }
        if (wide_end < count) {
            NAME(finish)(logarithm, line + wide_end, sums + wide_end, count - wide_end);
        }
    }
}

/* As many rows as a vector has lanes, turned into columns and back; `count` of them are valid. */
INLINE void NAME(softmax_short_rows)(int logarithm, const REAL *source, REAL *target,
                                     int64_t length, int64_t count)
{
    REAL block[SHORT_ROW * LANE_COUNT], tops[LANE_COUNT];
    double sums[LANE_COUNT];
    for (int64_t row = 0; row < LANES; row++) {
        const REAL *from = source + lesser(row, count - 1) * length;
        for (int64_t k = 0; k < length; k++) {
            block[k * LANES + row] = from[k];
        }
    }
    NAME(softmax_block)(logarithm, block, block, length, LANES, LANES, sums, tops);
    for (int64_t row = 0; row < count; row++) {
        for (int64_t k = 0; k < length; k++) {
            target[row * length + k] = block[k * LANES + row];
        }
    }
}

INLINE void NAME(softmax_rows)(int logarithm, const struct softmax_rows_args *args, int64_t first,
                               int64_t last)
{
    const int64_t length = args->row_length, per_item = args->rows_per_item;
    const int64_t end = lesser(last * per_item, args->rows);
    const REAL *source = AT(args->source);
    REAL *target = AT(args->target);
    int64_t row = first * per_item;
    if (length <= SHORT_ROW) {
        for (; row < end; row += LANES) {
            NAME(softmax_short_rows)(logarithm, source + row * length, target + row * length,
                                     length, lesser(LANES, end - row));
        }
    }
    for (; row < end; row++) {
        NAME(softmax_row)(logarithm, source + row * length, target + row * length, length);
    }
}

INLINE void NAME(softmax_columns)(int logarithm, const struct softmax_columns_args *args,
                                  int64_t first, int64_t last,
                                  int64_t worker)
{
    const int64_t length = args->length, inner = args->inner, per_item = args->per_item;
    const int64_t scratch = args->scratch_base + worker * args->scratch_stride;
    double *sums = (double *)(intptr_t)scratch;
    REAL *tops = (REAL *)(sums + SOFTMAX_COLUMNS_AT_ONCE);
    for (int64_t item = first; item < last; item++) {
        const int64_t group = item / args->blocks, column = item % args->blocks * SOFTMAX_COLUMNS_AT_ONCE;
        const int64_t end = lesser((group + 1) * per_item, args->outer);
        for (int64_t o = group * per_item; o < end; o++) {
            const int64_t start = o * length * inner + column;
            NAME(softmax_block)(logarithm, AT(args->source) + start, AT(args->target) + start,
                                length, inner, lesser(SOFTMAX_COLUMNS_AT_ONCE, inner - column), sums, tops);
        }
    }
}

KERNEL(softmax_rows_0, softmax_rows_args, NAME(softmax_rows)(0, args, first, last))
KERNEL(softmax_rows_1, softmax_rows_args, NAME(softmax_rows)(1, args, first, last))
KERNEL(softmax_columns_0, softmax_columns_args, NAME(softmax_columns)(0, args, first, last, worker))
KERNEL(softmax_columns_1, softmax_columns_args, NAME(softmax_columns)(1, args, first, last, worker))
