/* Max unpooling: planes of zeros, then values where their indices say.
 *
 * An item is an image's block of lanes; the words are those of fastconv/backends/native/pool/
 * unpool.py. Values are moved as bits, by the element's size; there is nothing to do in vectors, so
 * that one kernel serves all instruction sets.
 */
#include "fastconv.h"
#include "words.h"

enum { SOURCE, INDICES, OUT, CELLS, PLANE, LANES };
enum { LANE_BLOCK = 64 };

#define UNPOOL(type)                                                                               \
    static void unpool_##type(const int64_t *args, int64_t first, int64_t last, int64_t worker)    \
    {                                                                                              \
        const int64_t cells = args[CELLS], plane = args[PLANE], lanes = args[LANES];               \
        const int64_t blocks = parts_of(lanes, LANE_BLOCK);                                        \
        (void)worker;                                                                              \
        for (int64_t item = first; item < last; item++) {                                          \
            const int64_t image = item / blocks, lane = item % blocks * LANE_BLOCK;                \
            const int64_t count = lesser(LANE_BLOCK, lanes - lane);                                \
            const type##_t *source = (const type##_t *)(intptr_t)args[SOURCE];                     \
            type##_t *out = (type##_t *)(intptr_t)args[OUT];                                       \
            const int64_t *places = words_at(args[INDICES], image * cells * lanes + lane);         \
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

UNPOOL(uint8)
UNPOOL(uint16)
UNPOOL(uint32)
UNPOOL(uint64)

#define ROWS(isa)                                                                                  \
    {"pool_unpool_uint8_" isa, unpool_uint8}, {"pool_unpool_uint16_" isa, unpool_uint16},          \
        {"pool_unpool_uint32_" isa, unpool_uint32}, {"pool_unpool_uint64_" isa, unpool_uint64}

static const struct fastconv_entry rows[] = {ROWS("generic"), ROWS("avx2"), ROWS("avx512"), {0, 0}};
const struct fastconv_entry *const fastconv_unpool[] = {rows, 0};
