/* Pools of channels-first images with windows two or three columns wide, two apart, and no padding:
 * straight from the image to the outputs.
 *
 * Rows are brought together first, then columns: the order of every planar pool. A work item is
 * some rows of outputs, which are stored one after the other, whichever planes they are of.
 */
#include "pool_operation.h"

#define NEXT_PLACE(x, i) ((i) + 1)

/* Fold the rows of windows: a vector of columns, the first `count` of which are valid. */
INLINE V NAME(halving_fold)(enum NAME(operation) operation, int64_t tall, const REAL *from,
                            int64_t pitch, int64_t count)
{
    const V none = {0}, top = NAME(load_some)(from, count, none);
    V total = NAME(take)(operation, top);
    for (int64_t row = 1; row < tall; row++) {
        const V value = NAME(load_some)(from + row * pitch, count, none);
        total = NAME(bring)(operation, total, value);
    }
    return total;
}

/* A vector of outputs from the image at `from`, of which `count` elements are valid. */
INLINE V NAME(halving_vector)(enum NAME(operation) operation, int64_t tall, int taps,
                              const REAL *from, int64_t pitch, int64_t count)
{
    const int largest = operation == NAME(MAX);
    const enum NAME(operation) across = largest ? operation : NAME(SUM);
    const V a = NAME(halving_fold)(operation, tall, from, pitch, count);
    const V b = NAME(halving_fold)(operation, tall, from + LANES, pitch, count - LANES);
    const V evens = NAME(evens)(a, b);
    V total = NAME(bring)(across, evens, NAME(odds)(a, b));
    if (taps == 3) {
        const V c =
            NAME(halving_fold)(operation, tall, from + 2 * LANES, pitch, count - 2 * LANES);
        total = NAME(bring)(across, total, SHUFFLE(evens, c, EACH_LANE(NEXT_PLACE, 0)));
    }
    return total;
}

INLINE void NAME(halving_rows)(enum NAME(operation) operation, int mean, int rooted, int64_t tall,
                              int taps, const struct halving_args *args, int64_t row, int64_t stop)
{
    const int64_t width = args->width, plane_size = args->height * width;
    const int64_t out_height = args->out_height, outputs = args->out_width, exact = args->exact;
    const int64_t step = args->row_stride * width;
    const REAL *plane = AT(args->source) + row / out_height * plane_size;
    const REAL *end = AT(args->source) + args->planes * plane_size - (tall - 1) * width;
    const REAL *whole_end = end - taps * LANES;
    REAL *out = AT(args->out) + row * outputs, *const out_end = AT(args->out) + stop * outputs;
    const REAL *out_whole = out_end - LANES;
    const V divisor = NAME(splat)((REAL)args->divisor), factor = 1 / divisor;
    int64_t y = row % out_height;
    for (; row < stop; row++) {
        const REAL *from = plane + y * step;
        for (int64_t o = 0; o < outputs; o += LANES) {
            /* What is past a line's end is somebody's, and in no output that is kept. */
            const REAL *at = from + 2 * o;
            V value;
            if (at <= whole_end) {
                value = NAME(halving_vector)(operation, tall, taps, at, width, taps * LANES);
            } else {
                value = NAME(halving_vector)(operation, tall, taps, at, width, end - at);
            }
            if (mean) {
                value = exact ? value * factor : value / divisor;
            }
            if (rooted) {
                value = NAME(root)(value);
            }
            if (out + o <= out_whole) {
                NAME(store)(out + o, value);
            } else {
                NAME(store_first)(out + o, out_end - (out + o), value);
            }
        }
        out += outputs;
        if (++y == out_height) {
            y = 0;
            plane += plane_size;
        }
    }
}

/* The usual windows are squares. */
INLINE void NAME(halving_any)(enum NAME(operation) operation, int mean, int rooted,
                             const struct halving_args *args, int64_t row, int64_t stop)
{
    const int64_t tall = args->tall;
    if (args->taps == 2 && tall == 2) {
        NAME(halving_rows)(operation, mean, rooted, 2, 2, args, row, stop);
    } else if (args->taps == 2) {
        NAME(halving_rows)(operation, mean, rooted, tall, 2, args, row, stop);
    } else if (tall == 3) {
        NAME(halving_rows)(operation, mean, rooted, 3, 3, args, row, stop);
    } else {
        NAME(halving_rows)(operation, mean, rooted, tall, 3, args, row, stop);
    }
}

INLINE void NAME(halving)(enum NAME(operation) operation, int mean, int rooted,
                          const struct halving_args *args, int64_t first, int64_t last)
{
    for (int64_t item = first; item < last; item++) {
        const int64_t row = item * args->item_rows;
        const int64_t stop = lesser(row + args->item_rows, args->planes * args->out_height);
        NAME(halving_any)(operation, mean, rooted, args, row, stop);
    }
}

KERNEL(pool_halving_max, halving_args, NAME(halving)(NAME(MAX), 0, 0, args, first, last))
KERNEL(pool_halving_avg, halving_args, NAME(halving)(NAME(SUM), 1, 0, args, first, last))
KERNEL(pool_halving_squares, halving_args, NAME(halving)(NAME(SQUARES), 0, 1, args, first, last))
KERNEL(pool_halving_magnitudes, halving_args,
       NAME(halving)(NAME(MAGNITUDES), 0, 0, args, first, last))

#undef NEXT_PLACE
