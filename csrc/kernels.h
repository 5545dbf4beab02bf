/* All kernels at one instruction set: ISA and VECTOR_BYTES are given, the table comes out. */
#include "fastconv.h"
#include "tables.h"

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)

#define REAL float
#define INTEGER int32_t
#define INTEGER_MAX INT32_MAX
#define DTYPE float32
#define SUFFIX ps
#define LANE_MASK __mmask16
#define REAL_IS_FLOAT 1
#include "simd.h"
#include "pool.h"
#include "pointwise.h"
#undef REAL
#undef INTEGER
#undef INTEGER_MAX
#undef DTYPE
#undef SUFFIX
#undef LANE_MASK
#undef REAL_IS_FLOAT

#define REAL double
#define INTEGER int64_t
#define INTEGER_MAX INT64_MAX
#define DTYPE float64
#define SUFFIX pd
#define LANE_MASK __mmask8
#define REAL_IS_FLOAT 0
#include "simd.h"
#include "pool.h"
#include "pointwise.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define ENTRY(name, dtype) {TEXT(JOIN(name, dtype, ISA)), JOIN(name, dtype, ISA)}
#define EITHER(name, dtype)                                                                        \
    {TEXT(name) "_0_" TEXT(dtype) "_" TEXT(ISA), JOIN(name, dtype, ISA)},                          \
    {                                                                                              \
        TEXT(name) "_1_" TEXT(dtype) "_" TEXT(ISA), JOIN(name, dtype, ISA)                         \
    }
#define TABLE_(isa) fastconv_##isa
#define TABLE(isa) TABLE_(isa)

const struct fastconv_entry TABLE(ISA)[] = {
    POOL_ENTRIES(float32), POOL_ENTRIES(float64), POINTWISE_ENTRIES(float32),
    POINTWISE_ENTRIES(float64), {0, 0}};
