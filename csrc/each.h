/* The kernels of KERNELS at every instruction set, for each element type, and their tables.
 *
 * A family's file gives FAMILY, its name; KERNELS, the header that is read once for each pair; and
 * ENTRIES(dtype), the rows of its tables: ENTRY(name, dtype) for a kernel of that name.
 * ELEMENT_TYPES is the header that goes through them: both floats, unless the file gives another.
 */
#include "fastconv.h"
#include "tables.h"
#include "tiles_cpu.h"
#include "words.h"

#ifndef ELEMENT_TYPES
#define ELEMENT_TYPES "both.h"
#endif
/* Families WITH_TILES are compiled for the processor's matrix tiles too. */
#define TILES_REAL 0

#define JOIN_(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define ENTRY(name, dtype) ALIAS(TEXT(name), name, dtype)
/* A kernel by another name. */
#define ALIAS(text, name, dtype) {text "_" TEXT(dtype) "_" TEXT(ISA), JOIN(name, dtype, ISA)}

/* Inside a family's header: the names of a pair, the elements at an address, and a kernel with its
 * body. */
#define NAME(x) JOIN(x, DTYPE, ISA)
#define INLINE static inline __attribute__((always_inline, unused))
#define AT(address) ((REAL *)(intptr_t)(address))
#define KERNEL(name, ...)                                                                          \
    static void NAME(name)(const int64_t *args, int64_t first, int64_t last, int64_t worker)       \
    {                                                                                              \
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
#if defined(WITH_TILES) && defined(CAN_HAVE_TILES)
#undef TILES_REAL
#define TILES_REAL 1
#define ISA amx
#define VECTOR_BYTES 64
#include ELEMENT_TYPES
#undef ISA
#undef VECTOR_BYTES
#endif
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

/* What table.c finds the family by. */
#define FAMILY_(family) fastconv_##family
#define FAMILY__(family) FAMILY_(family)
#define TABLE_(family, isa) family##_##isa
#define TABLE(family, isa) TABLE_(family, isa)
const struct fastconv_entry *const FAMILY__(FAMILY)[] = {
    TABLE(FAMILY, generic),
#if defined(__x86_64__) || defined(_M_X64)
    TABLE(FAMILY, avx2), TABLE(FAMILY, avx512),
#endif
#if defined(WITH_TILES) && defined(CAN_HAVE_TILES)
    TABLE(FAMILY, amx),
#endif
    0};
