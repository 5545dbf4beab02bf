/* Padded lines of a plane, split by column phase, copied into scratch memory.
 *
 * Their layout is explained in fastconv/backends/native/conv/planes.py:
 * column c of a window's reach is in phase c % step at place c // step. A line is written by
 * whole vectors: what runs over its end is written again by the next one, or is stored in memory that
 * the plan left for it.
 */
#ifndef PLANES_ONCE
#define PLANES_ONCE
enum { MOST_STEPS = 8, NARROW = 4 };
#endif

/* Copy `step` vectors of a line: one vector for each of the first `phases`, `phase` elements apart.
 * They are elements `first` on, those outside [0, length) as zeros; `whole`: none is outside. */
INLINE void NAME(split_columns)(int step, int whole, int64_t phases, const REAL *line,
                                int64_t first, int64_t length, REAL *target, int64_t phase)
{
    V vectors[MOST_STEPS];
    UNROLL for (int v = 0; v < step; v++) {
        const int64_t start = first + v * LANES;
        vectors[v] = whole ? NAME(load)(line + start)
                           : NAME(load_between)(line + start, -start, length - start);
    }
    UNROLL for (int p = 0; p < step; p++) {
        if (p < phases) {
            NAME(store)(target + p * phase, NAME(every_of)(vectors, step, p));
        }
    }
}

/* Copy the same columns of several lines: what is masked is so for all of them. */
INLINE void NAME(split_lines)(int step, int whole, const struct lines_args *args, const REAL *plane,
                              const int64_t *rows, int64_t count, int64_t first, REAL *target)
{
    const int64_t phase = args->line_phase, phases = step == 1 ? 1 : args->line_phases;
    const int64_t width = args->line_width;
    for (int64_t r = 0; r < count; r++) {
        if (rows[r] < 0) {
            for (int64_t p = 0; p < phases; p++) {
                NAME(store)(target + p * phase, (V){0});
            }
        } else {
            NAME(split_columns)(step, whole, phases, plane + rows[r] * width, first, width, target,
                                phase);
        }
        target += phases * phase;
    }
}

/* Copy whole vectors `start` to `stop` of one line; `source` 0: zeros. */
INLINE void NAME(split_line)(int step, int64_t phases, int64_t phase, const REAL *source,
                             int64_t start, int64_t stop, REAL *target)
{
    for (int64_t x = start; x < stop; x += LANES) {
        if (source == 0) {
            for (int64_t p = 0; p < phases; p++) {
                NAME(store)(target + x + p * phase, (V){0});
            }
        } else {
            NAME(split_columns)(step, 1, phases, source, x * step, 0, target + x, phase);
        }
    }
}

/* Edges are copied for all lines at once. So is the rest where it is narrow; elsewhere line by line:
 * the same columns of wide lines share few sets of the first cache. */
INLINE void NAME(split_block)(int step, const struct lines_args *args, int64_t before,
                              const REAL *plane,
                              const int64_t *rows, int64_t count, REAL *target)
{
    const int64_t width = args->line_width, phase = args->line_phase;
    const int64_t phases = step == 1 ? 1 : args->line_phases, vector = step * LANES;
    const int64_t start = lesser(parts_of(greater(before, 0), vector) * LANES, phase);
    const int64_t fitting = greater(width + before, 0) / vector * LANES;
    const int64_t stop = greater(lesser(fitting, phase / LANES * LANES), start);
    const int narrow = stop - start <= NARROW * LANES;
    for (int64_t x = 0; x < phase; x += LANES) {
        if (x == start && !narrow) {
            x = stop;
        }
        if (x >= start && x < stop) {
            NAME(split_lines)(step, 1, args, plane, rows, count, x * step - before, target + x);
        } else if (x < phase) {
            NAME(split_lines)(step, 0, args, plane, rows, count, x * step - before, target + x);
        }
    }
    for (int64_t r = 0; !narrow && r < count; r++) {
        const REAL *source = rows[r] < 0 ? 0 : plane + rows[r] * width - before;
        NAME(split_line)(step, phases, phase, source, start, stop, target + r * phases * phase);
    }
}

/* Columns, and rows, of -1 are zeros. */
static void NAME(copy_by_table)(const struct lines_args *args, const REAL *plane,
                                const int64_t *rows,
                                int64_t count, REAL *target)
{
    const int64_t *columns = words_at(args->line_columns, 0);
    const int64_t length = args->line_phases * args->line_phase;
    for (int64_t r = 0; r < count; r++, target += length) {
        const REAL *line = plane + rows[r] * args->line_width;
        int64_t i = 0;
        if (rows[r] < 0) {
            memset(target, 0, (size_t)length * sizeof(REAL));
            continue;
        }
#if HAS_AVX512
        for (; i + LANES <= length; i += LANES) {
            NAME(store)(target + i, NAME(load_at)(line, columns + i));
        }
#endif
        for (; i < length; i++) {
            target[i] = columns[i] >= 0 ? line[columns[i]] : 0;
        }
    }
}

/* Copy `count` lines of a plane, from padded row `first` on, to `target`. `before` columns of
 * padding come before the line; negative, so many columns are left out. */
static void NAME(copy_lines)(const struct lines_args *args, int64_t before, const REAL *plane,
                             int64_t first, int64_t count, REAL *target)
{
    const int64_t *rows = words_at(args->line_rows, first);
    const int64_t line = args->line_phases * args->line_phase;
    /* Lines that are not whole vectors are written over each other's ends, one after the other. */
    const int64_t together = args->line_phase % LANES == 0 ? count : 1;
    if (args->line_by_table) {
        NAME(copy_by_table)(args, plane, rows, count, target);
        return;
    }
    for (int64_t r = 0; r < count; r += together, rows += together, target += together * line) {
        switch (args->line_step) {
#define STEP_CASE(step)                                                                            \
    case step:                                                                                     \
        NAME(split_block)(step, args, before, plane, rows, together, target);                     \
        break;
            STEP_CASE(1)
            STEP_CASE(2)
            STEP_CASE(3)
            STEP_CASE(4)
            STEP_CASE(5)
            STEP_CASE(6)
            STEP_CASE(7)
            STEP_CASE(8)
#undef STEP_CASE
        }
    }
}
