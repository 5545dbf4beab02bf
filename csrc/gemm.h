/* The one GEMM, and im2col before it: register tiles over rows that tables of offsets find, columns
 * packed in panels. What is multiplied stands in fastconv/backends/native/gemm.py, with the words.
 *
 * Sums run over taps, then over k, in order, whatever the tile.
 */
#include "epilogue.h"
#include "panels.h"

#ifndef GEMM_WORDS
#define GEMM_WORDS
enum {
    A, A_IMAGE, A_GROUP, A_ROWS, A_TAPS, TAP_COUNT, DEPTH, B, BIAS, OUT, OUT_IMAGE, OUT_GROUP,
    OUT_ROWS, OUT_COLUMN, RESIDUAL, SLOPE, LOW, HIGH, ROW_COUNT, COLUMN_COUNT, GROUPS, ROW_BLOCK,
    PANEL_BLOCK, SCRATCH_BASE, SCRATCH_STRIDE,
    /* im2col's: where the windows lie. */
    SOURCE_IMAGE, SOURCE_GROUP, SOURCE_ROWS, SOURCE_TAPS, SOURCE_COUNT, SOURCE_DEPTH
};
/* Of a GEMM whose columns come as they are given: how they lie, and how many images there are. */
enum { FRESH_GROUP = SCRATCH_STRIDE + 1, FRESH_COLUMN, FRESH_TAPS, FRESH_CHANNELS, FRESH_IMAGES };
#endif

/* What of a GEMM is one image's and one group's, and the worker's own memory. */
struct NAME(part) {
    int64_t a;
    const REAL *b;
    const REAL *bias;
    struct NAME(epilogue) epilogue;
};

INLINE struct NAME(part) NAME(part_of)(int columns, const int64_t *args, int64_t image,
                                       int64_t group, int64_t worker)
{
    const int64_t panels = parts_of(args[COLUMN_COUNT], columns);
    const int64_t shift = image * args[OUT_IMAGE] + group * args[OUT_GROUP];
    const struct NAME(part) part = {
        .a = args[A] + image * args[A_IMAGE] + group * args[A_GROUP],
        .b = AT(args[B]) + group * panels * args[TAP_COUNT] * args[DEPTH] * columns,
        .bias = AT(args[BIAS]) + group * panels * columns,
        .epilogue = {.out = args[OUT] + shift,
                     .residual = args[RESIDUAL] != 0 ? args[RESIDUAL] + shift : 0,
                     .out_rows = words_at(args[OUT_ROWS], 0),
                     .out_column = args[OUT_COLUMN],
                     .row_count = args[ROW_COUNT],
                     .column_count = args[COLUMN_COUNT],
                     .slope = number_of(args[SLOPE]),
                     .low = number_of(args[LOW]),
                     .high = number_of(args[HIGH]),
                     .buffer = AT(args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE])},
    };
    return part;
}

/* Multiply a block of rows with a block of panels. */
INLINE void NAME(multiply_block)(int rows, int vectors, const int64_t *args,
                                 const struct NAME(part) *part, int64_t first_row,
                                 int64_t last_row, int64_t first_panel, int64_t last_panel)
{
    const int64_t columns = vectors * LANES, step = args[DEPTH] * columns;
    const int64_t tap_count = args[TAP_COUNT], depth = args[DEPTH];
    const int64_t *taps = words_at(args[A_TAPS], 0), *table = words_at(args[A_ROWS], 0);
    for (int64_t panel = first_panel; panel < last_panel; panel++) {
        const REAL *panel_weights = part->b + panel * tap_count * step;
        for (int64_t row = first_row; row < last_row; row += rows) {
            int64_t addresses[MOST_ROWS];
            V tile[MOST_VECTORS];
            NAME(tile_addresses)(rows, addresses, part->a, table, row, args[ROW_COUNT]);
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
INLINE void NAME(gemm)(int rows, int vectors, const int64_t *args, int64_t first, int64_t last,
                       int64_t worker)
{
    const int columns = vectors * (int)LANES;
    const int64_t panels = parts_of(args[COLUMN_COUNT], columns);
    const int64_t row_blocks = parts_of(args[ROW_COUNT], args[ROW_BLOCK]);
    const int64_t panel_blocks = parts_of(panels, args[PANEL_BLOCK]);
    for (int64_t item = first; item < last; item++) {
        const int64_t panel = item % panel_blocks * args[PANEL_BLOCK];
        const int64_t row = item / panel_blocks % row_blocks * args[ROW_BLOCK];
        const int64_t rest = item / panel_blocks / row_blocks;
        const struct NAME(part) part =
            NAME(part_of)(columns, args, rest / args[GROUPS], rest % args[GROUPS], worker);
        NAME(multiply_block)(rows, vectors, args, &part, row,
                             lesser(row + args[ROW_BLOCK], args[ROW_COUNT]), panel,
                             lesser(panel + args[PANEL_BLOCK], panels));
    }
}

/* The same with columns as they are given: a worker packs a panel into its own memory, in the
 * second cache, right before the rows that it does with it. A work item is a block of rows of one
 * image for one panel of one group; those of a panel follow each other. */
INLINE void NAME(gemm_fresh)(int rows, int vectors, const int64_t *args, int64_t first,
                             int64_t last, int64_t worker)
{
    const int columns = vectors * (int)LANES;
    const int64_t panels = parts_of(args[COLUMN_COUNT], columns);
    const int64_t row_blocks = parts_of(args[ROW_COUNT], args[ROW_BLOCK]);
    const int64_t elements = args[FRESH_TAPS] * args[FRESH_CHANNELS];
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t row = item % row_blocks * args[ROW_BLOCK];
        const int64_t image = item / row_blocks % args[FRESH_IMAGES];
        const int64_t whole = item / row_blocks / args[FRESH_IMAGES];
        const int64_t panel = whole % panels, group = whole / panels;
        struct NAME(part) part = NAME(part_of)(columns, args, image, group, worker);
        REAL *packed = part.epilogue.buffer + rows * columns;
        if (whole != before) {
            const struct columns all = {
                .source = (const char *)(intptr_t)args[B] + group * args[FRESH_GROUP] +
                          panel * columns * args[FRESH_COLUMN],
                .step = args[FRESH_COLUMN],
                .there = args[COLUMN_COUNT] - panel * columns,
                .width = columns,
                .taps = args[FRESH_TAPS],
                .channels = args[FRESH_CHANNELS],
            };
            NAME(pack_columns)(&all, packed, 0, elements);
            before = whole;
        }
        part.b = packed - panel * elements * columns;
        NAME(multiply_block)(rows, vectors, args, &part, row,
                             lesser(row + args[ROW_BLOCK], args[ROW_COUNT]), panel, panel + 1);
    }
}

/* Copy windows `row` to `stop` - 1 to rows of `lowered`. */
INLINE void NAME(lower_windows)(const int64_t *args, int64_t source, REAL *lowered, int64_t row,
                                int64_t stop)
{
    const int64_t *rows = words_at(args[SOURCE_ROWS], 0), *taps = words_at(args[SOURCE_TAPS], 0);
    const int64_t depth = args[SOURCE_DEPTH];
    for (; row < stop; row++) {
        for (int64_t t = 0; t < args[SOURCE_COUNT]; t++) {
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
INLINE void NAME(im2col)(int rows, int vectors, const int64_t *args, int64_t first, int64_t last,
                         int64_t worker)
{
    const int columns = vectors * (int)LANES;
    const int64_t panels = parts_of(args[COLUMN_COUNT], columns);
    const int64_t row_blocks = parts_of(args[ROW_COUNT], args[ROW_BLOCK]);
    const int64_t panel_blocks = parts_of(panels, args[PANEL_BLOCK]);
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t panel = item % panel_blocks * args[PANEL_BLOCK];
        const int64_t whole = item / panel_blocks;
        const int64_t row = whole % row_blocks * args[ROW_BLOCK];
        const int64_t stop = lesser(row + args[ROW_BLOCK], args[ROW_COUNT]);
        const int64_t image = whole / row_blocks / args[GROUPS];
        const int64_t group = whole / row_blocks % args[GROUPS];
        struct NAME(part) part = NAME(part_of)(columns, args, image, group, worker);
        const int64_t source =
            args[A] + image * args[SOURCE_IMAGE] + group * args[SOURCE_GROUP];
        REAL *lowered = part.epilogue.buffer + rows * columns;
        if (whole != before) {
            NAME(lower_windows)(args, source, lowered, row, stop);
            before = whole;
        }
        part.a = (int64_t)(intptr_t)(lowered - row * args[DEPTH]);
        NAME(multiply_block)(rows, vectors, args, &part, row, stop, panel,
                             lesser(panel + args[PANEL_BLOCK], panels));
    }
}

/* The shapes that fastconv/machine.py names, and those of few rows or columns;
 * beside them the one of a single vector. */
#undef GEMM_SHAPES
#if VECTOR_REGISTERS == 32
#define GEMM_SHAPES(X)                                                                             \
    X(12, 2) X(10, 2) X(14, 2) X(8, 3) X(9, 3) X(6, 4) X(16, 1) X(12, 1) X(10, 1) X(1, 2) X(1, 3) X(1, 4)
#else
#define GEMM_SHAPES(X)                                                                             \
    X(6, 2) X(5, 2) X(4, 3) X(3, 4) X(12, 1) X(6, 1) X(1, 2) X(1, 3) X(1, 4)
#endif
#define GEMM_KERNELS(rows, vectors)                                                                \
    KERNEL(gemm_##rows##x##vectors, NAME(gemm)(rows, vectors, args, first, last, worker))          \
    KERNEL(gemm_fresh_##rows##x##vectors,                                                          \
           NAME(gemm_fresh)(rows, vectors, args, first, last, worker))                             \
    KERNEL(im2col_##rows##x##vectors, NAME(im2col)(rows, vectors, args, first, last, worker))
GEMM_KERNELS(1, 1)
GEMM_SHAPES(GEMM_KERNELS)
#undef GEMM_KERNELS
