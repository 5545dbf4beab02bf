/* Max, average and Lp pools, one dimension after the other. */
#define FAMILY pool_separable
#define KERNELS "pool_separable.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(pool_separable_max, dtype), ENTRY(pool_separable_avg, dtype),                            \
        ENTRY(pool_separable_largest, dtype), ENTRY(pool_separable_lp, dtype)
#include "each.h"
