/* The pack step: any input layout and padding into padded channels-last scratch memory.
 *
 * A work item is one row of one image, or a part of it. Tables say which input cell each padded
 * cell shows, -1 for zero.
 */

INLINE void NAME(copy)(REAL *target, const REAL *source, int64_t count)
{
    memcpy(target, source, (size_t)count * sizeof(REAL));
}

INLINE void NAME(clear)(REAL *target, int64_t count)
{
    memset(target, 0, (size_t)count * sizeof(REAL));
}

/* Cells first to last - 1 of a row, from pixels whose channels are adjacent. */
INLINE void NAME(copy_pixels)(const struct pack_args *args, REAL *row, const REAL *source,
                              int64_t first,
                              int64_t last)
{
    const int64_t *widths = words_at(args->widths, 0);
    const int64_t channels = args->channels, pitch = args->pitch;
    for (int64_t w = first; w < last; w++) {
        REAL *cell = row + w * pitch;
        if (widths[w] < 0) {
            NAME(clear)(cell, pitch);
        } else {
            NAME(copy)(cell, source + widths[w] * channels, channels);
            NAME(clear)(cell + channels, pitch - channels);
        }
    }
}

/* The same from planes, a channel after the other. */
INLINE void NAME(copy_planes)(const struct pack_args *args, REAL *row, const REAL *source,
                              int64_t first,
                              int64_t last)
{
    const int64_t *widths = words_at(args->widths, 0);
    for (int64_t c = 0; c < args->channels; c++) {
        const REAL *plane = source + c * args->source_channel;
        for (int64_t w = first; w < last; w++) {
            row[w * args->pitch + c] = widths[w] < 0 ? (REAL)0 : plane[widths[w]];
        }
    }
}

/* `count` cells whose pixels follow each other, by squares; the last channels reach back over those
 * before them. There are at least LANES channels. */
INLINE void NAME(turn_planes)(const struct pack_args *args, REAL *row, const REAL *source,
                              int64_t count)
{
    const int64_t channels = args->channels, plane = args->source_channel;
    for (int64_t w = 0; w < count; w += LANES) {
        for (int64_t c = 0; c < channels; c += LANES) {
            const int64_t channel = lesser(c, channels - LANES);
            const REAL *from = source + channel * plane + w;
            REAL *to = row + w * args->pitch + channel;
            V square[LANE_COUNT];
            if (count - w >= LANES) {
                UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                    square[i] = NAME(load)(from + i * plane);
                }
            } else {
                UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                    square[i] = NAME(load_first)(from + i * plane, count - w, (V){0});
                }
            }
            NAME(transpose)(square);
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                if (i < count - w) {
                    NAME(store)(to + i * args->pitch, square[i]);
                }
            }
        }
    }
}

/* Pack cells `begin` to `end` - 1 of a row. */
static void NAME(pack_row)(const struct pack_args *args, REAL *row, const REAL *source,
                           int64_t begin,
                           int64_t end)
{
    const int64_t *widths = words_at(args->widths, 0);
    const int64_t channels = args->channels, pitch = args->pitch;
    /* What of the run of neighbours is in this part. */
    const int64_t run = lesser(greater(args->run, begin), end);
    const int64_t after = lesser(greater(args->run + args->count, run), end), count = after - run;
    if (args->source_channel == 1) {
        if (channels != pitch || count <= 0) {
            NAME(copy_pixels)(args, row, source, begin, end);
        } else {
            NAME(copy_pixels)(args, row, source, begin, run);
            NAME(copy)(row + run * pitch, source + widths[run] * channels, count * channels);
            NAME(copy_pixels)(args, row, source, after, end);
        }
        return;
    }
    if (count > 0 && channels >= LANES) {
        NAME(copy_planes)(args, row, source, begin, run);
        NAME(turn_planes)(args, row + run * pitch, source + widths[run], count);
        NAME(copy_planes)(args, row, source, after, end);
    } else {
        for (int64_t w = begin; w < end; w += LANES) {
            NAME(copy_planes)(args, row, source, w, lesser(w + LANES, end));
        }
    }
    for (int64_t w = begin; channels < pitch && w < end; w++) {
        NAME(clear)(row + w * pitch + channels, pitch - channels);
    }
}

static void NAME(pack_items)(const struct pack_args *args, int64_t first, int64_t last)
{
    const int64_t width = args->target_width, parts = parts_of(width, args->part);
    for (int64_t item = first; item < last; item++) {
        const int64_t line = item / parts, begin = item % parts * args->part;
        const int64_t end = lesser(begin + args->part, width);
        REAL *row = AT(args->target) + line * width * args->pitch;
        const int64_t image = line / args->target_height / args->target_depth;
        const int64_t depth =
            words_at(args->depths, 0)[line / args->target_height % args->target_depth];
        const int64_t height = words_at(args->heights, 0)[line % args->target_height];
        if (depth < 0 || height < 0) {
            NAME(clear)(row + begin * args->pitch, (end - begin) * args->pitch);
            continue;
        }
        const int64_t start = image * args->source_image + depth * args->source_depth +
                              height * args->source_row;
        NAME(pack_row)(args, row, AT(args->source) + start, begin, end);
    }
}

KERNEL(pack, pack_args, NAME(pack_items)(args, first, last))
