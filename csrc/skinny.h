/* The GEMM of few pixels: rows are output channels, whose weights are read as they are given, and
 * columns are pixels, lowered to a matrix (sum, pixel) before.
 *
 * Sums run over k in order,
 * whatever the tile.
 */
#include "tile.h"

/* Add `count` outer products; rows of A are SKINNY_CHUNK elements apart, those of B `pitch`. */
INLINE void NAME(add_products)(int rows, int vectors, V *tile, const REAL *a, const REAL *b,
                               int64_t pitch, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        V step[MOST_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) {
            step[v] = NAME(load)(b + v * LANES);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const V factor = NAME(splat)(a[r * SKINNY_CHUNK + k]);
            UNROLL for (int v = 0; v < vectors; v++) {
                tile[r * vectors + v] = NAME(multiply_add)(factor, step[v], tile[r * vectors + v]);
            }
        }
        b += pitch;
    }
}

/* One register tile: output channels `row` on of one group, pixels `column` on of one image. */
INLINE void NAME(skinny_tile)(int rows, int vectors, const struct skinny_args *args, const REAL *weights,
                              const REAL *columns, int64_t row, REAL *chunk, V *tile)
{
    const int64_t depth = args->depth, pitch = args->pitch, last_row = args->channels - 1;
    NAME(tile_fill)(rows, vectors, tile, (V){0});
    for (int64_t k = 0; k < depth; k += SKINNY_CHUNK) {
        const int64_t count = lesser(SKINNY_CHUNK, depth - k);
        UNROLL for (int r = 0; r < rows; r++) {
            const REAL *from = weights + lesser(row + r, last_row) * depth + k;
            if (count == SKINNY_CHUNK) {
                UNROLL for (int i = 0; i < SKINNY_CHUNK; i += LANE_COUNT) {
                    NAME(store)(chunk + r * SKINNY_CHUNK + i, NAME(load)(from + i));
                }
            } else {
                for (int64_t i = 0; i < count; i += LANES) {
                    NAME(store)(chunk + r * SKINNY_CHUNK + i,
                                NAME(load_some)(from + i, count - i, (V){0}));
                }
            }
        }
        NAME(add_products)(rows, vectors, tile, chunk, columns + k * pitch, pitch, count);
    }
}

/* Add bias and residual, activate, and store what of the tile is inside the output: channels
 * `channel` on, `row_count` of them, and pixels `column` on of one image. */
INLINE void NAME(skinny_finish)(int rows, int vectors, const struct skinny_args *args, V *tile,
                                int64_t channel, int64_t row_count, int64_t image, int64_t column)
{
    const int64_t pixels = args->pixels, count = pixels - column;
    const int64_t place =
        (image * args->groups * args->channels + channel) * pixels + column;
    const REAL *bias = AT(args->bias), *residual = AT(args->residual);
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
    NAME(tile_activate)(rows, vectors, tile, args->slope, args->low,
                        args->high);
    UNROLL for (int r = 0; r < rows; r++) {
        if (r < row_count) {
            REAL *to = AT(args->out) + place + r * pixels;
            UNROLL for (int v = 0; v < vectors; v++) {
                if (v * LANES < count) {
                    NAME(store_some)(to + v * LANES, count - v * LANES, tile[r * vectors + v]);
                }
            }
        }
    }
}

/* A work item is a block of output channels of one group, and of pixels of all images. */
INLINE void NAME(skinny)(int rows, int vectors, const struct skinny_args *args, int64_t first, int64_t last,
                         int64_t worker)
{
    const int64_t width = vectors * LANES, depth = args->depth, channels = args->channels;
    const int64_t row_blocks = parts_of(channels, args->row_block);
    const int64_t column_blocks = parts_of(args->pixels, args->column_block);
    REAL *chunk = AT(args->scratch_base + worker * args->scratch_stride);
    for (int64_t item = first; item < last; item++) {
        const int64_t left = item % column_blocks * args->column_block;
        const int64_t right = lesser(left + args->column_block, args->pixels);
        const int64_t part = item / column_blocks, group = part / row_blocks;
        const int64_t start = part % row_blocks * args->row_block;
        const int64_t stop = lesser(start + args->row_block, channels);
        const REAL *weights = AT(args->weights) + group * channels * depth;
        for (int64_t row = start; row < stop; row += rows) {
            for (int64_t image = 0; image < args->images; image++) {
                const REAL *columns = AT(args->columns) +
                                      (image * args->groups + group) * depth * args->pitch;
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
static void NAME(lower)(const struct lower_args *args, int64_t first, int64_t last)
{
    const int64_t entries = args->entries;
    const int32_t *table = (const int32_t *)(intptr_t)args->table;
    const int64_t stop = lesser(last * args->plane_block, args->plane_count);
    for (int64_t plane = first * args->plane_block; plane < stop; plane++) {
        const REAL *restrict cells = AT(args->planes) + plane * args->cells;
        REAL *restrict to = AT(args->lowered) + plane * entries;
        for (int64_t i = 0; i < entries; i++) {
            const REAL cell = cells[table[i] < 0 ? 0 : table[i]];
            to[i] = table[i] < 0 ? 0 : cell;
        }
    }
}

KERNEL(skinny_lower, lower_args, NAME(lower)(args, first, last))

#define SKINNY_KERNEL(rows, vectors)                                                               \
    KERNEL(skinny_##rows##x##vectors, skinny_args,                                                 \
           NAME(skinny)(rows, vectors, args, first, last, worker))
SHAPES(skinny)(SKINNY_KERNEL)
#undef SKINNY_KERNEL
