/* Direct convolution of channels-first images: vector lanes across pixels, weights broadcast.
 *
 * A register tile is `rows` output channels of `vectors` vectors of pixels, fed from padded lines
 * in the worker's scratch memory, or from the input itself. A work item is a part of the output
 * channels of a chunk of one group of one image.
 */
#include "planes.h"
#include "tile.h"

#ifndef PLANAR_ONCE
#define PLANAR_ONCE
/* How an image is cut into chunks. */
enum { CUT_ROWS, CUT_PIXELS, CUT_COLUMNS, CUT_SPANS };
/* A row of the table of pixels: bytes to a vector's input, to its output, lanes to store. */
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
INLINE void NAME(find_pixels)(int vectors, struct NAME(pixels) *pixels,
                              const struct planar_args *args,
                              int64_t source, int64_t q, int64_t left)
{
    const struct planar_pixels *table = RECORDS_AT(planar_pixels, args->pixels) + q;
    pixels->whole = 1;
    if (args->cut == CUT_PIXELS) {
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
        const int64_t lanes = anew(lesser(table->lanes, left - v * LANES));
        pixels->inputs[v] = (const char *)AT(source + table->source);
        pixels->outputs[v] = table->target;
        pixels->lanes[v] = lanes;
        pixels->whole &= lanes >= LANES;
        table++;
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
INLINE void NAME(multiply_tile)(int rows, int vectors, const struct planar_args *args,
                                const struct NAME(pixels) *pixels, const REAL *panel,
                                int64_t shift, const REAL *weights, const REAL *bias, int64_t t)
{
    V tile[MOST_ROWS * MOST_PIXELS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            tile[r * vectors + v] = NAME(splat)(bias[t * rows + r]);
        }
    }
    weights += t * args->steps * rows;
    if (panel != 0) {
        NAME(multiply_panel)(rows, vectors, tile, panel, weights, args->steps);
    } else {
        NAME(multiply_pixels)(rows, vectors, tile, pixels->inputs, words_at(args->offsets, 0),
                              weights, args->steps);
    }
    const int64_t line = args->out_plane, target = shift + t * rows * line;
    const int64_t valid = lesser(args->out_channels - t * rows, rows);
    if (args->residual != 0) {
        const int64_t residual = args->residual + target;
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
    NAME(tile_activate)(rows, vectors, tile, args->slope, args->low,
                        args->high);
    const int64_t out = args->out + target;
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
static void NAME(copy_chunk)(const struct planar_args *args, const REAL *source, int64_t start,
                             int64_t stop,
                             REAL *lines)
{
    const int64_t step = args->stride_down, down = (args->taps_down - 1) * args->apart_down + 1;
    const int in_rows = args->cut == CUT_ROWS;
    const int64_t whole = in_rows ? (args->chunk - 1) * step + down : 1;
    const int64_t there = in_rows ? (stop - start - 1) * step + down : 1;
    const int64_t before = args->line_before - (in_rows ? 0 : start * args->line_step);
    for (int64_t channel = 0; channel < args->in_channels; channel++) {
        NAME(copy_lines)(&args->base, before, source, in_rows ? start * step : 0, there, lines);
        source += args->plane_bytes / (int64_t)sizeof(REAL);
        lines += whole * args->line_phases * args->line_phase;
    }
}

/* Make the channels of tiles `first` to `last` - 1 of the pixels of a chunk. Each pixel's before
 * the next, so that inputs are read once; or channel by channel, where the chunk's inputs stay in
 * the first cache. */
INLINE void NAME(multiply_chunk)(int rows, int vectors, const struct planar_args *args,
                                 int64_t source, REAL *panel, int64_t shift, const REAL *weights,
                                 const REAL *bias, int64_t left, int64_t first, int64_t last)
{
    const int by_channels = args->cut == CUT_COLUMNS;
    const int64_t tiles = last - first;
    const int64_t blocks = parts_of(parts_of(left, LANES), vectors);
    const int64_t *offsets = words_at(args->offsets, 0), steps = args->steps;
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

INLINE void NAME(planar)(int rows, int vectors, const struct planar_args *args, int64_t first,
                         int64_t last, int64_t worker)
{
    const int64_t size = (int64_t)sizeof(REAL), width = args->width;
    const int in_rows = args->cut == CUT_ROWS;
    const int64_t length = in_rows ? args->height : width;
    const int64_t chunks = parts_of(length, args->chunk);
    const int64_t channels = args->out_channels, tiles = parts_of(channels, rows);
    const int64_t filters = tiles * rows, parts = args->parts;
    const int64_t lines = args->scratch_base + worker * args->scratch_stride;
    /* Lines with the outputs' layout are one line; others fill whole vectors. */
    const int64_t line = args->single ? width : parts_of(width, LANES) * LANES;
    REAL *panel = args->panel < 0 ? 0 : AT(lines + args->panel);
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t whole = item / parts, part = item % parts;
        const int64_t start = whole % chunks * args->chunk;
        const int64_t stop = lesser(start + args->chunk, length);
        const int64_t image = whole / chunks / args->groups, group = whole / chunks % args->groups;
        const int64_t shift = image * args->out_image + group * channels * args->out_plane +
                              start * (in_rows ? width : 1) * size;
        int64_t source = args->planes + image * args->image_bytes +
                         group * args->in_channels * args->plane_bytes;
        if (args->cut == CUT_PIXELS) {
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
                             AT(args->weights) + group * filters * args->steps,
                             AT(args->bias) + group * filters,
                             (stop - start) * (in_rows ? line : 1), tiles * part / parts,
                             tiles * (part + 1) / parts);
    }
}

#include "interleaved.h"

#define PLANAR_KERNEL(rows, vectors)                                                               \
    KERNEL(planar_##rows##x##vectors, planar_args,                                                 \
           NAME(planar)(rows, vectors, args, first, last, worker))
SHAPES(planar)(PLANAR_KERNEL)
#undef PLANAR_KERNEL
