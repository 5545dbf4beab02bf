/* Pools that go tile by tile of an output row: where an item's cells are, and runs of them.
 *
 * An item is a tile of an output row and a block of lanes. Outputs whose windows are inside the row make one
 * long run of elements (`interior`): of neighbours where windows are one column apart, `spacing`
 * apart where there is one lane. Others are runs of their lanes, one by one.
 */
#ifndef POOL_BLOCK
#define POOL_BLOCK
/* Vectors that are folded side by side, to hide an operation's latency. */
enum { SIDE_BY_SIDE = 4 };
/* The windows of a dimension: first cell, number of cells, first tap. */
struct pool_window {
    int64_t start, cells, tap;
};
WORDS_INLINE struct pool_window pool_window(int64_t table, int64_t length, int64_t place)
{
    const int64_t *words = words_at(table, place);
    const struct pool_window window = {words[0], words[length], words[2 * length]};
    return window;
}

/* A work item: its output row, the rows it sees, its columns and lanes. */
struct pool_item {
    int64_t image, row, od, oh, first, last, column, columns, lane, lanes;
    struct pool_window d, h;
};
WORDS_INLINE struct pool_item pool_item(const struct pool_block_args *args, int64_t number)
{
    const int64_t blocks = parts_of(args->lanes, args->lane_block);
    const int64_t tiles = number / blocks, rows = tiles / args->tiles;
    const int64_t volumes = rows / args->out_height, tile = tiles % args->tiles;
    struct pool_item item;
    item.row = rows;
    item.oh = rows % args->out_height;
    item.od = volumes % args->out_depth;
    item.image = volumes / args->out_depth;
    item.first = tile * args->tile;
    item.last = lesser(args->out_width, item.first + args->tile);
    item.column = *words_at(args->tile_from, tile);
    item.columns = *words_at(args->tile_to, tile) - item.column;
    item.lane = number % blocks * args->lane_block;
    item.lanes = lesser(args->lane_block, args->lanes - item.lane);
    item.d = pool_window(args->d_table, args->out_depth, item.od);
    item.h = pool_window(args->h_table, args->out_height, item.oh);
    return item;
}

/* The item's outputs that see every tap along the row. */
WORDS_INLINE void pool_interior(const struct pool_block_args *args, const struct pool_item *item,
                                int64_t *first,
                                int64_t *last)
{
    const int64_t taps = args->taps;
    *first = *last = item->first;
    if (taps > 0 && (args->lanes == 1 ||
                     (args->stride == 1 && args->lanes == item->lanes))) {
        const int64_t low = greater(item->first, *words_at(args->tap_table, 0));
        const int64_t high = lesser(item->last, *words_at(args->tap_table, 2 * taps - 1));
        if (low < high) {
            *first = low;
            *last = high;
        }
    }
}

/* Elements from one output's cell to the next one's, in the interior. */
WORDS_INLINE int64_t pool_spacing(const struct pool_block_args *args)
{
    return args->lanes == 1 ? args->stride : 1;
}

/* Cells of a window: numbers and bytes from one to the next; depth, rows, columns. */
struct pool_cells {
    int64_t depth, rows, columns, depth_step, row_step, column_step;
};
WORDS_INLINE struct pool_cells pool_cells(const struct pool_block_args *args,
                                          const struct pool_item *item,
                                          int64_t size)
{
    const int64_t pitch = args->lanes * size, row = args->width * pitch;
    const struct pool_cells cells = {item->d.cells,
                                     item->h.cells,
                                     args->taps,
                                     args->d_step * args->height * row,
                                     args->h_step * row,
                                     args->w_step * pitch};
    return cells;
}

/* Whether folding the rows of windows into a line first takes fewer steps than going over all of
 * their cells: in vectors, where a cell of a line costs as much as `cost` of a window. */
WORDS_INLINE int pool_lined(const struct pool_block_args *args, const struct pool_item *item,
                            int64_t rows,
                            int64_t cost, int64_t vector)
{
    const int64_t taps = args->taps, stride = args->stride;
    if (stride == 1 || item->lanes == 1) {
        return rows * taps > rows * stride + cost * taps;
    }
    const int64_t vectors = parts_of(item->lanes, vector);
    return (rows - cost) * taps * vectors > rows * stride * item->lanes / vector;
}

/* The cell of the item's first row and lane at a column. */
WORDS_INLINE int64_t pool_cell(const struct pool_block_args *args, const struct pool_item *item,
                               int64_t column,
                               int64_t size)
{
    const int64_t plane = item->image * args->depth + item->d.start;
    const int64_t row = plane * args->height + item->h.start;
    return args->source +
           ((row * args->width + column) * args->lanes + item->lane) * size;
}

/* The end of the item's image. */
WORDS_INLINE int64_t pool_end(const struct pool_block_args *args, const struct pool_item *item,
                              int64_t size)
{
    const int64_t rows = (item->image + 1) * args->depth * args->height;
    return args->source + rows * args->width * args->lanes * size;
}
#endif

/* A vector of elements `spacing` apart, of which the first `count` count. Others are read where
 * they are before `end`, for they are somebody's. */
static V __attribute__((noinline)) NAME(run_apart)(const REAL *from, int64_t spacing, int64_t count,
                                                   int64_t end)
{
    if ((int64_t)(intptr_t)from + spacing * VECTOR_BYTES <= end) {
        return NAME(every)(from, spacing);
    }
    REAL lanes[LANE_COUNT] = {0};
    for (int64_t i = 0; i < LANES && i < count; i++) {
        lanes[i] = from[i * spacing];
    }
    return NAME(load)(lanes);
}
INLINE V NAME(run_first)(int64_t at, int64_t spacing, int64_t count, int64_t end)
{
    if (spacing == 1 && at + VECTOR_BYTES <= end) {
        return NAME(load)(AT(at));
    }
    return NAME(run_apart)(AT(at), spacing, count, end);
}

/* Go over a run of `count` elements: EACH(vectors, whole, i, n) for n elements from i on, whole
 * vectors where whole is 1. The last whole one overlaps the one before. */
#define EACH_OF_RUN(count, spacing, EACH)                                                          \
    if ((spacing) == 1 && (count) >= LANES) {                                                      \
        int64_t done = 0;                                                                          \
        for (; done + SIDE_BY_SIDE * LANES <= (count); done += SIDE_BY_SIDE * LANES) {             \
            EACH(SIDE_BY_SIDE, 1, done, LANES);                                                    \
        }                                                                                          \
        for (; done < (count); done += LANES) {                                                    \
            EACH(1, 1, lesser(done, (count)-LANES), LANES);                                        \
        }                                                                                          \
    } else {                                                                                       \
        for (int64_t done = 0; done < (count); done += LANES) {                                    \
            EACH(1, 0, done, lesser(LANES, (count)-done));                                         \
        }                                                                                          \
    }
