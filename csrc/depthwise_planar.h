/* Depthwise convolution of channels-first images: lanes are neighbouring pixels of one channel.
 *
 * A tile of output rows slides down a column of weights, so that each line is loaded once for all
 * the rows and taps that it serves. Lines are read where the plane has them, or copied and padded
 * first. A work item is a block of output rows and columns of one channel of one image.
 * Sums run over columns of weights, down each.
 */
#include "tile.h"
#include "planes.h"

#ifndef DEPTHWISE_PLANAR_ONCE
#define DEPTHWISE_PLANAR_ONCE
/* Most taps of a column whose weights are held in registers together. */
enum { COLUMN_TAPS = 8 };
#endif

/* Where a tile's windows begin: `line` and `column` of a plane of lines x length elements, outside
 * of which all is zero; or, of copied lines, an address alone. */
struct NAME(corner) {
    int64_t address;
    int64_t pitch;
    int64_t line, lines;
    int64_t column, length;
};

/* Vector v of the corner's line; at an edge, its lanes inside the plane. */
INLINE V NAME(read_line)(int edge, const struct NAME(corner) *at, const NAME(lanes) *inside, int v)
{
    static const REAL zeros[LANE_COUNT];
    const REAL *place = AT(at->address + v * VECTOR_BYTES);
    if (!edge) {
        return NAME(load)(place);
    }
    const int there = (uint64_t)at->line < (uint64_t)at->lines;
    return NAME(load_lanes)(there ? place : zeros, inside[v]);
}

INLINE void NAME(move_down)(struct NAME(corner) *at, int64_t lines)
{
    at->address += lines * at->pitch;
    at->line += lines;
}

/* Add a column of `taps` weights to a tile: row r sees, for each tap t in order, the line
 * r * step + t, which is read once for all that see it. */
INLINE void NAME(add_column)(int rows, int vectors, int taps, int step, int edge, V *tile,
                             struct NAME(corner) at, const NAME(lanes) *inside,
                             const REAL *weights)
{
    V factors[COLUMN_TAPS];
    UNROLL for (int t = 0; t < taps; t++) {
        factors[t] = NAME(splat)(weights[t]);
    }
    UNROLL for (int line = 0; line < (rows - 1) * step + taps; line++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const V value = NAME(held)(NAME(read_line)(edge, &at, inside, v));
            UNROLL for (int t = 0; t < taps; t++) {
                const int r = (line - t) / step;
                if (line >= t && (line - t) % step == 0 && r < rows) {
                    tile[r * vectors + v] =
                        NAME(multiply_add)(factors[t], value, tile[r * vectors + v]);
                }
            }
        }
        NAME(move_down)(&at, 1);
    }
}

/* Add one weight: row r sees the line r * step. */
INLINE void NAME(add_tap)(int rows, int vectors, int edge, V *tile, struct NAME(corner) at,
                          const NAME(lanes) *inside, int64_t step, REAL weight)
{
    const V factor = NAME(splat)(weight);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const V value = NAME(read_line)(edge, &at, inside, v);
            tile[r * vectors + v] = NAME(multiply_add)(factor, value, tile[r * vectors + v]);
        }
        NAME(move_down)(&at, step);
    }
}

/* Add all taps. `taps` down and `step` are known, and taps follow each other; `taps` 0: they are
 * any number, and where `step` is 0 too, at any distance. */
INLINE void NAME(add_taps)(int rows, int vectors, int taps, int step, int edge, V *tile,
                           const struct depthwise_planar_args *args, const struct NAME(corner) *corner,
                           const REAL *weights)
{
    const int64_t *offsets = words_at(args->offsets, 0);
    const int64_t down = args->taps_down, apart = args->apart_down;
    for (int64_t x = 0; x < args->taps_across; x++) {
        NAME(lanes) inside[MOST_VECTORS];
        struct NAME(corner) at = *corner;
        at.address += offsets[x] * (int64_t)sizeof(REAL);
        if (edge) {
            at.column += offsets[x];
            UNROLL for (int v = 0; v < vectors; v++) {
                const int64_t first = at.column + v * LANES;
                inside[v] = NAME(between)(-first, at.length - first);
            }
        }
        if (taps > 0) {
            NAME(add_column)(rows, vectors, taps, step, edge, tile, at, inside, weights);
            weights += taps;
            continue;
        }
        int64_t t = 0;
#if VECTOR_REGISTERS == 32
        for (; step > 0 && t + 8 <= down; t += 8) {
            NAME(add_column)(rows, vectors, 8, step, edge, tile, at, inside, weights);
            NAME(move_down)(&at, 8);
            weights += 8;
        }
#endif
        for (; step > 0 && t + 4 <= down; t += 4) {
            NAME(add_column)(rows, vectors, 4, step, edge, tile, at, inside, weights);
            NAME(move_down)(&at, 4);
            weights += 4;
        }
        for (; t < down; t++) {
            NAME(add_tap)(rows, vectors, edge, tile, at, inside, args->step_down, *weights);
            NAME(move_down)(&at, apart);
            weights++;
        }
    }
}

/* Do the epilogue, and store what of a tile is inside the output. */
INLINE void NAME(finish_tile)(int rows, int vectors, V *tile,
                              const struct depthwise_planar_args *args, int64_t image,
                              int64_t row, int64_t rows_left, int64_t column)
{
    const int64_t width = args->width, left = width - column;
    const int64_t shift = image * args->out_bytes + (row * width + column) * (int64_t)sizeof(REAL);
    const int whole = left >= vectors * LANES && rows_left >= rows;
    if (args->residual != 0) {
        const REAL *residual = AT(args->residual + shift);
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < vectors; v++) {
                if (r < rows_left && v * LANES < left) {
                    const REAL *place = residual + r * width + v * LANES;
                    tile[r * vectors + v] += NAME(load_first)(place, left - v * LANES, (V){0});
                }
            }
        }
    }
    NAME(tile_activate)(rows, vectors, tile, args->slope, args->low,
                        args->high);
    REAL *out = AT(args->out + shift);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            REAL *place = out + r * width + v * LANES;
            if (whole) {
                NAME(store)(place, tile[r * vectors + v]);
            } else if (r < rows_left && v * LANES < left) {
                NAME(store_first)(place, left - v * LANES, tile[r * vectors + v]);
            }
        }
    }
}

/* Add the taps of common kernels, known at compile time, or others. Tiles of few rows would gain
 * nothing by it. */
INLINE void NAME(add_some_taps)(int rows, int vectors, int edge, V *tile,
                                const struct depthwise_planar_args *args,
                                const struct NAME(corner) *at, const REAL *weights)
{
    const int64_t step = rows >= 4 && args->apart_down == 1 ? args->step_down : 0;
#define WHERE(taps_, step_)                                                                        \
    if (step == step_ && (taps_ == 0 || args->taps_down == taps_)) {                               \
        NAME(add_taps)(rows, vectors, taps_, step_, edge, tile, args, at, weights);                \
        return;                                                                                    \
    }
    WHERE(3, 1)
    WHERE(5, 1)
    WHERE(7, 1)
    WHERE(0, 1)
    if (!edge) {
        WHERE(3, 2)
        WHERE(5, 2)
        WHERE(7, 2)
    }
#undef WHERE
    NAME(add_taps)(rows, vectors, 0, 0, edge, tile, args, at, weights);
}

/* Where a tile goes, and with what weights. */
struct NAME(target) {
    const REAL *weights;
    V bias;
    int64_t image;
    int64_t row, rows_left;
    int64_t column;
};

INLINE void NAME(sum_tile)(int rows, int vectors, int edge,
                           const struct depthwise_planar_args *args,
                           const struct NAME(corner) *at, const struct NAME(target) *to)
{
    V tile[MOST_VECTORS];
    NAME(tile_fill)(rows, vectors, tile, to->bias);
    NAME(add_some_taps)(rows, vectors, edge, tile, args, at, to->weights);
    NAME(finish_tile)(rows, vectors, tile, args, to->image, to->row, to->rows_left, to->column);
}

/* Sum rows `start` to `stop` - 1 of the block of columns from `begin` on of a plane by one filter
 * of its channel: from lines that were copied, or, with none, from the plane as it is stored. */
INLINE void NAME(sum_block)(int rows, int vectors, const struct depthwise_planar_args *args,
                            int64_t copied,
                            int64_t plane, int64_t filter, int64_t start, int64_t stop,
                            int64_t begin)
{
    const int64_t size = (int64_t)sizeof(REAL);
    const int64_t channel = plane % args->channels * args->multiplier + filter;
    const int64_t step = args->step_down, columns = vectors * LANES;
    const int64_t end = lesser(begin + args->column_block, args->width);
    const int64_t last_offset = *words_at(args->offsets, args->taps_across - 1);
    const int64_t tall = (rows - 1) * step + (args->taps_down - 1) * args->apart_down + 1;
    const int64_t top = copied ? start * step : args->before_down;
    const int64_t before = copied ? 0 : args->line_before;
    const int64_t source = copied ? copied : args->planes + plane * args->plane_bytes;
    struct NAME(corner) at = {
        .pitch = (copied ? args->line_phases * args->line_phase : args->line_width) * size,
        /* Copied lines hold all that is read. */
        .lines = copied ? INT64_MAX : args->in_height,
        .length = copied ? INT64_MAX : args->line_width,
    };
    struct NAME(target) to = {
        .weights = AT(args->weights) + channel * args->taps_down * args->taps_across,
        .bias = NAME(splat)(AT(args->bias)[channel]),
        .image = plane * args->multiplier + filter,
    };
    for (to.row = start; to.row < stop; to.row += rows) {
        to.rows_left = stop - to.row;
        at.line = to.row * step - top;
        for (to.column = begin; to.column < end; to.column += columns) {
            at.column = to.column - before;
            at.address = source + at.line * at.pitch + at.column * size;
            if (at.line < 0 || at.line + tall > at.lines || at.column < 0 ||
                at.column + columns + last_offset > at.length) {
                NAME(sum_tile)(rows, vectors, 1, args, &at, &to);
            } else {
                NAME(sum_tile)(rows, vectors, 0, args, &at, &to);
            }
        }
    }
}

/* A function for each tile. */
typedef void (*NAME(block_function))(const struct depthwise_planar_args *args, int64_t copied, int64_t plane,
                                     int64_t filter, int64_t start, int64_t stop, int64_t begin);
#define BLOCK_FUNCTION(rows, vectors)                                                              \
    static void NAME(sum_##rows##x##vectors)(const struct depthwise_planar_args *args, int64_t copied, int64_t plane,\
                                             int64_t filter, int64_t start, int64_t stop,          \
                                             int64_t begin)                                        \
    {                                                                                              \
        NAME(sum_block)(rows, vectors, args, copied, plane, filter, start, stop, begin);           \
    }
SHAPES(planes)(BLOCK_FUNCTION)
#define BLOCK_CASE(rows, vectors)                                                                  \
    if (args->tile_rows == rows && args->tile_vectors == vectors) {                                \
        return NAME(sum_##rows##x##vectors);                                                       \
    }
static NAME(block_function) NAME(block_function_of)(const struct depthwise_planar_args *args)
{
    SHAPES(planes)(BLOCK_CASE)
    return 0;
}
#undef BLOCK_FUNCTION
#undef BLOCK_CASE

/* Copy what padded lines the rows `start` to `stop` - 1 of a plane see. */
INLINE void NAME(copy_block)(const struct depthwise_planar_args *args, int64_t plane, int64_t start,
                             int64_t stop,
                             int64_t lines)
{
    const int64_t filled = parts_of(stop - start, args->tile_rows) * args->tile_rows;
    const int64_t reach = (args->taps_down - 1) * args->apart_down + 1;
    const int64_t rows = lesser(filled - 1, args->height - 1 - start);
    NAME(copy_lines)(&args->base, args->line_before, AT(args->planes + plane * args->plane_bytes),
                     start * args->step_down, rows * args->step_down + reach, AT(lines));
}

/* `copy`: padded lines are copied first; else planes are read as they are stored, and strides are 1. */
INLINE void NAME(sum_planes)(int copy, const struct depthwise_planar_args *args, int64_t first,
                             int64_t last,
                             int64_t worker)
{
    const NAME(block_function) sum = NAME(block_function_of)(args);
    const int64_t lines = copy ? args->scratch_base + worker * args->scratch_stride : 0;
    const int64_t blocks = parts_of(args->height, args->row_block);
    const int64_t parts = parts_of(args->width, args->column_block);
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t whole = item / parts, begin = item % parts * args->column_block;
        const int64_t plane = whole / blocks, start = whole % blocks * args->row_block;
        const int64_t stop = lesser(start + args->row_block, args->height);
        /* Several blocks of columns are summed from one copy. */
        if (copy && whole != before) {
            NAME(copy_block)(args, plane, start, stop, lines);
            before = whole;
        }
        for (int64_t filter = 0; filter < args->multiplier; filter++) {
            sum(args, lines, plane, filter, start, stop, begin);
        }
    }
}

KERNEL(depthwise_planar_copied, depthwise_planar_args,
       NAME(sum_planes)(1, args, first, last, worker))
KERNEL(depthwise_planar_inside, depthwise_planar_args,
       NAME(sum_planes)(0, args, first, last, worker))
