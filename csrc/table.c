/* The kernels of all families, by name. */
#include <string.h>

#include "digest.h"
#include "fastconv.h"

/* A family's tables, one an instruction set; both lists end in 0. */
extern const struct fastconv_entry *const fastconv_arithmetic[];
extern const struct fastconv_entry *const fastconv_attention[];
extern const struct fastconv_entry *const fastconv_channelwise[];
extern const struct fastconv_entry *const fastconv_depthwise[];
extern const struct fastconv_entry *const fastconv_depthwise_planar[];
extern const struct fastconv_entry *const fastconv_dot[];
extern const struct fastconv_entry *const fastconv_fft[];
extern const struct fastconv_entry *const fastconv_fold[];
extern const struct fastconv_entry *const fastconv_gemm[];
extern const struct fastconv_entry *const fastconv_matmul[];
extern const struct fastconv_entry *const fastconv_move[];
extern const struct fastconv_entry *const fastconv_nested[];
extern const struct fastconv_entry *const fastconv_norm[];
extern const struct fastconv_entry *const fastconv_pack[];
extern const struct fastconv_entry *const fastconv_peak[];
extern const struct fastconv_entry *const fastconv_planar[];
extern const struct fastconv_entry *const fastconv_pointwise[];
extern const struct fastconv_entry *const fastconv_pool[];
extern const struct fastconv_entry *const fastconv_pool_halving[];
extern const struct fastconv_entry *const fastconv_pool_indices[];
extern const struct fastconv_entry *const fastconv_pool_separable[];
extern const struct fastconv_entry *const fastconv_pool_weighted[];
extern const struct fastconv_entry *const fastconv_quantised[];
extern const struct fastconv_entry *const fastconv_ranged[];
extern const struct fastconv_entry *const fastconv_recurrent[];
extern const struct fastconv_entry *const fastconv_resample[];
extern const struct fastconv_entry *const fastconv_response[];
extern const struct fastconv_entry *const fastconv_roi_align[];
extern const struct fastconv_entry *const fastconv_softmax[];
extern const struct fastconv_entry *const fastconv_suppress[];
extern const struct fastconv_entry *const fastconv_tiles[];
extern const struct fastconv_entry *const fastconv_tiles_amx[];
extern const struct fastconv_entry *const fastconv_topk[];
extern const struct fastconv_entry *const fastconv_unpool[];
extern const struct fastconv_entry *const fastconv_weights[];
extern const struct fastconv_entry *const fastconv_winograd[];

static const struct fastconv_entry *const *const families[] = {
    fastconv_arithmetic,
    fastconv_attention,
    fastconv_channelwise,
    fastconv_depthwise,
    fastconv_depthwise_planar,
    fastconv_dot,
    fastconv_fft,
    fastconv_fold,
    fastconv_gemm,
    fastconv_matmul,
    fastconv_move,
    fastconv_nested,
    fastconv_norm,
    fastconv_pack,
    fastconv_peak,
    fastconv_planar,
    fastconv_pointwise,
    fastconv_pool,
    fastconv_pool_halving,
    fastconv_pool_indices,
    fastconv_pool_separable,
    fastconv_pool_weighted,
    fastconv_quantised,
    fastconv_ranged,
    fastconv_recurrent,
    fastconv_resample,
    fastconv_response,
    fastconv_roi_align,
    fastconv_softmax,
    fastconv_suppress,
    fastconv_tiles,
    fastconv_tiles_amx,
    fastconv_topk,
    fastconv_unpool,
    fastconv_weights,
    fastconv_winograd,
};

int64_t fastconv_find(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (const struct fastconv_entry *const *table = families[i]; *table != NULL; table++) {
            for (const struct fastconv_entry *entry = *table; entry->name != NULL; entry++) {
                if (strcmp(entry->name, name) == 0) {
                    return (int64_t)(intptr_t)entry->kernel;
                }
            }
        }
    }
    return 0;
}

const char *fastconv_plans(void)
{
    return PLANS_DIGEST;
}
