/* Filters' spectra, conjugate and scaled, as overlap-save multiplies by them: transformed in
 * float64 by the same passes, and rounded once.  */
#define WIDE_NAME(x) JOIN(x, float64, ISA)
#define WIDE WIDE_NAME(vector)
#define WIDE_LANES ((int64_t)(VECTOR_BYTES / sizeof(double)))

INLINE double NAME(tap)(const struct fft_filters_args *args, int64_t filter, int64_t row, int64_t column)
{
    return (double)*AT(args->taps + filter * args->apart +
                       row * args->row_apart + column * args->column_apart);
}

/* Of rows of one dimension: a work item is as many filters as a vector of doubles has lanes. */
static void NAME(fft_filters_1_items)(const struct fft_filters_args *args, int64_t first,
                                       int64_t last, int64_t worker)
{
    const int64_t length = args->length, columns = args->columns;
    const double scale = args->scale;
    double *line = (double *)(intptr_t)(args->scratch_base + worker * args->scratch_stride);
    for (int64_t item = first; item < last; item++) {
        const int64_t start = item * WIDE_LANES;
        const int64_t some = lesser(WIDE_LANES, args->count - start);
        memset(line, 0, (size_t)(2 * length * WIDE_LANES) * sizeof(double));
        for (int64_t f = 0; f < some; f++) {
            for (int64_t b = 0; b < columns; b++) {
                line[2 * b * args->step_across * WIDE_LANES + f] =
                    NAME(tap)(args, start + f, 0, b);
            }
        }
        WIDE_NAME(forward)(line, line + WIDE_LANES, 2 * WIDE_LANES, args->across,
                           args->across_count, args->across_twiddles);
        for (int64_t f = 0; f < some; f++) {
            REAL *spectrum = AT(args->spectra + (start + f) * args->spectrum_bytes);
            for (int64_t k = 0; k < length; k++) {
                spectrum[2 * k] = (REAL)(scale * line[2 * k * WIDE_LANES + f]);
                spectrum[2 * k + 1] = (REAL)(-scale * line[(2 * k + 1) * WIDE_LANES + f]);
            }
        }
    }
}

KERNEL(fft_filters_1, fft_filters_args, NAME(fft_filters_1_items)(args, first, last, worker))

/* Some rows of a matrix, turned and transformed: vectors of real and imaginary parts in turn.
 * Columns from `wide` on are zeros. */
INLINE void NAME(transform_rows)(const struct fft_filters_args *args, const double *rows, int64_t part,
                                 int64_t wide, double *line)
{
    WIDE_NAME(turn_in)(rows, wide, wide, line);
    WIDE_NAME(turn_in)(rows + part, wide, wide, line + WIDE_LANES);
    memset(line + 2 * wide * WIDE_LANES, 0,
           (size_t)(2 * (args->length - wide) * WIDE_LANES) * sizeof(double));
    WIDE_NAME(forward)(line, line + WIDE_LANES, 2 * WIDE_LANES, args->across,
                       args->across_count, args->across_twiddles);
}

/* Of matrices: a work item is a filter. The columns with taps alone are transformed, then rows. */
static void NAME(fft_filters_0_items)(const struct fft_filters_args *args, int64_t first,
                                       int64_t last, int64_t worker)
{
    const int64_t lines = args->lines, length = args->length;
    const int64_t wide = args->pitch, part = lines * wide;
    const WIDE scale = WIDE_NAME(splat)(args->scale);
    double *matrix =
        (double *)(intptr_t)(args->scratch_base + worker * args->scratch_stride);
    double *line = matrix + 2 * part;
    for (int64_t item = first; item < last; item++) {
        REAL *spectrum = AT(args->spectra + item * args->spectrum_bytes);
        memset(matrix, 0, (size_t)(2 * part) * sizeof(double));
        for (int64_t a = 0; a < args->rows; a++) {
            for (int64_t b = 0; b < args->columns; b++) {
                matrix[a * args->step_down * wide + b * args->step_across] =
                    NAME(tap)(args, item, a, b);
            }
        }
        for (int64_t x = 0; x < wide; x += WIDE_LANES) {
            WIDE_NAME(forward)(matrix + x, matrix + part + x, wide, args->down,
                               args->down_count, args->down_twiddles);
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

KERNEL(fft_filters_0, fft_filters_args, NAME(fft_filters_0_items)(args, first, last, worker))
#undef WIDE
#undef WIDE_NAME
#undef WIDE_LANES
