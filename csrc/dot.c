/* Rows times columns that are read as they are given. */
#define FAMILY dot
#define KERNELS "dot.h"
#define ENTRIES(dtype) ENTRY(dot, dtype)
#include "each.h"
