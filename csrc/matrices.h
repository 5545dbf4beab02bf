/* Matrices of a product, whatever the steps of their rows and columns: panels of the right one,
 * rows of the left one, and where tiles of the product are stored. */
#include "panels.h"
#include "tile.h"

#ifndef IS_PACKED
/* In the place of a step: the matrices come packed. No step is an odd number of bytes. */
#define IS_PACKED -1
#endif

/* How many columns a panel has room for: one vector where that holds all of the last one. */
INLINE int64_t NAME(panel_width)(int vectors, int64_t there)
{
    return there <= LANES ? LANES : vectors * LANES;
}

/* Copy rows whose elements are next to each other. */
INLINE void NAME(panel_of_rows)(const char *source, int64_t depth_step, int64_t depth,
                                int64_t there, int64_t width, REAL *panel)
{
    for (int64_t k = 0; k < depth; k++) {
        const REAL *row = (const REAL *)(source + k * depth_step);
        for (int64_t j = 0; j < width; j += LANES) {
            const V value = there - j >= LANES ? NAME(load)(row + j)
                            : there > j ? NAME(load_first)(row + j, there - j, (V){0}) : (V){0};
            NAME(store_some)(panel + j, width - j, value);
        }
        panel += width;
    }
}

/* One panel: (depth, column of the panel), zeros after the last column. */
INLINE void NAME(panel_of)(const char *source, int64_t depth_step, int64_t column_step,
                           int64_t depth, int64_t there, int64_t width, REAL *panel)
{
    there = lesser(there, width);
    if (column_step == (int64_t)sizeof(REAL)) {
        NAME(panel_of_rows)(source, depth_step, depth, there, width, panel);
    } else if (depth_step == (int64_t)sizeof(REAL)) {
        const struct columns all = {.source = source,
                                    .step = column_step,
                                    .there = there,
                                    .width = width,
                                    .taps = 1,
                                    .channels = depth};
        NAME(pack_columns)(&all, panel, 0, depth);
    } else {
        for (int64_t k = 0; k < depth; k++) {
            for (int64_t j = 0; j < width; j++) {
                panel[j] = j < there
                               ? *(const REAL *)(source + k * depth_step + j * column_step)
                               : (REAL)0;
            }
            panel += width;
        }
    }
}

/* `there` rows of `depth` elements, contiguous: the left matrix where its elements are apart. */
INLINE void NAME(rows_of)(const char *source, int64_t row_step, int64_t depth_step, int64_t there,
                          int64_t depth, REAL *rows)
{
    if (row_step != (int64_t)sizeof(REAL)) {
        for (int64_t r = 0; r < there; r++) {
            for (int64_t k = 0; k < depth; k++) {
                rows[r * depth + k] = *(const REAL *)(source + r * row_step + k * depth_step);
            }
        }
        return;
    }
    for (int64_t r = 0; r < there; r += LANES) {
        for (int64_t k = 0; k < depth; k += LANES) {
            V square[LANE_COUNT];
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                square[i] = (V){0};
                if (k + i < depth) {
                    const char *line = source + (k + i) * depth_step;
                    square[i] = NAME(load_some)((const REAL *)line + r, there - r, (V){0});
                }
            }
            NAME(transpose)(square);
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                if (r + i < there) {
                    NAME(store_some)(rows + (r + i) * depth + k, depth - k, square[i]);
                }
            }
        }
    }
}

/* Store the first rows and columns of a tile; rows are `pitch` bytes apart. */
INLINE void NAME(tile_store_part)(int rows, int vectors, const V *tile, int64_t start,
                                  int64_t pitch, int64_t there, int64_t columns)
{
    if (there >= rows && columns >= vectors * LANES) {
        NAME(tile_store_apart)(rows, vectors, tile, start, pitch);
        return;
    }
    UNROLL for (int r = 0; r < rows; r++) {
        if (r < there) {
            UNROLL for (int v = 0; v < vectors; v++) {
                if (columns > v * LANES) {
                    NAME(store_some)(AT(start + r * pitch) + v * LANES, columns - v * LANES,
                                     tile[r * vectors + v]);
                }
            }
        }
    }
}

/* Rows `pitch` bytes apart from `base` on; those past the last repeat it. */
INLINE void NAME(tile_rows_apart)(int rows, int64_t *addresses, int64_t base, int64_t pitch,
                                  int64_t there)
{
    UNROLL for (int r = 0; r < rows; r++) {
        addresses[r] = base + lesser(r, there - 1) * pitch;
    }
}

/* The shapes that fastconv/machine.py names, and those of few rows or columns. */
#undef PRODUCT_SHAPES
#if VECTOR_REGISTERS == 32
#define PRODUCT_SHAPES(X)                                                                           \
    X(12, 2) X(10, 2) X(14, 2) X(8, 3) X(9, 3) X(6, 4) X(16, 1) X(12, 1) X(10, 1) X(1, 2) X(1, 3) X(1, 4)
#else
#define PRODUCT_SHAPES(X)                                                                           \
    X(6, 2) X(5, 2) X(4, 3) X(3, 4) X(12, 1) X(6, 1) X(1, 2) X(1, 3) X(1, 4)
#endif
