/* The kernels of KERNELS at one instruction set, for integers of 8, 16 and 32 bits: CELL is the
 * type, LEAST and MOST its limits. */
#define CELL int8_t
#define DTYPE int8
#define LEAST INT8_MIN
#define MOST INT8_MAX
#include KERNELS
#undef CELL
#undef DTYPE
#undef LEAST
#undef MOST

#define CELL uint8_t
#define DTYPE uint8
#define LEAST 0
#define MOST UINT8_MAX
#include KERNELS
#undef CELL
#undef DTYPE
#undef LEAST
#undef MOST

#define CELL int16_t
#define DTYPE int16
#define LEAST INT16_MIN
#define MOST INT16_MAX
#include KERNELS
#undef CELL
#undef DTYPE
#undef LEAST
#undef MOST

#define CELL uint16_t
#define DTYPE uint16
#define LEAST 0
#define MOST UINT16_MAX
#include KERNELS
#undef CELL
#undef DTYPE
#undef LEAST
#undef MOST

/* Numbers are made of these, and nothing is quantised to them. */
#define NUMBERS_ALONE
#define CELL int32_t
#define DTYPE int32
#include KERNELS
#undef CELL
#undef DTYPE
#undef NUMBERS_ALONE
