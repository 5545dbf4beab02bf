/* The kernels of KERNELS at the instruction set in force, for both floats.
 *
 * Doubles come first: kernels for floats may use their vectors. With FLOAT32_ALONE these vectors are
 * all that there is of doubles. */
#define REAL double
#define INTEGER int64_t
#define INTEGER_MAX INT64_MAX
#define DTYPE float64
#define SUFFIX pd
#define LANE_MASK __mmask8
#define REAL_IS_FLOAT 0
#include "simd.h"
#ifndef FLOAT32_ALONE
#include KERNELS
#endif
#undef REAL
#undef INTEGER
#undef INTEGER_MAX
#undef DTYPE
#undef SUFFIX
#undef LANE_MASK
#undef REAL_IS_FLOAT

#define REAL float
#define INTEGER int32_t
#define INTEGER_MAX INT32_MAX
#define DTYPE float32
#define SUFFIX ps
#define LANE_MASK __mmask16
#define REAL_IS_FLOAT 1
#include "simd.h"
#include KERNELS
#undef REAL
#undef INTEGER
#undef INTEGER_MAX
#undef DTYPE
#undef SUFFIX
#undef LANE_MASK
#undef REAL_IS_FLOAT
