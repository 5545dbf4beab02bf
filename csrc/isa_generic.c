/* The kernels for any machine: vectors of 16 bytes, as SSE2 and NEON have. */
#define ISA generic
#define VECTOR_BYTES 16
#include "kernels.h"
