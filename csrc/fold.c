/* Windows summed back into images. */
#define FAMILY fold
#define KERNELS "fold.h"
#define ENTRIES(dtype) ENTRY(fold, dtype)
#include "each.h"
