/* Max unpooling: planes of zeros, then values where their indices say.
 *
 * An item is an image's block of lanes. Values are moved as bits, by the element's size; there is nothing to do in vectors, so
 * that one kernel serves all instruction sets.
 */
#include "fastconv.h"
#include "unpool_arguments.h"
#include "words.h"

#define UNPOOL(type)                                                                               \
    void fastconv_pool_unpool_##type(const int64_t *block, int64_t first, int64_t last, int64_t worker)\
    {                                                                                              \
        const struct unpool_args *args = (const struct unpool_args *)block;                        \
        const int64_t cells = args->cells, plane = args->plane, lanes = args->lanes;               \
        const int64_t blocks = parts_of(lanes, UNPOOL_LANE_BLOCK);                                 \
        (void)worker;                                                                              \
        for (int64_t item = first; item < last; item++) {                                          \
            const int64_t image = item / blocks, lane = item % blocks * UNPOOL_LANE_BLOCK;         \
            const int64_t count = lesser(UNPOOL_LANE_BLOCK, lanes - lane);                         \
            const type##_t *source = (const type##_t *)(intptr_t)args->source;                     \
            type##_t *out = (type##_t *)(intptr_t)args->out;                                       \
            const int64_t *places = words_at(args->indices, image * cells * lanes + lane);         \
            source += image * cells * lanes + lane;                                                \
            out += image * plane * lanes + lane;                                                   \
            if (count == lanes) {                                                                  \
                memset(out, 0, (size_t)(plane * lanes) * sizeof *out);                             \
            }                                                                                      \
            for (int64_t row = 0; count < lanes && row < plane; row++) {                           \
                memset(out + row * lanes, 0, (size_t)count * sizeof *out);                         \
            }                                                                                      \
            for (int64_t row = 0; row < cells; row++) {                                            \
                for (int64_t c = 0; c < count; c++) {                                              \
                    /* What runs inside a larger program has not been looked at before. */         \
                    const int64_t place = places[row * lanes + c];                                 \
                    if (place >= 0 && place < plane) {                                             \
                        out[place * lanes + c] = source[row * lanes + c];                          \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

/* Named in the table that generate.py makes. */
UNPOOL(uint8)
UNPOOL(uint16)
UNPOOL(uint32)
UNPOOL(uint64)
