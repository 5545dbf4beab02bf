/* Long lines resized by sums of neighbours. */
#define FAMILY line
#define KERNELS "line.h"
#define ENTRIES(dtype) ENTRY(line_linear, dtype)
#include "each.h"
