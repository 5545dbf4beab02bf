/* Depthwise convolution, channels last. */
#define FAMILY depthwise
#define KERNELS "depthwise.h"
#define ENTRIES(dtype) ENTRY(depthwise, dtype)
#include "each.h"
