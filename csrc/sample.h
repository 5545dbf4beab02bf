/* Images read at computed places between cells: an item is a block of points of an image, for some
 * of its channels.
 *
 * Places of the cells that points see
 * and their weights are computed once, in float64, for all of the item's channels; a place of -1 is
 * outside the image, and counts as zero whatever cells hold.
 */
#include "words.h"

#ifndef SAMPLE_ONCE
#define SAMPLE_ONCE
enum { SAMPLE_NEAREST, SAMPLE_LINEAR, SAMPLE_CUBIC };
enum { SAMPLE_ZEROS, SAMPLE_BORDER, SAMPLE_REFLECTION };
/* Cells that a point sees along one dimension, at most. */
enum { SAMPLE_MOST = 4 };

/* A place that a double holds, folded back at the corners' centres, or at the image's edges. */
WORDS_INLINE double sample_reflected(double x, double length, int corners)
{
    const double low = corners ? 0 : -0.5, period = 2 * (corners ? length - 1 : length);
    if (period <= 0) {
        return 0;
    }
    const double from = x - low, turned = from - floor(from / period) * period;
    return low + (turned < period - turned ? turned : period - turned);
}

WORDS_INLINE double sample_clipped(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* A cell's number brought back as the padding says; -1: it is outside. */
WORDS_INLINE int64_t sample_cell(double cell, double length, int64_t padding, int corners)
{
    if (padding == SAMPLE_ZEROS) {
        return cell >= 0 && cell < length ? (int64_t)cell : -1;
    }
    const double x = padding == SAMPLE_REFLECTION ? sample_reflected(cell, length, corners) : cell;
    return (int64_t)sample_clipped(x, 0, length - 1);
}

/* The weights of four cells around a place that is `part` behind the second (Keys, Cubic
 * convolution interpolation for digital image processing, 1981, with a = -0.75). */
WORDS_INLINE void sample_cubic(double part, double *weights)
{
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        const double near = fabs(part - (k - 1));
        const double inner = ((a + 2) * near - (a + 3)) * (near * near) + 1;
        const double outer = ((a * near - 5 * a) * near + 8 * a) * near - 4 * a;
        weights[k] = near <= 1 ? inner : outer;
    }
}

/* The cells that a place sees along one dimension, and their weights; return how many. */
WORDS_INLINE int sample_axis(double x, double length, int64_t mode, int64_t padding, int corners,
                             int64_t *cells, double *weights)
{
    if (mode != SAMPLE_CUBIC && padding == SAMPLE_REFLECTION) {
        x = sample_reflected(x, length, corners);
    }
    /* What is not a number is outside, or where the image begins. */
    if (!(fabs(x) <= 1e300)) {
        x = padding == SAMPLE_BORDER && x > 0 ? length - 1 : padding == SAMPLE_ZEROS ? -4 : 0;
    }
    if (mode != SAMPLE_CUBIC && padding != SAMPLE_ZEROS) {
        x = sample_clipped(x, 0, length - 1);
    }
    if (mode == SAMPLE_NEAREST) {
        cells[0] = sample_cell(nearbyint(x), length, SAMPLE_ZEROS, corners);
        weights[0] = 1;
        return 1;
    }
    const double base = floor(x), part = x - base;
    if (mode == SAMPLE_LINEAR) {
        cells[0] = sample_cell(base, length, SAMPLE_ZEROS, corners);
        cells[1] = sample_cell(base + 1, length, SAMPLE_ZEROS, corners);
        weights[0] = 1 - part;
        weights[1] = part;
        return 2;
    }
    for (int k = 0; k < 4; k++) {
        cells[k] = sample_cell(base + (k - 1), length, padding, corners);
    }
    sample_cubic(part, weights);
    return 4;
}

WORDS_INLINE int64_t sample_taps(const struct sample_grid_args *args)
{
    const int64_t each = args->mode == SAMPLE_NEAREST ? 1 : args->mode == SAMPLE_LINEAR ? 2 : 4;
    int64_t taps = 1;
    for (int64_t axis = 0; axis < args->axes; axis++) {
        taps *= each;
    }
    return taps;
}
#endif

/* Tables of a block: for each tap of a point the place in a plane, and the weight. Rows of tables
 * are `pitch` long. */
INLINE void NAME(sample_point)(const struct sample_grid_args *args, const double *at, int64_t *places,
                               REAL *weights, int64_t pitch)
{
    int64_t cells[3][SAMPLE_MOST] = {{0}};
    double parts[3][SAMPLE_MOST] = {{1}, {1}, {1}};
    int counts[3] = {1, 1, 1};
    const int64_t axes = args->axes;
    for (int64_t axis = 3 - axes; axis < 3; axis++) {
        counts[axis] = sample_axis(at[axis], (double)args->size[axis], args->mode, args->padding,
                                   (int)args->corners, cells[axis], parts[axis]);
    }
    for (int a = 0; a < counts[0]; a++) {
        for (int b = 0; b < counts[1]; b++) {
            const int64_t row = cells[0][a] * args->size[1] + cells[1][b];
            const int64_t beyond = cells[0][a] | cells[1][b];
            const double weight = parts[0][a] * parts[1][b];
            for (int c = 0; c < counts[2]; c++) {
                *places = (beyond | cells[2][c]) < 0 ? -1 : row * args->size[2] + cells[2][c];
                *weights = (REAL)(weight * parts[2][c]);
                places += pitch;
                weights += pitch;
            }
        }
    }
}

/* A vector of a plane's cells at places; zeros at negative ones. */
INLINE V NAME(sample_cells)(const REAL *plane, const int64_t *places)
{
#if VECTOR_BYTES == 64
    return NAME(load_at)(plane, places);
#else
    REAL cells[VECTOR_BYTES / sizeof(REAL)];
    for (int64_t i = 0; i < LANES; i++) {
        cells[i] = places[i] < 0 ? 0 : plane[places[i]];
    }
    return NAME(load)(cells);
#endif
}

INLINE void NAME(sample_channel)(const REAL *plane, REAL *to, const REAL *mask,
                                 const int64_t *places, const REAL *weights, const int64_t taps,
                                 int64_t pitch, int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES) {
        V total = NAME(sample_cells)(plane, places + i) * NAME(load)(weights + i);
        for (int64_t t = 1; t < taps; t++) {
            const int64_t at = t * pitch + i;
            total += NAME(sample_cells)(plane, places + at) * NAME(load)(weights + at);
        }
        if (mask != 0) {
            total *= NAME(load_some)(mask + i, count - i, (V){0});
        }
        NAME(store_some)(to + i, count - i, total);
    }
}

/* Read all of an item's channels by its tables, whose last vector is filled up. */
INLINE void NAME(sample_planes)(const struct sample_grid_args *args, int64_t image, int64_t point, int64_t count,
                                int64_t from, int64_t to, const REAL *mask, int64_t *places,
                                REAL *weights)
{
    const int64_t taps = sample_taps(args), pitch = args->block;
    const int64_t cells = args->size[0] * args->size[1] * args->size[2];
    for (int64_t t = 0; t < taps; t++) {
        for (int64_t i = count; i % LANES != 0; i++) {
            places[t * pitch + i] = -1;
            weights[t * pitch + i] = 0;
        }
    }
    for (int64_t c = from; c < to; c++) {
        const int64_t plane = image * args->channels + c;
        const REAL *of = AT(args->source) + plane * cells;
        REAL *out = AT(args->target) + plane * args->points + point;
        if (taps == 4) {
            NAME(sample_channel)(of, out, mask, places, weights, 4, pitch, count);
        } else if (taps == 1) {
            NAME(sample_channel)(of, out, mask, places, weights, 1, pitch, count);
        } else {
            NAME(sample_channel)(of, out, mask, places, weights, taps, pitch, count);
        }
    }
}

/* Points in parts of the image's lengths from -1 to 1, the last dimension's first. */
static void NAME(sample_by_grid)(const struct sample_grid_args *args, int64_t first, int64_t last, int64_t worker)
{
    const int64_t parts = parts_of(args->channels, args->part), axes = args->axes;
    const int64_t blocks = parts_of(args->points, args->block), pitch = args->block;
    int64_t *places = (int64_t *)(intptr_t)(args->scratch_base + worker * args->scratch_stride);
    REAL *weights = (REAL *)(places + sample_taps(args) * pitch);
    for (int64_t item = first; item < last; item++) {
        const int64_t part = item % parts, block = item / parts % blocks;
        const int64_t image = item / parts / blocks, start = block * pitch;
        const int64_t count = lesser(pitch, args->points - start);
        const REAL *grid = AT(args->places) + (image * args->points + start) * axes;
        for (int64_t i = 0; i < count; i++, grid += axes) {
            double at[3] = {0};
            for (int64_t axis = 0; axis < axes; axis++) {
                const double g = (double)grid[axis], length = (double)args->size[(2 - axis)];
                at[2 - axis] = args->corners ? (g + 1) / 2 * (length - 1)
                                             : ((g + 1) * length - 1) / 2;
            }
            NAME(sample_point)(args, at, places + i, weights + i, pitch);
        }
        NAME(sample_planes)(args, image, start, count, part * args->part,
                            lesser((part + 1) * args->part, args->channels), 0, places, weights);
    }
}

/* The taps of a window at each place of the output, moved by offsets: for each tap an array of
 * offsets a dimension, in cells. A block is one tap's. */
static void NAME(sample_by_offsets)(const struct sample_offsets_args *args, int64_t first, int64_t last,
                                    int64_t worker)
{
    const int64_t parts = parts_of(args->channels, args->part), axes = args->axes;
    const int64_t points = args->group_points, pitch = args->block;
    const int64_t blocks = parts_of(points, pitch), taps = args->points / points;
    int64_t *places = (int64_t *)(intptr_t)(args->scratch_base + worker * args->scratch_stride);
    REAL *weights = (REAL *)(places + sample_taps(&args->base) * pitch);
    for (int64_t item = first; item < last; item++) {
        const int64_t part = item % parts, block = item / parts % blocks;
        const int64_t tap = item / parts / blocks % taps, image = item / parts / blocks / taps;
        const int64_t start = block * pitch, count = lesser(pitch, points - start);
        const REAL *moved = AT(args->places) + (image * taps + tap) * axes * points + start;
        double origin[3];
        for (int64_t axis = 2, rest = tap; axis >= 0; axis--) {
            origin[axis] = (double)(rest % args->taps[axis] * args->dilation[axis] -
                                    args->before[axis]);
            rest /= args->taps[axis];
        }
        int64_t row = start / args->out[2], column = start % args->out[2];
        for (int64_t i = 0; i < count; i++) {
            const int64_t own[3] = {row / args->out[1], row % args->out[1], column};
            double at[3];
            for (int64_t axis = 3 - axes; axis < 3; axis++) {
                at[axis] = origin[axis] + (double)(own[axis] * args->stride[axis]) +
                           (double)moved[(axis - 3 + axes) * points + i];
            }
            NAME(sample_point)(&args->base, at, places + i, weights + i, pitch);
            if (++column == args->out[2]) {
                column = 0;
                row++;
            }
        }
        const int64_t point = tap * points + start;
        const REAL *mask = args->mask ? AT(args->mask) + image * args->points + point : 0;
        NAME(sample_planes)(&args->base, image, point, count, part * args->part,
                            lesser((part + 1) * args->part, args->channels), mask, places, weights);
    }
}

KERNEL(sample_grid, sample_grid_args, NAME(sample_by_grid)(args, first, last, worker))
KERNEL(sample_offsets, sample_offsets_args, NAME(sample_by_offsets)(args, first, last, worker))
