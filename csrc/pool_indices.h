/* Max pools that tell where: each window's largest cell, and its place in the plane; the first of
 * several, NaN above all.
 *
 * Where windows overlap much, the rows of an item's windows are folded into a line in scratch
 * memory first: its largest cells, and the places of their rows. Places are counted in integers
 * of the element's size: plans keep planes below 2^31 cells.
 */
#include "pool_block.h"

#ifndef POOL_INDICES_ONCE
#define POOL_INDICES_ONCE
/* What is folded: rows into a line, a line's columns into outputs, windows into outputs. */
enum indices_shape { PLACES_TO_LINE, PLACES_OF_LINE, PLACES_OF_WINDOW };

/* Runs: where elements and the places of their rows come from and go to, how far apart cells are
 * in memory (bytes) and in the plane (places), where the first one is, places from one element of
 * the run to the next. */
struct indices_run {
    struct pool_cells cells;
    int64_t from, rows_from, to, places_to, end, spacing;
    int64_t depth_places, row_places, column_places, place, apart;
};
#endif

INLINE V NAME(indices_load)(const int whole, const struct indices_run *run, int64_t at,
                            int64_t count)
{
    return whole ? NAME(load)(AT(at)) : NAME(run_first)(at, run->spacing, count, run->end);
}

INLINE M NAME(indices_splat)(int64_t place)
{
    return (INTEGER)place - (M){0};
}

INLINE void NAME(indices_bring)(V *most, M *where, V value, M place)
{
    const NAME(mask) better = NAME(above)(value, *most);
    *most = NAME(chosen)(better, value, *most);
    *where = (M)NAME(chosen)(better, (V)place, (V)*where);
}

/* The same where a later cell may come first in the plane. */
INLINE void NAME(indices_bring_any)(V *most, M *where, V value, M place)
{
    const NAME(mask) tied =
        (NAME(mask))(NAME(as_large)(value, *most) & NAME(earlier)(place, *where));
    const NAME(mask) better = (NAME(mask))(NAME(above)(value, *most) | tied);
    *most = NAME(chosen)(better, value, *most);
    *where = (M)NAME(chosen)(better, (V)place, (V)*where);
}

INLINE void NAME(indices_store)(const int whole, int64_t at, int64_t count, V values)
{
    if (whole) {
        NAME(store)(AT(at), values);
    } else {
        NAME(store_first)(AT(at), count, values);
    }
}

INLINE void NAME(indices_store_wide)(const int whole, int64_t at, int64_t count, M where)
{
    int64_t *to = (int64_t *)(intptr_t)at;
    INTEGER places[LANE_COUNT];
    memcpy(places, &where, sizeof where);
    if (whole) {
        for (int64_t i = 0; i < LANES; i++) {
            to[i] = places[i];
        }
        return;
    }
    for (int64_t i = 0; i < LANES && i < count; i++) {
        to[i] = places[i];
    }
}

INLINE void NAME(indices_of_line)(const int vectors, const int whole,
                                  const struct indices_run *run, int64_t i, int64_t count, V *most,
                                  M *where)
{
    const int64_t size = (int64_t)sizeof(REAL), apart = i * run->spacing * size;
    UNROLL for (int v = 0; v < vectors; v++) {
        const int64_t at = apart + v * LANES * size;
        most[v] = NAME(indices_load)(whole, run, run->from + at, count);
        where[v] = (M)NAME(indices_load)(whole, run, run->rows_from + at, count) +
                   NAME(indices_splat)(run->place);
    }
    for (int64_t c = 1; c < run->cells.columns; c++) {
        const int64_t shift = apart + c * run->cells.column_step;
        const M column = NAME(indices_splat)(run->place + c * run->column_places);
        UNROLL for (int v = 0; v < vectors; v++) {
            const int64_t at = shift + v * LANES * size;
            const V value = NAME(indices_load)(whole, run, run->from + at, count);
            const M row = (M)NAME(indices_load)(whole, run, run->rows_from + at, count);
            NAME(indices_bring_any)(&most[v], &where[v], value, row + column);
        }
    }
}

INLINE void NAME(indices_of_window)(const int vectors, const int whole,
                                    const struct indices_run *run, int64_t i, int64_t count,
                                    V *most, M *where)
{
    const int64_t size = (int64_t)sizeof(REAL), start = run->from + i * run->spacing * size;
    const struct pool_cells *cells = &run->cells;
    UNROLL for (int v = 0; v < vectors; v++) {
        most[v] = NAME(indices_load)(whole, run, start + v * LANES * size, count);
        where[v] = NAME(indices_splat)(run->place);
    }
    for (int64_t d = 0; d < cells->depth; d++) {
        for (int64_t h = 0; h < cells->rows; h++) {
            int64_t at = start + d * cells->depth_step + h * cells->row_step;
            int64_t place = run->place + d * run->depth_places + h * run->row_places;
            for (int64_t c = 0; c < cells->columns; c++) {
                const M here = NAME(indices_splat)(place);
                UNROLL for (int v = 0; v < vectors; v++) {
                    const V value =
                        NAME(indices_load)(whole, run, at + v * LANES * size, count);
                    NAME(indices_bring)(&most[v], &where[v], value, here);
                }
                at += cells->column_step;
                place += run->column_places;
            }
        }
    }
}

#define OWN_PLACE(x, i) (i)
INLINE void NAME(indices_some)(const int shape, const int vectors, const int whole,
                               const struct indices_run *run, int64_t i, int64_t count)
{
    const int64_t size = (int64_t)sizeof(REAL);
    V most[SIDE_BY_SIDE];
    M where[SIDE_BY_SIDE];
    if (shape == PLACES_OF_LINE) {
        NAME(indices_of_line)(vectors, whole, run, i, count, most, where);
    } else {
        NAME(indices_of_window)(vectors, whole, run, i, count, most, where);
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        const int64_t first = i + v * LANES;
        if (run->apart > 0) {
            const M numbers = (M){EACH_LANE(OWN_PLACE, 0)} + (INTEGER)first;
            where[v] += numbers * (INTEGER)run->apart;
        }
        NAME(indices_store)(whole, run->to + first * size, count, most[v]);
        if (shape == PLACES_TO_LINE) {
            NAME(indices_store)(whole, run->places_to + first * size, count, (V)where[v]);
        } else {
            NAME(indices_store_wide)(whole, run->places_to + first * 8, count, where[v]);
        }
    }
}
#undef OWN_PLACE

INLINE void NAME(indices_run)(const int shape, const struct indices_run *run, int64_t count)
{
#define SOME(vectors, whole, i, n) NAME(indices_some)(shape, vectors, whole, run, i, n)
    EACH_OF_RUN(count, run->spacing, SOME)
#undef SOME
}

/* Fold the rows of an item's windows into a line: its columns, of as many lanes as the item has. */
INLINE void NAME(indices_line)(const struct pool_indices_args *args, const struct pool_item *item,
                               struct indices_run run, int64_t rows, int64_t line)
{
    const int64_t size = (int64_t)sizeof(REAL);
    const int together = item->lanes == args->lanes;
    const int64_t columns = together ? 1 : item->columns;
    const int64_t count = together ? item->columns * item->lanes : item->lanes;
    run.cells.columns = run.spacing = 1;
    run.place = (item->d.start * args->height + item->h.start) * args->width;
    for (int64_t column = 0; column < columns; column++) {
        run.from = pool_cell(&args->base, item, item->column + column, size);
        run.to = line + column * count * size;
        run.places_to = rows + column * count * size;
        NAME(indices_run)(PLACES_TO_LINE, &run, count);
    }
}

/* Windows without a cell have no place. */
INLINE void NAME(indices_none)(const struct indices_run *run, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        AT(run->to)[i] = (REAL)-INFINITY;
        ((int64_t *)(intptr_t)run->places_to)[i] = -1;
    }
}

/* One output alone, of a line or of a window: a cell is seldom the largest yet. */
INLINE void NAME(indices_one)(const struct indices_run *run, int lined)
{
    const struct pool_cells *cells = &run->cells;
    const int64_t depth = lined ? 1 : cells->depth, rows = lined ? 1 : cells->rows;
    REAL most = *AT(run->from);
    int64_t where = INT64_MAX;
    for (int64_t d = 0; d < depth; d++) {
        for (int64_t h = 0; h < rows; h++) {
            const int64_t row = run->from + d * cells->depth_step + h * cells->row_step;
            const int64_t start = run->place + d * run->depth_places + h * run->row_places;
            for (int64_t c = 0; c < cells->columns; c++) {
                const REAL value = *AT(row + c * cells->column_step);
                if (value < most || (most != most && value == value)) {
                    continue;
                }
                int64_t place = start + c * run->column_places;
                if (lined) {
                    INTEGER above;
                    memcpy(&above, AT(run->rows_from + c * cells->column_step), sizeof above);
                    place += above;
                }
                if (value > most || (value != value && most == most) || place < where) {
                    most = value;
                    where = place;
                }
            }
        }
    }
    *AT(run->to) = most;
    *(int64_t *)(intptr_t)run->places_to = where;
}

INLINE void NAME(indices_item)(const struct pool_indices_args *args, const struct pool_item *item,
                               int64_t rows)
{
    const int64_t size = (int64_t)sizeof(REAL), line = rows + args->row_line_bytes;
    const int64_t lanes = args->lanes, height = item->d.cells * item->h.cells;
    const int lined =
        lanes == 1 && args->taps == 0 ? height > 1 : pool_lined(&args->base, item, height, 2, LANES);
    int64_t source = pool_cell(&args->base, item, 0, size), pitch = lanes * size;
    struct indices_run run = {.cells = pool_cells(&args->base, item, size),
                              .end = pool_end(&args->base, item, size),
                              .depth_places = args->d_step * args->height * args->width,
                              .row_places = args->h_step * args->width,
                              .column_places = args->w_step};
    int64_t start = (item->d.start * args->height + item->h.start) * args->width;
    if (lined) {
        NAME(indices_line)(args, item, run, rows, line);
        pitch = item->lanes * size;
        source = line - item->column * pitch;
        start = 0;
        run.cells.column_step = args->w_step * pitch;
        /* Past a line there is room for a vector. */
        run.end = line + item->columns * pitch + VECTOR_BYTES;
    }
    int64_t inner, outer;
    pool_interior(&args->base, item, &inner, &outer);
    for (int64_t o = item->first; o < item->last; o++) {
        const struct pool_window window = pool_window(args->w_table, args->out_width, o);
        const int64_t together = o == inner && lanes == 1 ? greater(outer - inner, 1) : 1;
        const int64_t out = (item->row * args->out_width + o) * lanes + item->lane;
        run.from = source + window.start * pitch;
        run.rows_from = run.from + rows - line;
        run.to = args->out + out * size;
        run.places_to = args->indices + out * 8;
        run.cells.columns = window.cells;
        run.place = start + window.start;
        run.spacing = together > 1 ? args->stride : 1;
        run.apart = together > 1 ? args->stride : 0;
        if (height == 0 || window.cells == 0) {
            NAME(indices_none)(&run, together * item->lanes);
        } else if (together * item->lanes == 1) {
            NAME(indices_one)(&run, lined);
        } else if (lined) {
            NAME(indices_run)(PLACES_OF_LINE, &run, together * item->lanes);
        } else {
            NAME(indices_run)(PLACES_OF_WINDOW, &run, together * item->lanes);
        }
        o += together - 1;
    }
}

INLINE void NAME(indices_items)(const struct pool_indices_args *args, int64_t first, int64_t last,
                                int64_t worker)
{
    const int64_t rows = args->scratch_base + worker * args->scratch_stride;
    for (int64_t number = first; number < last; number++) {
        const struct pool_item item = pool_item(&args->base, number);
        NAME(indices_item)(args, &item, rows);
    }
}

KERNEL(pool_indices, pool_indices_args, NAME(indices_items)(args, first, last, worker))
