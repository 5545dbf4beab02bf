/* The GEMM of few pixels: rows are output channels, whose weights are read as they are given, and
 * columns are pixels, lowered to a matrix (sum, pixel) before.
 *
 * The words are explained in fastconv/backends/native/conv/skinny.py. Sums run over k in order,
 * whatever the tile.
 */
#include "tile.h"

#ifndef SKINNY_WORDS
#define SKINNY_WORDS
enum {
    WEIGHTS, COLUMNS, BIAS, OUT, RESIDUAL, SLOPE, LOW, HIGH, DEPTH, CHANNELS, GROUPS, PIXELS,
    PITCH, IMAGES, ROW_BLOCK, COLUMN_BLOCK, SCRATCH_BASE, SCRATCH_STRIDE
};
/* Of the lowering: planes of the input, and for each tap of each pixel its cell, -1 for zero. */
enum { PLANES, LOWERED, CELLS, TABLE, ENTRIES_OF_PLANE, PLANE_COUNT, PLANE_BLOCK };
/* Weights of a row that are copied at once: rows a multiple of 4 KB apart would drive each other
 * out of the first cache while a tile reads them side by side. */
enum { CHUNK = 64 };
#endif

/* Add `count` outer products; rows of A are CHUNK elements apart, those of B `pitch`. */
INLINE void NAME(add_products)(int rows, int vectors, V *tile, const REAL *a, const REAL *b,
                               int64_t pitch, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        V step[MOST_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) {
            step[v] = NAME(load)(b + v * LANES);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const V factor = NAME(splat)(a[r * CHUNK + k]);
            UNROLL for (int v = 0; v < vectors; v++) {
                tile[r * vectors + v] = NAME(multiply_add)(factor, step[v], tile[r * vectors + v]);
            }
        }
        b += pitch;
    }
}

/* One register tile: output channels `row` on of one group, pixels `column` on of one image. */
INLINE void NAME(skinny_tile)(int rows, int vectors, const int64_t *args, const REAL *weights,
                              const REAL *columns, int64_t row, REAL *chunk, V *tile)
{
    const int64_t depth = args[DEPTH], pitch = args[PITCH], last_row = args[CHANNELS] - 1;
    NAME(tile_fill)(rows, vectors, tile, (V){0});
    for (int64_t k = 0; k < depth; k += CHUNK) {
        const int64_t count = lesser(CHUNK, depth - k);
        UNROLL for (int r = 0; r < rows; r++) {
            const REAL *from = weights + lesser(row + r, last_row) * depth + k;
            if (count == CHUNK) {
                UNROLL for (int i = 0; i < CHUNK; i += LANE_COUNT) {
                    NAME(store)(chunk + r * CHUNK + i, NAME(load)(from + i));
                }
            } else {
                for (int64_t i = 0; i < count; i += LANES) {
                    NAME(store)(chunk + r * CHUNK + i,
                                NAME(load_some)(from + i, count - i, (V){0}));
                }
            }
        }
        NAME(add_products)(rows, vectors, tile, chunk, columns + k * pitch, pitch, count);
    }
}

/* Add bias and residual, activate, and store what of the tile is inside the output: channels
 * `channel` on, `row_count` of them, and pixels `column` on of one image. */
INLINE void NAME(skinny_finish)(int rows, int vectors, const int64_t *args, V *tile,
                                int64_t channel, int64_t row_count, int64_t image, int64_t column)
{
    const int64_t pixels = args[PIXELS], count = pixels - column;
    const int64_t place =
        (image * args[GROUPS] * args[CHANNELS] + channel) * pixels + column;
    const REAL *bias = AT(args[BIAS]), *residual = AT(args[RESIDUAL]);
    UNROLL for (int r = 0; r < rows; r++) {
        if (r < row_count) {
            const V added = NAME(splat)(bias != 0 ? bias[channel + r] : 0);
            UNROLL for (int v = 0; v < vectors; v++) {
                V *value = &tile[r * vectors + v];
                *value += added;
                if (residual != 0 && v * LANES < count) {
                    *value += NAME(load_some)(residual + place + r * pixels + v * LANES,
                                              count - v * LANES, (V){0});
                }
            }
        }
    }
    NAME(tile_activate)(rows, vectors, tile, number_of(args[SLOPE]), number_of(args[LOW]),
                        number_of(args[HIGH]));
    UNROLL for (int r = 0; r < rows; r++) {
        if (r < row_count) {
            REAL *to = AT(args[OUT]) + place + r * pixels;
            UNROLL for (int v = 0; v < vectors; v++) {
                if (v * LANES < count) {
                    NAME(store_some)(to + v * LANES, count - v * LANES, tile[r * vectors + v]);
                }
            }
        }
    }
}

/* A work item is a block of output channels of one group, and of pixels of all images. */
INLINE void NAME(skinny)(int rows, int vectors, const int64_t *args, int64_t first, int64_t last,
                         int64_t worker)
{
    const int64_t width = vectors * LANES, depth = args[DEPTH], channels = args[CHANNELS];
    const int64_t row_blocks = parts_of(channels, args[ROW_BLOCK]);
    const int64_t column_blocks = parts_of(args[PIXELS], args[COLUMN_BLOCK]);
    REAL *chunk = AT(args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE]);
    for (int64_t item = first; item < last; item++) {
        const int64_t left = item % column_blocks * args[COLUMN_BLOCK];
        const int64_t right = lesser(left + args[COLUMN_BLOCK], args[PIXELS]);
        const int64_t part = item / column_blocks, group = part / row_blocks;
        const int64_t start = part % row_blocks * args[ROW_BLOCK];
        const int64_t stop = lesser(start + args[ROW_BLOCK], channels);
        const REAL *weights = AT(args[WEIGHTS]) + group * channels * depth;
        for (int64_t row = start; row < stop; row += rows) {
            for (int64_t image = 0; image < args[IMAGES]; image++) {
                const REAL *columns = AT(args[COLUMNS]) +
                                      (image * args[GROUPS] + group) * depth * args[PITCH];
                for (int64_t column = left; column < right; column += width) {
                    V tile[MOST_VECTORS];
                    NAME(skinny_tile)(rows, vectors, args, weights, columns + column, row, chunk,
                                      tile);
                    NAME(skinny_finish)(rows, vectors, args, tile, group * channels + row,
                                        lesser(rows, channels - row), image, column);
                }
            }
        }
    }
}

/* Lower planes: row (plane, tap) has the cells of all pixels, zeros after the last one. */
static void NAME(lower)(const int64_t *args, int64_t first, int64_t last)
{
    const int64_t entries = args[ENTRIES_OF_PLANE];
    const int32_t *table = (const int32_t *)(intptr_t)args[TABLE];
    const int64_t stop = lesser(last * args[PLANE_BLOCK], args[PLANE_COUNT]);
    for (int64_t plane = first * args[PLANE_BLOCK]; plane < stop; plane++) {
        const REAL *restrict cells = AT(args[PLANES]) + plane * args[CELLS];
        REAL *restrict to = AT(args[LOWERED]) + plane * entries;
        for (int64_t i = 0; i < entries; i++) {
            const REAL cell = cells[table[i] < 0 ? 0 : table[i]];
            to[i] = table[i] < 0 ? 0 : cell;
        }
    }
}

KERNEL(skinny_lower, NAME(lower)(args, first, last))

/* The shapes that fastconv/machine.py names. */
#undef SKINNY_SHAPES
#if VECTOR_BYTES == 64
#define SKINNY_SHAPES(X) X(12, 2) X(10, 2) X(14, 2) X(8, 3) X(9, 3) X(6, 4) X(16, 1) X(12, 1) X(10, 1)
#else
#define SKINNY_SHAPES(X) X(6, 2) X(5, 2) X(4, 3) X(3, 4) X(12, 1) X(6, 1)
#endif
#define SKINNY_KERNEL(rows, vectors)                                                               \
    KERNEL(skinny_##rows##x##vectors, NAME(skinny)(rows, vectors, args, first, last, worker))
SKINNY_SHAPES(SKINNY_KERNEL)
#undef SKINNY_KERNEL
