/* Local response normalisation. */
#define FAMILY response
#define KERNELS "response.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(response_planes_0, dtype), ENTRY(response_planes_1, dtype),                              \
        ENTRY(response_pixels_0, dtype), ENTRY(response_pixels_1, dtype)
#include "each.h"
