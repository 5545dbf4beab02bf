/* Products of batches of matrices. The words are those of fastconv/backends/native/matmul.py.
 *
 * Sums run over the depth in order, whatever is packed.
 */
#include "matrices.h"

#ifndef MATMUL_WORDS
#define MATMUL_WORDS
enum {
    MATMUL_LEFT, MATMUL_RIGHT, MATMUL_OUT, LEFT_PLACES, RIGHT_PLACES, OUT_PLACES, MATMUL_ROWS,
    MATMUL_DEPTH, MATMUL_COLUMNS, LEFT_ROW, LEFT_DEPTH, RIGHT_DEPTH, RIGHT_COLUMN, OUT_ROW,
    ITEM_ROWS, MATMUL_ROW_BLOCK, MATMUL_PANEL_BLOCK, MATMUL_SCALE, MATMUL_DIRECT,
    MATMUL_SCRATCH_BASE, MATMUL_SCRATCH_STRIDE
};
enum {
    PACK_SOURCE, PACK_TARGET, PACK_PLACES, PACK_DEPTH, PACK_COLUMNS, PACK_WIDTH, PACK_DEPTH_STEP,
    PACK_COLUMN_STEP
};
#endif

/* A work item is a panel of one right matrix. */
static void NAME(matmul_pack)(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    (void)worker;
    const int64_t width = args[PACK_WIDTH], depth = args[PACK_DEPTH];
    const int vectors = (int)(width / LANES);
    const int64_t panels = parts_of(args[PACK_COLUMNS], width);
    const int64_t *places = words_at(args[PACK_PLACES], 0);
    for (int64_t item = first; item < last; item++) {
        const int64_t column = item % panels * width;
        const int64_t source = args[PACK_SOURCE] + places[item / panels];
        NAME(panel_of)((const char *)(intptr_t)source + column * args[PACK_COLUMN_STEP],
                       args[PACK_DEPTH_STEP], args[PACK_COLUMN_STEP], depth,
                       args[PACK_COLUMNS] - column,
                       NAME(panel_width)(vectors, args[PACK_COLUMNS] - column),
                       AT(args[PACK_TARGET]) + item * depth * width);
    }
}

/* Add outer products of rows with rows of the right matrix that are `pitch` bytes apart. */
INLINE void NAME(tile_multiply_apart)(int rows, int vectors, V *tile, const int64_t *addresses,
                                      int64_t panel, int64_t pitch, int64_t count)
{
    const REAL *a[MOST_ROWS];
    UNROLL for (int r = 0; r < rows; r++) {
        a[r] = AT(addresses[r]);
    }
    for (int64_t k = 0; k < count; k++) {
        V b[MOST_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) {
            b[v] = NAME(load)(AT(panel) + v * LANES);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const V factor = NAME(splat)(a[r][k]);
            UNROLL for (int v = 0; v < vectors; v++) {
                tile[r * vectors + v] = NAME(multiply_add)(factor, b[v], tile[r * vectors + v]);
            }
        }
        panel += pitch;
    }
}

/* Rows of a block times one panel: `there` of them `step` bytes apart, `columns` of its width. The
 * panel is packed, or, `in_place`, rows of the right matrix `apart` bytes from each other. */
INLINE void NAME(multiply_panel)(int rows, int vectors, const int64_t *args, int64_t base,
                                 int64_t step, int64_t there, int64_t panel, int in_place,
                                 int64_t out, int64_t columns)
{
    const int64_t depth = args[MATMUL_DEPTH], pitch = args[OUT_ROW], apart = args[RIGHT_DEPTH];
    const double scale = number_of(args[MATMUL_SCALE]);
    for (int64_t row = 0; row < there; row += rows) {
        int64_t addresses[MOST_ROWS];
        V tile[MOST_VECTORS];
        NAME(tile_rows_apart)(rows, addresses, base + row * step, step, there - row);
        NAME(tile_fill)(rows, vectors, tile, (V){0});
        if (in_place) {
            NAME(tile_multiply_apart)(rows, vectors, tile, addresses, panel, apart, depth);
        } else {
            NAME(tile_multiply_add)(rows, vectors, tile, addresses, 0, AT(panel), depth);
        }
        if (scale != 1.0) {
            const V factor = NAME(splat)((REAL)scale);
            UNROLL for (int i = 0; i < rows * vectors; i++) {
                tile[i] *= factor;
            }
        }
        NAME(tile_store_part)(rows, vectors, tile, out + row * pitch, pitch, there - row, columns);
    }
}

/* A work item is some rows of an entry times a block of panels. */
INLINE void NAME(matmul)(int rows, int vectors, const int64_t *args, int64_t first, int64_t last,
                         int64_t worker)
{
    const int64_t width = vectors * LANES, size = (int64_t)sizeof(REAL);
    const int64_t depth = args[MATMUL_DEPTH], columns = args[MATMUL_COLUMNS];
    const int64_t panels = parts_of(columns, width), panel_bytes = depth * width * size;
    const int64_t row_items = parts_of(args[MATMUL_ROWS], args[ITEM_ROWS]);
    const int64_t panel_items = parts_of(panels, args[MATMUL_PANEL_BLOCK]);
    const int64_t scratch = args[MATMUL_SCRATCH_BASE] + worker * args[MATMUL_SCRATCH_STRIDE];
    const int fresh = args[RIGHT_DEPTH] != IS_PACKED, apart = args[LEFT_DEPTH] != size;
    const int64_t lines = scratch + parts_of(rows * width * size, 64) * 64;
    const int64_t own =
        lines + (apart ? parts_of(args[MATMUL_ROW_BLOCK] * depth * size, 64) * 64 : 0);
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t row_item = item % row_items * args[ITEM_ROWS], whole = item / row_items;
        const int64_t panel_from = whole % panel_items * args[MATMUL_PANEL_BLOCK];
        const int64_t panel_to = lesser(panel_from + args[MATMUL_PANEL_BLOCK], panels);
        const int64_t entry = whole / panel_items;
        const int64_t left = args[MATMUL_LEFT] + words_at(args[LEFT_PLACES], entry)[0];
        const int64_t right = args[MATMUL_RIGHT] + words_at(args[RIGHT_PLACES], entry)[0];
        const int64_t out = args[MATMUL_OUT] + words_at(args[OUT_PLACES], entry)[0];
        const int64_t row_end = lesser(row_item + args[ITEM_ROWS], args[MATMUL_ROWS]);
        for (int64_t panel = panel_from; fresh && whole != before && panel < panel_to; panel++) {
            const int64_t column = panel * width;
            if (!args[MATMUL_DIRECT] || columns - column < width) {
                NAME(panel_of)((const char *)(intptr_t)right + column * args[RIGHT_COLUMN],
                               args[RIGHT_DEPTH], args[RIGHT_COLUMN], depth, columns - column,
                               NAME(panel_width)(vectors, columns - column),
                               AT(own + (panel - panel_from) * panel_bytes));
            }
        }
        before = whole;
        const int64_t panels_at = fresh ? own - panel_from * panel_bytes : right;
        for (int64_t block = row_item; block < row_end; block += args[MATMUL_ROW_BLOCK]) {
            const int64_t there = lesser(args[MATMUL_ROW_BLOCK], row_end - block);
            int64_t base = left + block * args[LEFT_ROW], step = args[LEFT_ROW];
            if (apart) {
                NAME(rows_of)((const char *)(intptr_t)base, step, args[LEFT_DEPTH], there, depth,
                              AT(lines));
                base = lines, step = depth * size;
            }
            for (int64_t panel = panel_from; panel < panel_to; panel++) {
                const int64_t some = columns - panel * width;
                const int64_t to = out + block * args[OUT_ROW] + panel * width * size;
                if (args[MATMUL_DIRECT] && some >= width) {
                    NAME(multiply_panel)(rows, vectors, args, base, step, there,
                                         right + panel * width * size, 1, to, some);
                } else if (NAME(panel_width)(vectors, some) < width) {
                    NAME(multiply_panel)(rows, 1, args, base, step, there,
                                         panels_at + panel * panel_bytes, 0, to, some);
                } else {
                    NAME(multiply_panel)(rows, vectors, args, base, step, there,
                                         panels_at + panel * panel_bytes, 0, to, some);
                }
            }
        }
    }
}

#define MATMUL_KERNEL(rows, vectors)                                                               \
    KERNEL(matmul_##rows##x##vectors, NAME(matmul)(rows, vectors, args, first, last, worker))
MATMUL_KERNEL(1, 1)
PRODUCT_SHAPES(MATMUL_KERNEL)
#undef MATMUL_KERNEL
