/* Planar and global pools. */
#define FAMILY pool
#define KERNELS "pool.h"
#define ENTRIES(dtype)                                                                             \
    ENTRY(pool_fold_max, dtype), ENTRY(pool_fold_ordered_max, dtype),                              \
        ENTRY(pool_fold_sum, dtype), ENTRY(pool_fold_squares, dtype),                              \
        ENTRY(pool_fold_magnitudes, dtype), ENTRY(pool_emit_max_max, dtype),                       \
        ENTRY(pool_emit_max_ordered_max, dtype), ENTRY(pool_emit_avg_sum, dtype),                  \
        ENTRY(pool_emit_squares_sum, dtype), ENTRY(pool_emit_magnitudes_sum, dtype),               \
        ENTRY(pool_emit_windows_max, dtype), ENTRY(pool_emit_windows_avg, dtype),                  \
        ENTRY(pool_emit_windows_squares, dtype), ENTRY(pool_emit_windows_magnitudes, dtype),       \
        ENTRY(pool_whole_max, dtype), ENTRY(pool_whole_avg, dtype),                                \
        ENTRY(pool_whole_rows_max, dtype), ENTRY(pool_whole_rows_avg, dtype),                      \
        ENTRY(pool_walk_0, dtype), ENTRY(pool_walk_1, dtype)
#include "each.h"
