/* Packing of parameters. */
#define FAMILY weights
#define KERNELS "weights.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(weights_panels, dtype), ENTRY(weights_rows, dtype), ENTRY(weights_winograd, dtype),      \
        ENTRY(weights_affine, dtype), ENTRY(weights_repeat, dtype),                                \
        ENTRY(weights_repeat_widened, dtype), ENTRY(weights_placed_own, dtype),                    \
        ENTRY(weights_lines, dtype) SIXTEENS_##dtype
/* float32 alone is made of 16-bit floats. */
#define SIXTEENS_float32                                                                           \
    , ENTRY(weights_placed_float16, float32), ENTRY(weights_placed_bfloat16, float32)
#define SIXTEENS_float64
#include "each.h"
