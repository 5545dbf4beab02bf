/* Filters' spectra, conjugate and scaled, as overlap-save multiplies by them: transformed in
 * float64 by the same passes, and rounded once.
 *
 * The words are those of fastconv/backends/native/conv/fft/words.py.
 */
#ifndef FILTER_WORDS
#define FILTER_WORDS
enum {
    FILTER_TAPS, FILTER_SPECTRA, FILTER_COUNT, FILTER_APART, FILTER_ROWS, FILTER_COLUMNS,
    FILTER_ROW_APART, FILTER_COLUMN_APART, FILTER_STEP_DOWN, FILTER_STEP_ACROSS, FILTER_LINES,
    FILTER_LENGTH, FILTER_PITCH, FILTER_DOWN, FILTER_DOWN_COUNT, FILTER_DOWN_TWIDDLES,
    FILTER_ACROSS, FILTER_ACROSS_COUNT, FILTER_ACROSS_TWIDDLES, FILTER_BYTES, FILTER_SCALE,
    FILTER_SCRATCH, FILTER_SCRATCH_STRIDE
};
#endif

#define WIDE_NAME(x) JOIN(x, float64, ISA)
#define WIDE WIDE_NAME(vector)
#define WIDE_LANES ((int64_t)(VECTOR_BYTES / sizeof(double)))

INLINE double NAME(tap)(const int64_t *args, int64_t filter, int64_t row, int64_t column)
{
    return (double)*AT(args[FILTER_TAPS] + filter * args[FILTER_APART] +
                       row * args[FILTER_ROW_APART] + column * args[FILTER_COLUMN_APART]);
}

/* Of rows of one dimension: a work item is as many filters as a vector of doubles has lanes. */
static void NAME(fft_filters_1)(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    const int64_t length = args[FILTER_LENGTH], columns = args[FILTER_COLUMNS];
    const double scale = number_of(args[FILTER_SCALE]);
    double *line = (double *)(intptr_t)(args[FILTER_SCRATCH] + worker * args[FILTER_SCRATCH_STRIDE]);
    for (int64_t item = first; item < last; item++) {
        const int64_t start = item * WIDE_LANES;
        const int64_t some = lesser(WIDE_LANES, args[FILTER_COUNT] - start);
        memset(line, 0, (size_t)(2 * length * WIDE_LANES) * sizeof(double));
        for (int64_t f = 0; f < some; f++) {
            for (int64_t b = 0; b < columns; b++) {
                line[2 * b * args[FILTER_STEP_ACROSS] * WIDE_LANES + f] =
                    NAME(tap)(args, start + f, 0, b);
            }
        }
        WIDE_NAME(forward)(line, line + WIDE_LANES, 2 * WIDE_LANES, args[FILTER_ACROSS],
                           args[FILTER_ACROSS_COUNT], args[FILTER_ACROSS_TWIDDLES]);
        for (int64_t f = 0; f < some; f++) {
            REAL *spectrum = AT(args[FILTER_SPECTRA] + (start + f) * args[FILTER_BYTES]);
            for (int64_t k = 0; k < length; k++) {
                spectrum[2 * k] = (REAL)(scale * line[2 * k * WIDE_LANES + f]);
                spectrum[2 * k + 1] = (REAL)(-scale * line[(2 * k + 1) * WIDE_LANES + f]);
            }
        }
    }
}

/* Some rows of a matrix, turned and transformed: vectors of real and imaginary parts in turn.
 * Columns from `wide` on are zeros. */
INLINE void NAME(transform_rows)(const int64_t *args, const double *rows, int64_t part,
                                 int64_t wide, double *line)
{
    WIDE_NAME(turn_in)(rows, wide, wide, line);
    WIDE_NAME(turn_in)(rows + part, wide, wide, line + WIDE_LANES);
    memset(line + 2 * wide * WIDE_LANES, 0,
           (size_t)(2 * (args[FILTER_LENGTH] - wide) * WIDE_LANES) * sizeof(double));
    WIDE_NAME(forward)(line, line + WIDE_LANES, 2 * WIDE_LANES, args[FILTER_ACROSS],
                       args[FILTER_ACROSS_COUNT], args[FILTER_ACROSS_TWIDDLES]);
}

/* Of matrices: a work item is a filter. The columns with taps alone are transformed, then rows. */
static void NAME(fft_filters_0)(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    const int64_t lines = args[FILTER_LINES], length = args[FILTER_LENGTH];
    const int64_t wide = args[FILTER_PITCH], part = lines * wide;
    const WIDE scale = WIDE_NAME(splat)(number_of(args[FILTER_SCALE]));
    double *matrix =
        (double *)(intptr_t)(args[FILTER_SCRATCH] + worker * args[FILTER_SCRATCH_STRIDE]);
    double *line = matrix + 2 * part;
    for (int64_t item = first; item < last; item++) {
        REAL *spectrum = AT(args[FILTER_SPECTRA] + item * args[FILTER_BYTES]);
        memset(matrix, 0, (size_t)(2 * part) * sizeof(double));
        for (int64_t a = 0; a < args[FILTER_ROWS]; a++) {
            for (int64_t b = 0; b < args[FILTER_COLUMNS]; b++) {
                matrix[a * args[FILTER_STEP_DOWN] * wide + b * args[FILTER_STEP_ACROSS]] =
                    NAME(tap)(args, item, a, b);
            }
        }
        for (int64_t x = 0; x < wide; x += WIDE_LANES) {
            WIDE_NAME(forward)(matrix + x, matrix + part + x, wide, args[FILTER_DOWN],
                               args[FILTER_DOWN_COUNT], args[FILTER_DOWN_TWIDDLES]);
        }
        for (int64_t r = 0; r < lines; r += LANES) {
            NAME(transform_rows)(args, matrix + r * wide, part, wide, line);
#if REAL_IS_FLOAT
            double *second = line + 2 * length * WIDE_LANES;
            NAME(transform_rows)(args, matrix + (r + WIDE_LANES) * wide, part, wide, second);
#endif
            for (int64_t k = 0; k < 2 * length; k++) {
                const WIDE by = k % 2 ? -scale : scale;
                const WIDE low = by * WIDE_NAME(load)(line + k * WIDE_LANES);
#if REAL_IS_FLOAT
                const WIDE high = by * WIDE_NAME(load)(second + k * WIDE_LANES);
                NAME(store)(spectrum + k * LANES, NAME(narrowed)(low, high));
#else
                NAME(store)(spectrum + k * LANES, low);
#endif
            }
            spectrum += 2 * length * LANES;
        }
    }
}
#undef WIDE
#undef WIDE_NAME
#undef WIDE_LANES
