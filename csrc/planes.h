/* Padded lines of a plane, split by column phase, copied into scratch memory.
 *
 * How they lie, and what the words mean, is explained in fastconv/backends/native/conv/planes.py:
 * column c of a window's reach lies in phase c % step at place c // step. A line is written by
 * whole vectors: what runs over its end is written again by the next one, or lies in memory that
 * the plan left for it.
 */
#ifndef PLANES_WORDS
#define PLANES_WORDS
enum {
    LINE_ROWS, LINE_COLUMNS, LINE_WIDTH, LINE_BEFORE, LINE_PHASE, LINE_STEP, LINE_PHASES,
    LINE_BY_TABLE, LINE_WORDS
};
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
INLINE void NAME(split_lines)(int step, int whole, const int64_t *words, const REAL *plane,
                              const int64_t *rows, int64_t count, int64_t first, REAL *target)
{
    const int64_t phase = words[LINE_PHASE], phases = step == 1 ? 1 : words[LINE_PHASES];
    const int64_t width = words[LINE_WIDTH];
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
INLINE void NAME(split_block)(int step, const int64_t *words, int64_t before, const REAL *plane,
                              const int64_t *rows, int64_t count, REAL *target)
{
    const int64_t width = words[LINE_WIDTH], phase = words[LINE_PHASE];
    const int64_t phases = step == 1 ? 1 : words[LINE_PHASES], vector = step * LANES;
    const int64_t start = lesser(parts_of(greater(before, 0), vector) * LANES, phase);
    const int64_t fitting = greater(width + before, 0) / vector * LANES;
    const int64_t stop = greater(lesser(fitting, phase / LANES * LANES), start);
    const int narrow = stop - start <= NARROW * LANES;
    for (int64_t x = 0; x < phase; x += LANES) {
        if (x == start && !narrow) {
            x = stop;
        }
        if (x >= start && x < stop) {
            NAME(split_lines)(step, 1, words, plane, rows, count, x * step - before, target + x);
        } else if (x < phase) {
            NAME(split_lines)(step, 0, words, plane, rows, count, x * step - before, target + x);
        }
    }
    for (int64_t r = 0; !narrow && r < count; r++) {
        const REAL *source = rows[r] < 0 ? 0 : plane + rows[r] * width - before;
        NAME(split_line)(step, phases, phase, source, start, stop, target + r * phases * phase);
    }
}

/* Columns, and rows, of -1 are zeros. */
static void NAME(copy_by_table)(const int64_t *words, const REAL *plane, const int64_t *rows,
                                int64_t count, REAL *target)
{
    const int64_t *columns = words_at(words[LINE_COLUMNS], 0);
    const int64_t length = words[LINE_PHASES] * words[LINE_PHASE];
    for (int64_t r = 0; r < count; r++, target += length) {
        const REAL *line = plane + rows[r] * words[LINE_WIDTH];
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
static void NAME(copy_lines)(const int64_t *words, int64_t before, const REAL *plane,
                             int64_t first, int64_t count, REAL *target)
{
    const int64_t *rows = words_at(words[LINE_ROWS], first);
    const int64_t line = words[LINE_PHASES] * words[LINE_PHASE];
    /* Lines that are no whole vectors are written over each other's ends, one after the other. */
    const int64_t together = words[LINE_PHASE] % LANES == 0 ? count : 1;
    if (words[LINE_BY_TABLE]) {
        NAME(copy_by_table)(words, plane, rows, count, target);
        return;
    }
    for (int64_t r = 0; r < count; r += together, rows += together, target += together * line) {
        switch (words[LINE_STEP]) {
#define STEP_CASE(step)                                                                            \
    case step:                                                                                     \
        NAME(split_block)(step, words, before, plane, rows, together, target);                     \
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
