/* The GEMM of direct, transposed and linear layers, and im2col's. */
#define FAMILY gemm
#define KERNELS "gemm.h"
#define SHAPE_ENTRIES(rows, vectors, dtype)                                                        \
    ENTRY(gemm_##rows##x##vectors, dtype), ENTRY(gemm_fresh_##rows##x##vectors, dtype),            \
        ENTRY(im2col_##rows##x##vectors, dtype)
#define MORE_float32(rows, vectors) , SHAPE_ENTRIES(rows, vectors, float32)
#define MORE_float64(rows, vectors) , SHAPE_ENTRIES(rows, vectors, float64)
#define ENTRIES(dtype) SHAPE_ENTRIES(1, 1, dtype) GEMM_SHAPES(MORE_##dtype)
#include "each.h"
