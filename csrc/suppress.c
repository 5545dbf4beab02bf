/* Boxes by score that overlap none chosen before. */
#define FAMILY suppress
#define KERNELS "suppress.h"
#define ELEMENT_TYPES "float32.h"
#define ENTRIES(dtype) ENTRY(suppress, dtype)
#include "each.h"
