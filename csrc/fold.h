/* Windows summed back into images: an item is one row of one channel, its taps are added in order. */
#include "windows.h"

/* Add `count` cells to those that are `step` apart. */
INLINE void NAME(add)(REAL *restrict to, int64_t step, const REAL *restrict of, int64_t count)
{
    int64_t done = 0;
    if (step == 1) {
        for (; done + LANES <= count; done += LANES) {
            NAME(store)(to + done, NAME(load)(to + done) + NAME(load)(of + done));
        }
    }
    for (; done < count; done++) {
        to[done * step] += of[done];
    }
}

/* Add to a row of the image what the taps of a window's row give it: `of` is the first tap's row of
 * blocks. */
INLINE void NAME(add_taps)(const struct windows_args *args, REAL *line, const REAL *of)
{
    const int64_t stride = args->x_stride, columns = args->columns;
    for (int64_t j = 0; j < args->kernel_width; j++, of += args->rows * columns) {
        const int64_t x_from = j * args->x_dilation - args->left;
        const struct span inside = blocks_inside(args->width, columns, stride, x_from);
        if (inside.high > inside.low) {
            NAME(add)(line + inside.low * stride + x_from, stride, of + inside.low,
                      inside.high - inside.low);
        }
    }
}

/* Sum row y of a channel, whose taps' blocks begin at `taps`. */
INLINE void NAME(sum_row)(const struct windows_args *args, REAL *line, const REAL *taps, int64_t y)
{
    const int64_t row_cells = args->kernel_width * args->rows * args->columns;
    memset(line, 0, (size_t)args->width * sizeof(REAL));
    for (int64_t i = 0; i < args->kernel_height; i++) {
        const int64_t below = y + args->top - i * args->y_dilation;
        const int64_t row = below / args->y_stride;
        if (below >= 0 && below % args->y_stride == 0 && row < args->rows) {
            NAME(add_taps)(args, line, taps + i * row_cells + row * args->columns);
        }
    }
}

static void NAME(fold_rows)(const struct windows_args *args, int64_t first, int64_t last,
                            int64_t worker)
{
    const int64_t channels = args->channels, height = args->height, x_step = args->x_step;
    const int64_t cells = args->kernel_height * args->kernel_width * args->rows * args->columns;
    REAL *scratch = AT(args->scratch_base + worker * args->scratch_stride);
    for (int64_t item = first; item < last; item++) {
        /* Neighbouring items share cache lines where channels are last. */
        const int planes = x_step == 1;
        const int64_t row = planes ? item : item / channels;
        const int64_t y = row % height, plane = row / height;
        const int64_t channel = planes ? plane % channels : item % channels;
        const int64_t image = planes ? plane / channels : plane;
        REAL *out = AT(args->target) + image * args->image_step + channel * args->channel_step +
                    y * args->y_step;
        const REAL *taps = AT(args->source) + (image * channels + channel) * cells;
        NAME(sum_row)(args, planes ? out : scratch, taps, y);
        for (int64_t x = 0; !planes && x < args->width; x++) {
            out[x * x_step] = scratch[x];
        }
    }
}

KERNEL(fold, windows_args, NAME(fold_rows)(args, first, last, worker))
