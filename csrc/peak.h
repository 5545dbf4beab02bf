/* What one core can do at most: multiply-adds in registers, and reading memory. */
#ifndef PEAK_ONCE
#define PEAK_ONCE
/* Loads that wait for no other. */
enum { SUMS = 8 };
#endif

/* Enough chains for every unit to start one a cycle, and no more than there are registers. */
#undef CHAINS
#if defined(__aarch64__)
#define CHAINS 24
#else
#define CHAINS 12
#endif

/* A work item is STEPS multiply-adds in each of the chains, every one of which waits for the one
 * before. */
INLINE void NAME(multiply_chains)(const struct chains_args *args, int64_t first, int64_t last,
                                  int64_t worker)
{
    const V factor = NAME(held)(NAME(splat)((REAL)args->factor));
    const V term = NAME(held)(NAME(splat)((REAL)args->term));
    REAL *sink = AT(args->sink + worker * args->sink_stride);
    V chains[CHAINS];
    UNROLL for (int i = 0; i < CHAINS; i++) {
        chains[i] = NAME(held)(term);
    }
    for (int64_t step = (last - first) * args->steps; step > 0; step--) {
        UNROLL for (int i = 0; i < CHAINS; i++) {
            chains[i] = NAME(multiply_add)(chains[i], factor, term);
        }
    }
    UNROLL for (int i = 1; i < CHAINS; i++) {
        chains[0] += chains[i];
    }
    NAME(store)(sink, chains[0]);
}

/* A work item is a part of PART_BYTES, whole blocks of SUMS vectors, read TIMES times. */
INLINE void NAME(read_parts)(const struct read_bytes_args *args, int64_t first, int64_t last,
                             int64_t worker)
{
    const int64_t count = args->part_bytes / (int64_t)sizeof(REAL);
    M sums[SUMS] = {{0}};
    for (int64_t item = first; item < last; item++) {
        const REAL *part = AT(args->source + item * args->part_bytes);
        for (int64_t time = 0; time < args->times; time++) {
            for (int64_t i = 0; i < count; i += SUMS * LANES) {
                UNROLL for (int j = 0; j < SUMS; j++) {
                    sums[j] ^= (M)NAME(load)(part + i + j * LANES);
                }
            }
        }
    }
    UNROLL for (int j = 1; j < SUMS; j++) {
        sums[0] ^= sums[j];
    }
    NAME(store)(AT(args->sink + worker * args->sink_stride), (V)sums[0]);
}

KERNEL(peak_chains, chains_args, NAME(multiply_chains)(args, first, last, worker))
KERNEL(peak_read, read_bytes_args, NAME(read_parts)(args, first, last, worker))
