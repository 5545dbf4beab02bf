/* The one GEMM, and im2col before it: register tiles over rows that tables of offsets find, columns
 * packed in panels. What is multiplied is in fastconv/backends/native/gemm.py.
 *
 * Sums run over taps, then over k, in order, whatever the tile.
 */
#include "epilogue.h"
#include "panels.h"

#ifndef GEMM_ONCE
#define GEMM_ONCE
/* Of a GEMM whose columns come as they are given: how they are stored, and how many images there are. */
#endif

/* What of a GEMM is one image's and one group's, and the worker's own memory. */
struct NAME(part) {
    int64_t a;
    const REAL *b;
    const REAL *bias;
    struct NAME(epilogue) epilogue;
};

INLINE struct NAME(part) NAME(part_of)(int columns, const struct gemm_args *args, int64_t image,
                                       int64_t group, int64_t worker)
{
    const int64_t panels = parts_of(args->column_count, columns);
    const int64_t shift = image * args->out_image + group * args->out_group;
    const struct NAME(part) part = {
        .a = args->a + image * args->a_image + group * args->a_group,
        .b = AT(args->b) + group * panels * args->tap_count * args->depth * columns,
        .bias = AT(args->bias) + group * panels * columns,
        .epilogue = {.out = args->out + shift,
                     .residual = args->residual != 0 ? args->residual + shift : 0,
                     .out_rows = words_at(args->out_rows, 0),
                     .out_column = args->out_column,
                     .row_count = args->row_count,
                     .column_count = args->column_count,
                     .slope = args->slope,
                     .low = args->low,
                     .high = args->high,
                     .buffer = AT(args->scratch_base + worker * args->scratch_stride)},
    };
    return part;
}

/* Multiply a block of rows with a block of panels. */
INLINE void NAME(multiply_block)(int rows, int vectors, const struct gemm_args *args,
                                 const struct NAME(part) *part, int64_t first_row,
                                 int64_t last_row, int64_t first_panel, int64_t last_panel)
{
    const int64_t columns = vectors * LANES, step = args->depth * columns;
    const int64_t tap_count = args->tap_count, depth = args->depth;
    const int64_t *taps = words_at(args->taps, 0), *table = words_at(args->rows, 0);
    for (int64_t panel = first_panel; panel < last_panel; panel++) {
        const REAL *panel_weights = part->b + panel * tap_count * step;
        for (int64_t row = first_row; row < last_row; row += rows) {
            int64_t addresses[MOST_ROWS];
            V tile[MOST_VECTORS];
            NAME(tile_addresses)(rows, addresses, part->a, table, row, args->row_count);
            NAME(tile_fill)(rows, vectors, tile, (V){0});
            const REAL *weights = panel_weights;
            for (int64_t t = 0; t < tap_count; t++) {
                NAME(tile_multiply_add)(rows, vectors, tile, addresses, taps[t], weights, depth);
                weights += step;
            }
            NAME(tile_finish)(rows, vectors, tile, part->bias + panel * columns, &part->epilogue,
                              row, panel * columns);
        }
    }
}

/* A work item is a block of rows and panels of one group of one image. */
INLINE void NAME(gemm)(int rows, int vectors, const struct gemm_args *args, int64_t first,
                       int64_t last,
                       int64_t worker)
{
    const int columns = vectors * (int)LANES;
    const int64_t panels = parts_of(args->column_count, columns);
    const int64_t row_blocks = parts_of(args->row_count, args->row_block);
    const int64_t panel_blocks = parts_of(panels, args->panel_block);
    for (int64_t item = first; item < last; item++) {
        const int64_t panel = item % panel_blocks * args->panel_block;
        const int64_t row = item / panel_blocks % row_blocks * args->row_block;
        const int64_t rest = item / panel_blocks / row_blocks;
        const struct NAME(part) part =
            NAME(part_of)(columns, args, rest / args->groups, rest % args->groups, worker);
        NAME(multiply_block)(rows, vectors, args, &part, row,
                             lesser(row + args->row_block, args->row_count), panel,
                             lesser(panel + args->panel_block, panels));
    }
}

/* The same with columns as they are given: a worker packs a panel into its own memory, in the
 * second cache, right before the rows that it does with it. A work item is a block of rows of one
 * image for one panel of one group; those of a panel follow each other. */
INLINE void NAME(gemm_fresh)(int rows, int vectors, const struct fresh_gemm_args *args,
                             int64_t first,
                             int64_t last, int64_t worker)
{
    const int columns = vectors * (int)LANES;
    const int64_t panels = parts_of(args->column_count, columns);
    const int64_t row_blocks = parts_of(args->row_count, args->row_block);
    const int64_t elements = args->fresh_taps * args->fresh_channels;
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t row = item % row_blocks * args->row_block;
        const int64_t image = item / row_blocks % args->images;
        const int64_t whole = item / row_blocks / args->images;
        const int64_t panel = whole % panels, group = whole / panels;
        struct NAME(part) part = NAME(part_of)(columns, &args->base, image, group, worker);
        REAL *packed = part.epilogue.buffer + rows * columns;
        if (whole != before) {
            const struct columns all = {
                .source = (const char *)(intptr_t)args->b + group * args->fresh_group +
                          panel * columns * args->fresh_column,
                .step = args->fresh_column,
                .there = args->column_count - panel * columns,
                .width = columns,
                .taps = args->fresh_taps,
                .channels = args->fresh_channels,
            };
            NAME(pack_columns)(&all, packed, 0, elements);
            before = whole;
        }
        part.b = packed - panel * elements * columns;
        NAME(multiply_block)(rows, vectors, &args->base, &part, row,
                             lesser(row + args->row_block, args->row_count), panel, panel + 1);
    }
}

/* Copy windows `row` to `stop` - 1 to rows of `lowered`. */
INLINE void NAME(lower_windows)(const struct im2col_args *args, int64_t source, REAL *lowered,
                                int64_t row,
                                int64_t stop)
{
    const int64_t *rows = words_at(args->source_rows, 0), *taps = words_at(args->source_taps, 0);
    const int64_t depth = args->source_depth;
    for (; row < stop; row++) {
        for (int64_t t = 0; t < args->source_count; t++) {
            const REAL *window = AT(source + rows[row] + taps[t]);
            int64_t k = 0;
            for (; k + LANES <= depth; k += LANES) {
                NAME(store)(lowered + k, NAME(load)(window + k));
            }
            if (k < depth) {
                const V rest = NAME(load_first)(window + k, depth - k, (V){0});
                NAME(store_first)(lowered + k, depth - k, rest);
            }
            lowered += depth;
        }
    }
}

/* A work item is a block of rows and panels of one group of one image. A worker that does several
 * blocks of panels of the same rows copies their windows once. */
INLINE void NAME(im2col)(int rows, int vectors, const struct im2col_args *args, int64_t first,
                         int64_t last,
                         int64_t worker)
{
    const int columns = vectors * (int)LANES;
    const int64_t panels = parts_of(args->column_count, columns);
    const int64_t row_blocks = parts_of(args->row_count, args->row_block);
    const int64_t panel_blocks = parts_of(panels, args->panel_block);
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t panel = item % panel_blocks * args->panel_block;
        const int64_t whole = item / panel_blocks;
        const int64_t row = whole % row_blocks * args->row_block;
        const int64_t stop = lesser(row + args->row_block, args->row_count);
        const int64_t image = whole / row_blocks / args->groups;
        const int64_t group = whole / row_blocks % args->groups;
        struct NAME(part) part = NAME(part_of)(columns, &args->base, image, group, worker);
        const int64_t source =
            args->a + image * args->source_image + group * args->source_group;
        REAL *lowered = part.epilogue.buffer + rows * columns;
        if (whole != before) {
            NAME(lower_windows)(args, source, lowered, row, stop);
            before = whole;
        }
        part.a = (int64_t)(intptr_t)(lowered - row * args->depth);
        NAME(multiply_block)(rows, vectors, &args->base, &part, row, stop, panel,
                             lesser(panel + args->panel_block, panels));
    }
}

#define GEMM_KERNELS(rows, vectors)                                                                \
    KERNEL(gemm_##rows##x##vectors, gemm_args,                                                     \
           NAME(gemm)(rows, vectors, args, first, last, worker))                                   \
    KERNEL(gemm_fresh_##rows##x##vectors, fresh_gemm_args,                                         \
           NAME(gemm_fresh)(rows, vectors, args, first, last, worker))                             \
    KERNEL(im2col_##rows##x##vectors, im2col_args,                                                 \
           NAME(im2col)(rows, vectors, args, first, last, worker))
SHAPES(gemm)(GEMM_KERNELS)
#undef GEMM_KERNELS
