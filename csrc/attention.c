/* Scaled dot product attention. */
#define FAMILY attention
#define KERNELS "attention.h"
#define SHAPE_ENTRIES(rows, vectors, dtype) ENTRY(attention_##rows##x##vectors, dtype)
#define MORE_float32(rows, vectors) , SHAPE_ENTRIES(rows, vectors, float32)
#define MORE_float64(rows, vectors) , SHAPE_ENTRIES(rows, vectors, float64)
#define ENTRIES(dtype) SHAPE_ENTRIES(1, 1, dtype) PRODUCT_SHAPES(MORE_##dtype)
#include "each.h"
