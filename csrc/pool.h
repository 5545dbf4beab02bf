/* Planar pools: lines folded into lines, lines shuffled into outputs, and the walk over blocks.
 *
 * The words of the argument blocks are those of fastconv/backends/native/pool/words.py, and the
 * steps that `walk` reads from its table are explained there.
 */

#include "pool_operation.h"

#ifndef POOL_WORDS
#define POOL_WORDS
enum {
    FOLD_FIRST, FOLD, FOLD_ORDERED, EMIT, EMIT_ORDERED, SOURCE, VOLUME_BYTES, OUT, OUT_BYTES, WIDTH,
    OUT_DEPTH, OUT_HEIGHT, OUT_WIDTH, ROWS, ROW_TABLE, COLUMN_BLOCKS, COLUMN_TABLE, PITCH, STEPS,
    STEP_TABLE, CHECKED, CHECKED_PLACE, RESULT, WINDOWS, WINDOW_STEP, COUNTS_DOWN, COUNTS_ACROSS,
    TAPS, STRIDE, SCRATCH_BASE, SCRATCH_STRIDE
};
/* SUM_VECTORS: vectors of each of four sums that run beside each other, before they are put together
 * in float64. */
enum { COLUMN_BLOCK = 5, FOLD_WORDS = 5, LONG_WINDOW = 32, SUM_VECTORS = 32 };
enum {
    STEP_FIRST, STEP_TARGET, STEP_TARGET_BYTES, STEP_FROM, STEP_LINE_BYTES, STEP_CELL_BYTES,
    STEP_INSIDE, STEP_CARRY, STEP_BLOCKS, STEP_WORDS
};
enum { TO, TO_STEP, CELLS_AT, CELLS_STEP, CELLS, CELL_STEP, COUNT, INTO };
enum {
    LINE, LINE_STEP, RESULTS, RESULTS_STEP, FIRST_OUTPUT, OUTPUTS, FIRST_COLUMN, DOWN, ACROSS, SEEN,
    SEEN_STEP, ROW_OUTPUTS, LINE_TAPS, LINE_STRIDE
};
enum { WHOLE_SOURCE, WHOLE_PLANES, WHOLE_CELLS, WHOLE_OUT };
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

INLINE void NAME(fold_lines)(enum NAME(operation) operation, const int64_t *args, int64_t first,
                             int64_t last)
{
    const int64_t step = args[CELL_STEP] / (int64_t)sizeof(REAL);
    for (int64_t line = first; line < last; line++) {
        NAME(fold_line)(operation, AT(args[TO] + line * args[TO_STEP]),
                        AT(args[CELLS_AT] + line * args[CELLS_STEP]), step, args[CELLS],
                        args[COUNT], args[INTO] != 0);
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
                             const int64_t *args, int64_t first, int64_t last, int64_t stride)
{
    const int64_t count = args[OUTPUTS], taps = args[LINE_TAPS];
    const REAL *across = AT(args[ACROSS]);
    for (int64_t row = first; row < last; row++) {
        const REAL *line = AT(args[LINE] + row * args[LINE_STEP]);
        REAL *out = AT(args[RESULTS] + row * args[RESULTS_STEP]);
        const V down = NAME(splat)(AT(args[DOWN])[row]);
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
                           const int64_t *args, int64_t first, int64_t last)
{
    switch (args[LINE_STRIDE]) {
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
                            const int64_t *args, int64_t first, int64_t last)
{
    const int64_t count = args[OUTPUTS], step = args[SEEN_STEP];
    const int64_t *starts = words_at(args[SEEN], args[FIRST_OUTPUT]);
    const int64_t *numbers = starts + args[ROW_OUTPUTS];
    const REAL *across = AT(args[ACROSS]), *down = AT(args[DOWN]);
    const V fill = NAME(splat)(NAME(neutral)(operation));
    for (int64_t row = first; row < last; row++) {
        const REAL *line = AT(args[LINE] + row * args[LINE_STEP]);
        REAL *out = AT(args[RESULTS] + row * args[RESULTS_STEP]);
        for (int64_t o = 0; o < count; o++) {
            const REAL *window = line + starts[o] - args[FIRST_COLUMN];
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
static void NAME(do_step)(const int64_t *args, const int64_t *step, int64_t kernel, int64_t volume,
                          const int64_t *cut, int64_t block, int64_t memory, int64_t worker)
{
    int64_t *block_args = (int64_t *)(intptr_t)memory;
    const int64_t *bounds = words_at(args[STEP_TABLE], step[STEP_BLOCKS] + 2 * block);
    const int64_t inside = (cut[3] - cut[2]) * (int64_t)sizeof(REAL) * step[STEP_INSIDE];
    const int64_t source = step[STEP_FROM] < 0 ? volume : memory + step[STEP_FROM];
    int64_t target = memory + step[STEP_TARGET] + inside;
    block_args[TO_STEP] = step[STEP_TARGET_BYTES];
    block_args[CELL_STEP] = step[STEP_CELL_BYTES];
    block_args[INTO] = step[STEP_CARRY];
    for (int64_t at = bounds[0]; at < bounds[1]; at += FOLD_WORDS) {
        const int64_t *fold = words_at(args[STEP_TABLE], at);
        block_args[TO] = target;
        block_args[CELLS_AT] = source + fold[0] * step[STEP_LINE_BYTES];
        block_args[CELLS] = fold[1];
        block_args[COUNT] = fold[2] != 0 ? fold[2] : cut[4] - cut[3];
        block_args[CELLS_STEP] = fold[4] * step[STEP_LINE_BYTES];
        call(kernel, block_args, fold[3], worker);
        target += step[STEP_TARGET_BYTES] * fold[3];
    }
}

INLINE void NAME(walk)(int largest, const int64_t *args, int64_t first, int64_t last,
                       int64_t worker)
{
    const int64_t size = (int64_t)sizeof(REAL);
    const int64_t blocks = (args[OUT_HEIGHT] + args[ROWS] - 1) / args[ROWS];
    const int64_t memory = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE];
    int64_t *block_args = (int64_t *)(intptr_t)memory;
    const int64_t row_bytes = args[WIDTH] * size;
    for (int64_t item = first; item < last; item++) {
        const int64_t plane_block = item / args[COLUMN_BLOCKS];
        const int64_t out_plane = plane_block / blocks, block = plane_block % blocks;
        const int64_t plane = out_plane / args[OUT_DEPTH], depth = out_plane % args[OUT_DEPTH];
        const int64_t *cut =
            words_at(args[COLUMN_TABLE], item % args[COLUMN_BLOCKS] * COLUMN_BLOCK);
        const int64_t volume = args[SOURCE] + plane * args[VOLUME_BYTES] + cut[3] * size;
        int64_t fold = args[FOLD], emit = args[EMIT];
        for (int64_t number = 0; number < args[STEPS]; number++) {
            if (largest && number == args[CHECKED]) {
                const int64_t *seen = words_at(args[ROW_TABLE], 2 * block);
                const int64_t start = args[CHECKED_PLACE] < 0 ? volume + seen[0] * row_bytes
                                                              : memory + args[CHECKED_PLACE];
                if (!NAME(lines_have_nan)(start, seen[1] - seen[0], row_bytes, cut[4] - cut[3])) {
                    fold = args[FOLD_ORDERED];
                    emit = args[EMIT_ORDERED];
                }
            }
            const int64_t *step = words_at(args[STEP_TABLE], number * STEP_WORDS);
            const int64_t kernel =
                step[STEP_FIRST] && fold == args[FOLD] ? args[FOLD_FIRST] : fold;
            NAME(do_step)(args, step, kernel, volume, cut, depth * blocks + block, memory, worker);
        }
        const int64_t row = block * args[ROWS];
        block_args[LINE] = memory + args[RESULT];
        block_args[LINE_STEP] = args[PITCH] * size;
        block_args[RESULTS_STEP] = args[OUT_WIDTH] * size;
        block_args[RESULTS] = args[OUT] + out_plane * args[OUT_BYTES] +
                              row * args[OUT_WIDTH] * size + cut[0] * size;
        block_args[FIRST_OUTPUT] = cut[0];
        block_args[OUTPUTS] = cut[1];
        block_args[FIRST_COLUMN] = cut[2];
        block_args[DOWN] = args[COUNTS_DOWN] + (depth * args[OUT_HEIGHT] + row) * size;
        block_args[ACROSS] = args[COUNTS_ACROSS] + cut[0] * size;
        block_args[SEEN] = args[WINDOWS];
        block_args[SEEN_STEP] = args[WINDOW_STEP];
        block_args[ROW_OUTPUTS] = args[OUT_WIDTH];
        block_args[LINE_TAPS] = args[TAPS];
        block_args[LINE_STRIDE] = args[STRIDE];
        const int64_t left = args[OUT_HEIGHT] - row;
        call(emit, block_args, left < args[ROWS] ? left : args[ROWS], worker);
    }
}

/* Global pools: a work item is a plane. Four sums run beside each other. */
INLINE void NAME(whole)(enum NAME(operation) operation, int mean, const int64_t *args,
                        int64_t first, int64_t last)
{
    const int64_t cells = args[WHOLE_CELLS];
    const V fill = NAME(splat)(NAME(neutral)(operation));
    for (int64_t plane = first; plane < last; plane++) {
        const REAL *values = AT(args[WHOLE_SOURCE]) + plane * cells;
        if (mean) {
            AT(args[WHOLE_OUT])[plane] = (REAL)(NAME(long_sum)(values, cells) / (double)cells);
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
        AT(args[WHOLE_OUT])[plane] =
            NAME(total_of)(operation, NAME(bring)(operation, low, high));
    }
}

/* The same for small planes: a work item is as many of them as a vector has lanes. */
INLINE void NAME(whole_rows)(enum NAME(operation) operation, int mean, const int64_t *args,
                             int64_t first, int64_t last)
{
    const int64_t cells = args[WHOLE_CELLS];
    const V fill = NAME(splat)(NAME(neutral)(operation));
    for (int64_t item = first; item < last; item++) {
        const int64_t plane = item * LANES, left = args[WHOLE_PLANES] - plane;
        const int64_t count = left < LANES ? left : LANES;
        V totals[LANE_COUNT];
        for (int64_t row = 0; row < LANES; row++) {
            const int64_t shown = row < count ? row : count - 1;
            const REAL *values = AT(args[WHOLE_SOURCE]) + (plane + shown) * cells;
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
        NAME(store_first)(AT(args[WHOLE_OUT]) + plane, count, totals[0]);
    }
}

KERNEL(pool_fold_max, NAME(fold_lines)(NAME(MAX), args, first, last))
KERNEL(pool_fold_ordered_max, NAME(fold_lines)(NAME(ORDERED_MAX), args, first, last))
KERNEL(pool_fold_sum, NAME(fold_lines)(NAME(SUM), args, first, last))
KERNEL(pool_fold_squares, NAME(fold_lines)(NAME(SQUARES), args, first, last))
KERNEL(pool_fold_magnitudes, NAME(fold_lines)(NAME(MAGNITUDES), args, first, last))
KERNEL(pool_emit_max_max, NAME(emit_any)(NAME(MAX), 0, 0, args, first, last))
KERNEL(pool_emit_max_ordered_max, NAME(emit_any)(NAME(ORDERED_MAX), 0, 0, args, first, last))
KERNEL(pool_emit_avg_sum, NAME(emit_any)(NAME(SUM), 1, 0, args, first, last))
KERNEL(pool_emit_squares_sum, NAME(emit_any)(NAME(SUM), 0, 1, args, first, last))
KERNEL(pool_emit_magnitudes_sum, NAME(emit_any)(NAME(SUM), 0, 0, args, first, last))
KERNEL(pool_emit_windows_max, NAME(emit_each)(NAME(MAX), 0, 0, args, first, last))
KERNEL(pool_emit_windows_avg, NAME(emit_each)(NAME(SUM), 1, 0, args, first, last))
KERNEL(pool_emit_windows_squares, NAME(emit_each)(NAME(SUM), 0, 1, args, first, last))
KERNEL(pool_emit_windows_magnitudes, NAME(emit_each)(NAME(SUM), 0, 0, args, first, last))
KERNEL(pool_whole_max, NAME(whole)(NAME(MAX), 0, args, first, last))
KERNEL(pool_whole_avg, NAME(whole)(NAME(SUM), 1, args, first, last))
KERNEL(pool_whole_rows_max, NAME(whole_rows)(NAME(MAX), 0, args, first, last))
KERNEL(pool_whole_rows_avg, NAME(whole_rows)(NAME(SUM), 1, args, first, last))
KERNEL(pool_walk_0, NAME(walk)(0, args, first, last, worker))
KERNEL(pool_walk_1, NAME(walk)(1, args, first, last, worker))
