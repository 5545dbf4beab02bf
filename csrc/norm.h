/* Normalisations: moments of chunks, their combination, and a layer's affine step; in doubles.
 *
 * What they do together is explained in fastconv/backends/native/norm.py.
 */
#include "rows.h"
#include "wide.h"

#define DOUBLES(address) ((double *)(intptr_t)(address))

INLINE W NAME(brought)(int squares, W total, W x, W mean)
{
    return squares ? WIDE(multiply_add)(x - mean, x - mean, total) : total + x;
}

/* The sum of elements, or of the squares of their distances from `mean`: four sums side by side. */
INLINE double NAME(total)(int squares, const REAL *x, int64_t count, double mean)
{
    const W centre = WIDE(splat)(mean);
    W totals[4] = {{0}, {0}, {0}, {0}};
    int64_t i = 0;
    for (; i + 4 * WIDE_LANES <= count; i += 4 * WIDE_LANES) {
        UNROLL for (int j = 0; j < 4; j++) {
            const W value = NAME(load_wide)(x + i + j * WIDE_LANES);
            totals[j] = NAME(brought)(squares, totals[j], value, centre);
        }
    }
    for (; i + WIDE_LANES <= count; i += WIDE_LANES) {
        totals[0] = NAME(brought)(squares, totals[0], NAME(load_wide)(x + i), centre);
    }
    if (i < count) {
        const W value = NAME(load_wide_first)(x + i, count - i, centre);
        totals[1] = NAME(brought)(squares, totals[1], value, centre);
    }
    return WIDE(sum_of_lanes)((totals[0] + totals[1]) + (totals[2] + totals[3]));
}

INLINE void NAME(row_moments)(const struct row_moments_args *args, int64_t first, int64_t last)
{
    for (int64_t item = first; item < last; item++) {
        const struct row_item rows = row_item(&args->base, item);
        for (int64_t row = rows.first; row < rows.last; row++) {
            const REAL *x = AT(args->source) + row * args->row_length + rows.start;
            const int64_t place = row * args->row_chunks + rows.part;
            const double mean = NAME(total)(0, x, rows.count, 0) / (double)rows.count;
            DOUBLES(args->means)[place] = mean;
            DOUBLES(args->sums)[place] = NAME(total)(1, x, rows.count, mean);
        }
    }
}

/* The moments of some channels, `vectors` vectors of them or the first `left`, over pixels. */
INLINE void NAME(channel_moments)(int vectors, const REAL *x, int64_t pixels, int64_t step,
                                  int64_t left, double *means, double *sums)
{
    const W pixel_count = WIDE(splat)((double)pixels), none = {0};
    W means_of[8], totals[8];
    UNROLL for (int v = 0; v < vectors; v++) {
        means_of[v] = totals[v] = none;
    }
    for (int64_t p = 0; p < pixels; p++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            means_of[v] += NAME(load_wide_some)(x + p * step + v * WIDE_LANES, left, none);
        }
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        means_of[v] /= pixel_count;
    }
    for (int64_t p = 0; p < pixels; p++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const W value = NAME(load_wide_some)(x + p * step + v * WIDE_LANES, left, none);
            totals[v] = NAME(brought)(1, totals[v], value, means_of[v]);
        }
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        WIDE(store_some)(means + v * WIDE_LANES, left, means_of[v]);
        WIDE(store_some)(sums + v * WIDE_LANES, left, totals[v]);
    }
}

INLINE void NAME(pixel_moments)(const struct pixel_moments_args *args, int64_t first, int64_t last)
{
    const int64_t channels = args->channels;
    for (int64_t item = first; item < last; item++) {
        const int64_t image = item / args->chunks, start = item % args->chunks * args->chunk;
        const int64_t count = lesser(args->chunk, args->pixels - start);
        const REAL *x = AT(args->source) + (image * args->pixels + start) * channels;
        double *means = DOUBLES(args->means) + item * channels;
        double *sums = DOUBLES(args->sums) + item * channels;
        int64_t c = 0;
        for (; c + 8 * WIDE_LANES <= channels; c += 8 * WIDE_LANES) {
            NAME(channel_moments)(8, x + c, count, channels, WIDE_LANES, means + c, sums + c);
        }
        for (; c + 2 * WIDE_LANES <= channels; c += 2 * WIDE_LANES) {
            NAME(channel_moments)(2, x + c, count, channels, WIDE_LANES, means + c, sums + c);
        }
        for (; c < channels; c += WIDE_LANES) {
            NAME(channel_moments)(1, x + c, count, channels, channels - c, means + c, sums + c);
        }
    }
}

#if !REAL_IS_FLOAT
/* Put a group's parts together and give each of its channels a scale and a shift: an item is a
 * group of an image. */
INLINE void NAME(combine)(const struct combine_moments_args *args, int64_t first, int64_t last)
{
    const int64_t channels = args->group_channels;
    for (int64_t item = first; item < last; item++) {
        const int64_t image = item / args->groups, group = item % args->groups;
        double seen = 0, mean = 0, squares = 0;
        for (int64_t part = 0; part < args->parts_down; part++) {
            const int64_t place =
                image * args->image_step + group * args->group_step + part * args->part_step;
            const double *means = DOUBLES(args->means) + place, *sums = DOUBLES(args->sums) + place;
            const int64_t start = part * args->part_length;
            const double count = (double)lesser(args->part_length, args->group_length - start);
            for (int64_t j = 0; j < args->parts_across; j++) {
                const double step = means[j] - mean, share = count / (seen + count);
                mean += step * share;
                squares += sums[j] + step * (step * (seen * share));
                seen += count;
            }
        }
        const double deviation = sqrt(squares / seen + args->epsilon);
        const double *weight = DOUBLES(args->weights) + group * channels;
        const double *bias = DOUBLES(args->biases) + group * channels;
        double *scale = DOUBLES(args->scales) + item * channels;
        double *shift = DOUBLES(args->shifts) + item * channels;
        for (int64_t c = 0; c < channels; c++) {
            scale[c] = weight[c] / deviation;
            shift[c] = bias[c] - mean * scale[c];
        }
    }
}

KERNEL(norm_combine, combine_moments_args, NAME(combine)(args, first, last))
#endif

/* Scale and shift each row by its own numbers, then each place by the weight and bias. The first
 * product is rounded, as the shift is: a deviation of nothing is nothing. */
INLINE void NAME(standardise)(const struct standardise_args *args, int64_t first, int64_t last)
{
    for (int64_t item = first; item < last; item++) {
        const struct row_item rows = row_item(&args->base, item);
        const double *weight = DOUBLES(args->place_weights) + rows.start;
        const double *bias = DOUBLES(args->place_biases) + rows.start;
        for (int64_t row = rows.first; row < rows.last; row++) {
            const int64_t place = row * args->row_length + rows.start;
            const REAL *source = AT(args->source) + place;
            REAL *target = AT(args->target) + place;
            const W scale = WIDE(splat)(DOUBLES(args->row_scales)[row]);
            const W shift = WIDE(splat)(DOUBLES(args->row_shifts)[row]);
            int64_t i = 0;
            for (; i + WIDE_LANES <= rows.count; i += WIDE_LANES) {
                const W x = NAME(load_wide)(source + i) * scale + shift;
                const W factor = WIDE(load)(weight + i), term = WIDE(load)(bias + i);
                NAME(store_wide)(target + i, WIDE(multiply_add)(x, factor, term));
            }
            if (i < rows.count) {
                const int64_t left = rows.count - i;
                const W x = NAME(load_wide_first)(source + i, left, shift) * scale + shift;
                const W factor = WIDE(load_first)(weight + i, left, shift);
                const W term = WIDE(load_first)(bias + i, left, shift);
                NAME(store_wide_first)(target + i, left, WIDE(multiply_add)(x, factor, term));
            }
        }
    }
}

KERNEL(norm_row_moments, row_moments_args, NAME(row_moments)(args, first, last))
KERNEL(norm_pixel_moments, pixel_moments_args, NAME(pixel_moments)(args, first, last))
KERNEL(norm_standardise, standardise_args, NAME(standardise)(args, first, last))

#undef DOUBLES
