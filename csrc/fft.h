/* Overlap-save: an item is two blocks of one plane, the two parts of a complex matrix; in one
 * dimension, as many pairs of blocks as a vector has lanes, a row each.
 *
 * Passes are explained in fastconv/backends/native/conv/fft/passes.py. Lanes run across transforms: columns are transformed
 * as they are stored, rows are turned for it, as many at once as there are lanes.
 */

#include "tile.h"

#ifndef FFT_ONCE
#define FFT_ONCE
enum { LARGEST_RADIX = 4 };
#endif

struct NAME(complex) {
    V re, im;
};

INLINE struct NAME(complex) NAME(plus)(struct NAME(complex) a, struct NAME(complex) b)
{
    return (struct NAME(complex)){a.re + b.re, a.im + b.im};
}

INLINE struct NAME(complex) NAME(minus)(struct NAME(complex) a, struct NAME(complex) b)
{
    return (struct NAME(complex)){a.re - b.re, a.im - b.im};
}

INLINE struct NAME(complex) NAME(times)(struct NAME(complex) a, struct NAME(complex) b)
{
    return (struct NAME(complex)){NAME(multiply_add)(-a.im, b.im, a.re * b.re),
                                  NAME(multiply_add)(a.re, b.im, a.im * b.re)};
}

/* Times -i, or i inverse. */
INLINE struct NAME(complex) NAME(quarter_turn)(int inverse, struct NAME(complex) a)
{
    return inverse ? (struct NAME(complex)){-a.im, a.re} : (struct NAME(complex)){a.im, -a.re};
}

/* Transform 2, 3 or 4 numbers. */
INLINE void NAME(small_transform)(int radix, int inverse, struct NAME(complex) *a)
{
    if (radix == 2) {
        const struct NAME(complex) first = a[0];
        a[0] = NAME(plus)(first, a[1]);
        a[1] = NAME(minus)(first, a[1]);
    } else if (radix == 3) {
        const V half = NAME(splat)((REAL)-0.5), root = NAME(splat)((REAL)0.86602540378443864676);
        const struct NAME(complex) total = NAME(plus)(a[1], a[2]);
        const struct NAME(complex) middle = {NAME(multiply_add)(half, total.re, a[0].re),
                                             NAME(multiply_add)(half, total.im, a[0].im)};
        const struct NAME(complex) apart =
            NAME(quarter_turn)(inverse, NAME(minus)(a[1], a[2]));
        const struct NAME(complex) scaled = {root * apart.re, root * apart.im};
        a[0] = NAME(plus)(a[0], total);
        a[1] = NAME(plus)(middle, scaled);
        a[2] = NAME(minus)(middle, scaled);
    } else {
        const struct NAME(complex) even = NAME(plus)(a[0], a[2]), odd = NAME(plus)(a[1], a[3]);
        const struct NAME(complex) apart = NAME(minus)(a[0], a[2]);
        const struct NAME(complex) turned =
            NAME(quarter_turn)(inverse, NAME(minus)(a[1], a[3]));
        a[0] = NAME(plus)(even, odd);
        a[1] = NAME(plus)(apart, turned);
        a[2] = NAME(minus)(even, odd);
        a[3] = NAME(minus)(apart, turned);
    }
}

/* Times the twiddle factors, or their conjugates, of all numbers but the first. */
INLINE void NAME(twiddle)(int radix, int inverse, struct NAME(complex) *a, const REAL *factors)
{
    UNROLL for (int q = 1; q < radix; q++) {
        const V re = NAME(splat)(factors[2 * q - 2]), im = NAME(splat)(factors[2 * q - 1]);
        a[q] = NAME(times)(a[q], (struct NAME(complex)){re, inverse ? -im : im});
    }
}

/* Transform `radix` vectors, `step` elements apart, in place; not `turned`: all
 * factors are 1. */
INLINE void NAME(butterfly)(int radix, int inverse, int turned, REAL *real, REAL *imaginary,
                            int64_t step, const REAL *factors)
{
    struct NAME(complex) a[LARGEST_RADIX];
    UNROLL for (int q = 0; q < radix; q++) {
        a[q].re = NAME(held)(NAME(load)(real + q * step));
        a[q].im = NAME(held)(NAME(load)(imaginary + q * step));
    }
    if (inverse && turned) {
        NAME(twiddle)(radix, 1, a, factors);
    }
    NAME(small_transform)(radix, inverse, a);
    if (!inverse && turned) {
        NAME(twiddle)(radix, 0, a, factors);
    }
    UNROLL for (int q = 0; q < radix; q++) {
        NAME(store)(real + q * step, a[q].re);
        NAME(store)(imaginary + q * step, a[q].im);
    }
}

/* Split every transform of `length` numbers into `radix`, or join as many; vectors are `pitch`
 * elements apart. */
INLINE void NAME(one_pass)(int radix, int inverse, REAL *real, REAL *imaginary, int64_t pitch,
                           int64_t total, int64_t length, const REAL *twiddles)
{
    const int64_t step = length / radix;
    for (int64_t start = 0; start < total; start += length) {
        REAL *re = real + start * pitch, *im = imaginary + start * pitch;
        if (step == 1) {
            NAME(butterfly)(radix, inverse, 0, re, im, pitch, twiddles);
            continue;
        }
        for (int64_t j = 0; j < step; j++) {
            NAME(butterfly)(radix, inverse, 1, re + j * pitch, im + j * pitch, step * pitch,
                            twiddles + j * 2 * (radix - 1));
        }
    }
}

/* Transform a vector of columns: element k is at real + k * pitch and imaginary + k * pitch. */
INLINE void NAME(passes)(int inverse, REAL *real, REAL *imaginary, int64_t pitch, int64_t table,
                         int64_t count, int64_t twiddles)
{
    const struct fft_pass *rows = RECORDS_AT(fft_pass, table);
    const int64_t total = rows->length;
    for (int64_t i = 0; i < count; i++) {
        const struct fft_pass *row = rows + (inverse ? count - 1 - i : i);
        const int64_t length = row->length;
        const REAL *own = AT(twiddles + row->twiddles);
        switch (row->radix) {
        case 2:
            NAME(one_pass)(2, inverse, real, imaginary, pitch, total, length, own);
            break;
        case 3:
            NAME(one_pass)(3, inverse, real, imaginary, pitch, total, length, own);
            break;
        default:
            NAME(one_pass)(4, inverse, real, imaginary, pitch, total, length, own);
            break;
        }
    }
}

static void NAME(forward)(REAL *real, REAL *imaginary, int64_t pitch, int64_t table, int64_t count,
                          int64_t twiddles)
{
    NAME(passes)(0, real, imaginary, pitch, table, count, twiddles);
}

static void NAME(inverse)(REAL *real, REAL *imaginary, int64_t pitch, int64_t table, int64_t count,
                          int64_t twiddles)
{
    NAME(passes)(1, real, imaginary, pitch, table, count, twiddles);
}

/* Where a part of a matrix is: its first row's block, that block's line and column of blocks,
 * and the blocks and lines from a row to the next. */
struct NAME(stand) {
    int64_t block, above, left, blocks_apart, lines_apart;
};

INLINE struct NAME(stand) NAME(stand_of)(int flat, const struct fft_args *args, int64_t matrix,
                                         int64_t half)
{
    if (flat) {
        const int64_t block = 2 * matrix * LANES + half;
        return (struct NAME(stand)){block, 0, block, 2, 0};
    }
    const int64_t block = 2 * matrix + half, across = args->blocks_across;
    return (struct NAME(stand)){block, block / across, block % across, 0, 1};
}

/* Copy cells that show a line of `width` pixels from `first` on; outside it they show what `which`
 * names (-1: zeros), or zeros where that is NULL. */
INLINE void NAME(copy_line)(const REAL *pixels, int64_t first, int64_t width, const int64_t *which,
                            REAL *cells, int64_t length)
{
    for (int64_t x = 0; x < length; x += LANES) {
        const int64_t at = first + x;
        if (at >= 0 && at + LANES <= width) {
            NAME(store)(cells + x, NAME(load)(pixels + at));
        } else if (!which) {
            NAME(store)(cells + x, NAME(load_between)(pixels + at, -at, width - at));
        } else {
            for (int64_t i = x; i < x + LANES; i++) {
                cells[i] = which[i] >= 0 ? pixels[which[i]] : (REAL)0;
            }
        }
    }
}

/* Copy a matrix's two blocks, padded, as its two parts. */
INLINE void NAME(gather)(int flat, int by_table, const struct fft_args *args, int64_t matrix,
                         const REAL *plane, int64_t target)
{
    const int64_t lines = args->lines, length = args->length, width = args->in_width;
    const int64_t blocks = args->blocks, wide = args->outputs_across, before = args->before;
    for (int64_t half = 0; half < 2; half++) {
        const struct NAME(stand) at = NAME(stand_of)(flat, args, matrix, half);
        const int64_t *rows = words_at(args->rows, at.above * args->outputs_down);
        for (int64_t r = 0; r < lines; r++) {
            const int64_t shift = r * at.blocks_apart, first = (at.left + shift) * wide;
            const int64_t row = at.block + shift < blocks ? rows[r * at.lines_apart] : -1;
            REAL *cells = AT(target + half * args->matrix_bytes + r * args->pitch);
            if (row < 0) {
                memset(cells, 0, (size_t)length * sizeof(REAL));
            } else {
                NAME(copy_line)(plane + row * width, first - before, width,
                                by_table ? words_at(args->columns, first) : NULL, cells, length);
            }
        }
    }
}

/* Turn LANES rows of `length` elements: columns become vectors, two vectors' places apart. */
INLINE void NAME(turn_in)(const REAL *lines, int64_t pitch, int64_t length, REAL *turned)
{
    for (int64_t x = 0; x < length; x += LANES) {
        V square[LANE_COUNT];
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            square[i] = NAME(held)(NAME(load)(lines + x + i * pitch));
        }
        NAME(transpose)(square);
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            NAME(store)(turned + 2 * (x + i) * LANES, square[i]);
        }
    }
}

/* Turn them back. */
INLINE void NAME(turn_out)(const REAL *turned, int64_t length, REAL *lines, int64_t pitch)
{
    for (int64_t x = 0; x < length; x += LANES) {
        V square[LANE_COUNT];
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            square[i] = NAME(held)(NAME(load)(turned + 2 * (x + i) * LANES));
        }
        NAME(transpose)(square);
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            NAME(store)(lines + x + i * pitch, square[i]);
        }
    }
}

/* Multiply the vectors of a line, real and imaginary in turn, by a spectrum's; flat: by its
 * numbers. */
INLINE void NAME(multiply_spectrum)(int flat, REAL *line, int64_t length, const REAL *spectrum)
{
    const int64_t vector = flat ? 1 : LANES;
    for (int64_t k = 0; k < length; k++) {
        REAL *place = line + 2 * k * LANES;
        const REAL *factor = spectrum + 2 * k * vector;
        const struct NAME(complex) value = {NAME(load)(place), NAME(load)(place + LANES)};
        struct NAME(complex) by;
        if (flat) {
            by.re = NAME(splat)(factor[0]), by.im = NAME(splat)(factor[1]);
        } else {
            by.re = NAME(load)(factor), by.im = NAME(load)(factor + LANES);
        }
        const struct NAME(complex) product = NAME(times)(value, by);
        NAME(store)(place, product.re);
        NAME(store)(place + LANES, product.im);
    }
}

/* Take a matrix's rows to their spectrum, filter it, and take it back. */
INLINE void NAME(filter_rows)(int flat, const struct fft_args *args, int64_t source, int64_t target,
                              REAL *line, const REAL *spectrum)
{
    const int64_t length = args->length, pitch = args->pitch / (int64_t)sizeof(REAL);
    for (int64_t r = 0; r < args->lines; r += LANES) {
        for (int64_t half = 0; half < 2; half++) {
            const int64_t start = half * args->matrix_bytes + r * args->pitch;
            NAME(turn_in)(AT(source + start), pitch, length, line + half * LANES);
        }
        NAME(forward)(line, line + LANES, 2 * LANES, args->across, args->across_count,
                      args->across_twiddles);
        NAME(multiply_spectrum)(flat, line, length, spectrum);
        spectrum += 2 * length * (flat ? 1 : LANES);
        NAME(inverse)(line, line + LANES, 2 * LANES, args->across, args->across_count,
                      args->across_twiddles);
        for (int64_t half = 0; half < 2; half++) {
            const int64_t start = half * args->matrix_bytes + r * args->pitch;
            NAME(turn_out)(line + half * LANES, length, AT(target + start), pitch);
        }
    }
}

/* Store `count` outputs of a row with the epilogue; `shift` bytes from the output's start. */
INLINE void NAME(store_row)(const struct fft_args *args, const REAL *values, int64_t shift, V bias,
                            int64_t count)
{
    const double slope = args->slope;
    const double low = args->low, high = args->high;
    const V zero = {0};
    REAL *out = AT(args->out + shift);
    const REAL *residual = args->residual ? AT(args->residual + shift) : NULL;
    int64_t x = 0;
    for (; x + LANES <= count; x += LANES) {
        V value = bias + NAME(load)(values + x);
        if (residual) {
            value += NAME(load)(residual + x);
        }
        NAME(tile_activate)(1, 1, &value, slope, low, high);
        NAME(store)(out + x, value);
    }
    if (x < count) {
        V value = bias + NAME(load)(values + x);
        if (residual) {
            value += NAME(load_first)(residual + x, count - x, zero);
        }
        NAME(tile_activate)(1, 1, &value, slope, low, high);
        NAME(store_first)(out + x, count - x, value);
    }
}

/* Bring elements 0, step, 2 step, ... of a line together at its start. */
INLINE void NAME(pick)(REAL *line, int64_t step, int64_t count)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        NAME(store)(line + i, NAME(every)(line + i * step, step));
    }
    for (; i < count; i++) {
        line[i] = line[i * step];
    }
}

/* Store a matrix's outputs. */
INLINE void NAME(scatter)(int flat, const struct fft_args *args, int64_t matrix, int64_t image,
                          V bias,
                          int64_t source)
{
    const int64_t size = (int64_t)sizeof(REAL), down = args->step_down, across = args->step_across;
    const int64_t lines = (flat ? args->lines : args->outputs_down) / down;
    const int64_t wide = args->outputs_across / across, width = args->width, height = args->height;
    for (int64_t half = 0; half < 2; half++) {
        const struct NAME(stand) at = NAME(stand_of)(flat, args, matrix, half);
        for (int64_t r = 0; r < lines; r++) {
            const int64_t shift = r * at.blocks_apart, column = (at.left + shift) * wide;
            const int64_t row = at.above * lines + r * at.lines_apart;
            if (at.block + shift >= args->blocks || row >= height) {
                break;
            }
            const int64_t count = lesser(wide, width - column);
            REAL *line = AT(source + half * args->matrix_bytes + r * down * args->pitch);
            if (across > 1) {
                NAME(pick)(line, across, count);
            }
            NAME(store_row)(args, line, image * args->out_bytes + (row * width + column) * size,
                            bias, count);
        }
    }
}

INLINE void NAME(overlap_save)(int flat, int by_table, const struct fft_args *args, int64_t first,
                               int64_t last, int64_t worker)
{
    const int64_t scratch = args->scratch_base + worker * args->scratch_stride;
    const int64_t length = args->length, pitch = args->pitch / (int64_t)sizeof(REAL);
    const int64_t part = args->matrix_bytes / (int64_t)sizeof(REAL);
    const int64_t multiplier = args->multiplier;
    const int64_t matrix = scratch + args->line_bytes;
    const int64_t filtered = multiplier > 1 ? matrix + 2 * args->matrix_bytes : matrix;
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t whole = item / args->parts, some = item % args->parts;
        const int64_t plane = whole / args->matrices, number = whole % args->matrices;
        /* Several parts of the filters take one transform. */
        const int known = whole == before;
        if (!known) {
            NAME(gather)(flat, by_table, args, number,
                         AT(args->planes + plane * args->plane_bytes), matrix);
            before = whole;
        }
        for (int64_t x = 0; !flat && !known && x < length; x += LANES) {
            REAL *start = AT(matrix) + x;
            NAME(forward)(start, start + part, pitch, args->down, args->down_count,
                          args->down_twiddles);
        }
        const int64_t end = multiplier * (some + 1) / args->parts;
        for (int64_t m = multiplier * some / args->parts; m < end; m++) {
            const int64_t channel = plane % args->channels * multiplier + m;
            const REAL *spectrum = AT(args->weights + channel * args->spectrum_bytes);
            NAME(filter_rows)(flat, args, matrix, filtered, AT(scratch), spectrum);
            for (int64_t x = 0; !flat && x < lesser(length, args->outputs_across); x += LANES) {
                REAL *start = AT(filtered) + x;
                NAME(inverse)(start, start + part, pitch, args->down, args->down_count,
                              args->down_twiddles);
            }
            NAME(scatter)(flat, args, number, plane * multiplier + m,
                          NAME(splat)(AT(args->bias)[channel]), filtered);
        }
    }
}

KERNEL(fft_overlap_save_0_0, fft_args, NAME(overlap_save)(0, 0, args, first, last, worker))
KERNEL(fft_overlap_save_0_1, fft_args, NAME(overlap_save)(0, 1, args, first, last, worker))
KERNEL(fft_overlap_save_1_0, fft_args, NAME(overlap_save)(1, 0, args, first, last, worker))
KERNEL(fft_overlap_save_1_1, fft_args, NAME(overlap_save)(1, 1, args, first, last, worker))

#include "fft_filters.h"
