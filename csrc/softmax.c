/* Softmax and its logarithm. */
#define FAMILY softmax
#define KERNELS "softmax.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(softmax_rows_0, dtype), ENTRY(softmax_rows_1, dtype), ENTRY(softmax_columns_0, dtype),   \
        ENTRY(softmax_columns_1, dtype)
#include "each.h"
