/* Reading argument blocks: addresses, tables and floats among int64 words. */
#ifndef FASTCONV_WORDS_H
#define FASTCONV_WORDS_H

#include <stdint.h>
#include <string.h>

#include "fastconv.h"

/* Some kernels serve only some element types or instruction sets. */
#define WORDS_INLINE static inline __attribute__((unused))

/* In a loop that compilers must not vectorise. */
#define STAY_SCALAR() __asm__ volatile("" : : : "memory")

/* A number that is worked on from here, not before: what is derived from it takes no registers that
 * a loop in between needs. */
WORDS_INLINE int64_t anew(int64_t number)
{
#if defined(__GNUC__)
    __asm__("" : "+r"(number));
#endif
    return number;
}

/* The float64 whose bits a word holds. */
WORDS_INLINE double number_of(int64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* A table of int64 at an address, from one of its words on. */
WORDS_INLINE const int64_t *words_at(int64_t table, int64_t first)
{
    return (const int64_t *)(intptr_t)table + first;
}

/* Rows of a table at an address: records as fastconv/backends/manifest declares them. */
#define RECORDS_AT(record, address) ((const struct record *)(intptr_t)(address))

/* Run the kernel at an address. */
WORDS_INLINE void call(int64_t kernel, const void *args, int64_t last, int64_t worker)
{
    ((fastconv_kernel)(intptr_t)kernel)((const int64_t *)args, 0, last, worker);
}

WORDS_INLINE int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

WORDS_INLINE int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a / b, rounded up. */
WORDS_INLINE int64_t parts_of(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
