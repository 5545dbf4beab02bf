/* The kernels of KERNELS at every instruction set, for each element type.
 *
 * A family's file, which generate.py makes, gives KERNELS, the header that is read once for each
 * pair, and ELEMENT_TYPES, the header that goes through the element types. For kernels of an
 * instruction set that extends another it defines ONLY_ and its name, as in ONLY_AMX.
 */
#include "fastconv.h"
#include "shapes.h"
#include "words.h"

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
/* SHAPES(gemm)(X) is X(rows, vectors) for each register tile of that name. */
#define SHAPES_(name, isa) SHAPES_##name##_##isa
#define SHAPES__(name, isa) SHAPES_(name, isa)
#define SHAPES(name) SHAPES__(name, ISA)

/* Inside a family's header: the names of a pair, the elements at an address, and a kernel with its
 * body, which reads `args`: a struct that generate.py makes. */
#define NAME(x) JOIN(x, DTYPE, ISA)
#define INLINE static inline __attribute__((always_inline, unused))
#define AT(address) ((REAL *)(intptr_t)(address))
#define KERNEL(name, type, ...) KERNEL_OF(name, DTYPE, type, __VA_ARGS__)
#define KERNEL_OF(name, dtype, type, ...)                                                          \
    static void JOIN(name, dtype, ISA)(const int64_t *words, int64_t first, int64_t last,          \
                                       int64_t worker)                                             \
    {                                                                                              \
        const struct type *args = (const struct type *)words;                                      \
        (void)worker;                                                                              \
        __VA_ARGS__;                                                                               \
    }

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

/* KERNELS at each instruction set: ISA, VECTOR_BYTES, VECTOR_REGISTERS, HAS_AVX2, ... are given. */
#include "instruction_sets.h"
