/* Convolution by Fourier transforms of overlapping blocks. */
#define FAMILY fft
#define KERNELS "fft.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(fft_overlap_save_0_0, dtype), ENTRY(fft_overlap_save_0_1, dtype),                        \
        ENTRY(fft_overlap_save_1_0, dtype), ENTRY(fft_overlap_save_1_1, dtype),                        \
        ENTRY(fft_filters_0, dtype), ENTRY(fft_filters_1, dtype)
#include "each.h"
