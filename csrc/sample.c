/* Images read at computed places between cells. */
#define FAMILY sample
#define KERNELS "sample.h"
#define ENTRIES(dtype) ENTRY(sample_grid, dtype), ENTRY(sample_offsets, dtype)
#include "each.h"
