/* Convolution on the processor's matrix tiles. */
#define ONLY_AMX
#define FAMILY tiles_amx
#define KERNELS "tiles_convolve.h"
#define ELEMENT_TYPES "tiles_types.h"
#include "each.h"
