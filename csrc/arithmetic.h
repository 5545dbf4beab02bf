/* Two arrays put together element by element, with broadcasting, and clamped.
 *
 * An item is a chunk of a row, or some short rows; within a row either input's elements are neighbours, or all the same one.
 */
#include "rows.h"

#ifndef ARITHMETIC_ONCE
#define ARITHMETIC_ONCE
struct arithmetic_places {
    int64_t left, right;
};

/* Where a row begins in either input. */
WORDS_INLINE struct arithmetic_places arithmetic_row(const struct arithmetic_args *args,
                                                     int64_t row)
{
    struct arithmetic_places at = {0, 0};
    for (int64_t d = ARITHMETIC_DIMENSIONS - 1; d >= 0; d--) {
        const int64_t length = args->lengths[d], place = d > 0 ? row % length : row;
        at.left += place * args->left_steps[d];
        at.right += place * args->right_steps[d];
        row /= length;
    }
    return at;
}
#endif

#define FUNCTION(name) INLINE V NAME(name)(V a, V b)
FUNCTION(add)
{
    return a + b;
}
FUNCTION(subtract)
{
    return a - b;
}
FUNCTION(multiply)
{
    return a * b;
}
FUNCTION(divide)
{
    return a / b;
}
/* NaN wins, from either side. */
FUNCTION(maximum)
{
    return NAME(or_nan)(a, NAME(or_nan)(b, NAME(larger)(a, b)));
}
FUNCTION(minimum)
{
    return NAME(or_nan)(a, NAME(or_nan)(b, NAME(smaller)(a, b)));
}
#undef FUNCTION

/* `n` elements from place i on of the inputs, of which one may be the same everywhere. */
#define SOME(function, left_each, right_each, i, n)                                                \
    NAME(store_some)(to + (i), n,                                                                  \
                     CLAMPED(NAME(function)(left_each ? NAME(load_some)(a + (i), n, zero) : only_a,\
                                            right_each ? NAME(load_some)(b + (i), n, zero)         \
                                                       : only_b)))
/* NaN stays. */
#define CLAMPED(x) NAME(larger)(low, NAME(smaller)(high, x))

#define LINE(function)                                                                             \
    INLINE void NAME(function##_line)(const int left_each, const int right_each, REAL *to,         \
                                      const REAL *a, const REAL *b, int64_t count, const V low,    \
                                      const V high)                                                \
    {                                                                                              \
        const V zero = {0}, only_a = NAME(splat)(*a), only_b = NAME(splat)(*b);                    \
        int64_t i = 0;                                                                             \
        for (; i + 2 * LANES <= count; i += 2 * LANES) {                                           \
            const V x = left_each ? NAME(load)(a + i) : only_a;                                    \
            const V y = right_each ? NAME(load)(b + i) : only_b;                                   \
            const V u = left_each ? NAME(load)(a + i + LANES) : only_a;                            \
            const V v = right_each ? NAME(load)(b + i + LANES) : only_b;                           \
            NAME(store)(to + i, CLAMPED(NAME(function)(x, y)));                                    \
            NAME(store)(to + i + LANES, CLAMPED(NAME(function)(u, v)));                            \
        }                                                                                          \
        for (; i < count; i += LANES) {                                                            \
            SOME(function, left_each, right_each, i, lesser(LANES, count - i));                    \
        }                                                                                          \
    }                                                                                              \
    static void NAME(function##_items)(const struct arithmetic_args *args, int64_t first,          \
                                        int64_t last)                                              \
    {                                                                                              \
        const V low = NAME(splat)((REAL)args->low);                                                \
        const V high = NAME(splat)((REAL)args->high);                                              \
        for (int64_t item = first; item < last; item++) {                                          \
            const struct row_item rows = row_item(&args->base, item);                              \
            for (int64_t row = rows.first; row < rows.last; row++) {                               \
                const struct arithmetic_places at = arithmetic_row(args, row);                     \
                REAL *to = AT(args->target) + row * args->row_length + rows.start;                 \
                const REAL *a = AT(args->left) + at.left + rows.start * args->left_each;           \
                const REAL *b = AT(args->right) + at.right + rows.start * args->right_each;        \
                if (args->left_each && args->right_each) {                                         \
                    NAME(function##_line)(1, 1, to, a, b, rows.count, low, high);                  \
                } else if (args->left_each) {                                                      \
                    NAME(function##_line)(1, 0, to, a, b, rows.count, low, high);                  \
                } else {                                                                           \
                    NAME(function##_line)(0, 1, to, a, b, rows.count, low, high);                  \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    KERNEL(arithmetic_##function, arithmetic_args, NAME(function##_items)(args, first, last))

LINE(add)
LINE(subtract)
LINE(multiply)
LINE(divide)
LINE(maximum)
LINE(minimum)

#undef SOME
#undef CLAMPED
#undef LINE
