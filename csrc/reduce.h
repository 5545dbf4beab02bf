/* Sums, smallest and largest elements along one of three axes: an item is some rows, or a part of
 * the elements after the axis.
 *
 * Long sums are made by blocks, whose
 * sums are added in float64. NaN wins over all.
 */
#include "words.h"

/* A block of a row as a sum, in as many chains as an addition takes cycles. */
INLINE REAL NAME(sum_block)(const REAL *row, int64_t count)
{
    const V zero = {0};
    V totals[4] = {zero, zero, zero, zero};
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        UNROLL for (int k = 0; k < 4; k++) {
            totals[k] += NAME(load)(row + i + k * LANES);
        }
    }
    for (int k = 0; i < count; i += LANES, k++) {
        totals[k] += NAME(load_some)(row + i, count - i, zero);
    }
    return NAME(sum_of_lanes)((totals[0] + totals[1]) + (totals[2] + totals[3]));
}

static REAL NAME(sum_row)(const REAL *row, int64_t count)
{
    if (count <= REDUCE_BLOCK) {
        return NAME(sum_block)(row, count);
    }
    double total = 0;
    for (int64_t i = 0; i < count; i += REDUCE_BLOCK) {
        total += (double)NAME(sum_block)(row + i, lesser(REDUCE_BLOCK, count - i));
    }
    return (REAL)total;
}

/* The smaller or the larger of two, or NaN where either is that. */
INLINE V NAME(nearer)(V a, V b, const int largest)
{
    return NAME(or_nan)(a, largest ? NAME(larger)(a, b) : NAME(smaller)(a, b));
}

INLINE REAL NAME(extreme_row)(const REAL *row, int64_t count, const int largest)
{
    const V none = NAME(splat)(largest ? -(REAL)INFINITY : (REAL)INFINITY);
    V best[2] = {none, none};
    int64_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        best[0] = NAME(nearer)(best[0], NAME(load)(row + i), largest);
        best[1] = NAME(nearer)(best[1], NAME(load)(row + i + LANES), largest);
    }
    for (int k = 0; i < count; i += LANES, k++) {
        best[k] = NAME(nearer)(best[k], NAME(load_some)(row + i, count - i, none), largest);
    }
    const V both = NAME(nearer)(best[0], best[1], largest);
    if (NAME(any)(NAME(unordered)(both, both))) {
        return (REAL)NAN;
    }
    return largest ? NAME(largest_lane)(both) : -NAME(largest_lane)(-both);
}

/* Elements after the axis, side by side. */
static void NAME(sum_columns)(REAL *to, const REAL *of, int64_t rows, int64_t pitch, int64_t count)
{
    double wide[REDUCE_LANES] = {0};
    for (int64_t first = 0; first < rows; first += REDUCE_BLOCK) {
        const int64_t last = lesser(first + REDUCE_BLOCK, rows);
        for (int64_t c = 0; c < count; c++) {
            to[c] = of[first * pitch + c];
        }
        for (int64_t row = first + 1; row < last; row++) {
            const REAL *cells = of + row * pitch;
            for (int64_t c = 0; c < count; c++) {
                to[c] += cells[c];
            }
        }
        if (rows > REDUCE_BLOCK) {
            for (int64_t c = 0; c < count; c++) {
                wide[c] += (double)to[c];
            }
        }
    }
    for (int64_t c = 0; rows > REDUCE_BLOCK && c < count; c++) {
        to[c] = (REAL)wide[c];
    }
}

INLINE void NAME(extreme_columns)(REAL *to, const REAL *of, int64_t rows, int64_t pitch,
                                  int64_t count, const int largest)
{
    for (int64_t c = 0; c < count; c += LANES) {
        const int64_t left = count - c;
        V best = NAME(load_some)(of + c, left, (V){0});
        for (int64_t row = 1; row < rows; row++) {
            const V cells = NAME(load_some)(of + row * pitch + c, left, (V){0});
            best = NAME(nearer)(best, cells, largest);
        }
        NAME(store_some)(to + c, left, best);
    }
}

enum { NAME(of_sum), NAME(of_min), NAME(of_max) };

INLINE void NAME(reduce)(const struct reduce_args *args, int64_t first, int64_t last, const int function)
{
    const int64_t length = args->length, inner = args->inner;
    REAL *to = AT(args->target);
    const REAL *of = AT(args->source);
    if (inner == 1) {
        const int64_t end = lesser(last * args->each, args->outer);
        for (int64_t row = first * args->each; row < end; row++) {
            const REAL *cells = of + row * length;
            to[row] = function == NAME(of_sum)
                          ? NAME(sum_row)(cells, length)
                          : NAME(extreme_row)(cells, length, function == NAME(of_max));
        }
        return;
    }
    for (int64_t item = first; item < last; item++) {
        const int64_t outer = item / args->parts, start = item % args->parts * REDUCE_LANES;
        const int64_t count = lesser(REDUCE_LANES, inner - start);
        const REAL *cells = of + outer * length * inner + start;
        REAL *out = to + outer * inner + start;
        if (function == NAME(of_sum)) {
            NAME(sum_columns)(out, cells, length, inner, count);
        } else {
            NAME(extreme_columns)(out, cells, length, inner, count, function == NAME(of_max));
        }
    }
}

KERNEL(reduce_sum, reduce_args, NAME(reduce)(args, first, last, NAME(of_sum)))
KERNEL(reduce_min, reduce_args, NAME(reduce)(args, first, last, NAME(of_min)))
KERNEL(reduce_max, reduce_args, NAME(reduce)(args, first, last, NAME(of_max)))
