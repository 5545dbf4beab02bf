/* The kernels of KERNELS at every instruction set, for each element type, and their tables.
 *
 * A family's file gives FAMILY, its name; KERNELS, the header that is read once for each pair; and
 * ENTRIES(dtype), the rows of its tables: ENTRY(name, dtype) for a kernel of that name.
 * ELEMENT_TYPES is the header that goes through them: both floats, unless the file gives another.
 * A file of kernels for an instruction set that extends another defines ONLY_ and its name, as in
 * ONLY_AMX.
 */
#include "fastconv.h"
#include "tables.h"
#include "words.h"

#ifndef ELEMENT_TYPES
#define ELEMENT_TYPES "both.h"
#endif

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

/* KERNELS at each instruction set: ISA, VECTOR_BYTES, VECTOR_REGISTERS, HAS_AVX2, ... are given. */
#include "instruction_sets.h"

/* What table.c finds the family by. */
#define FAMILY_(family) fastconv_##family
#define FAMILY__(family) FAMILY_(family)
#define TABLE_(family, isa) family##_##isa
#define TABLE__(family, isa) TABLE_(family, isa)
#define TABLE(isa) TABLE__(FAMILY, isa)
const struct fastconv_entry *const FAMILY__(FAMILY)[] = {TABLES(TABLE) 0};
