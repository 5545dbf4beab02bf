/* Activations over blocks of elements. */
#define FAMILY pointwise
#define KERNELS "pointwise.h"
/* The same kernel serves in place and out of place. */
#define EITHER(function, dtype)                                                                    \
    ALIAS("pointwise_elementwise_" TEXT(function) "_0", pointwise_elementwise_##function, dtype),   \
        ALIAS("pointwise_elementwise_" TEXT(function) "_1", pointwise_elementwise_##function, dtype)
#define ENTRIES(dtype)                                                                             \
    EITHER(leaky_relu, dtype),                                                                     \
    EITHER(hardtanh, dtype),                                                                       \
    EITHER(elu, dtype),                                                                            \
    EITHER(selu, dtype),                                                                           \
    EITHER(celu, dtype),                                                                           \
    EITHER(gelu, dtype),                                                                           \
    EITHER(gelu_tanh, dtype),                                                                      \
    EITHER(silu, dtype),                                                                           \
    EITHER(mish, dtype),                                                                           \
    EITHER(hardsigmoid, dtype),                                                                    \
    EITHER(hardswish, dtype),                                                                      \
    EITHER(sigmoid, dtype),                                                                        \
    EITHER(tanh, dtype),                                                                           \
    EITHER(softplus, dtype),                                                                       \
    EITHER(softsign, dtype),                                                                       \
    EITHER(absolute, dtype),                                                                       \
    EITHER(ceil, dtype),                                                                           \
    EITHER(erf, dtype),                                                                            \
    EITHER(exp, dtype),                                                                            \
    EITHER(floor, dtype),                                                                          \
    EITHER(hard_sigmoid, dtype),                                                                   \
    EITHER(negative, dtype),                                                                       \
    EITHER(reciprocal, dtype),                                                                     \
    EITHER(rint, dtype),                                                                           \
    EITHER(sqrt, dtype),                                                                           \
    EITHER(thresholded_relu, dtype)
#include "each.h"
