/* Regions of images pooled by samples between cells: an item is some channels of a region.
 *
 * A mean is taken along rows first: what a
 * row of bins sees of the image is summed, with the weights of the rows' samples, into a line, and
 * cells of that line into bins.
 */
#include "words.h"

#ifndef ROI_ONCE
#define ROI_ONCE

/* The two cells that a sample is between, and their weights. */
struct roi_sample {
    int64_t low, high;
    double first, second;
};

/* The samples of all bins along one dimension; give how many a bin has. */
WORDS_INLINE int64_t roi_samples(struct roi_sample *samples, double start, double size,
                                 int64_t bins, int64_t ratio, int64_t most, int64_t length)
{
    int64_t each = ratio;
    if (each <= 0) {
        const double cells = ceil(size / (double)bins);
        /* The planner has looked at the regions. */
        each = cells > 1 ? (cells * (double)bins <= (double)most ? (int64_t)cells : most / bins) : 1;
    }
    const double step = size / (double)bins;
    for (int64_t i = 0; i < bins * each; i++) {
        const double within = ((double)(i % each) + 0.5) / (double)each;
        const double x = start + ((double)(i / each) + within) * step;
        /* False for NaN, which is nowhere. */
        const int inside = x >= -1 && x <= (double)length;
        const double kept = !inside || x < 0 ? 0 : x < (double)(length - 1) ? x : (double)(length - 1);
        const int64_t low = (int64_t)kept;
        samples[i].low = low;
        samples[i].high = lesser(low + 1, length - 1);
        samples[i].first = inside ? 1 - (kept - (double)low) : 0;
        samples[i].second = inside ? kept - (double)low : 0;
    }
    return each;
}
#endif

INLINE void NAME(roi_mean)(const REAL *plane, REAL *bin, REAL *line, const struct roi_sample *rows,
                           const struct roi_sample *columns, const struct roi_align_args *args, int64_t row_each,
                           int64_t column_each, int64_t from, int64_t to)
{
    const int64_t width = args->width, bins = args->out_columns;
    const REAL share = (REAL)1 / (REAL)(row_each * column_each);
    for (int64_t i = 0; i < args->out_rows; i++, rows += row_each) {
        for (int64_t r = 0; r < row_each; r++) {
            const REAL *low = plane + rows[r].low * width, *high = plane + rows[r].high * width;
            const REAL first = (REAL)rows[r].first, second = (REAL)rows[r].second;
            if (r == 0) {
                for (int64_t x = from; x < to; x++) {
                    line[x] = low[x] * first + high[x] * second;
                }
            } else {
                for (int64_t x = from; x < to; x++) {
                    line[x] += low[x] * first + high[x] * second;
                }
            }
        }
        const struct roi_sample *column = columns;
        for (int64_t j = 0; j < bins; j++) {
            REAL total = 0;
            for (int64_t c = 0; c < column_each; c++, column++) {
                total += line[column->low] * (REAL)column->first +
                         line[column->high] * (REAL)column->second;
            }
            *bin++ = total * share;
        }
    }
}

INLINE REAL NAME(roi_larger)(REAL a, REAL b)
{
    return b > a || b != b ? b : a;
}

INLINE void NAME(roi_largest)(const REAL *plane, REAL *bin, const struct roi_sample *rows,
                              const struct roi_sample *columns, const struct roi_align_args *args,
                              int64_t row_each, int64_t column_each)
{
    const int64_t width = args->width;
    for (int64_t i = 0; i < args->out_rows; i++, rows += row_each) {
        const struct roi_sample *column = columns;
        for (int64_t j = 0; j < args->out_columns; j++, column += column_each) {
            REAL best = -(REAL)INFINITY;
            for (int64_t r = 0; r < row_each; r++) {
                const REAL *low = plane + rows[r].low * width, *high = plane + rows[r].high * width;
                for (int64_t c = 0; c < column_each; c++) {
                    const struct roi_sample x = column[c];
                    best = NAME(roi_larger)(best, low[x.low] * (REAL)(rows[r].first * x.first));
                    best = NAME(roi_larger)(best, low[x.high] * (REAL)(rows[r].first * x.second));
                    best = NAME(roi_larger)(best, high[x.low] * (REAL)(rows[r].second * x.first));
                    best = NAME(roi_larger)(best, high[x.high] * (REAL)(rows[r].second * x.second));
                }
            }
            *bin++ = best;
        }
    }
}

static void NAME(roi_items)(const struct roi_align_args *args, int64_t first, int64_t last,
                            int64_t worker)
{
    const int64_t channels = args->channels, height = args->height, width = args->width;
    const int64_t parts = parts_of(channels, ROI_ALIGN_CHANNELS_AT_ONCE);
    const int64_t bins = args->out_rows * args->out_columns;
    struct roi_sample *rows =
        (struct roi_sample *)(intptr_t)(args->scratch_base + worker * args->scratch_stride);
    struct roi_sample *columns = rows + args->most_rows;
    REAL *line = (REAL *)(columns + args->most_columns);
    const double scale = args->scale, shift = args->half_pixel ? 0.5 : 0;
    for (int64_t item = first; item < last; item++) {
        const int64_t region = item / parts, start = item % parts * ROI_ALIGN_CHANNELS_AT_ONCE;
        const REAL *box = AT(args->regions) + region * 4;
        const double x = (double)box[0] * scale - shift, y = (double)box[1] * scale - shift;
        double across = (double)box[2] * scale - shift - x;
        double down = (double)box[3] * scale - shift - y;
        if (!args->half_pixel) {
            across = across > 1 ? across : 1;
            down = down > 1 ? down : 1;
        }
        const int64_t row_each = roi_samples(rows, y, down, args->out_rows, args->ratio,
                                             args->most_rows, height);
        const int64_t column_each = roi_samples(columns, x, across, args->out_columns, args->ratio,
                                                args->most_columns, width);
        int64_t from = width, to = 0;
        for (int64_t i = 0; i < args->out_columns * column_each; i++) {
            from = lesser(from, lesser(columns[i].low, columns[i].high));
            to = greater(to, columns[i].high + 1);
        }
        const int64_t image = words_at(args->images, 0)[region];
        for (int64_t c = start; c < lesser(start + ROI_ALIGN_CHANNELS_AT_ONCE, channels); c++) {
            const REAL *plane = AT(args->source) + (image * channels + c) * height * width;
            REAL *bin = AT(args->target) + (region * channels + c) * bins;
            if (args->largest) {
                NAME(roi_largest)(plane, bin, rows, columns, args, row_each, column_each);
            } else {
                NAME(roi_mean)(plane, bin, line, rows, columns, args, row_each, column_each, from,
                               to);
            }
        }
    }
}

KERNEL(roi_align, roi_align_args, NAME(roi_items)(args, first, last, worker))
