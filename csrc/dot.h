/* Rows times columns as they are given, nothing packed: lanes across the elements of a sum.
 *
 * A sum's lanes are brought together at its end, in the same order in every tile; the words stand
 * in fastconv/backends/native/dot.py.
 */
#include "epilogue.h"

#ifndef DOT_WORDS
#define DOT_WORDS
enum {
    DOT_A, DOT_A_ROW, DOT_A_GROUP, DOT_B, DOT_BIAS, DOT_OUT, DOT_OUT_ROW, DOT_RESIDUAL, DOT_SLOPE,
    DOT_LOW, DOT_HIGH, DOT_ROWS, DOT_LENGTH, DOT_COLUMNS, DOT_ROW_BLOCK, DOT_COLUMN_BLOCK
};
/* Sums of a tile, rows of one with several, and columns of one of a single row. */
enum { DOT_ROWS_OF_TILE = 4, DOT_COLUMNS_OF_TILE = 4, DOT_COLUMNS_OF_ROW = 8 };
#endif

/* Sum a tile: rows and columns past the last repeat it. */
INLINE void NAME(dot_tile)(int rows, int columns, const int64_t *args, const char *a, const char *b,
                           int64_t last_row, int64_t last_column, REAL *sums)
{
    const int64_t length = args[DOT_LENGTH], step = length * (int64_t)sizeof(REAL);
    const REAL *left[DOT_ROWS_OF_TILE], *right[DOT_COLUMNS_OF_ROW];
    V tile[DOT_ROWS_OF_TILE * DOT_COLUMNS_OF_ROW];
    UNROLL for (int r = 0; r < rows; r++) {
        left[r] = (const REAL *)(a + lesser(r, last_row) * args[DOT_A_ROW]);
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
INLINE void NAME(dot_finish)(const int64_t *args, const REAL *sums, int64_t row, int64_t column,
                             int64_t columns)
{
    const int64_t shift = row * args[DOT_OUT_ROW] + column * (int64_t)sizeof(REAL);
    for (int64_t c = 0; c < columns; c += LANES) {
        const int64_t some = columns - c, at = shift + c * (int64_t)sizeof(REAL);
        V value = NAME(load_first)(sums + c, some, (V){0});
        if (args[DOT_BIAS] != 0) {
            value += NAME(load_first)(AT(args[DOT_BIAS]) + column + c, some, (V){0});
        }
        if (args[DOT_RESIDUAL] != 0) {
            value += NAME(load_first)(AT(args[DOT_RESIDUAL] + at), some, (V){0});
        }
        NAME(tile_activate)(1, 1, &value, number_of(args[DOT_SLOPE]), number_of(args[DOT_LOW]),
                            number_of(args[DOT_HIGH]));
        NAME(store_first)(AT(args[DOT_OUT] + at), some, value);
    }
}

/* A work item is a block of columns of one group for a block of rows. */
static void NAME(dot)(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    (void)worker;
    const int64_t columns = args[DOT_COLUMNS], step = args[DOT_LENGTH] * (int64_t)sizeof(REAL);
    const int64_t row_blocks = parts_of(args[DOT_ROWS], args[DOT_ROW_BLOCK]);
    const int64_t column_blocks = parts_of(columns, args[DOT_COLUMN_BLOCK]);
    for (int64_t item = first; item < last; item++) {
        const int64_t row = item % row_blocks * args[DOT_ROW_BLOCK];
        const int64_t block = item / row_blocks, group = block / column_blocks;
        const int64_t begin = block % column_blocks * args[DOT_COLUMN_BLOCK];
        const int64_t end = lesser(begin + args[DOT_COLUMN_BLOCK], columns);
        const int64_t stop = lesser(row + args[DOT_ROW_BLOCK], args[DOT_ROWS]);
        const char *b = (const char *)(intptr_t)args[DOT_B] + group * columns * step;
        const int64_t a = args[DOT_A] + group * args[DOT_A_GROUP];
        REAL sums[DOT_ROWS_OF_TILE * DOT_COLUMNS_OF_ROW + LANE_COUNT];
        int64_t r = row;
        for (; r + 1 < stop; r += DOT_ROWS_OF_TILE) {
            const char *rows = (const char *)(intptr_t)(a + r * args[DOT_A_ROW]);
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
            const char *rows = (const char *)(intptr_t)(a + r * args[DOT_A_ROW]);
            for (int64_t c = begin; c < end; c += DOT_COLUMNS_OF_ROW) {
                NAME(dot_tile)(1, DOT_COLUMNS_OF_ROW, args, rows, b + c * step, 0, end - c - 1,
                               sums);
                NAME(dot_finish)(args, sums, r, group * columns + c,
                                 lesser(DOT_COLUMNS_OF_ROW, end - c));
            }
        }
    }
}
