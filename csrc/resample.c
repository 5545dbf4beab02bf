/* Interpolation that sums. */
#define FAMILY resample
#define KERNELS "resample.h"
#define ENTRIES(dtype) ENTRY(resample_weigh, dtype)
#include "each.h"
