/* Two arrays put together element by element. */
#define FAMILY arithmetic
#define KERNELS "arithmetic.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(arithmetic_add, dtype), ENTRY(arithmetic_subtract, dtype),                               \
        ENTRY(arithmetic_multiply, dtype), ENTRY(arithmetic_divide, dtype),                        \
        ENTRY(arithmetic_maximum, dtype), ENTRY(arithmetic_minimum, dtype)
#include "each.h"
