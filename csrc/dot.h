/* Rows times columns as they are given, nothing packed: lanes across the elements of a sum.
 *
 * A sum's lanes are brought together at its end, in the same order in every tile.
 */
#include "epilogue.h"

#ifndef DOT_ONCE
#define DOT_ONCE
/* Sums of a tile, rows of one with several, and columns of one of a single row. */
enum { DOT_ROWS_OF_TILE = 4, DOT_COLUMNS_OF_TILE = 4, DOT_COLUMNS_OF_ROW = 8 };
#endif

/* Sum a tile: rows and columns past the last repeat it. */
INLINE void NAME(dot_tile)(int rows, int columns, const struct dot_args *args, const char *a,
                           const char *b,
                           int64_t last_row, int64_t last_column, REAL *sums)
{
    const int64_t length = args->length, step = length * (int64_t)sizeof(REAL);
    const REAL *left[DOT_ROWS_OF_TILE], *right[DOT_COLUMNS_OF_ROW];
    V tile[DOT_ROWS_OF_TILE * DOT_COLUMNS_OF_ROW];
    UNROLL for (int r = 0; r < rows; r++) {
        left[r] = (const REAL *)(a + lesser(r, last_row) * args->a_row);
    }
    UNROLL for (int c = 0; c < columns; c++) {
        right[c] = (const REAL *)(b + lesser(c, last_column) * step);
    }
    NAME(tile_fill)(rows, columns, tile, (V){0});
    int64_t k = 0;
    for (; k + LANES <= length; k += LANES) {
        V x[DOT_ROWS_OF_TILE];
        UNROLL for (int r = 0; r < rows; r++) {
            x[r] = NAME(load)(left[r] + k);
        }
        UNROLL for (int c = 0; c < columns; c++) {
            const V w = NAME(load)(right[c] + k);
            UNROLL for (int r = 0; r < rows; r++) {
                tile[r * columns + c] = NAME(multiply_add)(x[r], w, tile[r * columns + c]);
            }
        }
    }
    if (k < length) {
        V x[DOT_ROWS_OF_TILE];
        UNROLL for (int r = 0; r < rows; r++) {
            x[r] = NAME(load_first)(left[r] + k, length - k, (V){0});
        }
        UNROLL for (int c = 0; c < columns; c++) {
            const V w = NAME(load_first)(right[c] + k, length - k, (V){0});
            UNROLL for (int r = 0; r < rows; r++) {
                tile[r * columns + c] = NAME(multiply_add)(x[r], w, tile[r * columns + c]);
            }
        }
    }
    UNROLL for (int i = 0; i < rows * columns; i++) {
        sums[i] = NAME(sum_of_lanes)(tile[i]);
    }
}

/* Finish `columns` sums of a row, and store them. */
INLINE void NAME(dot_finish)(const struct dot_args *args, const REAL *sums, int64_t row,
                             int64_t column,
                             int64_t columns)
{
    const int64_t shift = row * args->out_row + column * (int64_t)sizeof(REAL);
    for (int64_t c = 0; c < columns; c += LANES) {
        const int64_t some = columns - c, at = shift + c * (int64_t)sizeof(REAL);
        V value = NAME(load_first)(sums + c, some, (V){0});
        if (args->bias != 0) {
            value += NAME(load_first)(AT(args->bias) + column + c, some, (V){0});
        }
        if (args->residual != 0) {
            value += NAME(load_first)(AT(args->residual + at), some, (V){0});
        }
        NAME(tile_activate)(1, 1, &value, args->slope, args->low,
                            args->high);
        NAME(store_first)(AT(args->out + at), some, value);
    }
}

/* A work item is a block of columns of one group for a block of rows. */
static void NAME(dot_items)(const struct dot_args *args, int64_t first, int64_t last)
{
    const int64_t columns = args->columns, step = args->length * (int64_t)sizeof(REAL);
    const int64_t row_blocks = parts_of(args->rows, args->row_block);
    const int64_t column_blocks = parts_of(columns, args->column_block);
    for (int64_t item = first; item < last; item++) {
        const int64_t row = item % row_blocks * args->row_block;
        const int64_t block = item / row_blocks, group = block / column_blocks;
        const int64_t begin = block % column_blocks * args->column_block;
        const int64_t end = lesser(begin + args->column_block, columns);
        const int64_t stop = lesser(row + args->row_block, args->rows);
        const char *b = (const char *)(intptr_t)args->b + group * columns * step;
        const int64_t a = args->a + group * args->a_group;
        REAL sums[DOT_ROWS_OF_TILE * DOT_COLUMNS_OF_ROW + LANE_COUNT];
        int64_t r = row;
        for (; r + 1 < stop; r += DOT_ROWS_OF_TILE) {
            const char *rows = (const char *)(intptr_t)(a + r * args->a_row);
            for (int64_t c = begin; c < end; c += DOT_COLUMNS_OF_TILE) {
                const int64_t some = lesser(DOT_COLUMNS_OF_TILE, end - c);
                NAME(dot_tile)(DOT_ROWS_OF_TILE, DOT_COLUMNS_OF_TILE, args, rows, b + c * step,
                               stop - r - 1, end - c - 1, sums);
                for (int64_t i = 0; i < DOT_ROWS_OF_TILE && r + i < stop; i++) {
                    NAME(dot_finish)(args, sums + i * DOT_COLUMNS_OF_TILE, r + i,
                                     group * columns + c, some);
                }
            }
        }
        for (; r < stop; r++) {
            const char *rows = (const char *)(intptr_t)(a + r * args->a_row);
            for (int64_t c = begin; c < end; c += DOT_COLUMNS_OF_ROW) {
                NAME(dot_tile)(1, DOT_COLUMNS_OF_ROW, args, rows, b + c * step, 0, end - c - 1,
                               sums);
                NAME(dot_finish)(args, sums, r, group * columns + c,
                                 lesser(DOT_COLUMNS_OF_ROW, end - c));
            }
        }
    }
}

KERNEL(dot, dot_args, NAME(dot_items)(args, first, last))
