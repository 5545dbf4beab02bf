/* The largest or smallest entries along an axis. */
#define FAMILY topk
#define KERNELS "topk.h"
#define ENTRIES(dtype) ENTRY(topk, dtype)
#include "each.h"
