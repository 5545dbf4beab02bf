/* Functions of elements and of numbers of their channels. */
#define FAMILY channelwise
#define KERNELS "channelwise.h"
#define ENTRIES(dtype)                                                                          \
    ENTRY(channelwise_by_table_affine, dtype), ENTRY(channelwise_by_table_prelu, dtype),           \
        ENTRY(channelwise_by_row_affine, dtype), ENTRY(channelwise_by_row_prelu, dtype)
#include "each.h"
