/* Cells moved bit for bit. */
#define FAMILY move
#define ELEMENT_TYPES "cells.h"
#define KERNELS "move.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(move_gather, dtype), ENTRY(move_permute, dtype), ENTRY(move_rows, dtype),                \
        ENTRY(move_unfold, dtype)
#include "each.h"
