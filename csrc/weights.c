/* Packing of parameters. */
#define FAMILY weights
#define KERNELS "weights.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(weights_panels, dtype), ENTRY(weights_rows, dtype), ENTRY(weights_winograd, dtype),      \
        ENTRY(weights_affine, dtype), ENTRY(weights_repeat, dtype),                                \
        ENTRY(weights_repeat_widened, dtype)
#include "each.h"
