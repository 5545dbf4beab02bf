/* Pools with windows two columns apart. */
#define FAMILY pool_halving
#define KERNELS "pool_halving.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(pool_halving_max, dtype), ENTRY(pool_halving_avg, dtype),                                \
        ENTRY(pool_halving_squares, dtype), ENTRY(pool_halving_magnitudes, dtype)
#include "each.h"
