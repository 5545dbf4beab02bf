/* Convolution on matrix tiles: emulated at each instruction set, and on the processor's own. */
#define FAMILY tiles_kernels
#define KERNELS "tiles_convolve.h"
#define ELEMENT_TYPES "tiles_types.h"
#define WITH_TILES
#define ENTRIES(dtype)                                                                             \
    ENTRY(tiles_convolve_bf16x3, dtype), ENTRY(tiles_convolve_bf16, dtype),                        \
        ENTRY(tiles_weights_bf16x3, dtype), ENTRY(tiles_weights_bf16, dtype)
#include "each.h"
