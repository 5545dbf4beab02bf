/* Minimal filtering of small kernels. */
#define FAMILY winograd
#define KERNELS "winograd.h"
#define MULTIPLY_float32(rows, vectors) ENTRY(winograd_multiply_##rows##x##vectors, float32),
#define MULTIPLY_float64(rows, vectors) ENTRY(winograd_multiply_##rows##x##vectors, float64),
/* What walks the blocks sees no elements: its name has no type. */
#define ENTRIES(dtype)                                                                             \
    BLOCK_SHAPES(MULTIPLY_##dtype) ENTRY(winograd_input, dtype),                                   \
        ENTRY(winograd_planar_input, dtype), ENTRY(winograd_output, dtype),                        \
        {"winograd_filtered_" TEXT(ISA), JOIN(winograd_filtered, dtype, ISA)}
#include "each.h"
