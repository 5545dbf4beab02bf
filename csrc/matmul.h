/* Products of batches of matrices.
 *
 * Sums run over the depth in order, whatever is packed.
 */
#include "matrices.h"

/* A work item is a panel of one right matrix. */
static void NAME(matmul_pack_items)(const struct pack_matrix_args *args, int64_t first,
                                    int64_t last)
{
    const int64_t width = args->width, depth = args->depth;
    const int vectors = (int)(width / LANES);
    const int64_t panels = parts_of(args->columns, width);
    const int64_t *places = words_at(args->places, 0);
    for (int64_t item = first; item < last; item++) {
        const int64_t column = item % panels * width;
        const int64_t source = args->source + places[item / panels];
        NAME(panel_of)((const char *)(intptr_t)source + column * args->column_step,
                       args->depth_step, args->column_step, depth,
                       args->columns - column,
                       NAME(panel_width)(vectors, args->columns - column),
                       AT(args->target) + item * depth * width);
    }
}

KERNEL(matmul_pack, pack_matrix_args, NAME(matmul_pack_items)(args, first, last))

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
INLINE void NAME(multiply_panel)(int rows, int vectors, const struct matmul_args *args,
                                 int64_t base,
                                 int64_t step, int64_t there, int64_t panel, int in_place,
                                 int64_t out, int64_t columns)
{
    const int64_t depth = args->depth, pitch = args->out_row, apart = args->right_depth;
    const double scale = args->scale;
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
INLINE void NAME(matmul)(int rows, int vectors, const struct matmul_args *args, int64_t first,
                         int64_t last,
                         int64_t worker)
{
    const int64_t width = vectors * LANES, size = (int64_t)sizeof(REAL);
    const int64_t depth = args->depth, columns = args->columns;
    const int64_t panels = parts_of(columns, width), panel_bytes = depth * width * size;
    const int64_t row_items = parts_of(args->rows, args->item_rows);
    const int64_t panel_items = parts_of(panels, args->panel_block);
    const int64_t scratch = args->scratch_base + worker * args->scratch_stride;
    const int fresh = args->right_depth != IS_PACKED, apart = args->left_depth != size;
    const int64_t lines = scratch + parts_of(rows * width * size, 64) * 64;
    const int64_t own =
        lines + (apart ? parts_of(args->row_block * depth * size, 64) * 64 : 0);
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t row_item = item % row_items * args->item_rows, whole = item / row_items;
        const int64_t panel_from = whole % panel_items * args->panel_block;
        const int64_t panel_to = lesser(panel_from + args->panel_block, panels);
        const int64_t entry = whole / panel_items;
        const int64_t left = args->left + words_at(args->left_places, entry)[0];
        const int64_t right = args->right + words_at(args->right_places, entry)[0];
        const int64_t out = args->out + words_at(args->out_places, entry)[0];
        const int64_t row_end = lesser(row_item + args->item_rows, args->rows);
        for (int64_t panel = panel_from; fresh && whole != before && panel < panel_to; panel++) {
            const int64_t column = panel * width;
            if (!args->direct || columns - column < width) {
                NAME(panel_of)((const char *)(intptr_t)right + column * args->right_column,
                               args->right_depth, args->right_column, depth, columns - column,
                               NAME(panel_width)(vectors, columns - column),
                               AT(own + (panel - panel_from) * panel_bytes));
            }
        }
        before = whole;
        const int64_t panels_at = fresh ? own - panel_from * panel_bytes : right;
        for (int64_t block = row_item; block < row_end; block += args->row_block) {
            const int64_t there = lesser(args->row_block, row_end - block);
            int64_t base = left + block * args->left_row, step = args->left_row;
            if (apart) {
                NAME(rows_of)((const char *)(intptr_t)base, step, args->left_depth, there, depth,
                              AT(lines));
                base = lines, step = depth * size;
            }
            for (int64_t panel = panel_from; panel < panel_to; panel++) {
                const int64_t some = columns - panel * width;
                const int64_t to = out + block * args->out_row + panel * width * size;
                if (args->direct && some >= width) {
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
    KERNEL(matmul_##rows##x##vectors, matmul_args,                                                 \
           NAME(matmul)(rows, vectors, args, first, last, worker))
SHAPES(gemm)(MATMUL_KERNEL)
#undef MATMUL_KERNEL
