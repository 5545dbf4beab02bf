/* What softmax does to the elements of a row: their largest, and exponentials with their sum, which
 * is one of doubles.
 */
#include "elementary.h"
#include "wide.h"

/* The largest that is not NaN: where there is a NaN, the sum is NaN anyway. */
INLINE REAL NAME(largest)(const REAL *x, int64_t count)
{
    const V low = S(-INFINITY);
    V tops[4] = {low, low, low, low};
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        UNROLL for (int j = 0; j < 4; j++) {
            tops[j] = NAME(larger)(NAME(load)(x + i + j * LANES), tops[j]);
        }
    }
    for (; i < count; i += LANES) {
        tops[0] = NAME(larger)(NAME(load_some)(x + i, count - i, low), tops[0]);
    }
    tops[0] = NAME(larger)(tops[0], tops[1]);
    tops[2] = NAME(larger)(tops[2], tops[3]);
    return NAME(largest_lane)(NAME(larger)(tops[0], tops[2]));
}

/* exp(x) of the first n lanes, added to the sums; the logarithm's way keeps x itself. */
INLINE V NAME(exponentiated)(int logarithm, V x, int64_t n, W *sums)
{
    const V power = NAME(exponential)(x);
    const V counted = n < LANES ? NAME(only_first)(n, power) : power;
    UNROLL for (int part = 0; part < PARTS; part++) {
        sums[part] += NAME(widened)(counted, part);
    }
    return logarithm ? x : power;
}
