/* Convolution on matrix tiles that are emulated. */
#define FAMILY tiles
#define KERNELS "tiles_convolve.h"
#define ELEMENT_TYPES "tiles_types.h"
#include "each.h"
