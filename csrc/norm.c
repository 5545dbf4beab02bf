/* Normalisations over groups of channels and over rows. */
#define FAMILY norm
#define KERNELS "norm.h"
/* Moments are doubles whatever the elements are. */
#define COMBINE_float32
#define COMBINE_float64 ENTRY(norm_combine, float64),
#define ENTRIES(dtype)                                                                             \
    COMBINE_##dtype ENTRY(norm_row_moments, dtype), ENTRY(norm_pixel_moments, dtype),              \
        ENTRY(norm_standardise, dtype)
#include "each.h"
