/* Regions of images pooled by samples between cells. */
#define FAMILY roi_align
#define KERNELS "roi_align.h"
#define ENTRIES(dtype) ENTRY(roi_align, dtype)
#include "each.h"
