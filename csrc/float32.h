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

#define OWN_TABLE_(family, isa) family##_##isa
#define OWN_TABLE(family, isa) OWN_TABLE_(family, isa)
static const struct fastconv_entry OWN_TABLE(FAMILY, ISA)[] = {ENTRIES(float32), {0, 0}};
#undef OWN_TABLE_
#undef OWN_TABLE
