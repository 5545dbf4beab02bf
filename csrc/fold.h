/* Windows summed back into images: an item is one row of one channel, its taps are added in order.
 *
 * The words are those of windows.h.
 */
#include "windows.h"

/* Add `count` cells to those that lie `step` apart. */
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
INLINE void NAME(add_taps)(const int64_t *args, REAL *line, const REAL *of)
{
    const int64_t stride = args[X_STRIDE], columns = args[WINDOW_COLUMNS];
    for (int64_t j = 0; j < args[KERNEL_WIDTH]; j++, of += args[WINDOW_ROWS] * columns) {
        const int64_t x_from = j * args[X_DILATION] - args[LEFT];
        const struct span inside = blocks_inside(args[WIDTH], columns, stride, x_from);
        if (inside.high > inside.low) {
            NAME(add)(line + inside.low * stride + x_from, stride, of + inside.low,
                      inside.high - inside.low);
        }
    }
}

/* Sum row y of a channel, whose taps' blocks begin at `taps`. */
INLINE void NAME(sum_row)(const int64_t *args, REAL *line, const REAL *taps, int64_t y)
{
    const int64_t row_cells = args[KERNEL_WIDTH] * args[WINDOW_ROWS] * args[WINDOW_COLUMNS];
    memset(line, 0, (size_t)args[WIDTH] * sizeof(REAL));
    for (int64_t i = 0; i < args[KERNEL_HEIGHT]; i++) {
        const int64_t below = y + args[TOP] - i * args[Y_DILATION];
        const int64_t row = below / args[Y_STRIDE];
        if (below >= 0 && below % args[Y_STRIDE] == 0 && row < args[WINDOW_ROWS]) {
            NAME(add_taps)(args, line, taps + i * row_cells + row * args[WINDOW_COLUMNS]);
        }
    }
}

static void NAME(fold_rows)(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    const int64_t channels = args[CHANNELS], height = args[HEIGHT], x_step = args[X_STEP];
    const int64_t cells = args[KERNEL_HEIGHT] * args[KERNEL_WIDTH] * args[WINDOW_ROWS] * args[WINDOW_COLUMNS];
    REAL *scratch = AT(args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]);
    for (int64_t item = first; item < last; item++) {
        /* Neighbouring items share cache lines where channels stand last. */
        const int planes = x_step == 1;
        const int64_t row = planes ? item : item / channels;
        const int64_t y = row % height, plane = row / height;
        const int64_t channel = planes ? plane % channels : item % channels;
        const int64_t image = planes ? plane / channels : plane;
        REAL *out = AT(args[SUM_AT]) + image * args[IMAGE_STEP] + channel * args[CHANNEL_STEP] +
                    y * args[Y_STEP];
        const REAL *taps = AT(args[SUMMED_AT]) + (image * channels + channel) * cells;
        NAME(sum_row)(args, planes ? out : scratch, taps, y);
        for (int64_t x = 0; !planes && x < args[WIDTH]; x++) {
            out[x * x_step] = scratch[x];
        }
    }
}

KERNEL(fold, NAME(fold_rows)(args, first, last, worker))
