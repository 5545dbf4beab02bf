/* Planar pools: lines folded into lines, lines shuffled into outputs, and the walk over blocks.
 *
 * What `walk` reads from its tables is declared in fastconv/backends/manifest/pools.py.
 */

#include "pool_operation.h"

#ifndef POOL_ONCE
#define POOL_ONCE
/* SUM_VECTORS: vectors of each of four sums that run in parallel, before they are put together
 * in float64. */
enum { LONG_WINDOW = 32, SUM_VECTORS = 32 };
#endif

/* Fold one vector of `cells` lines, `step` elements apart. */
INLINE V NAME(fold_vector)(enum NAME(operation) operation, const REAL *source, int64_t step,
                           int64_t cells, int64_t first, V total)
{
    for (int64_t cell = first; cell < cells; cell++) {
        total = NAME(bring)(operation, total, NAME(load)(source + cell * step));
    }
    return total;
}

INLINE void NAME(fold_line)(enum NAME(operation) operation, REAL *target, const REAL *source,
                            int64_t step, int64_t cells, int64_t count, int carry)
{
    const V fill = NAME(splat)(NAME(neutral)(operation));
    int64_t done = 0;
    if (cells > 0) {
        for (; done + 2 * LANES <= count; done += 2 * LANES) {
            const REAL *from = source + done;
            V a, b;
            if (carry) {
                a = NAME(fold_vector)(operation, from, step, cells, 0, NAME(load)(target + done));
                b = NAME(fold_vector)(operation, from + LANES, step, cells, 0,
                                      NAME(load)(target + done + LANES));
            } else {
                a = NAME(take)(operation, NAME(load)(from));
                b = NAME(take)(operation, NAME(load)(from + LANES));
                for (int64_t cell = 1; cell < cells; cell++) {
                    const REAL *line = from + cell * step;
                    a = NAME(bring)(operation, a, NAME(load)(line));
                    b = NAME(bring)(operation, b, NAME(load)(line + LANES));
                }
            }
            NAME(store)(target + done, a);
            NAME(store)(target + done + LANES, b);
        }
        while (!carry && done < count && count >= LANES) {
            /* The last vector overlaps the one before. */
            const int64_t at = done < count - LANES ? done : count - LANES;
            const V first = NAME(take)(operation, NAME(load)(source + at));
            NAME(store)(target + at,
                        NAME(fold_vector)(operation, source + at, step, cells, 1, first));
            done += LANES;
        }
    }
    for (; done < count; done += LANES) {
        V total = carry ? NAME(load)(target + done) : fill;
        for (int64_t cell = 0; cell < cells; cell++) {
            const V value = NAME(load_first)(source + done + cell * step, count - done, fill);
            total = NAME(bring)(operation, total, value);
        }
        NAME(store)(target + done, total);
    }
}

INLINE void NAME(fold_lines)(enum NAME(operation) operation, const struct fold_lines_args *args,
                             int64_t first,
                             int64_t last)
{
    const int64_t step = args->cell_step / (int64_t)sizeof(REAL);
    for (int64_t line = first; line < last; line++) {
        NAME(fold_line)(operation, AT(args->to + line * args->to_step),
                        AT(args->source + line * args->source_step), step, args->cells,
                        args->count, args->into != 0);
    }
}

/* Bring `taps` neighbours together, `stride` apart from lane to lane. */
INLINE V NAME(neighbours)(enum NAME(operation) operation, const REAL *line, int64_t taps,
                          int64_t stride)
{
    V total = stride == 1 ? NAME(load)(line) : NAME(every)(line, stride);
    for (int64_t tap = 1; tap < taps; tap++) {
        const V value = stride == 1 ? NAME(load)(line + tap) : NAME(every)(line + tap, stride);
        total = NAME(bring)(operation, total, value);
    }
    return total;
}

INLINE void NAME(emit_lines)(enum NAME(operation) operation, int mean, int rooted,
                             const struct emit_lines_args *args, int64_t first, int64_t last, int64_t stride)
{
    const int64_t count = args->outputs, taps = args->taps;
    const REAL *across = AT(args->across);
    for (int64_t row = first; row < last; row++) {
        const REAL *line = AT(args->line + row * args->line_step);
        REAL *out = AT(args->results + row * args->results_step);
        const V down = NAME(splat)(AT(args->down)[row]);
        for (int64_t o = 0; o < count; o += LANES) {
            V values = NAME(neighbours)(operation, line + o * stride, taps, stride);
            if (mean) {
                values /= down * NAME(load)(across + o);
            }
            if (rooted) {
                values = NAME(root)(values);
            }
            if (count - o >= LANES) {
                NAME(store)(out + o, values);
            } else {
                NAME(store_first)(out + o, count - o, values);
            }
        }
    }
}

INLINE void NAME(emit_any)(enum NAME(operation) operation, int mean, int rooted,
                           const struct emit_lines_args *args, int64_t first, int64_t last)
{
    switch (args->stride) {
    case 1:
        NAME(emit_lines)(operation, mean, rooted, args, first, last, 1);
        break;
    case 2:
        NAME(emit_lines)(operation, mean, rooted, args, first, last, 2);
        break;
    case 3:
        NAME(emit_lines)(operation, mean, rooted, args, first, last, 3);
        break;
    default:
        NAME(emit_lines)(operation, mean, rooted, args, first, last, 4);
        break;
    }
}

/* Bring a vector's lanes together, by halves. */
INLINE REAL NAME(total_of)(enum NAME(operation) operation, V values)
{
    for (int64_t half = LANES / 2; half > 0; half /= 2) {
        M upper;
        for (int64_t i = 0; i < LANES; i++) {
            upper[i] = (INTEGER)((i + half) % LANES);
        }
        values = NAME(bring)(operation, values, NAME(picked)(values, values, upper));
    }
    return values[0];
}

/* Sum a run of cells in blocks, each in four vectors of sums, and the blocks in float64: no sum of
 * elements is longer than SUM_VECTORS, however many there are. */
INLINE double NAME(long_sum)(const REAL *values, int64_t cells)
{
    const V zero = {0};
    double total = 0;
    for (int64_t block = 0; block < cells; block += SUM_VECTORS * 4 * LANES) {
        const int64_t end = lesser(cells, block + SUM_VECTORS * 4 * LANES);
        V totals[4] = {{0}, {0}, {0}, {0}};
        int64_t done = block;
        for (; done + 4 * LANES <= end; done += 4 * LANES) {
            UNROLL for (int i = 0; i < 4; i++) {
                totals[i] += NAME(load)(values + done + i * LANES);
            }
        }
        for (int64_t i = 0; done < end; i++, done += LANES) {
            totals[i] += end - done < LANES ? NAME(load_first)(values + done, end - done, zero)
                                            : NAME(load)(values + done);
        }
        const V sum = (totals[0] + totals[1]) + (totals[2] + totals[3]);
        total += (double)NAME(total_of)(NAME(SUM), sum);
    }
    return total;
}

/* Fold windows of any size, one by one. */
INLINE void NAME(emit_each)(enum NAME(operation) operation, int mean, int rooted,
                            const struct emit_lines_args *args, int64_t first, int64_t last)
{
    const int64_t count = args->outputs, step = args->seen_step;
    const int64_t *starts = words_at(args->seen, args->first_output);
    const int64_t *numbers = starts + args->row_outputs;
    const REAL *across = AT(args->across), *down = AT(args->down);
    const V fill = NAME(splat)(NAME(neutral)(operation));
    for (int64_t row = first; row < last; row++) {
        const REAL *line = AT(args->line + row * args->line_step);
        REAL *out = AT(args->results + row * args->results_step);
        for (int64_t o = 0; o < count; o++) {
            const REAL *window = line + starts[o] - args->first_column;
            const int64_t cells = numbers[o];
            REAL total = NAME(neutral)(operation);
            int64_t done = 0;
            if (step == 1 && cells >= LONG_WINDOW && operation == NAME(SUM)) {
                total = (REAL)NAME(long_sum)(window, cells);
                done = cells;
            } else if (step == 1 && cells >= LONG_WINDOW) {
                V totals = fill;
                for (; done < cells; done += LANES) {
                    const V value = NAME(load_first)(window + done, cells - done, fill);
                    totals = NAME(bring)(operation, totals, value);
                }
                for (int64_t lane = 0; lane < LANES; lane++) {
                    const REAL value = totals[lane];
                    total = value > total || value != value ? value : total;
                }
            }
            for (; done < cells; done++) {
                const REAL value = window[done * step];
                if (operation == NAME(MAX)) {
                    total = value > total || value != value ? value : total;
                } else {
                    total += value;
                }
            }
            if (mean) {
                total /= down[row] * across[o];
            }
            out[o] = rooted ? (REAL_IS_FLOAT ? (REAL)sqrtf((float)total) : (REAL)sqrt((double)total))
                            : total;
        }
    }
}

static int NAME(has_nan)(const REAL *values, int64_t count)
{
    int64_t done = 0;
    int found = 0;
    for (; done + 2 * LANES <= count; done += 2 * LANES) {
        found |= NAME(any_nan)(NAME(load)(values + done), NAME(load)(values + done + LANES));
    }
    for (; done < count; done++) {
        found |= values[done] != values[done];
    }
    return found;
}

static int NAME(lines_have_nan)(int64_t start, int64_t lines, int64_t pitch, int64_t count)
{
    if (count * (int64_t)sizeof(REAL) == pitch) {
        return NAME(has_nan)(AT(start), count * lines);
    }
    for (int64_t line = 0; line < lines; line++) {
        if (NAME(has_nan)(AT(start + line * pitch), count)) {
            return 1;
        }
    }
    return 0;
}

/* Fold what a step says of a block. */
static void NAME(do_step)(const struct walk_args *args, const struct step *step, int64_t kernel,
                          int64_t volume,
                          const struct column_block *cut, int64_t block, int64_t memory, int64_t worker)
{
    struct fold_lines_args *own = (struct fold_lines_args *)(intptr_t)memory;
    const int64_t *bounds = words_at(args->step_table, step->blocks + 2 * block);
    const int64_t inside = (cut->low - cut->base) * (int64_t)sizeof(REAL) * step->inside;
    const int64_t source = step->source < 0 ? volume : memory + step->source;
    int64_t target = memory + step->target + inside;
    own->to_step = step->target_bytes;
    own->cell_step = step->cell_bytes;
    own->into = step->carry;
    const struct step_fold *fold = (const struct step_fold *)words_at(args->step_table, bounds[0]);
    const struct step_fold *end = (const struct step_fold *)words_at(args->step_table, bounds[1]);
    for (; fold < end; fold++) {
        own->to = target;
        own->source = source + fold->line * step->line_bytes;
        own->cells = fold->cells;
        own->count = fold->elements != 0 ? fold->elements : cut->high - cut->low;
        own->source_step = fold->apart * step->line_bytes;
        call(kernel, own, fold->lines, worker);
        target += step->target_bytes * fold->lines;
    }
}

INLINE void NAME(walk)(int largest, const struct walk_args *args, int64_t first, int64_t last,
                       int64_t worker)
{
    const int64_t size = (int64_t)sizeof(REAL);
    const int64_t blocks = (args->out_height + args->rows - 1) / args->rows;
    const int64_t memory = args->scratch_base + worker * args->scratch_stride;
    struct emit_lines_args *own = (struct emit_lines_args *)(intptr_t)memory;
    const int64_t row_bytes = args->width * size;
    for (int64_t item = first; item < last; item++) {
        const int64_t plane_block = item / args->column_blocks;
        const int64_t out_plane = plane_block / blocks, block = plane_block % blocks;
        const int64_t plane = out_plane / args->out_depth, depth = out_plane % args->out_depth;
        const struct column_block *cut =
            RECORDS_AT(column_block, args->column_table) + item % args->column_blocks;
        const int64_t volume = args->source + plane * args->volume_bytes + cut->low * size;
        int64_t fold = args->fold, emit = args->emit;
        for (int64_t number = 0; number < args->steps; number++) {
            if (largest && number == args->checked) {
                const int64_t *seen = words_at(args->row_table, 2 * block);
                const int64_t start = args->checked_place < 0 ? volume + seen[0] * row_bytes
                                                              : memory + args->checked_place;
                if (!NAME(lines_have_nan)(start, seen[1] - seen[0], row_bytes, cut->high - cut->low)) {
                    fold = args->fold_ordered;
                    emit = args->emit_ordered;
                }
            }
            const struct step *step = RECORDS_AT(step, args->step_table) + number;
            const int64_t kernel =
                step->first && fold == args->fold ? args->fold_first : fold;
            NAME(do_step)(args, step, kernel, volume, cut, depth * blocks + block, memory, worker);
        }
        const int64_t row = block * args->rows;
        own->line = memory + args->result;
        own->line_step = args->pitch * size;
        own->results_step = args->out_width * size;
        own->results = args->out + out_plane * args->out_bytes +
                              row * args->out_width * size + cut->first_output * size;
        own->first_output = cut->first_output;
        own->outputs = cut->outputs;
        own->first_column = cut->base;
        own->down = args->counts_down + (depth * args->out_height + row) * size;
        own->across = args->counts_across + cut->first_output * size;
        own->seen = args->windows;
        own->seen_step = args->window_step;
        own->row_outputs = args->out_width;
        own->taps = args->taps;
        own->stride = args->stride;
        const int64_t left = args->out_height - row;
        call(emit, own, left < args->rows ? left : args->rows, worker);
    }
}

/* Global pools: a work item is a plane. Four sums run in parallel. */
INLINE void NAME(whole)(enum NAME(operation) operation, int mean, const struct whole_args *args,
                        int64_t first, int64_t last)
{
    const int64_t cells = args->cells;
    const V fill = NAME(splat)(NAME(neutral)(operation));
    for (int64_t plane = first; plane < last; plane++) {
        const REAL *values = AT(args->source) + plane * cells;
        if (mean) {
            AT(args->out)[plane] = (REAL)(NAME(long_sum)(values, cells) / (double)cells);
            continue;
        }
        V totals[4] = {fill, fill, fill, fill};
        for (int64_t done = 0; done < cells; done += 4 * LANES) {
            for (int64_t i = 0; i < 4; i++) {
                const int64_t at = done + i * LANES, left = cells - at;
                if (left > 0) {
                    const V value = left >= LANES ? NAME(load)(values + at)
                                                  : NAME(load_first)(values + at, left, fill);
                    totals[i] = NAME(bring)(operation, totals[i], value);
                }
            }
        }
        const V low = NAME(bring)(operation, totals[0], totals[1]);
        const V high = NAME(bring)(operation, totals[2], totals[3]);
        AT(args->out)[plane] =
            NAME(total_of)(operation, NAME(bring)(operation, low, high));
    }
}

/* The same for small planes: a work item is as many of them as a vector has lanes. */
INLINE void NAME(whole_rows)(enum NAME(operation) operation, int mean,
                             const struct whole_args *args,
                             int64_t first, int64_t last)
{
    const int64_t cells = args->cells;
    const V fill = NAME(splat)(NAME(neutral)(operation));
    for (int64_t item = first; item < last; item++) {
        const int64_t plane = item * LANES, left = args->planes - plane;
        const int64_t count = left < LANES ? left : LANES;
        V totals[LANE_COUNT];
        for (int64_t row = 0; row < LANES; row++) {
            const int64_t shown = row < count ? row : count - 1;
            const REAL *values = AT(args->source) + (plane + shown) * cells;
            V total = fill;
            int64_t done = 0;
            for (; done + LANES <= cells; done += LANES) {
                total = NAME(bring)(operation, total, NAME(load)(values + done));
            }
            if (done < cells) {
                const V value = NAME(load_first)(values + done, cells - done, fill);
                total = NAME(bring)(operation, total, value);
            }
            totals[row] = total;
        }
        /* Rows are brought together in pairs, each into the lanes that have the bit by which the
         * two numbers differ. */
        for (int64_t bit = 1, rows = LANES; rows > 1; bit *= 2, rows /= 2) {
            M own, other;
            for (int64_t i = 0; i < LANES; i++) {
                own[i] = (INTEGER)(i & bit ? LANES + i : i);
                other[i] = (INTEGER)(i & bit ? LANES + i - bit : i + bit);
            }
            for (int64_t i = 0; i < rows / 2; i++) {
                const V a = totals[2 * i], b = totals[2 * i + 1];
                totals[i] = NAME(bring)(operation, NAME(picked)(a, b, own),
                                        NAME(picked)(a, b, other));
            }
        }
        if (mean) {
            totals[0] /= NAME(splat)((REAL)cells);
        }
        NAME(store_first)(AT(args->out) + plane, count, totals[0]);
    }
}

KERNEL(pool_fold_max, fold_lines_args, NAME(fold_lines)(NAME(MAX), args, first, last))
KERNEL(pool_fold_ordered_max, fold_lines_args,
       NAME(fold_lines)(NAME(ORDERED_MAX), args, first, last))
KERNEL(pool_fold_sum, fold_lines_args, NAME(fold_lines)(NAME(SUM), args, first, last))
KERNEL(pool_fold_squares, fold_lines_args, NAME(fold_lines)(NAME(SQUARES), args, first, last))
KERNEL(pool_fold_magnitudes, fold_lines_args, NAME(fold_lines)(NAME(MAGNITUDES), args, first, last))
KERNEL(pool_emit_max_max, emit_lines_args, NAME(emit_any)(NAME(MAX), 0, 0, args, first, last))
KERNEL(pool_emit_max_ordered_max, emit_lines_args,
       NAME(emit_any)(NAME(ORDERED_MAX), 0, 0, args, first, last))
KERNEL(pool_emit_avg_sum, emit_lines_args, NAME(emit_any)(NAME(SUM), 1, 0, args, first, last))
KERNEL(pool_emit_squares_sum, emit_lines_args, NAME(emit_any)(NAME(SUM), 0, 1, args, first, last))
KERNEL(pool_emit_magnitudes_sum, emit_lines_args,
       NAME(emit_any)(NAME(SUM), 0, 0, args, first, last))
KERNEL(pool_emit_windows_max, emit_lines_args, NAME(emit_each)(NAME(MAX), 0, 0, args, first, last))
KERNEL(pool_emit_windows_avg, emit_lines_args, NAME(emit_each)(NAME(SUM), 1, 0, args, first, last))
KERNEL(pool_emit_windows_squares, emit_lines_args,
       NAME(emit_each)(NAME(SUM), 0, 1, args, first, last))
KERNEL(pool_emit_windows_magnitudes, emit_lines_args,
       NAME(emit_each)(NAME(SUM), 0, 0, args, first, last))
KERNEL(pool_whole_max, whole_args, NAME(whole)(NAME(MAX), 0, args, first, last))
KERNEL(pool_whole_avg, whole_args, NAME(whole)(NAME(SUM), 1, args, first, last))
KERNEL(pool_whole_rows_max, whole_args, NAME(whole_rows)(NAME(MAX), 0, args, first, last))
KERNEL(pool_whole_rows_avg, whole_args, NAME(whole_rows)(NAME(SUM), 1, args, first, last))
KERNEL(pool_walk_0, walk_args, NAME(walk)(0, args, first, last, worker))
KERNEL(pool_walk_1, walk_args, NAME(walk)(1, args, first, last, worker))
