/* Numbers as rows of tiles: a block of an image, and weights, split into bf16 pieces. */
#include "tiles.h"

/* Where a worker packs the block that it computes. */
struct NAME(block) {
    const struct convolve_tiles_args *args;
    int64_t source;
    char *packed;
    int parts;
};

/* Store a pixel's words of one depth block; `vectors` are consecutive vectors of them. */
INLINE void NAME(store_pixel)(const struct convolve_tiles_args *args, char *to, const V *vectors)
{
    const int64_t words = args->pixel_bytes / 4;
    UNROLL for (int v = 0; v < 16 / LANE_COUNT; v++) {
        float *place = (float *)(void *)to + v * LANES;
        if (words == 16) {
            NAME(store)(place, vectors[v]);
        } else if (words > v * LANES) {
            NAME(store_some)(place, words - v * LANES, vectors[v]);
        }
    }
}

/* The words of one pixel whose 32 numbers are stored together. */
INLINE V NAME(split_row)(const float *row, V *high, V *low)
{
    V strange = {0};
    UNROLL for (int v = 0; v < 16 / LANE_COUNT; v++) {
        const V a = NAME(load)(row + 2 * v * LANES), b = NAME(load)(row + (2 * v + 1) * LANES);
        NAME(split_pair)(NAME(evens)(a, b), NAME(odds)(a, b), high + v, low + v, &strange);
    }
    return strange;
}

static __attribute__((noinline, unused)) void NAME(split_row_strange)(const float *row, V *high,
                                                                      V *low)
{
    uint16_t pieces[2][32];
    for (int i = 0; i < 32; i++) {
        split_number(row[i], &pieces[0][i], &pieces[1][i]);
    }
    memcpy(high, pieces[0], sizeof pieces[0]);
    memcpy(low, pieces[1], sizeof pieces[1]);
}

/* Pack one pixel's channels `channel` to `channel` + 31, wherever they are; `source` 0: zeros. */
static __attribute__((noinline, unused)) void NAME(pack_pixel)(const struct NAME(block) *block,
                                                               int64_t source, int64_t channel,
                                                               char *to)
{
    const struct convolve_tiles_args *args = block->args;
    float row[32] = {0};
    V high[16 / LANE_COUNT], low[16 / LANE_COUNT];
    for (int64_t c = channel; source != 0 && c < lesser(channel + 32, args->channels); c++) {
        row[c - channel] = *AT(source + c * args->source_channel);
    }
    NAME(split_row_strange)(row, high, low);
    NAME(store_pixel)(args, to, high);
    if (block->parts > 1) {
        NAME(store_pixel)(args, to + args->low_bytes, low);
    }
}

/* Pack `count` pixels, each 32 channels that are stored together. */
INLINE void NAME(pack_rows)(const struct NAME(block) *block, int64_t source, int64_t channel,
                            int64_t count, const int32_t *targets, char *to)
{
    const struct convolve_tiles_args *args = block->args;
    const int64_t there = args->channels - channel;
    for (int64_t p = 0; p < count; p++, source += args->source_pixel) {
        V high[16 / LANE_COUNT], low[16 / LANE_COUNT];
        const float *row = AT(source) + channel;
        float filled[32];
        if (targets[p] < 0) {
            continue;
        }
        if (there < 32) {
            UNROLL for (int v = 0; v < 32 / LANE_COUNT; v++) {
                const int64_t left = there - v * LANES;
                NAME(store)(filled + v * LANES,
                            left > 0 ? NAME(load_some)(row + v * LANES, left, (V){0}) : (V){0});
            }
            row = filled;
        }
        const V strange = NAME(split_row)(row, high, low);
        if (__builtin_expect(NAME(any_nan)(strange, strange), 0)) {
            NAME(split_row_strange)(row, high, low);
        }
        NAME(store_pixel)(args, to + targets[p], high);
        if (block->parts > 1) {
            NAME(store_pixel)(args, to + args->low_bytes + targets[p], low);
        }
    }
}

/* Pack up to LANES pixels whose channels are planes: pairs of channels are split first and turned
 * then. `whole`: there are LANES pixels and 32 channels. */
INLINE void NAME(pack_square)(int whole, const struct NAME(block) *block, int64_t source,
                              int64_t channel, int64_t some, const int32_t *targets, char *to)
{
    const struct convolve_tiles_args *args = block->args;
    const int64_t plane = args->source_channel;
    const int64_t there = whole ? 32 : args->channels - channel;
    int64_t place = source + channel * plane;
    V high[16], low[16], strange = {0};
    UNROLL for (int i = 0; i < 16; i++) {
        V even = {0}, odd = {0};
        if (whole) {
            even = NAME(load)(AT(place));
            odd = NAME(load)(AT(place + plane));
        } else if (2 * i < there) {
            even = NAME(load_first)(AT(place), some, even);
            if (2 * i + 1 < there) {
                odd = NAME(load_first)(AT(place + plane), some, odd);
            }
        }
        place += 2 * plane;
        NAME(split_pair)(even, odd, high + i, low + i, &strange);
    }
    if (__builtin_expect(NAME(any_nan)(strange, strange), 0)) {
        for (int64_t i = 0; i < some; i++) {
            if (targets[i] >= 0) {
                NAME(pack_pixel)(block, source + i * 4, channel, to + targets[i]);
            }
        }
        return;
    }
    UNROLL for (int piece = 0; piece < 2; piece++) {
        V *words = piece == 0 ? high : low;
        char *start = to + piece * args->low_bytes;
        if (piece == block->parts) {
            break;
        }
        UNROLL for (int v = 0; v < 16; v += LANE_COUNT) {
            NAME(transpose)(words + v);
        }
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            V own[16 / LANE_COUNT];
            UNROLL for (int v = 0; v < 16 / LANE_COUNT; v++) {
                own[v] = words[v * LANE_COUNT + i];
            }
            if ((whole || i < some) && targets[i] >= 0) {
                NAME(store_pixel)(args, start + targets[i], own);
            }
        }
    }
}

INLINE void NAME(pack_planes)(const struct NAME(block) *block, int64_t source, int64_t channel,
                              int64_t count, const int32_t *targets, char *to)
{
    const int all = block->args->channels - channel >= 32;
    for (int64_t p = 0; p < count; p += LANES) {
        if (all && p + LANES <= count) {
            NAME(pack_square)(1, block, source + p * 4, channel, LANES, targets + p, to);
        } else {
            NAME(pack_square)(0, block, source + p * 4, channel, lesser(count - p, LANES),
                              targets + p, to);
        }
    }
}

/* Pack a block: the slices that it needs of a group of an image. Those that follow each other in
 * the image are one run of pixels. */
INLINE void NAME(pack_block)(const struct NAME(block) *block, int64_t number)
{
    const struct convolve_tiles_args *args = block->args;
    const int64_t inner = args->slice_pixels;
    const int64_t *slices = words_at(args->slices, number * args->slice_step);
    const int64_t *starts = words_at(args->slice_targets, 0);
    const struct tile_edge *edges = RECORDS_AT(tile_edge, args->edges);
    const int32_t *targets = (const int32_t *)(intptr_t)args->pixel_targets;
    if (args->cleared) {
        memset(block->packed, 0, (size_t)args->cleared);
    }
    for (int64_t d = 0; d < args->depth_blocks; d++) {
        char *to = block->packed + d * args->depth_bytes;
        const int64_t channel = d * TILE_DEPTH;
        for (int64_t i = 0, run; i < args->slice_count; i += run) {
            run = 1;
            if (starts[i] < 0) {
                continue;
            }
            if (slices[i] < 0) {
                for (int64_t p = 0; p < inner; p++) {
                    if (targets[i * inner + p] >= 0) {
                        NAME(pack_pixel)(block, 0, channel, to + targets[i * inner + p]);
                    }
                }
            } else {
                while (i + run < args->slice_count && starts[i + run] >= 0 &&
                       slices[i + run] == slices[i] + run) {
                    run++;
                }
                const int64_t from = block->source + slices[i] * inner * args->source_pixel;
                if (args->source_channel == 4) {
                    NAME(pack_rows)(block, from, channel, run * inner, targets + i * inner, to);
                } else {
                    NAME(pack_planes)(block, from, channel, run * inner, targets + i * inner, to);
                }
            }
        }
        for (int64_t i = 0; i < args->slice_count; i++) {
            for (int64_t e = 0; starts[i] >= 0 && e < args->edge_count; e++) {
                const int64_t shown = slices[i] < 0 ? -1 : edges[e].source;
                const int64_t pixel = slices[i] * inner + shown;
                NAME(pack_pixel)(block, shown < 0 ? 0 : block->source + pixel * args->source_pixel,
                                 channel, to + starts[i] + edges[e].target);
            }
        }
    }
}

/* Turn `count` elements of up to 16 columns, so that an element's columns are stored together; zeros for
 * those that are missing. */
INLINE void NAME(turn_columns)(const float *source, int64_t step, int64_t there, int64_t count,
                               float *turned)
{
    for (int64_t e = 0; e < count; e += LANES) {
        for (int64_t n = 0; n < 16; n += LANES) {
            V square[LANE_COUNT];
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                square[i] = (V){0};
                if (n + i < there) {
                    const float *column = source + (n + i) * step + e;
                    square[i] = NAME(load_some)(column, count - e, (V){0});
                    /* There are more streams than the processor foresees. */
                    __builtin_prefetch(column + 4 * LANES, 0, 2);
                }
            }
            NAME(transpose)(square);
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                NAME(store)(turned + (e + i) * 16 + n, square[i]);
            }
        }
    }
}

/* Weights as right tiles. A work item is some chunks of the depth of one tile of 16 columns, of
 * which a run of elements is turned first: pairs of elements at a chunk's places; both pieces where
 * there are two `parts`. Tiles are stored by blocks of two of one group, chunk by chunk: first pieces, then
 * second ones. */
INLINE void NAME(tile_weights)(int parts, const struct tile_weights_args *args, int64_t first,
                               int64_t last, int64_t worker)
{
    const int64_t columns = args->columns, tiles = parts_of(columns, 16);
    const int64_t chunks = args->chunks, cuts = parts_of(chunks, args->part);
    const int64_t step = args->column;
    const int32_t *places = (const int32_t *)(intptr_t)args->places;
    float *turned = AT(args->scratch_base + worker * args->scratch_stride);
    for (int64_t item = first; item < last; item++) {
        const int64_t number = item / cuts, group = number / tiles, tile = number % tiles;
        const int64_t together = lesser(2, tiles - tile / 2 * 2);
        const int64_t stop = lesser((item % cuts + 1) * args->part, chunks);
        const int64_t start = item % cuts * args->run;
        char *block = (char *)(intptr_t)args->target +
                      (group * tiles + tile / 2 * 2) * chunks * parts * TILE_BYTES;
        NAME(turn_columns)(AT(args->source) + (group * columns + tile * 16) * step + start,
                           step, lesser(columns - tile * 16, 16),
                           lesser(args->run, step - start), turned);
        for (int64_t c = item % cuts * args->part; c < stop; c++) {
            char *target = block + (c * together * parts + tile % 2) * TILE_BYTES;
            for (int64_t k = 0; k < 16; k++, target += TILE_ROW_BYTES) {
                static const float zeros[16] = {0};
                const int32_t *place = places + c * TILE_DEPTH + 2 * k;
                const float *even = place[0] < 0 ? zeros : turned + (place[0] - start) * 16;
                const float *odd = place[1] < 0 ? zeros : turned + (place[1] - start) * 16;
                V high[16 / LANE_COUNT], low[16 / LANE_COUNT], strange = {0};
                UNROLL for (int v = 0; v < 16 / LANE_COUNT; v++) {
                    NAME(split_pair)(NAME(load)(even + v * LANES), NAME(load)(odd + v * LANES),
                                     high + v, low + v, &strange);
                }
                if (__builtin_expect(NAME(any_nan)(strange, strange), 0)) {
                    float row[32];
                    for (int64_t n = 0; n < 32; n++) {
                        row[n] = (n % 2 == 0 ? even : odd)[n / 2];
                    }
                    NAME(split_row_strange)(row, high, low);
                }
                memcpy(target, high, TILE_ROW_BYTES);
                if (parts > 1) {
                    memcpy(target + together * TILE_BYTES, low, TILE_ROW_BYTES);
                }
            }
        }
    }
}
