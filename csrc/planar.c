/* Direct convolution of channels-first images. */
#define FAMILY planar
#define KERNELS "planar.h"
#define MORE_float32(rows, vectors) , ENTRY(planar_##rows##x##vectors, float32)
#define MORE_float64(rows, vectors) , ENTRY(planar_##rows##x##vectors, float64)
#define PAIRS_float32(rows, vectors) , ENTRY(interleaved_##rows##x##vectors, float32)
#define PAIRS_float64(rows, vectors) , ENTRY(interleaved_##rows##x##vectors, float64)
#define ENTRIES(dtype)                                                                             \
    ENTRY(planar_1x8, dtype) PLANAR_SHAPES(MORE_##dtype) INTERLEAVED_SHAPES(PAIRS_##dtype)
#include "each.h"
