/* Some of a stage's items: the kernel that runs another one's, counted from one of them on.
 *
 * The words are those of fastconv/backends/native/cuts.py. It is compiled once: the kernels that
 * it calls are those of an instruction set.
 */
#include <stddef.h>

#include "fastconv.h"

enum { KERNEL, BYTES_TO_ARGUMENTS, FIRST_ITEM };

static void ranged(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    const int64_t *given = (const int64_t *)((const char *)args + args[BYTES_TO_ARGUMENTS]);
    const int64_t from = args[FIRST_ITEM];
    ((fastconv_kernel)(intptr_t)args[KERNEL])(given, from + first, from + last, worker);
}

static const struct fastconv_entry entries[] = {{"ranged", ranged}, {NULL, NULL}};
const struct fastconv_entry *const fastconv_ranged[] = {entries, NULL};
