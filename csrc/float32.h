/* The kernels of KERNELS at the instruction set in force, for float32 alone, with vectors of both
 * floats. */
#define FLOAT32_ALONE
#include "both.h"
#undef FLOAT32_ALONE
