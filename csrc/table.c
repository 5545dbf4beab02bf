/* The kernels of all instruction sets, by name. */
#include <string.h>

#include "fastconv.h"
#include "tables.h"

static int64_t find_in(const struct fastconv_entry *table, const char *name)
{
    for (; table->name != NULL; table++) {
        if (strcmp(table->name, name) == 0) {
            return (int64_t)(intptr_t)table->kernel;
        }
    }
    return 0;
}

int64_t fastconv_find(const char *name)
{
    int64_t found = find_in(fastconv_generic, name);
#if defined(__x86_64__) || defined(_M_X64)
    if (found == 0) {
        found = find_in(fastconv_avx2, name);
    }
    if (found == 0) {
        found = find_in(fastconv_avx512, name);
    }
#endif
    return found;
}

const char *fastconv_plans(void)
{
    return PLANS_DIGEST;
}
