/* Depthwise convolution, channels first. */
#define FAMILY depthwise_planar
#define KERNELS "depthwise_planar.h"
#define ENTRIES(dtype) ENTRY(depthwise_planar_copied, dtype), ENTRY(depthwise_planar_inside, dtype)
#include "each.h"
