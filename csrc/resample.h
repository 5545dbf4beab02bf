/* Interpolation that sums: an item is one row of the output. First rows of the input are summed
 * into a line of scratch memory, then the line's cells into outputs. */
#ifndef RESAMPLE_ONCE
#define RESAMPLE_ONCE
/* Rows that are summed at once. */
enum { MOST_SUMMED = 4 };
#endif

/* Rows to be summed, in order, each times its weight. */
struct NAME(sum) {
    const REAL *rows[MOST_SUMMED];
    REAL weights[MOST_SUMMED];
    int count, carry;
};

/* The sum of a vector of each row, in order, from `place` on; of its first `left` elements alone
 * where that is less. */
INLINE V NAME(sum_vector)(const REAL *const *rows, const V *weights, const REAL *to,
                          const int count, const int carry, int64_t place, int64_t left)
{
    const V zero = {0};
    V total = zero;
    if (carry) {
        total = left < LANES ? NAME(load_first)(to + place, left, zero) : NAME(load)(to + place);
    }
    UNROLL for (int k = 0; k < count; k++) {
        const V value = left < LANES ? NAME(load_first)(rows[k] + place, left, zero)
                                     : NAME(load)(rows[k] + place);
        total = k == 0 && !carry ? weights[0] * value : total + weights[k] * value;
    }
    return total;
}

INLINE void NAME(sum_lines)(const struct NAME(sum) *sum, REAL *to, const int count, const int carry,
                            int64_t length)
{
    const REAL *rows[MOST_SUMMED];
    V weights[MOST_SUMMED];
    UNROLL for (int k = 0; k < count; k++) {
        rows[k] = sum->rows[k];
        weights[k] = NAME(splat)(sum->weights[k]);
    }
    int64_t done = 0;
    for (; done + LANES <= length; done += LANES) {
        NAME(store)(to + done, NAME(sum_vector)(rows, weights, to, count, carry, done, LANES));
    }
    if (done < length) {
        const int64_t left = length - done;
        NAME(store_first)(to + done, left,
                          NAME(sum_vector)(rows, weights, to, count, carry, done, left));
    }
}

/* Sum the rows that exist into `to`, or add them to it where others have been. */
static void NAME(sum_up)(struct NAME(sum) *sum, REAL *to, int64_t length)
{
    switch (sum->carry ? MOST_SUMMED + 1 + sum->count : sum->count) {
    case 1:
        NAME(sum_lines)(sum, to, 1, 0, length);
        break;
    case 2:
        NAME(sum_lines)(sum, to, 2, 0, length);
        break;
    case 3:
        NAME(sum_lines)(sum, to, 3, 0, length);
        break;
    case 4:
        NAME(sum_lines)(sum, to, 4, 0, length);
        break;
    case MOST_SUMMED + 2:
        NAME(sum_lines)(sum, to, 1, 1, length);
        break;
    case MOST_SUMMED + 3:
        NAME(sum_lines)(sum, to, 2, 1, length);
        break;
    case MOST_SUMMED + 4:
        NAME(sum_lines)(sum, to, 3, 1, length);
        break;
    case MOST_SUMMED + 5:
        NAME(sum_lines)(sum, to, 4, 1, length);
        break;
    default:
        break;
    }
    sum->count = 0;
    sum->carry = 1;
}

INLINE void NAME(add_row)(struct NAME(sum) *sum, REAL *to, int64_t length, const REAL *row,
                          REAL weight)
{
    sum->rows[sum->count] = row;
    sum->weights[sum->count] = weight;
    if (++sum->count == MOST_SUMMED) {
        NAME(sum_up)(sum, to, length);
    }
}

/* Sum the rows of a plane that the tables of A and B name. */
INLINE void NAME(sum_rows)(const struct weigh_args *args, REAL *to, const REAL *plane, int64_t a,
                           int64_t b,
                           int64_t length)
{
    const int64_t *a_first = words_at(args->a_first, a), *b_first = words_at(args->b_first, b);
    const int64_t *a_index = words_at(args->a_index, 0), *b_index = words_at(args->b_index, 0);
    const double *a_weight = (const double *)(intptr_t)args->a_weight;
    const double *b_weight = (const double *)(intptr_t)args->b_weight;
    struct NAME(sum) sum = {.count = 0, .carry = 0};
    for (int64_t i = a_first[0]; i < a_first[1]; i++) {
        for (int64_t j = b_first[0]; j < b_first[1]; j++) {
            const int64_t row = a_index[i] * args->b_in + b_index[j];
            NAME(add_row)(&sum, to, length, plane + row * length,
                          (REAL)(a_weight[i] * b_weight[j]));
        }
    }
    NAME(sum_up)(&sum, to, length);
}

/* The same where two rows of each table meet, as in linear interpolation: pixels of few elements
 * have no time for more. */
INLINE int NAME(sum_square)(const struct weigh_args *args, REAL *to, const REAL *plane, int64_t a,
                            int64_t b,
                            int64_t length)
{
    const int64_t *a_first = words_at(args->a_first, a), *b_first = words_at(args->b_first, b);
    if (a_first[1] - a_first[0] != 2 || b_first[1] - b_first[0] != 2) {
        return 0;
    }
    const int64_t *a_index = words_at(args->a_index, *a_first);
    const int64_t *b_index = words_at(args->b_index, *b_first);
    const double *a_weight = (const double *)(intptr_t)args->a_weight + *a_first;
    const double *b_weight = (const double *)(intptr_t)args->b_weight + *b_first;
    const REAL *rows[4];
    V weights[4];
    UNROLL for (int k = 0; k < 4; k++) {
        rows[k] = plane + (a_index[k / 2] * args->b_in + b_index[k % 2]) * length;
        weights[k] = NAME(splat)((REAL)(a_weight[k / 2] * b_weight[k % 2]));
    }
    int64_t done = 0;
    for (; done + LANES <= length; done += LANES) {
        NAME(store)(to + done, NAME(sum_vector)(rows, weights, to, 4, 0, done, LANES));
    }
    if (done < length) {
        const int64_t left = length - done;
        NAME(store_first)(to + done, left,
                          NAME(sum_vector)(rows, weights, to, 4, 0, done, left));
    }
    return 1;
}

/* Sum the cells of a line that the table of C names, each of `inner` elements. */
static void NAME(sum_wide_cells)(const struct weigh_args *args, REAL *to, const REAL *line)
{
    const int64_t *first = words_at(args->c_first, 0), *index = words_at(args->c_index, 0);
    const REAL *weight = AT(args->c_weight);
    const int64_t inner = args->inner;
    for (int64_t c = 0; c < args->c_out; c++, to += inner) {
        struct NAME(sum) sum = {.count = 0, .carry = 0};
        for (int64_t t = first[c]; t < first[c + 1]; t++) {
            NAME(add_row)(&sum, to, inner, line + index[t] * inner, weight[t]);
        }
        NAME(sum_up)(&sum, to, inner);
    }
}

/* The same for single elements, of which outputs `from` to `last` - 1 sum `taps` each; 0: see the
 * table. */
INLINE void NAME(sum_each)(const struct weigh_args *args, REAL *to, const REAL *line,
                           const int64_t taps,
                           int64_t from, int64_t last)
{
    const int64_t *first = words_at(args->c_first, 0), *index = words_at(args->c_index, 0);
    const REAL *weight = AT(args->c_weight);
    for (int64_t c = from; c < last; c++) {
        const int64_t start = taps ? c * taps : first[c];
        const int64_t count = taps ? taps : first[c + 1] - start;
        REAL total = 0;
        for (int64_t t = start; t < start + count; t++) {
            total += weight[t] * line[index[t]];
        }
        to[c] = total;
    }
}

/* The same, a vector of outputs at a time where what it sums is in two vectors of the line. */
INLINE void NAME(sum_cells)(const struct weigh_args *args, REAL *to, const REAL *line,
                            const int64_t taps)
{
    const int64_t *starts = words_at(args->block_starts, 0);
    const INTEGER *places = (const INTEGER *)(intptr_t)args->block_places;
    const REAL *weights = AT(args->block_weights);
    for (int64_t done = 0; done < args->c_out; done += LANES, starts++) {
        const int64_t left = args->c_out - done;
        if (*starts < 0) {
            NAME(sum_each)(args, to, line, taps, done, done + lesser(left, LANES));
            continue;
        }
        const V low = NAME(load)(line + *starts), high = NAME(load)(line + *starts + LANES);
        V total = {0};
        UNROLL for (int64_t k = 0; k < taps; k++) {
            const int64_t at = done * taps + k * LANES;
            const M place = NAME(load_places)(places + at);
            total += NAME(load)(weights + at) * NAME(picked)(low, high, place);
        }
        if (left < LANES) {
            NAME(store_first)(to + done, left, total);
        } else {
            NAME(store)(to + done, total);
        }
    }
}

static void NAME(sum_line)(const struct weigh_args *args, REAL *to, const REAL *line)
{
    switch (args->taps) {
    case 1:
        NAME(sum_cells)(args, to, line, 1);
        break;
    case 2:
        NAME(sum_cells)(args, to, line, 2);
        break;
    case 3:
        NAME(sum_cells)(args, to, line, 3);
        break;
    case 4:
        NAME(sum_cells)(args, to, line, 4);
        break;
    case 5:
        NAME(sum_cells)(args, to, line, 5);
        break;
    case 6:
        NAME(sum_cells)(args, to, line, 6);
        break;
    default:
        NAME(sum_each)(args, to, line, 0, 0, args->c_out);
        break;
    }
}

/* Return the sum of the rows for a line: in scratch memory, or where a lone row is. */
INLINE const REAL *NAME(line_of)(const struct weigh_args *args, REAL *scratch, const REAL *plane,
                                 int64_t a,
                                 int64_t b, int64_t length)
{
    const int64_t *a_first = words_at(args->a_first, a), *b_first = words_at(args->b_first, b);
    if (args->plain && a_first[1] - a_first[0] == 1 && b_first[1] - b_first[0] == 1) {
        const int64_t a_row = *words_at(args->a_index, *a_first);
        return plane + (a_row * args->b_in + *words_at(args->b_index, *b_first)) * length;
    }
    NAME(sum_rows)(args, scratch, plane, a, b, length);
    return scratch;
}

static void NAME(weigh)(const struct weigh_args *args, int64_t first, int64_t last, int64_t worker)
{
    const int64_t length = args->c_in * args->inner, cells = args->c_out * args->inner;
    REAL *scratch = AT(args->scratch_base + worker * args->scratch_stride);
    const int64_t plane_item = first / args->b_out;
    int64_t b = first % args->b_out, a = plane_item % args->a_out;
    const REAL *plane =
        AT(args->source) + plane_item / args->a_out * args->a_in * args->b_in * length;
    REAL *row = AT(args->target) + first * cells;
    for (int64_t item = first; item < last; item++, row += cells) {
        if (args->taps < 0) {
            if (!NAME(sum_square)(args, row, plane, a, b, length)) {
                NAME(sum_rows)(args, row, plane, a, b, length);
            }
        } else if (args->inner == 1) {
            NAME(sum_line)(args, row, NAME(line_of)(args, scratch, plane, a, b, length));
        } else {
            NAME(sum_wide_cells)(args, row, NAME(line_of)(args, scratch, plane, a, b, length));
        }
        if (++b == args->b_out) {
            b = 0;
            if (++a == args->a_out) {
                a = 0;
                plane += args->a_in * args->b_in * length;
            }
        }
    }
}

KERNEL(resample_weigh, weigh_args, NAME(weigh)(args, first, last, worker))
