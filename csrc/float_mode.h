/* How a thread computes with floats while kernels run, whatever its program has set: rounded to
 * nearest, subnormal numbers taken as zero and never made.
 *
 * A processor multiplies subnormal numbers some 100 times slower than others. And threads are set
 * separately: what one library sets in the caller's, the pool's do not have.
 */
#ifndef FASTCONV_FLOAT_MODE_H
#define FASTCONV_FLOAT_MODE_H

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>

/* All exceptions masked (0x1f80), flush to zero (bit 15), denormals are zero (bit 6). */
enum { FLOAT_MODE = 0x9fc0 };

static inline uint64_t swap_float_mode(uint64_t mode)
{
    const uint64_t before = _mm_getcsr();
    _mm_setcsr((unsigned)mode);
    return before;
}
#elif defined(__aarch64__)
/* Flush to zero (FZ, bit 24). */
enum { FLOAT_MODE = 1 << 24 };

static inline uint64_t swap_float_mode(uint64_t mode)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
    return before;
}
#else
enum { FLOAT_MODE = 0 };

static inline uint64_t swap_float_mode(uint64_t mode)
{
    return mode;
}
#endif

#endif
