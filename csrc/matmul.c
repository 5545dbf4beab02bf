/* Products of batches of matrices. */
#define FAMILY matmul
#define KERNELS "matmul.h"
#define SHAPE_ENTRIES(rows, vectors, dtype) ENTRY(matmul_##rows##x##vectors, dtype)
#define MORE_float32(rows, vectors) , SHAPE_ENTRIES(rows, vectors, float32)
#define MORE_float64(rows, vectors) , SHAPE_ENTRIES(rows, vectors, float64)
#define ENTRIES(dtype)                                                                             \
    ENTRY(matmul_pack, dtype), SHAPE_ENTRIES(1, 1, dtype) PRODUCT_SHAPES(MORE_##dtype)
#include "each.h"
