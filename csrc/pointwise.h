/* Activations over blocks of elements: an item is a block.
 *
 * What is left over at an end has the bits of a vector.
 */
#include "functions.h"

#ifndef POINTWISE_WORDS
#define POINTWISE_WORDS
enum { BLOCK = 8192 };
enum { INPUT_AT, OUTPUT_AT, ELEMENTS, FIRST_PARAMETER, SECOND_PARAMETER };
#endif

/* In place or not makes no difference here: elements are read before they are written. */
#define ELEMENTWISE(function)                                                                      \
    static void NAME(pointwise_elementwise_##function)(const int64_t *args, int64_t first,         \
                                                       int64_t last, int64_t worker)               \
    {                                                                                              \
        (void)worker;                                                                              \
        const int64_t start = first * BLOCK;                                                       \
        const int64_t end = last * BLOCK < args[ELEMENTS] ? last * BLOCK : args[ELEMENTS];         \
        const REAL *source = (const REAL *)(intptr_t)args[INPUT_AT];                               \
        REAL *target = (REAL *)(intptr_t)args[OUTPUT_AT];                                          \
        const V a = S(number_of(args[FIRST_PARAMETER]));                                           \
        const V b = S(number_of(args[SECOND_PARAMETER]));                                          \
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
    }

EACH_FUNCTION(ELEMENTWISE)

#undef ELEMENTWISE
