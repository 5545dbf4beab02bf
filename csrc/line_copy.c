/* Long lines resized by copies of cells. */
#define FAMILY line_copy
#define KERNELS "line_copy.h"
#define ELEMENT_TYPES "cells.h"
#define ENTRIES(dtype) ENTRY(line_nearest, dtype)
#include "each.h"
