/* Weighted averages: all taps of a run of outputs, one after the other, in registers. */
#include "pool_block.h"

#ifndef POOL_WEIGHTED_ONCE
#define POOL_WEIGHTED_ONCE
/* Runs: where elements come from and go to, and how far apart their cells and the weights of these
 * are; what the sum is divided by is at `total`. */
struct weighted_run {
    struct pool_cells cells;
    int64_t from, to, end, spacing, weights, depth_weights, row_weights, total;
};
#endif

INLINE void NAME(weighted_some)(const int vectors, const int whole, const struct weighted_run *run,
                                int64_t i, int64_t count)
{
    const int64_t size = (int64_t)sizeof(REAL), start = run->from + i * run->spacing * size;
    const struct pool_cells *cells = &run->cells;
    V totals[SIDE_BY_SIDE];
    UNROLL for (int v = 0; v < vectors; v++) {
        totals[v] = NAME(splat)(0);
    }
    for (int64_t d = 0; d < cells->depth; d++) {
        for (int64_t h = 0; h < cells->rows; h++) {
            const REAL *weights =
                AT(run->weights) + d * run->depth_weights + h * run->row_weights;
            int64_t at = start + d * cells->depth_step + h * cells->row_step;
            for (int64_t c = 0; c < cells->columns; c++) {
                const V weight = NAME(splat)(weights[c]);
                UNROLL for (int v = 0; v < vectors; v++) {
                    const int64_t place = at + v * LANES * size;
                    const V value = whole ? NAME(load)(AT(place))
                                          : NAME(run_first)(place, run->spacing, count, run->end);
                    totals[v] = NAME(multiply_add)(weight, value, totals[v]);
                }
                at += cells->column_step;
            }
        }
    }
    const REAL total = *AT(run->total);
    UNROLL for (int v = 0; v < vectors; v++) {
        const V value = total == 1 ? totals[v] : totals[v] / NAME(splat)(total);
        REAL *to = AT(run->to) + i + v * LANES;
        if (whole) {
            NAME(store)(to, value);
        } else {
            NAME(store_first)(to, count, value);
        }
    }
}

INLINE void NAME(weighted_item)(const struct weighted_args *args, const struct pool_item *item)
{
    const int64_t size = (int64_t)sizeof(REAL), lanes = args->lanes;
    const int64_t source = pool_cell(&args->base, item, 0, size), pitch = lanes * size;
    const int64_t kind = *words_at(args->d_kind, item->od) * args->h_kinds +
                         *words_at(args->h_kind, item->oh);
    const int64_t sums = args->sums + kind * args->w_kinds * size;
    const int64_t first_row = item->d.tap * args->kernel_height + item->h.tap;
    struct weighted_run run = {.cells = pool_cells(&args->base, item, size),
                               .end = pool_end(&args->base, item, size),
                               .depth_weights = args->kernel_height * args->taps,
                               .row_weights = args->taps};
    int64_t inner, outer;
    pool_interior(&args->base, item, &inner, &outer);
    for (int64_t o = item->first; o < item->last; o++) {
        const struct pool_window window = pool_window(args->w_table, args->out_width, o);
        const int64_t together = o == inner ? greater(outer - inner, 1) : 1;
        run.from = source + window.start * pitch;
        run.to = args->out + ((item->row * args->out_width + o) * lanes + item->lane) * size;
        run.cells.columns = window.cells;
        run.weights = args->weights + (first_row * args->taps + window.tap) * size;
        run.total = sums + *words_at(args->w_kind, o) * size;
        run.spacing = together > 1 ? pool_spacing(&args->base) : 1;
#define SOME(vectors, whole, i, n) NAME(weighted_some)(vectors, whole, &run, i, n)
        EACH_OF_RUN(together * item->lanes, run.spacing, SOME)
#undef SOME
        o += together - 1;
    }
}

INLINE void NAME(weighted_items)(const struct weighted_args *args, int64_t first, int64_t last)
{
    for (int64_t number = first; number < last; number++) {
        const struct pool_item item = pool_item(&args->base, number);
        NAME(weighted_item)(args, &item);
    }
}

KERNEL(pool_weighted, weighted_args, NAME(weighted_items)(args, first, last))
