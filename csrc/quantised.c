/* Integers for numbers and back. */
#define FAMILY quantised
#define KERNELS "quantised.h"
#define ELEMENT_TYPES "narrow.h"
#define ENTRIES(dtype) ENTRY(quantised_quantize, dtype), ENTRY(quantised_dequantize, dtype)
#include "each.h"
