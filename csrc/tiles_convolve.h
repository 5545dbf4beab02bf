/* Convolution on matrix tiles: rows are pixels of a block that was packed before, columns are output
 * channels. The layout of blocks is explained in
 * fastconv/backends/native/conv/tiles/layout.py.
 */
#include "tile.h"
#include "tiles_pack.h"

/* Sums of a tile that are to be finished: what they are of, and where they go. `shift` is the bytes
 * to the first output, `count` the pixels that the mask has. */
struct NAME(sums) {
    float *values;
    const char *pixels, *weights;
    const float *bias;
    int64_t rights, mask, count, shift, columns;
};

/* Up to four of them; their values alternate with those of the next four. */
struct NAME(waiting) {
    float values[2][4 * TILE_FLOATS] __attribute__((aligned(64)));
    struct NAME(sums) sums[4];
    int number, side;
};

/* How outputs end, the same for all. */
struct NAME(ending) {
    const struct convolve_tiles_args *args;
    double slope, low, high;
    int plain;
};

static void NAME(finish_tile)(int parts, const struct NAME(ending) *e,
                              const struct NAME(sums) *s);

/* Multiply `lefts` x `rights` tiles, all chunks of the depth, into sums of 1 KB each. Of two pieces
 * the smaller products come first. Between products the tiles before these are finished. */
INLINE void NAME(multiply_tiles)(int parts, int lefts, int rights, struct tile_file *file,
                                 const struct NAME(ending) *ending, const char *const *pixels,
                                 const char *weights, struct NAME(waiting) *waiting)
{
    const struct convolve_tiles_args *args = ending->args;
    float *sums = waiting->values[waiting->side];
    int finished = 0;
    const int64_t *chunks = words_at(args->chunks, 0);
    const int64_t count = args->chunk_count, step = args->tile_step;
    const int64_t low = parts > 1 ? args->low_bytes : 0;
    const char *upper = pixels[0] + low, *lower = pixels[lefts - 1] + low;
    (void)file;
#define DOTS                                                                                       \
    TILE_DOT(0, 4, 6);                                                                             \
    if (rights > 1) {                                                                              \
        TILE_DOT(1, 4, 7);                                                                         \
    }                                                                                              \
    if (lefts > 1) {                                                                               \
        TILE_DOT(2, 5, 6);                                                                         \
    }                                                                                              \
    if (lefts > 1 && rights > 1) {                                                                 \
        TILE_DOT(3, 5, 7);                                                                         \
    }
#define LEFT_TILES(shift)                                                                          \
    TILE_LOAD(4, upper + at + (shift), step);                                                      \
    if (lefts > 1) {                                                                               \
        TILE_LOAD(5, lower + at + (shift), step);                                                  \
    }
#define RIGHT_TILES(shift)                                                                         \
    TILE_LOAD(6, weights + (shift) * TILE_BYTES, TILE_ROW_BYTES);                                  \
    if (rights > 1) {                                                                              \
        TILE_LOAD(7, weights + ((shift) + 1) * TILE_BYTES, TILE_ROW_BYTES);                        \
    }
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int64_t k = 0; k < count; k++) {
        const int64_t at = chunks[k];
        if (finished < waiting->number && finished * count <= k * waiting->number) {
            NAME(finish_tile)(parts, ending, waiting->sums + finished++);
        }
        LEFT_TILES(0)
        RIGHT_TILES(0)
        DOTS
        if (parts > 1) {
            LEFT_TILES(-low)
            DOTS
            RIGHT_TILES(rights)
            DOTS
        }
        weights += rights * parts * TILE_BYTES;
    }
#undef DOTS
#undef LEFT_TILES
#undef RIGHT_TILES
    while (finished < waiting->number) {
        NAME(finish_tile)(parts, ending, waiting->sums + finished++);
    }
    TILE_STORE(0, sums, TILE_ROW_BYTES);
    if (rights > 1) {
        TILE_STORE(1, sums + TILE_FLOATS, TILE_ROW_BYTES);
    }
    if (lefts > 1) {
        TILE_STORE(2, sums + 2 * TILE_FLOATS, TILE_ROW_BYTES);
    }
    if (lefts > 1 && rights > 1) {
        TILE_STORE(3, sums + 3 * TILE_FLOATS, TILE_ROW_BYTES);
    }
}

/* Both numbers of a vector of words, of one piece or the sum of two. */
INLINE V NAME(joined)(int parts, int64_t odd, const char *high, int64_t low)
{
    V sum = {0};
    for (int i = 0; i < parts; i++) {
        const B words = (B)NAME(load)((const float *)(const void *)(high + i * low));
        sum += (V)(odd ? words & ((B){0} + 0xffff0000u) : words << 16);
    }
    return sum;
}

/* Sum a tile's outputs plainly: for what is not finite. A product of pieces may be where the number
 * itself gives none: an infinity times a second piece of zero. Here an infinity or NaN reaches those
 * outputs whose windows hold it, and nothing overflows but what does so in a plain sum. */
static __attribute__((noinline)) void NAME(sum_plainly)(int parts,
                                                        const struct convolve_tiles_args *args,
                                                        const char *pixels, const char *weights,
                                                        int64_t rights, float *sums)
{
    const int64_t *chunks = words_at(args->chunks, 0), *depths = words_at(args->chunk_depths, 0);
    for (int64_t r = 0; r < TILE_ROWS; r++) {
        V sum[16 / LANE_COUNT] = {{0}};
        const char *right = weights;
        for (int64_t k = 0; k < args->chunk_count; k++) {
            const char *left = pixels + chunks[k] + r * args->tile_step;
            for (int64_t d = 0; d < depths[k]; d++) {
                float input = 0;
                for (int i = 0; i < parts; i++) {
                    uint16_t piece;
                    memcpy(&piece, left + i * args->low_bytes + 2 * d, sizeof piece);
                    const uint32_t bits = (uint32_t)piece << 16;
                    float part;
                    memcpy(&part, &bits, sizeof part);
                    input += part;
                }
                for (int v = 0; v < 16 / LANE_COUNT; v++) {
                    const char *row = right + d / 2 * TILE_ROW_BYTES + v * VECTOR_BYTES;
                    const V weight = NAME(joined)(parts, d % 2, row, rights * TILE_BYTES);
                    sum[v] = NAME(fused)(NAME(splat)(input), weight, sum[v]);
                }
            }
            right += rights * parts * TILE_BYTES;
        }
        memcpy(sums + r * 16, sum, TILE_ROW_BYTES);
    }
}

/* Whether those rows of a tile are finite that are outputs. */
INLINE int NAME(finite_rows)(const float *sums, int64_t mask)
{
    static const float zeros[16] = {0};
    const V zero = {0};
    V total = {0};
    UNROLL for (int r = 0; r < TILE_ROWS; r++) {
        const float *row = mask >> r & 1 ? sums + r * 16 : zeros;
        UNROLL for (int v = 0; v < 16 / LANE_COUNT; v++) {
            total = NAME(multiply_add)(NAME(load)(row + v * LANES), zero, total);
        }
    }
    return !NAME(any_nan)(total, total);
}

/* The numbers of the pixels that are outputs, closed up. */
INLINE void NAME(close_up)(float *line, int64_t mask)
{
#if HAS_AVX512
    NAME(store)(line, _mm512_maskz_compress_ps((__mmask16)mask, NAME(load)(line)));
#else
    int64_t count = 0;
    for (int64_t i = 0; i < 16; i++) {
        if (mask >> i & 1) {
            line[count++] = line[i];
        }
    }
#endif
}

/* Finish some outputs that are stored together, and store them. */
INLINE void NAME(finish_some)(const struct NAME(ending) *e, V value, int64_t shift, int64_t count)
{
    const struct convolve_tiles_args *args = e->args;
    if (!e->plain) {
        if (args->residual != 0) {
            value += NAME(load_some)(AT(args->residual + shift), count, (V){0});
        }
        NAME(tile_activate)(1, 1, &value, e->slope, e->low, e->high);
    }
    NAME(store_some)(AT(args->target + shift), count, value);
}

/* Channels that are stored together, pixel by pixel. */
INLINE void NAME(finish_pixels)(const struct NAME(ending) *e, const struct NAME(sums) *s)
{
    int64_t shift = s->shift;
    for (int64_t r = 0; s->mask >> r != 0; r++) {
        if (!(s->mask >> r & 1)) {
            continue;
        }
        for (int64_t c = 0; c < s->columns; c += LANES) {
            const V value = NAME(load)(s->values + r * 16 + c) + NAME(load)(s->bias + c);
            NAME(finish_some)(e, value, shift + c * 4, s->columns - c);
        }
        shift += e->args->out_pixel;
    }
}

/* Pixels that are stored together, channel by channel. */
INLINE void NAME(finish_channels)(const struct NAME(ending) *e, const struct NAME(sums) *s)
{
    float lines[16 * 16];
    int64_t shift = s->shift;
    UNROLL for (int r = 0; r < 16; r += LANE_COUNT) {
        UNROLL for (int c = 0; c < 16; c += LANE_COUNT) {
            V square[LANE_COUNT];
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                square[i] = NAME(load)(s->values + (r + i) * 16 + c);
            }
            NAME(transpose)(square);
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                NAME(store)(lines + (c + i) * 16 + r, square[i]);
            }
        }
    }
    for (int64_t c = 0; c < s->columns; c++) {
        float *line = lines + c * 16;
        if (s->mask != 0xffff) {
            NAME(close_up)(line, s->mask);
        }
        for (int64_t p = 0; p < s->count; p += LANES) {
            const V value = NAME(load)(line + p) + NAME(splat)(s->bias[c]);
            NAME(finish_some)(e, value, shift + p * 4, s->count - p);
        }
        shift += e->args->out_channel;
    }
}

static __attribute__((noinline)) void NAME(finish_tile)(int parts, const struct NAME(ending) *e,
                                                        const struct NAME(sums) *s)
{
    if (__builtin_expect(!NAME(finite_rows)(s->values, s->mask), 0)) {
        NAME(sum_plainly)(parts, e->args, s->pixels, s->weights, s->rights, s->values);
    }
    if (e->args->out_channel == 4) {
        NAME(finish_pixels)(e, s);
    } else {
        NAME(finish_channels)(e, s);
    }
}

/* The pixels of a block that one work item computes, and where they go. */
struct NAME(outputs) {
    const char *packed, *weights;
    const float *bias;
    int64_t shift, limit;
};

/* Two tiles of pixels, or one, from number t on, and two tiles of channels from `column` on, or
 * one. They are finished with the next ones. */
INLINE void NAME(convolve_tiles)(int parts, int lefts, int rights, struct tile_file *file,
                                 const struct NAME(ending) *ending, const struct NAME(outputs) *o,
                                 struct NAME(waiting) *waiting, int64_t t, int64_t column)
{
    const struct convolve_tiles_args *args = ending->args;
    const struct tile_row *table = RECORDS_AT(tile_row, args->tiles) + t;
    const char *weights = o->weights + column / 16 * args->chunk_count * parts * TILE_BYTES;
    const char *pixels[2] = {o->packed + table->place, 0};
    if (lefts > 1) {
        pixels[1] = o->packed + table[1].place;
    }
    NAME(multiply_tiles)(parts, lefts, rights, file, ending, pixels, weights, waiting);
    for (int i = 0; i < lefts; i++, table++) {
        /* A short block's last tile has fewer pixels. */
        const int64_t count = lesser(table->pixels, o->limit - table->out);
        int64_t mask = table->mask;
        for (int64_t left = table->pixels, bit = 15; left > count; bit--) {
            left -= mask >> bit & 1;
            mask &= ~((int64_t)1 << bit);
        }
        for (int j = 0; j < rights; j++) {
            const int64_t own = column + j * 16;
            waiting->sums[i * rights + j] = (struct NAME(sums)){
                .values = waiting->values[waiting->side] + (2 * i + j) * TILE_FLOATS,
                .pixels = pixels[i],
                .weights = weights + j * TILE_BYTES,
                .bias = o->bias + own,
                .rights = rights,
                .mask = mask,
                .count = count,
                .shift = o->shift + table->out * args->out_pixel + own * args->out_channel,
                .columns = lesser(16, args->out_channels - own),
            };
        }
    }
    waiting->number = lefts * rights;
    waiting->side = 1 - waiting->side;
}

/* A work item is a part of the output channels of a block of one group of one image. A worker that
 * does several parts of a block packs it once. */
INLINE void NAME(convolve)(int parts, const struct convolve_tiles_args *args, int64_t first,
                           int64_t last, int64_t worker)
{
    struct tile_file file[1];
    const int64_t columns = args->out_channels, pairs = parts_of(columns, 32);
    const struct tile_row *tiles = RECORDS_AT(tile_row, args->tiles);
    char *packed = (char *)(intptr_t)(args->scratch_base + worker * args->scratch_stride);
    struct NAME(ending) ending = {args, args->slope, args->low,
                                  args->high, 0};
    struct NAME(waiting) waiting;
    int64_t before = -1;
    ending.plain = args->residual == 0 && ending.slope == 1.0 && ending.low == -INFINITY &&
                   ending.high == INFINITY;
    waiting.number = waiting.side = 0;
    NAME(tiles_begin)(file);
    for (int64_t item = first; item < last; item++) {
        const int64_t part = item % args->parts, whole = item / args->parts;
        const int64_t number = whole % args->blocks, group = whole / args->blocks % args->groups;
        const int64_t image = whole / args->blocks / args->groups;
        const int64_t start = number * args->block_pixels;
        const struct NAME(outputs) o = {
            .packed = packed,
            .weights = (const char *)(intptr_t)args->weights + group * args->weights_group,
            .bias = AT(args->bias) + group * parts_of(columns, 16) * 16,
            .shift = image * args->out_image + group * args->out_group + start * args->out_pixel,
            .limit = lesser(args->block_pixels, args->image_pixels - start),
        };
        if (whole != before) {
            const struct NAME(block) block = {
                .args = args,
                .source = args->source + image * args->source_image + group * args->source_group,
                .packed = packed,
                .parts = parts,
            };
            NAME(pack_block)(&block, number);
            before = whole;
        }
        for (int64_t pair = pairs * part / args->parts; pair < pairs * (part + 1) / args->parts;
             pair++) {
            const int wide = columns - pair * 32 > 16;
            int64_t t = 0;
            for (int64_t lefts; t < args->tile_count; t += lefts) {
                const struct tile_row *table = tiles + t;
                if (table->out >= o.limit) {
                    break;
                }
                lefts = t + 1 < args->tile_count &&
                                table[1].out < o.limit
                            ? 2
                            : 1;
                if (lefts == 2 && wide) {
                    NAME(convolve_tiles)(parts, 2, 2, file, &ending, &o, &waiting, t, pair * 32);
                } else if (lefts == 2) {
                    NAME(convolve_tiles)(parts, 2, 1, file, &ending, &o, &waiting, t, pair * 32);
                } else if (wide) {
                    NAME(convolve_tiles)(parts, 1, 2, file, &ending, &o, &waiting, t, pair * 32);
                } else {
                    NAME(convolve_tiles)(parts, 1, 1, file, &ending, &o, &waiting, t, pair * 32);
                }
            }
        }
        /* The next block is packed over what these may have to be summed from. */
        for (int i = 0; i < waiting.number; i++) {
            NAME(finish_tile)(parts, &ending, waiting.sums + i);
        }
        waiting.number = 0;
    }
    NAME(tiles_end)();
}

KERNEL(tiles_convolve_bf16x3, convolve_tiles_args, NAME(convolve)(2, args, first, last, worker))
KERNEL(tiles_convolve_bf16, convolve_tiles_args, NAME(convolve)(1, args, first, last, worker))
KERNEL(tiles_weights_bf16x3, tile_weights_args, NAME(tile_weights)(2, args, first, last, worker))
KERNEL(tiles_weights_bf16, tile_weights_args, NAME(tile_weights)(1, args, first, last, worker))
