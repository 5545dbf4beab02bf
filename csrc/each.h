/* The kernels of KERNELS at every instruction set, for each element type.
 *
 * A family's file, which generate.py makes, gives KERNELS, the header that is read once for each
 * pair, and ELEMENT_TYPES, the header that goes through the element types.
 */
#include "arguments.h"
#include "fastconv.h"
#include "shapes.h"
#include "tables.h"
#include "words.h"

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
/* SHAPES(gemm)(X) is X(rows, vectors) for each register tile of that name. */
#define SHAPES_(name, isa) SHAPES_##name##_##isa
#define SHAPES__(name, isa) SHAPES_(name, isa)
#define SHAPES(name) SHAPES__(name, ISA)

/* Inside a family's header: the names of a pair, the elements at an address, and a kernel with its
 * body, which reads `args`: a struct of arguments.h. */
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

/* gcc moves halves of vectors by way of MMX registers, and leaves them in the way of long
 * doubles. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("no-mmx")
#endif
#define ISA generic
#define VECTOR_BYTES 16
#include ELEMENT_TYPES
#undef ISA
#undef VECTOR_BYTES
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

#if defined(__x86_64__) || defined(_M_X64)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define ISA avx2
#define VECTOR_BYTES 32
#include ELEMENT_TYPES
#undef ISA
#undef VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#define ISA avx512
#define VECTOR_BYTES 64
#include ELEMENT_TYPES
#undef ISA
#undef VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
