/* Whether this process may use the processor's matrix tiles. */
/* For syscall. */
#define _DEFAULT_SOURCE
#include "fastconv.h"

#if defined(__linux__) && defined(__x86_64__) && !defined(__ILP32__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux gives each process their state when it asks: arch_prctl(2). */
enum { GET_PERMISSION = 0x1022, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
/* Bits of CPUID leaf 1's ECX, leaf 7's EDX and of XCR0 (tile configuration and data, 17 and 18). */
enum { OSXSAVE = 1 << 27, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, TILE_STATES = 3 << 17 };

/* Whether processor and system have them: flags alone are not enough, some virtual machines show
 * them and have no palette. */
static int are_there(void)
{
    unsigned a, b, c, d, enabled, above;
    if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !(c & OSXSAVE)) {
        return 0;
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX_BF16) == 0 || (d & AMX_TILE) == 0) {
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(enabled), "=d"(above) : "c"(0));
    if ((enabled & TILE_STATES) != TILE_STATES) {
        return 0;
    }
    if (!__get_cpuid_count(0x1d, 0, &a, &b, &c, &d) || a < 1) {
        return 0;
    }
    /* Palette 1: bytes of all tiles and of one, bytes of a row and tiles, rows. */
    __cpuid_count(0x1d, 1, a, b, c, d);
    return (a & 0xffff) >= 8192 && a >> 16 == 1024 && (b & 0xffff) == 64 && b >> 16 >= 8 &&
           (c & 0xffff) == 16;
}

int fastconv_permit_tiles(void)
{
    unsigned long permitted = 0;
    if (!are_there()) {
        return 0;
    }
    syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA);
    return syscall(SYS_arch_prctl, GET_PERMISSION, &permitted) == 0 && (permitted >> TILE_DATA & 1);
}

#else

int fastconv_permit_tiles(void)
{
    return 0;
}

#endif
