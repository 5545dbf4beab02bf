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
enum { MOST_STEPS = 8 };
#endif

/* Copy `step` vectors of a line from element `first` on, those outside [0, length) as zeros: one
 * vector for each of the first `phases`, `phase` elements apart. */
INLINE void NAME(split_columns)(int step, int64_t phases, const REAL *line, int64_t first,
                                int64_t length, REAL *target, int64_t phase)
{
    V vectors[MOST_STEPS];
    if (first >= 0 && first + step * LANES <= length) {
        UNROLL for (int v = 0; v < step; v++) {
            vectors[v] = NAME(load)(line + first + v * LANES);
        }
    } else {
        UNROLL for (int v = 0; v < step; v++) {
            const int64_t start = first + v * LANES;
            vectors[v] = NAME(load_between)(line + start, -start, length - start);
        }
    }
    UNROLL for (int p = 0; p < step; p++) {
        if (p < phases) {
            NAME(store)(target + p * phase, NAME(every_of)(vectors, step, p));
        }
    }
}

INLINE void NAME(split_line)(int step, const int64_t *words, int64_t before, const REAL *line,
                             int64_t length, REAL *target)
{
    const int64_t phase = words[LINE_PHASE];
    for (int64_t x = 0; x < phase; x += LANES) {
        NAME(split_columns)(step, words[LINE_PHASES], line, x * step - before, length, target + x,
                            phase);
    }
}

static void NAME(copy_line)(const int64_t *words, int64_t before, const REAL *line, int64_t length,
                            REAL *target)
{
    if (words[LINE_BY_TABLE]) {
        const int64_t *columns = words_at(words[LINE_COLUMNS], 0);
        for (int64_t i = 0; i < words[LINE_PHASES] * words[LINE_PHASE]; i++) {
            target[i] = columns[i] >= 0 && length > 0 ? line[columns[i]] : 0;
        }
        return;
    }
    switch (words[LINE_STEP]) {
    case 1:
        NAME(split_line)(1, words, before, line, length, target);
        break;
    case 2:
        NAME(split_line)(2, words, before, line, length, target);
        break;
    case 3:
        NAME(split_line)(3, words, before, line, length, target);
        break;
    case 4:
        NAME(split_line)(4, words, before, line, length, target);
        break;
    case 5:
        NAME(split_line)(5, words, before, line, length, target);
        break;
    case 6:
        NAME(split_line)(6, words, before, line, length, target);
        break;
    case 7:
        NAME(split_line)(7, words, before, line, length, target);
        break;
    default:
        NAME(split_line)(8, words, before, line, length, target);
        break;
    }
}

/* Copy `count` padded lines of a plane, from padded row `first` on, to `target`. `before` columns
 * of padding come before the line; negative, so many columns are left out. */
static void NAME(copy_lines)(const int64_t *words, int64_t before, const REAL *plane,
                             int64_t first, int64_t count, REAL *target)
{
    const int64_t *rows = words_at(words[LINE_ROWS], first);
    const int64_t width = words[LINE_WIDTH];
    for (int64_t r = 0; r < count; r++) {
        /* A row of zeros is a line of no columns. */
        const REAL *line = plane + greater(rows[r], 0) * width;
        NAME(copy_line)(words, before, line, rows[r] < 0 ? 0 : width, target);
        target += words[LINE_PHASES] * words[LINE_PHASE];
    }
}
