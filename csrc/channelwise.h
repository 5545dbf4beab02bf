/* A function of each element and of numbers of its channel: batch norm's last step, and PReLU.
 *
 * A work item is a block of an image's elements, which meet a table's entries in turn, or a chunk of
 * a row, or some short rows, whose elements share an entry. Tables of `affine` are doubles, those of `prelu` REALs. What
 * `affine` gives is clamped.
 */
#include "rows.h"
#include "wide.h"

/* One vector of a line, or the n elements that are left: x a + b in doubles, so that a mean far from
 * zero costs no digits; rounded twice, as b is, so that a deviation of nothing is nothing. */
INLINE void NAME(affine)(int shared, const REAL *source, REAL *target, const double *a,
                         const double *b, W low, W high, int64_t i, int64_t n)
{
    const W zero = {0}, x = NAME(load_wide_some)(source + i, n, zero);
    const W factor = shared ? WIDE(splat)(*a) : WIDE(load_some)(a + i, n, zero);
    const W term = shared ? WIDE(splat)(*b) : WIDE(load_some)(b + i, n, zero);
    const W sum = x * factor + term;
    NAME(store_wide_some)(target + i, n, WIDE(larger)(low, WIDE(smaller)(high, sum)));
}

/* The same of x, or a x where that is not above zero. */
INLINE void NAME(prelu)(int shared, const REAL *source, REAL *target, const REAL *a, const REAL *b,
                        W low, W high, int64_t i, int64_t n)
{
    (void)b, (void)low, (void)high;
    const V zero = {0}, x = NAME(held)(NAME(load_some)(source + i, n, zero));
    const V slope = shared ? NAME(splat)(*a) : NAME(load_some)(a + i, n, zero);
    NAME(store_some)(target + i, n, NAME(where_less)(zero, x, x, x * slope));
}

/* A line of elements with an entry each, or with one that all share; entries are at addresses. The
 * last vector overlaps the one before where there is one; so does the second where that makes the
 * rest of a long line are at multiples of a vector. */
#define LINE(function, entry, lanes)                                                               \
    INLINE void NAME(function##_line)(int shared, const REAL *source, REAL *target, int64_t first, \
                                      int64_t second, double least, double most,         \
                                      int64_t count)                                               \
    {                                                                                              \
        const entry *a = (const entry *)(intptr_t)first, *b = (const entry *)(intptr_t)second;     \
        const entry only_a = *a, only_b = *b;                                                      \
        const W low = WIDE(splat)(least), high = WIDE(splat)(most);  \
        a = shared ? &only_a : a;                                                                  \
        b = shared ? &only_b : b;                                                                  \
        int64_t i = 0;                                                                             \
        if (shared && count >= 8 * lanes) {                                                        \
            NAME(function)(shared, source, target, a, b, low, high, 0, lanes);                     \
            i = lanes - (int64_t)((uintptr_t)target / sizeof(REAL) % (uintptr_t)lanes);            \
        }                                                                                          \
        for (; i + 4 * lanes <= count; i += 4 * lanes) {                                           \
            UNROLL for (int j = 0; j < 4; j++) {                                                   \
                NAME(function)(shared, source, target, a, b, low, high, i + j * lanes, lanes);     \
            }                                                                                      \
        }                                                                                          \
        for (; i + lanes <= count; i += lanes) {                                                   \
            NAME(function)(shared, source, target, a, b, low, high, i, lanes);                     \
        }                                                                                          \
        if (i < count && count >= lanes) {                                                         \
            NAME(function)(shared, source, target, a, b, low, high, count - lanes, lanes);         \
        } else if (i < count) {                                                                    \
            NAME(function)(shared, source, target, a, b, low, high, i, count - i);                 \
        }                                                                                          \
    }

#define BY_TABLE(function)                                                                         \
    KERNEL(channelwise_by_table_##function, by_table_args, {                                       \
        for (int64_t item = first; item < last; item++) {                                          \
            const int64_t image = item / args->blocks, part = item % args->blocks;                 \
            const int64_t a = args->first_table + image * args->table_step;                        \
            const int64_t b = args->second_table + image * args->table_step;                       \
            const int64_t end = lesser((part + 1) * args->block, args->image);                     \
            for (int64_t i = part * args->block; i < end; i += args->period) {                     \
                const int64_t place = image * args->image + i;                                     \
                NAME(function##_line)(0, AT(args->source) + place, AT(args->target) + place, a, b, \
                                      args->low, args->high,                                       \
                                      lesser(args->period, end - i));                              \
            }                                                                                      \
        }                                                                                          \
    })

#define BY_ROW(function, entry)                                                                    \
    KERNEL(channelwise_by_row_##function, by_row_args, {                                           \
        for (int64_t item = first; item < last; item++) {                                          \
            const struct row_item rows = row_item(&args->base, item);                              \
            int64_t channel = rows.first % args->entry_count;                                      \
            for (int64_t row = rows.first; row < rows.last; row++) {                               \
                const int64_t place = row * args->row_length + rows.start;                         \
                const int64_t own = channel * (int64_t)sizeof(entry);                              \
                NAME(function##_line)(1, AT(args->source) + place, AT(args->target) + place,       \
                                      args->first_entries + own, args->second_entries + own,       \
                                      args->low, args->high, rows.count);                          \
                channel = channel + 1 < args->entry_count ? channel + 1 : 0;                       \
            }                                                                                      \
        }                                                                                          \
    })

LINE(affine, double, WIDE_LANES)
LINE(prelu, REAL, LANES)
BY_TABLE(affine)
BY_TABLE(prelu)
BY_ROW(affine, double)
BY_ROW(prelu, REAL)

#undef LINE
#undef BY_TABLE
#undef BY_ROW
