/* Convolution of few pixels: weights read as they are. */
#define FAMILY skinny
#define KERNELS "skinny.h"
#define MORE_float32(rows, vectors) , ENTRY(skinny_##rows##x##vectors, float32)
#define MORE_float64(rows, vectors) , ENTRY(skinny_##rows##x##vectors, float64)
#define ENTRIES(dtype) ENTRY(skinny_lower, dtype) SKINNY_SHAPES(MORE_##dtype)
#include "each.h"
