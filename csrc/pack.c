/* The pack step of convolutions. */
#define FAMILY pack
#define KERNELS "pack.h"
#define ENTRIES(dtype) ENTRY(pack, dtype)
#include "each.h"
