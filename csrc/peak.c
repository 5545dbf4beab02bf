/* The machine's limits, to be measured. */
#define FAMILY peak
#define KERNELS "peak.h"
#define ENTRIES(dtype) ENTRY(peak_chains, dtype), ENTRY(peak_read, dtype)
#include "each.h"
