/* Some of a stage's items: the kernel that runs another one's, counted from one of them on.
 *
 * It is compiled once: the kernels that it calls are those of an instruction set.
 */
#include "fastconv.h"
#include "ranged_arguments.h"

void fastconv_ranged(const int64_t *block, int64_t first, int64_t last, int64_t worker)
{
    const struct ranged_args *args = (const struct ranged_args *)block;
    const int64_t *given = (const int64_t *)((const char *)block + args->bytes_to_arguments);
    const int64_t from = args->first_item;
    ((fastconv_kernel)(intptr_t)args->kernel)(given, from + first, from + last, worker);
}
