/* Direct convolution of channels-first images: vector lanes across pixels, weights broadcast.
 *
 * A register tile is `rows` output channels of `vectors` vectors of pixels, fed from padded lines
 * in the worker's scratch memory, or from the input itself. A work item is a part of the output
 * channels of a chunk of one group of one image. The words are those of
 * fastconv/backends/native/conv/planar.py.
 */
#include "planes.h"
#include "tile.h"

#ifndef PLANAR_WORDS
#define PLANAR_WORDS
enum {
    PLANES, IMAGE_BYTES, PLANE_BYTES, WEIGHTS, BIAS, OUT, OUT_IMAGE, OUT_PLANE, RESIDUAL, SLOPE,
    LOW, HIGH, GROUPS, IN_CHANNELS, OUT_CHANNELS, STEPS, OFFSETS, PIXELS, CHUNK, HEIGHT, WIDTH, CUT,
    SINGLE, TAPS_DOWN, STRIDE_DOWN, APART_DOWN, LINES, SCRATCH_BASE = LINES + LINE_WORDS,
    SCRATCH_STRIDE, PARTS, PANEL
};
/* How an image is cut into chunks. */
enum { CUT_ROWS, CUT_PIXELS, CUT_COLUMNS, CUT_SPANS };
/* A row of the table of pixels: bytes to a vector's input, to its output, lanes to store. */
enum { PIXEL_INPUT, PIXEL_OUTPUT, PIXEL_LANES, PIXEL_WORDS };
enum { MOST_PIXELS = 8 };
#endif

/* The vectors of a tile: their inputs, bytes from a channel's output to theirs, lanes to store. */
struct NAME(pixels) {
    const char *inputs[MOST_PIXELS];
    int64_t outputs[MOST_PIXELS], lanes[MOST_PIXELS];
    int whole;
};

/* Those from vector q of a chunk on, which has `left` pixels in all. In the image itself the last
 * vector overlaps the one before, so that none is read past the end; at least one fits. */
INLINE void NAME(find_pixels)(int vectors, struct NAME(pixels) *pixels, const int64_t *args,
                              int64_t source, int64_t q, int64_t left)
{
    const int64_t *table = words_at(args[PIXELS], q * PIXEL_WORDS);
    pixels->whole = 1;
    if (args[CUT] == CUT_PIXELS) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const int64_t at = lesser((q + v) * LANES, left - LANES) * (int64_t)sizeof(REAL);
            pixels->inputs[v] = (const char *)AT(source + at);
            pixels->outputs[v] = at;
            pixels->lanes[v] = LANES;
        }
        return;
    }
    left -= q * LANES;
    UNROLL for (int v = 0; v < vectors; v++) {
        /* Number by number: gcc would gather vectors of them, and take those apart again. */
        const int64_t lanes = anew(lesser(table[PIXEL_LANES], left - v * LANES));
        pixels->inputs[v] = (const char *)AT(source + table[PIXEL_INPUT]);
        pixels->outputs[v] = table[PIXEL_OUTPUT];
        pixels->lanes[v] = lanes;
        pixels->whole &= lanes >= LANES;
        table += PIXEL_WORDS;
    }
}

/* Add outer products: step k adds weights[k, row] times the vectors at inputs + offsets[k]. What
 * there are fewer of, rows or vectors, stays in registers: a tile leaves few of them. */
INLINE void NAME(multiply_pixels)(int rows, int vectors, V *tile, const char *const *inputs,
                                  const int64_t *offsets, const REAL *weights, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        V held[MOST_PIXELS];
        if (vectors <= rows) {
            UNROLL for (int v = 0; v < vectors; v++) {
                held[v] = NAME(held)(NAME(load)((const REAL *)(inputs[v] + offsets[k])));
            }
            UNROLL for (int r = 0; r < rows; r++) {
                const V factor = NAME(splat)(weights[r]);
                UNROLL for (int v = 0; v < vectors; v++) {
                    V *sum = tile + r * vectors + v;
                    *sum = NAME(multiply_add)(factor, held[v], *sum);
                }
            }
        } else {
            UNROLL for (int r = 0; r < rows; r++) {
                held[r] = NAME(splat)(weights[r]);
            }
            UNROLL for (int v = 0; v < vectors; v++) {
                const REAL *place = (const REAL *)(inputs[v] + offsets[k]);
                const V value = rows == 1 ? NAME(load)(place) : NAME(held)(NAME(load)(place));
                UNROLL for (int r = 0; r < rows; r++) {
                    V *sum = tile + r * vectors + v;
                    *sum = NAME(multiply_add)(held[r], value, *sum);
                }
            }
        }
        weights += rows;
    }
}

/* The same of a panel: rows of the tile's vectors, one after the other. */
INLINE void NAME(multiply_panel)(int rows, int vectors, V *tile, const REAL *panel,
                                 const REAL *weights, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        V held[MOST_PIXELS];
        UNROLL for (int v = 0; v < vectors; v++) {
            held[v] = NAME(held)(NAME(load)(panel + v * LANES));
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const V factor = NAME(splat)(weights[r]);
            UNROLL for (int v = 0; v < vectors; v++) {
                V *sum = tile + r * vectors + v;
                *sum = NAME(multiply_add)(factor, held[v], *sum);
            }
        }
        panel += vectors * LANES;
        weights += rows;
    }
}

/* Bring the vectors of all steps together, so that none drives another out of the first cache:
 * planes are often a multiple of some KB apart. */
INLINE void NAME(copy_vectors)(int vectors, REAL *panel, const char *const *inputs,
                               const int64_t *offsets, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            NAME(store)(panel + v * LANES, NAME(load)((const REAL *)(inputs[v] + offsets[k])));
        }
        panel += vectors * LANES;
    }
}

/* Ask for the vectors of steps `from` to `to` - 1 of the next block's pixels. */
INLINE void NAME(ask_for_next)(int vectors, const char *const *inputs, const int64_t *offsets,
                               int64_t from, int64_t to)
{
    for (int64_t k = from; k < to; k++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            __builtin_prefetch(inputs[v] + vectors * VECTOR_BYTES + offsets[k], 0, 2);
        }
    }
}

/* Make output channels t * rows, ... of some pixels, and store those inside the output; `panel` has
 * their inputs where it is not 0. */
INLINE void NAME(multiply_tile)(int rows, int vectors, const int64_t *args,
                                const struct NAME(pixels) *pixels, const REAL *panel,
                                int64_t shift, const REAL *weights, const REAL *bias, int64_t t)
{
    V tile[MOST_ROWS * MOST_PIXELS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            tile[r * vectors + v] = NAME(splat)(bias[t * rows + r]);
        }
    }
    weights += t * args[STEPS] * rows;
    if (panel != 0) {
        NAME(multiply_panel)(rows, vectors, tile, panel, weights, args[STEPS]);
    } else {
        NAME(multiply_pixels)(rows, vectors, tile, pixels->inputs, words_at(args[OFFSETS], 0),
                              weights, args[STEPS]);
    }
    const int64_t line = args[OUT_PLANE], target = shift + t * rows * line;
    const int64_t valid = lesser(args[OUT_CHANNELS] - t * rows, rows);
    if (args[RESIDUAL] != 0) {
        const int64_t residual = args[RESIDUAL] + target;
        const V zero = {0};
        UNROLL for (int r = 0; r < rows; r++) {
            if (r == valid) {
                break;
            }
            UNROLL for (int v = 0; v < vectors; v++) {
                const REAL *place = AT(residual + r * line + pixels->outputs[v]);
                tile[r * vectors + v] += NAME(load_first)(place, pixels->lanes[v], zero);
            }
        }
    }
    NAME(tile_activate)(rows, vectors, tile, number_of(args[SLOPE]), number_of(args[LOW]),
                        number_of(args[HIGH]));
    const int64_t out = args[OUT] + target;
    if (valid == rows && pixels->whole) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vectors; v++) {
                NAME(store)(AT(out + r * line + pixels->outputs[v]), tile[r * vectors + v]);
            }
        }
    } else {
        UNROLL for (int r = 0; r < rows; r++) {
            if (r == valid) {
                break;
            }
            UNROLL for (int v = 0; v < vectors; v++) {
                REAL *place = AT(out + r * line + pixels->outputs[v]);
                NAME(store_first)(place, pixels->lanes[v], tile[r * vectors + v]);
            }
        }
    }
}

/* Copy the lines of a group's channels that outputs `start` to `stop` - 1 reach. */
static void NAME(copy_chunk)(const int64_t *args, const REAL *source, int64_t start, int64_t stop,
                             REAL *lines)
{
    const int64_t *words = args + LINES;
    const int64_t step = args[STRIDE_DOWN], down = (args[TAPS_DOWN] - 1) * args[APART_DOWN] + 1;
    const int in_rows = args[CUT] == CUT_ROWS;
    const int64_t whole = in_rows ? (args[CHUNK] - 1) * step + down : 1;
    const int64_t there = in_rows ? (stop - start - 1) * step + down : 1;
    const int64_t before = words[LINE_BEFORE] - (in_rows ? 0 : start * words[LINE_STEP]);
    for (int64_t channel = 0; channel < args[IN_CHANNELS]; channel++) {
        NAME(copy_lines)(words, before, source, in_rows ? start * step : 0, there, lines);
        source += args[PLANE_BYTES] / (int64_t)sizeof(REAL);
        lines += whole * words[LINE_PHASES] * words[LINE_PHASE];
    }
}

/* Make the channels of tiles `first` to `last` - 1 of the pixels of a chunk. Each pixel's before
 * the next, so that inputs are read once; or channel by channel, where the chunk's inputs stay in
 * the first cache. */
INLINE void NAME(multiply_chunk)(int rows, int vectors, const int64_t *args, int64_t source,
                                 REAL *panel, int64_t shift, const REAL *weights,
                                 const REAL *bias, int64_t left, int64_t first, int64_t last)
{
    const int by_channels = args[CUT] == CUT_COLUMNS;
    const int64_t tiles = last - first;
    const int64_t blocks = parts_of(parts_of(left, LANES), vectors);
    const int64_t *offsets = words_at(args[OFFSETS], 0), steps = args[STEPS];
    struct NAME(pixels) pixels = {0};
    for (int64_t outer = 0; outer < (by_channels ? tiles : blocks); outer++) {
        for (int64_t inner = 0; inner < (by_channels ? blocks : tiles); inner++) {
            const int64_t block = by_channels ? inner : outer;
            const int64_t t = first + (by_channels ? outer : inner);
            if (by_channels || inner == 0) {
                NAME(find_pixels)(vectors, &pixels, args, source, block * vectors, left);
            }
            if (panel != 0 && inner == 0) {
                NAME(copy_vectors)(vectors, panel, pixels.inputs, offsets, steps);
            }
            if (panel != 0 && outer + 1 < blocks) {
                NAME(ask_for_next)(vectors, pixels.inputs, offsets, steps * inner / tiles,
                                   steps * (inner + 1) / tiles);
            }
            NAME(multiply_tile)(rows, vectors, args, &pixels, panel, shift, weights, bias, t);
        }
    }
}

INLINE void NAME(planar)(int rows, int vectors, const int64_t *args, int64_t first, int64_t last,
                         int64_t worker)
{
    const int64_t size = (int64_t)sizeof(REAL), width = args[WIDTH];
    const int in_rows = args[CUT] == CUT_ROWS;
    const int64_t length = in_rows ? args[HEIGHT] : width;
    const int64_t chunks = parts_of(length, args[CHUNK]);
    const int64_t channels = args[OUT_CHANNELS], tiles = parts_of(channels, rows);
    const int64_t filters = tiles * rows, parts = args[PARTS];
    const int64_t lines = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE];
    /* Lines that lie as outputs do are one line; others fill whole vectors. */
    const int64_t line = args[SINGLE] ? width : parts_of(width, LANES) * LANES;
    REAL *panel = args[PANEL] < 0 ? 0 : AT(lines + args[PANEL]);
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t whole = item / parts, part = item % parts;
        const int64_t start = whole % chunks * args[CHUNK];
        const int64_t stop = lesser(start + args[CHUNK], length);
        const int64_t image = whole / chunks / args[GROUPS], group = whole / chunks % args[GROUPS];
        const int64_t shift = image * args[OUT_IMAGE] + group * channels * args[OUT_PLANE] +
                              start * (in_rows ? width : 1) * size;
        int64_t source = args[PLANES] + image * args[IMAGE_BYTES] +
                         group * args[IN_CHANNELS] * args[PLANE_BYTES];
        if (args[CUT] == CUT_PIXELS) {
            source += start * size;
        } else {
            /* Several parts of a chunk are made of one copy. */
            if (whole != before) {
                NAME(copy_chunk)(args, AT(source), start, stop, AT(lines));
                before = whole;
            }
            source = lines;
        }
        NAME(multiply_chunk)(rows, vectors, args, source, panel, shift,
                             AT(args[WEIGHTS]) + group * filters * args[STEPS],
                             AT(args[BIAS]) + group * filters,
                             (stop - start) * (in_rows ? line : 1), tiles * part / parts,
                             tiles * (part + 1) / parts);
    }
}

#include "interleaved.h"

/* As many rows as some number of output channels fills, and the vectors that registers are left
 * for; 1 x 8 beside them. */
#undef PLANAR_SHAPES
#if VECTOR_BYTES == 64
#define PLANAR_SHAPES(X) X(2, 8) X(3, 8) X(4, 6) X(6, 4) X(8, 3) X(12, 2)
#else
#define PLANAR_SHAPES(X) X(2, 6) X(3, 4) X(4, 3) X(6, 2)
#endif
#define PLANAR_KERNEL(rows, vectors)                                                               \
    KERNEL(planar_##rows##x##vectors, NAME(planar)(rows, vectors, args, first, last, worker))
PLANAR_KERNEL(1, 8)
PLANAR_SHAPES(PLANAR_KERNEL)
#undef PLANAR_KERNEL
