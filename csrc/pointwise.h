/* Activations over blocks of elements: an item is a block.
 *
 * What is left over at an end has the bits of a vector.
 */
#include "functions.h"

/* In place or not makes no difference here: elements are read before they are written. */
#define ELEMENTWISE(function)                                                                      \
    KERNEL(pointwise_elementwise_##function, elementwise_args, {                                   \
        const int64_t start = first * ELEMENTWISE_BLOCK;                                           \
        const int64_t end = lesser(last * ELEMENTWISE_BLOCK, args->count);                         \
        const REAL *source = (const REAL *)(intptr_t)args->source;                                 \
        REAL *target = (REAL *)(intptr_t)args->target;                                             \
        const V a = S(args->first);                                                                \
        const V b = S(args->second);                                                               \
        int64_t i = start;                                                                         \
        /* Two at a time: each hides the other's latency. */                                       \
        for (; i + 2 * LANES <= end; i += 2 * LANES) {                                             \
            const V x = NAME(load)(source + i), y = NAME(load)(source + i + LANES);                \
            const V u = NAME(function)(x, a, b), v = NAME(function)(y, a, b);                      \
            NAME(store)(target + i, u);                                                            \
            NAME(store)(target + i + LANES, v);                                                    \
        }                                                                                          \
        for (; i + LANES <= end; i += LANES) {                                                     \
            NAME(store)(target + i, NAME(function)(NAME(load)(source + i), a, b));                 \
        }                                                                                          \
        if (i < end) {                                                                             \
            const V x = NAME(load_first)(source + i, end - i, S(0));                               \
            NAME(store_first)(target + i, end - i, NAME(function)(x, a, b));                       \
        }                                                                                          \
    })

EACH_FUNCTION(ELEMENTWISE)

#undef ELEMENTWISE
