/* Max, average and Lp pools of any layout: rows of windows first, then columns.
 *
 * Where windows overlap much, the rows of an item's windows are folded into a line in scratch
 * memory first, and outputs from that; else outputs are folded from the input. Both add in one
 * order: each column from 0 on, then the columns. Lp pools sum in float64 whatever is given.
 */
#include "pool_block.h"

#ifndef POOL_SEPARABLE_ONCE
#define POOL_SEPARABLE_ONCE
/* What pools do; the largest magnitude is the Lp pool with p = infinity. */
enum pool_kind { POOL_MAX, POOL_AVG, POOL_LARGEST, POOL_LP };
/* What is folded: rows into a line, a line's columns into outputs, windows into outputs. */
enum pool_shape { TO_LINE, COLUMNS, WINDOW };
enum { LARGEST_POWER = 16 };

/* Runs: where elements come from and go to, how far apart their cells are, what they become.
 * `power` is p where it is a small integer, else 0; `cells` of a mean. */
struct pool_run {
    struct pool_cells cells;
    int64_t from, to, end, spacing, power, counted;
    double p;
};
#endif

INLINE V NAME(separable_bring)(const int sums, V total, V value)
{
    return sums ? total + value : NAME(or_nan)(total, NAME(larger)(total, value));
}

/* Return a vector of cells as they were given: floats where `narrow`. */
INLINE V NAME(separable_given)(const int narrow, const int whole, int64_t at, int64_t spacing,
                               int64_t count, int64_t end)
{
#if !REAL_IS_FLOAT
    if (narrow) {
        const float *from = (const float *)(intptr_t)at;
        if (whole) {
            return NAME(load_floats)(from);
        }
        REAL lanes[LANE_COUNT] = {0};
        for (int64_t i = 0; i < LANES && i < count; i++) {
            lanes[i] = (REAL)from[i * spacing];
        }
        return NAME(load)(lanes);
    }
#endif
    (void)narrow;
    return whole ? NAME(load)(AT(at)) : NAME(run_first)(at, spacing, count, end);
}

/* The first `count` lanes to the power p. */
static V __attribute__((noinline, unused)) NAME(separable_pow)(V value, double p, int64_t count)
{
    REAL lanes[LANE_COUNT];
    NAME(store)(lanes, value);
    for (int64_t i = 0; i < LANES && i < count; i++) {
        lanes[i] = (REAL)pow((double)lanes[i], p);
    }
    return NAME(load)(lanes);
}

/* Return magnitudes to the power p. */
INLINE V NAME(separable_power)(const struct pool_run *run, V value, int64_t count)
{
    const V size = NAME(magnitude)(value);
    V power = size;
    if (run->power > 0) {
        for (int64_t i = 1; i < run->power; i++) {
            power *= size;
        }
        return power;
    }
    return NAME(separable_pow)(size, run->p, count);
}

INLINE V NAME(separable_cell)(const int kind, const int narrow, const int shape, const int whole,
                              const struct pool_run *run, int64_t at, int64_t count)
{
    if (shape == COLUMNS) {
        return whole ? NAME(load)(AT(at)) : NAME(run_first)(at, run->spacing, count, run->end);
    }
    const V value = NAME(separable_given)(narrow, whole, at, run->spacing, count, run->end);
    if (kind == POOL_LP) {
        return NAME(separable_power)(run, value, count);
    }
    return kind == POOL_LARGEST ? NAME(magnitude)(value) : value;
}

INLINE V NAME(separable_finish)(const int kind, const struct pool_run *run, V total,
                                int64_t count)
{
    if (kind == POOL_AVG) {
        return total / NAME(splat)((REAL)run->counted);
    }
    if (kind == POOL_LP && run->power == 2) {
        return NAME(root)(total);
    }
    if (kind == POOL_LP && run->power != 1) {
        return NAME(separable_pow)(total, 1 / run->p, count);
    }
    return total;
}

INLINE void NAME(separable_store)(const int narrow, const int whole, int64_t at, int64_t count,
                                  V total)
{
#if !REAL_IS_FLOAT
    if (narrow) {
        float *to = (float *)(intptr_t)at;
        if (whole) {
            NAME(store_floats)(to, total);
        }
        for (int64_t i = 0; !whole && i < LANES && i < count; i++) {
            to[i] = (float)total[i];
        }
        return;
    }
#endif
    (void)narrow;
    if (whole) {
        NAME(store)(AT(at), total);
    } else {
        NAME(store_first)(AT(at), count, total);
    }
}

/* Fold `count` elements of a run, or `vectors` whole vectors, from its element i on. */
INLINE void NAME(separable_some)(const int kind, const int narrow, const int shape,
                                 const int vectors, const int whole, const struct pool_run *run,
                                 int64_t i, int64_t count)
{
    const int sums = kind == POOL_AVG || kind == POOL_LP;
    const int64_t size = narrow ? (int64_t)sizeof(float) : (int64_t)sizeof(REAL);
    const int64_t from_size = shape == COLUMNS ? (int64_t)sizeof(REAL) : size;
    const int64_t to_size = shape == TO_LINE ? (int64_t)sizeof(REAL) : size;
    const struct pool_cells *cells = &run->cells;
    const V start = NAME(splat)(sums ? (REAL)0 : (REAL)-INFINITY);
    int64_t column = run->from + i * run->spacing * from_size;
    V totals[SIDE_BY_SIDE];
    UNROLL for (int v = 0; v < vectors; v++) {
        totals[v] = start;
    }
    for (int64_t c = 0; c < (shape == TO_LINE ? 1 : cells->columns); c++) {
        if (shape == COLUMNS) {
            UNROLL for (int v = 0; v < vectors; v++) {
                totals[v] = NAME(separable_bring)(
                    sums, totals[v],
                    NAME(separable_cell)(kind, narrow, shape, whole, run,
                                         column + v * LANES * from_size, count));
            }
        } else {
            V line[SIDE_BY_SIDE];
            UNROLL for (int v = 0; v < vectors; v++) {
                line[v] = start;
            }
            for (int64_t d = 0; d < cells->depth; d++) {
                int64_t at = column + d * cells->depth_step;
                for (int64_t h = 0; h < cells->rows; h++) {
                    UNROLL for (int v = 0; v < vectors; v++) {
                        line[v] = NAME(separable_bring)(
                            sums, line[v],
                            NAME(separable_cell)(kind, narrow, shape, whole, run,
                                                 at + v * LANES * from_size, count));
                    }
                    at += cells->row_step;
                }
            }
            UNROLL for (int v = 0; v < vectors; v++) {
                totals[v] =
                    shape == TO_LINE ? line[v] : NAME(separable_bring)(sums, totals[v], line[v]);
            }
        }
        column += cells->column_step;
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        if (shape != TO_LINE) {
            totals[v] = NAME(separable_finish)(kind, run, totals[v], count);
        }
        NAME(separable_store)(narrow && shape != TO_LINE, whole,
                              run->to + (i + v * LANES) * to_size, count, totals[v]);
    }
}

INLINE void NAME(separable_run)(const int kind, const int narrow, const int shape,
                                const struct pool_run *run, int64_t count)
{
#define SOME(vectors, whole, i, n)                                                                 \
    NAME(separable_some)(kind, narrow, shape, vectors, whole, run, i, n)
    EACH_OF_RUN(count, run->spacing, SOME)
#undef SOME
}

INLINE REAL NAME(separable_bring_one)(const int sums, REAL total, REAL value)
{
    return sums ? total + value : (value > total || value != value ? value : total);
}

/* Fold the cells of one long window: in 16 lanes, then these by halves. */
static REAL NAME(separable_long)(const int sums, const REAL *cells, int64_t step, int64_t count)
{
    if (step != 1 || count < SEPARABLE_RUN_LANES) {
        REAL total = sums ? (REAL)0 : (REAL)-INFINITY;
        for (int64_t i = 0; i < count; i++) {
            total = NAME(separable_bring_one)(sums, total, cells[i * step]);
        }
        return total;
    }
    V parts[SEPARABLE_RUN_LANES / LANE_COUNT];
    const int vectors = (int)(sizeof parts / sizeof parts[0]);
    int64_t done = SEPARABLE_RUN_LANES;
    UNROLL for (int v = 0; v < vectors; v++) {
        parts[v] = NAME(load)(cells + v * LANES);
    }
    for (; done + SEPARABLE_RUN_LANES <= count; done += SEPARABLE_RUN_LANES) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const V value = NAME(load)(cells + done + v * LANES);
            parts[v] = NAME(separable_bring)(sums, parts[v], value);
        }
    }
    REAL lanes[SEPARABLE_RUN_LANES];
    UNROLL for (int v = 0; v < vectors; v++) {
        NAME(store)(lanes + v * LANES, parts[v]);
    }
    for (int64_t i = 0; done + i < count; i++) {
        lanes[i] = NAME(separable_bring_one)(sums, lanes[i], cells[done + i]);
    }
    for (int width = SEPARABLE_RUN_LANES / 2; width > 0; width /= 2) {
        for (int i = 0; i < width; i++) {
            lanes[i] = NAME(separable_bring_one)(sums, lanes[i], lanes[i + width]);
        }
    }
    return lanes[0];
}

/* Fold the rows of an item's windows into a line: its columns, of as many lanes as the item has. */
INLINE void NAME(separable_line)(const int kind, const int narrow,
                                 const struct separable_args *args,
                                 const struct pool_item *item, struct pool_run run, int64_t line)
{
    const int64_t size = narrow ? (int64_t)sizeof(float) : (int64_t)sizeof(REAL);
    const int together = item->lanes == args->lanes;
    const int64_t columns = together ? 1 : item->columns;
    const int64_t count = together ? item->columns * item->lanes : item->lanes;
    run.spacing = 1;
    for (int64_t column = 0; column < columns; column++) {
        run.from = pool_cell(&args->base, item, item->column + column, size);
        run.to = line + column * count * (int64_t)sizeof(REAL);
        NAME(separable_run)(kind, narrow, TO_LINE, &run, count);
    }
}

INLINE void NAME(separable_item)(const int kind, const int narrow,
                                 const struct separable_args *args,
                                 const struct pool_item *item, int64_t line)
{
    const int64_t size = narrow ? (int64_t)sizeof(float) : (int64_t)sizeof(REAL);
    const int64_t rows = item->d.cells * item->h.cells;
    const int one_by_one = args->lanes == 1 && args->mode == 0;
    const int plain = kind == POOL_MAX || kind == POOL_AVG;
    const int single = plain && rows == 1;
    /* Powers are taken once a cell, of cells side by side. */
    const int dear = kind == POOL_LP && (args->lanes == 1 || args->taps > args->stride);
    const int lined = !single && (one_by_one || dear || pool_lined(&args->base, item, rows, 1, LANES));
    const int64_t counted = *words_at(args->d_count, item->od) * *words_at(args->h_count, item->oh);
    const double p = args->power;
    struct pool_run run = {pool_cells(&args->base, item, size), 0, 0, pool_end(&args->base, item, size), 1, 0, 0,
                           p};
    run.power = p == floor(p) && p <= LARGEST_POWER ? (int64_t)p : 0;
    int64_t source = pool_cell(&args->base, item, 0, size), pitch = args->lanes * size;
    if (lined) {
        NAME(separable_line)(kind, narrow, args, item, run, line);
        pitch = item->lanes * (int64_t)sizeof(REAL);
        source = line - item->column * pitch;
        run.cells.column_step = args->w_step * pitch;
        /* Scratch memory goes on after the line. */
        run.end = line + args->line_bytes + VECTOR_BYTES;
    }
    int64_t inner, outer;
    pool_interior(&args->base, item, &inner, &outer);
    for (int64_t o = item->first; o < item->last; o++) {
        const struct pool_window window = pool_window(args->w_table, args->out_width, o);
        const int64_t together = o == inner && !one_by_one ? greater(outer - inner, 1) : 1;
        run.from = source + window.start * pitch;
        run.to = args->out +
                 ((item->row * args->out_width + o) * args->lanes + item->lane) * size;
        run.cells.columns = window.cells;
        run.counted = counted * *words_at(args->w_count, o);
        run.spacing = together > 1 ? pool_spacing(&args->base) : 1;
        if (one_by_one) {
            const int sums = kind == POOL_AVG || kind == POOL_LP;
            const REAL total = NAME(separable_long)(sums, AT(run.from), args->w_step, window.cells);
            NAME(separable_store)(narrow, 0, run.to, 1,
                                  NAME(separable_finish)(kind, &run, NAME(splat)(total), 1));
        } else if (lined || single) {
            NAME(separable_run)(kind, narrow, COLUMNS, &run, together * item->lanes);
        } else {
            NAME(separable_run)(kind, narrow, WINDOW, &run, together * item->lanes);
        }
        o += together - 1;
    }
}

INLINE void NAME(separable_items)(const int kind, const int narrow,
                                  const struct separable_args *args,
                                  int64_t first, int64_t last, int64_t worker)
{
    const int64_t line = args->scratch_base + worker * args->scratch_stride;
    for (int64_t number = first; number < last; number++) {
        const struct pool_item item = pool_item(&args->base, number);
        NAME(separable_item)(kind, narrow, args, &item, line);
    }
}

KERNEL(pool_separable_max, separable_args,
       NAME(separable_items)(POOL_MAX, 0, args, first, last, worker))
KERNEL(pool_separable_avg, separable_args,
       NAME(separable_items)(POOL_AVG, 0, args, first, last, worker))
KERNEL(pool_separable_largest, separable_args,
       NAME(separable_items)(POOL_LARGEST, 0, args, first, last, worker))
#if !REAL_IS_FLOAT
KERNEL(pool_separable_lp, separable_args,
       NAME(separable_items)(POOL_LP, 0, args, first, last, worker))
/* The float32 kernel is one of doubles. */
KERNEL_OF(pool_separable_lp, float32, separable_args,
          NAME(separable_items)(POOL_LP, 1, args, first, last, worker))
#endif
