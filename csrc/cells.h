/* The kernels of KERNELS at one instruction set, for cells of 1, 2, 4, 8 and 16 bytes whose bits
 * they move: the element types are named as plans name them for that. */
#ifndef CELLS_H
#define CELLS_H
/* Aligned as its elements are, unlike any type of 16 bytes. */
typedef uint64_t wide_cell __attribute__((vector_size(16), aligned(8)));
#endif

#define CELL uint8_t
#define DTYPE uint8
#include KERNELS
#undef CELL
#undef DTYPE

#define CELL uint16_t
#define DTYPE uint16
#include KERNELS
#undef CELL
#undef DTYPE

#define CELL uint32_t
#define DTYPE uint32
#include KERNELS
#undef CELL
#undef DTYPE

#define CELL uint64_t
#define DTYPE uint64
#include KERNELS
#undef CELL
#undef DTYPE

#define CELL wide_cell
#define DTYPE complex128
#include KERNELS
#undef CELL
#undef DTYPE
