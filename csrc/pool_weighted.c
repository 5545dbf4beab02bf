/* Weighted averages. */
#define FAMILY pool_weighted
#define KERNELS "pool_weighted.h"
#define ENTRIES(dtype) ENTRY(pool_weighted, dtype)
#include "each.h"
