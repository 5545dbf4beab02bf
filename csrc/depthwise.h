/* Depthwise convolution: lanes are channels, the rows of a tile neighbouring pixels of a line.
 *
 * Each pixel of an input line is loaded once for all the taps of a kernel's line that see it; those
 * outside the image are zeros. A work item is a block of columns of some output lines of one vector
 * of channels of one image; its words are explained in fastconv/backends/native/conv/depthwise.py.
 * Sums run over taps in order, the last dimension fastest.
 */
#include "epilogue.h"

#ifndef DEPTHWISE_WORDS
#define DEPTHWISE_WORDS
enum {
    SOURCE, SOURCE_IMAGE, PITCH, WEIGHTS, BIAS, OUT, OUT_IMAGE, OUT_ROWS, OUT_COLUMN, RESIDUAL,
    SLOPE, LOW, HIGH, CHANNELS, LINE_BLOCK, TILE_ROWS, KERNEL_SIZE, STRIDE = KERNEL_SIZE + 3,
    DILATION = STRIDE + 3, BEFORE = DILATION + 3, INPUT_SIZE = BEFORE + 3,
    OUTPUT_SIZE = INPUT_SIZE + 3, SCRATCH_BASE = OUTPUT_SIZE + 3, SCRATCH_STRIDE, COLUMN_BLOCK
};
/* Taps of a line whose weights are held in registers together. */
enum { LINE_TAPS = 7 };
#endif

/* A pixel of an input line: number `number` of `length`, at `place`, the next one `pitch` bytes on;
 * of each, some lanes are read. */
struct NAME(pixel) {
    int64_t place, pitch;
    int64_t number, length;
    NAME(lanes) lanes;
};

static const REAL NAME(zeros)[LANE_COUNT];

/* Read a pixel; at an edge, zeros where it is outside. `whole`: all lanes. */
INLINE V NAME(read_pixel)(int edge, int whole, const struct NAME(pixel) *at)
{
    const int there = !edge || (uint64_t)at->number < (uint64_t)at->length;
    const REAL *place = there ? AT(at->place) : NAME(zeros);
    return whole ? NAME(load)(place) : NAME(load_lanes)(place, at->lanes);
}

INLINE void NAME(move_right)(struct NAME(pixel) *at, int64_t pixels)
{
    at->place += pixels * at->pitch;
    at->number += pixels;
}

/* Add a line of `taps` weights to a tile: row r sees, for each tap t in order, the pixel
 * r * step + t, which is read once for all that see it. */
INLINE void NAME(add_line)(int rows, int taps, int step, int edge, int whole, V *tile,
                           struct NAME(pixel) at, const REAL *weights)
{
    V factors[LINE_TAPS];
    UNROLL for (int t = 0; t < taps; t++) {
        factors[t] = NAME(load)(weights + t * LANES);
    }
    UNROLL for (int pixel = 0; pixel < (rows - 1) * step + taps; pixel++) {
        const V value = NAME(held)(NAME(read_pixel)(edge, whole, &at));
        UNROLL for (int t = 0; t < taps; t++) {
            const int r = (pixel - t) / step;
            if (pixel >= t && (pixel - t) % step == 0 && r < rows) {
                tile[r] = NAME(multiply_add)(factors[t], value, tile[r]);
            }
        }
        NAME(move_right)(&at, 1);
    }
}

/* Add one weight: row r sees the pixel r * step. */
INLINE void NAME(add_tap)(int rows, int64_t step, int edge, int whole, V *tile,
                          struct NAME(pixel) at, const REAL *weights)
{
    const V factor = NAME(load)(weights);
    UNROLL for (int r = 0; r < rows; r++) {
        tile[r] = NAME(multiply_add)(factor, NAME(read_pixel)(edge, whole, &at), tile[r]);
        NAME(move_right)(&at, step);
    }
}

/* The same for any number of taps, steps and distances; `step` 1: taps and rows follow each
 * other. */
INLINE void NAME(add_any_line)(int rows, int step, int edge, int whole, V *tile,
                               const int64_t *args, struct NAME(pixel) at, const REAL *weights)
{
    int64_t left = args[KERNEL_SIZE + 2];
    for (; step == 1 && left >= 4; left -= 4) {
        NAME(add_line)(rows, 4, 1, edge, whole, tile, at, weights);
        NAME(move_right)(&at, 4);
        weights += 4 * LANES;
    }
    for (; left > 0; left--) {
        NAME(add_tap)(rows, args[STRIDE + 2], edge, whole, tile, at, weights);
        NAME(move_right)(&at, args[DILATION + 2]);
        weights += LANES;
    }
}

/* Add all taps, a line of the kernel after the other; `taps` and `step` are known, or 0: any. */
INLINE void NAME(add_lines)(int rows, int taps, int step, int edge, int whole, V *tile,
                            const int64_t *args, int64_t source, int64_t depth, int64_t height,
                            struct NAME(pixel) at, const REAL *weights)
{
    const int64_t *size = args + INPUT_SIZE, *kernel = args + KERNEL_SIZE;
    const int64_t top = height * args[STRIDE + 1] - args[BEFORE + 1];
    const int64_t front = depth * args[STRIDE] - args[BEFORE];
    for (int64_t z = 0; z < kernel[0]; z++) {
        for (int64_t y = 0; y < kernel[1]; y++) {
            const int64_t plane = front + z * args[DILATION], line = top + y * args[DILATION + 1];
            const int there =
                (uint64_t)plane < (uint64_t)size[0] && (uint64_t)line < (uint64_t)size[1];
            at.place = source + ((plane * size[1] + line) * size[2] + at.number) * args[PITCH];
            at.length = there ? size[2] : 0;
            at.pitch = args[PITCH];
            if (!edge && !there) {
                at.place = (int64_t)(intptr_t)NAME(zeros);
                at.pitch = 0;
            }
            if (taps > 0) {
                NAME(add_line)(rows, taps, step, edge, whole, tile, at, weights);
            } else {
                NAME(add_any_line)(rows, step, edge, whole, tile, args, at, weights);
            }
            weights += kernel[2] * LANES;
        }
    }
}

/* Add the taps of common kernels, known at compile time, or others. Where loads of some lanes take
 * longer than others, the few channels past the last whole vector are not worth more code. */
INLINE void NAME(add_some_lines)(int rows, V *tile, const int64_t *args, int64_t source,
                                 int64_t depth, int64_t height, const struct NAME(pixel) *at,
                                 int64_t channels, const REAL *weights)
{
    const int whole = !HAS_AVX512;
    const int known = args[DILATION + 2] == 1 && (!whole || channels >= LANES);
    const int64_t span = (rows - 1) * args[STRIDE + 2] + args[KERNEL_SIZE + 2];
    const int edge = at->number < 0 || at->number + span > args[INPUT_SIZE + 2];
#define WHERE(taps, step)                                                                          \
    if (known && (taps == 0 || args[KERNEL_SIZE + 2] == taps) && args[STRIDE + 2] == step) {       \
        if (edge) {                                                                                \
            NAME(add_lines)(rows, taps, step, 1, whole, tile, args, source, depth, height, *at,    \
                            weights);                                                              \
        } else {                                                                                   \
            NAME(add_lines)(rows, taps, step, 0, whole, tile, args, source, depth, height, *at,    \
                            weights);                                                              \
        }                                                                                          \
        return;                                                                                    \
    }
    WHERE(3, 1)
    WHERE(5, 1)
    WHERE(7, 1)
    WHERE(3, 2)
    WHERE(5, 2)
    WHERE(7, 2)
    WHERE(0, 1)
#undef WHERE
    NAME(add_lines)(rows, 0, 0, 1, 0, tile, args, source, depth, height, *at, weights);
}

/* One vector of channels of one image. */
struct NAME(panel) {
    int64_t source;
    const REAL *weights;
    const REAL *bias;
    int64_t channel;
    struct NAME(epilogue) epilogue;
};

/* Sum the block of columns from `begin` on of output lines `first` to `last` - 1. */
INLINE void NAME(sum_lines)(int rows, const int64_t *args, struct NAME(panel) *panel,
                            int64_t first, int64_t last, int64_t begin)
{
    const int64_t width = args[OUTPUT_SIZE + 2], end = lesser(begin + args[COLUMN_BLOCK], width);
    const int64_t height = args[OUTPUT_SIZE + 1];
    const int64_t channels = args[CHANNELS] - panel->channel;
    struct NAME(pixel) at = {
        .lanes = NAME(between)(0, channels),
    };
    for (int64_t line = first; line < last; line++) {
        panel->epilogue.row_count = (line + 1) * width;
        for (int64_t column = begin; column < end; column += rows) {
            V tile[MOST_VECTORS];
            NAME(tile_fill)(rows, 1, tile, (V){0});
            at.number = column * args[STRIDE + 2] - args[BEFORE + 2];
            NAME(add_some_lines)(rows, tile, args, panel->source, line / height, line % height,
                                 &at, channels, panel->weights);
            NAME(tile_finish)(rows, 1, tile, panel->bias, &panel->epilogue, line * width + column,
                              panel->channel);
        }
    }
}

/* The tiles of PIXELS in fastconv/backends/native/conv/depthwise.py. */
typedef void (*NAME(lines_function))(const int64_t *args, struct NAME(panel) *panel, int64_t first,
                                     int64_t last, int64_t begin);
#if VECTOR_REGISTERS == 32
#define PIXELS(X) X(14) X(8) X(7) X(4)
#else
#define PIXELS(X) X(8) X(7) X(4)
#endif
#define LINES_FUNCTION(rows)                                                                       \
    static void NAME(sum_lines_##rows)(const int64_t *args, struct NAME(panel) *panel,             \
                                       int64_t first, int64_t last, int64_t begin)                 \
    {                                                                                              \
        NAME(sum_lines)(rows, args, panel, first, last, begin);                                    \
    }
PIXELS(LINES_FUNCTION)
#define LINES_CASE(rows)                                                                           \
    case rows:                                                                                     \
        return NAME(sum_lines_##rows);
static NAME(lines_function) NAME(lines_function_of)(int64_t rows)
{
    switch (rows) {
        PIXELS(LINES_CASE)
    }
    return 0;
}
#undef PIXELS
#undef LINES_FUNCTION
#undef LINES_CASE

INLINE void NAME(sum_panels)(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    const NAME(lines_function) sum = NAME(lines_function_of)(args[TILE_ROWS]);
    const int64_t *kernel = args + KERNEL_SIZE;
    const int64_t taps = kernel[0] * kernel[1] * kernel[2];
    const int64_t lines = args[OUTPUT_SIZE] * args[OUTPUT_SIZE + 1];
    const int64_t panels = parts_of(args[CHANNELS], LANES);
    const int64_t blocks = parts_of(lines, args[LINE_BLOCK]);
    const int64_t parts = parts_of(args[OUTPUT_SIZE + 2], args[COLUMN_BLOCK]);
    for (int64_t item = first; item < last; item++) {
        const int64_t channel = item % panels * LANES, image = item / panels / parts / blocks;
        const int64_t begin = item / panels % parts * args[COLUMN_BLOCK];
        const int64_t start = item / panels / parts % blocks * args[LINE_BLOCK];
        const int64_t shift = image * args[OUT_IMAGE];
        struct NAME(panel) panel = {
            .source = args[SOURCE] + image * args[SOURCE_IMAGE] + channel * (int64_t)sizeof(REAL),
            .weights = AT(args[WEIGHTS]) + channel * taps,
            .bias = AT(args[BIAS]) + channel,
            .channel = channel,
            .epilogue = {.out = args[OUT] + shift,
                         .residual = args[RESIDUAL] != 0 ? args[RESIDUAL] + shift : 0,
                         .out_rows = words_at(args[OUT_ROWS], 0),
                         .out_column = args[OUT_COLUMN],
                         .column_count = args[CHANNELS],
                         .slope = number_of(args[SLOPE]),
                         .low = number_of(args[LOW]),
                         .high = number_of(args[HIGH]),
                         .buffer = AT(args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE])},
        };
        sum(args, &panel, start, lesser(start + args[LINE_BLOCK], lines), begin);
    }
}

KERNEL(depthwise, NAME(sum_panels)(args, first, last, worker))
