/* Activations over blocks of elements. */
#define FAMILY pointwise
#define KERNELS "pointwise.h"
/* The same kernel serves in place and out of place. */
#define EITHER(function, dtype)                                                                    \
    ALIAS("pointwise_elementwise_" TEXT(function) "_0", pointwise_elementwise_##function, dtype),   \
        ALIAS("pointwise_elementwise_" TEXT(function) "_1", pointwise_elementwise_##function, dtype)
#define ENTRIES(dtype) LIST_OF_FUNCTIONS(EITHER, dtype)
#include "each.h"
