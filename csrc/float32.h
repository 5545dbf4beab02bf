/* The kernels of KERNELS at one instruction set, for float32 alone, without vectors of our own. */
#define REAL float
#define INTEGER int32_t
#define INTEGER_MAX INT32_MAX
#define DTYPE float32
#define REAL_IS_FLOAT 1
#include KERNELS
#undef REAL
#undef INTEGER
#undef INTEGER_MAX
#undef DTYPE
#undef REAL_IS_FLOAT
