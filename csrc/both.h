/* The kernels of KERNELS at the instruction set in force, for both floats.
 *
 * Doubles come first: kernels for floats may use their vectors. */
#define REAL double
#define INTEGER int64_t
#define INTEGER_MAX INT64_MAX
#define DTYPE float64
#define SUFFIX pd
#define LANE_MASK __mmask8
#define REAL_IS_FLOAT 0
#include "simd.h"
#include KERNELS
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

#define OWN_TABLE_(family, isa) family##_##isa
#define OWN_TABLE(family, isa) OWN_TABLE_(family, isa)
static const struct fastconv_entry OWN_TABLE(FAMILY, ISA)[] = {ENTRIES(float32), ENTRIES(float64),
                                                              {0, 0}};
#undef OWN_TABLE_
#undef OWN_TABLE
