/* Sums, smallest and largest elements along an axis. */
#define FAMILY reduce
#define KERNELS "reduce.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(reduce_sum, dtype), ENTRY(reduce_min, dtype), ENTRY(reduce_max, dtype)
#include "each.h"
