/* The two lines whose outer product a filter is, by power iteration from the row of its largest
 * element: the second singular value is a rounding, so that two steps find the first.  */
#ifndef LINES_WORDS
#define LINES_WORDS

/* Scale a line to length one; one of zeros stays. */
WORDS_INLINE void to_length_one(double *line, int64_t count)
{
    double largest = 0, length = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fabs(line[i]) > largest ? fabs(line[i]) : largest;
    }
    for (int64_t i = 0; i < count && largest > 0; i++) {
        line[i] /= largest;
        length += line[i] * line[i];
    }
    for (int64_t i = 0; i < count && largest > 0; i++) {
        line[i] /= sqrt(length);
    }
}
#endif

/* A filter's product with a line along its rows; down its columns where `step` and `apart` are
 * exchanged. */
INLINE void NAME(filter_times)(const char *filter, int64_t count, int64_t step, int64_t length,
                               int64_t apart, const double *line, double *product)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t j = 0; j < length; j++) {
            sum += (double)*(const REAL *)(filter + i * step + j * apart) * line[j];
        }
        product[i] = sum;
    }
}

/* A work item is a filter. */
static void NAME(weights_lines_items)(const struct filter_lines_args *args, int64_t first,
                                       int64_t last, int64_t worker)
{
    const int64_t down = args->down, across = args->across;
    const int64_t step = args->down_apart, apart = args->across_apart;
    double *column =
        (double *)(intptr_t)(args->scratch_base + worker * args->scratch_stride);
    double *row = column + down;
    for (int64_t item = first; item < last; item++) {
        const char *filter = (const char *)(intptr_t)args->source + item * args->apart;
        REAL *columns = AT(args->columns) + item * down;
        REAL *rows = AT(args->rows) + item * across;
        int64_t start = 0;
        double largest = -1, strength = 0;
        for (int64_t i = 0; i < down; i++) {
            for (int64_t j = 0; j < across; j++) {
                const double size = fabs((double)*(const REAL *)(filter + i * step + j * apart));
                if (size > largest) {
                    largest = size;
                    start = i;
                }
            }
        }
        for (int64_t j = 0; j < across; j++) {
            row[j] = *(const REAL *)(filter + start * step + j * apart);
        }
        to_length_one(row, across);
        for (int turn = 0; turn < 2; turn++) {
            NAME(filter_times)(filter, down, step, across, apart, row, column);
            to_length_one(column, down);
            NAME(filter_times)(filter, across, apart, down, step, column, row);
            to_length_one(row, across);
        }
        for (int64_t i = 0; i < down; i++) {
            double sum = 0;
            for (int64_t j = 0; j < across; j++) {
                sum += (double)*(const REAL *)(filter + i * step + j * apart) * row[j];
            }
            strength += column[i] * sum;
        }
        /* Each line has half of the strength: what the weights' type holds, both lines hold. */
        const double half = sqrt(fabs(strength));
        for (int64_t i = 0; i < down; i++) {
            columns[i] = (REAL)(column[i] * copysign(half, strength));
        }
        for (int64_t j = 0; j < across; j++) {
            rows[j] = (REAL)(row[j] * half);
        }
    }
}

KERNEL(weights_lines, filter_lines_args, NAME(weights_lines_items)(args, first, last, worker))
