/* Max pools that tell where. */
#define FAMILY pool_indices
#define KERNELS "pool_indices.h"
#define ENTRIES(dtype) ENTRY(pool_indices, dtype)
#include "each.h"
