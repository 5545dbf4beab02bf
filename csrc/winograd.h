/* Minimal filtering: transforms of inputs and outputs, a GEMM a frequency, and the walk over blocks
 * of tiles that calls them.
 *
 * All four share one argument block. A filter along one dimension is a pass over
 * lines of vectors; one tile takes a pass down and a pass across.
 */
#include "epilogue.h"
#include "transforms.h"

#ifndef WINOGRAD_ONCE
#define WINOGRAD_ONCE
enum { MOST_TAPS = 8 };
#define FILTER_NUMBER(m, r) ((m) * MOST_TAPS + (r))

/* A tile's image, its sub-image down and across, its row and column of tiles. A band of tiles of
 * all sub-images comes before the next. */
struct tile_place {
    int64_t image, sub_down, sub_across, down, across;
};

WORDS_INLINE struct tile_place find_tile(const struct winograd_args *args, int64_t number)
{
    const int64_t in_image = number % args->tiles_image, in_band = in_image % args->tiles_band;
    const int64_t sub = in_band / args->tiles_across;
    return (struct tile_place){
        .image = number / args->tiles_image,
        .sub_down = sub / args->subs_across,
        .sub_across = sub % args->subs_across,
        .down = in_image / args->tiles_band,
        .across = in_band % args->tiles_across,
    };
}
#endif

#ifndef PARTS_TOGETHER
#define PARTS_TOGETHER
/* How many of `most` parts have products that fit where one worker's are held: at least one. */
WORDS_INLINE int64_t parts_together(const struct winograd_args *args, int64_t part, int64_t most)
{
    const int64_t begin = args->panels * part / args->parts;
    int64_t some = 1;
    while (some < most &&
           args->panels * (part + some + 1) / args->parts - begin <= args->part_panels) {
        some++;
    }
    return some;
}
#endif

/* A pass transforms `count` lines of vectors: line i's are `stride` bytes apart from
 * source + i * next on, and what they become `target_stride` apart from target + i * target_next. */
typedef void (*NAME(pass))(int64_t source, int64_t next, int64_t stride, int64_t target,
                           int64_t target_next, int64_t target_stride, int64_t count);

#define PASS(transform)                                                                            \
    static void NAME(transform##_pass)(int64_t source, int64_t next, int64_t stride,               \
                                       int64_t target, int64_t target_next,                        \
                                       int64_t target_stride, int64_t count)                       \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++) {                                                      \
            NAME(transform)(source + i * next, stride, target + i * target_next, target_stride);   \
        }                                                                                          \
    }
#define PASSES(m, r) PASS(inputs_##m##_##r) PASS(outputs_##m##_##r)
EACH_FILTER(PASSES)
#undef PASSES
#undef PASS

static const struct NAME(filter) {
    NAME(pass) inputs, outputs;
} NAME(filters)[] = {
#define PASSES(m, r) [FILTER_NUMBER(m, r)] = {NAME(inputs_##m##_##r##_pass),                       \
                                              NAME(outputs_##m##_##r##_pass)},
    EACH_FILTER(PASSES)
#undef PASSES
};

/* The passes over a tile of `high` x `wide` inputs; of those down there are none where it is one
 * line. */
struct NAME(passes) {
    NAME(pass) down, across;
    int64_t wide, high_results;
    int64_t between;
};

INLINE struct NAME(passes) NAME(passes_of)(const struct winograd_args *args, int of_inputs)
{
    const struct NAME(filter) down =
        NAME(filters)[FILTER_NUMBER(args->down_outputs, args->down_taps)];
    const struct NAME(filter) across =
        NAME(filters)[FILTER_NUMBER(args->across_outputs, args->across_taps)];
    const int64_t high = args->down_outputs + args->down_taps - 1;
    return (struct NAME(passes)){
        .down = high == 1 ? 0 : of_inputs ? down.inputs : down.outputs,
        .across = of_inputs ? across.inputs : across.outputs,
        .wide = args->across_outputs + args->across_taps - 1,
        .high_results = of_inputs ? high : args->down_outputs,
        .between = args->base + args->between,
    };
}

/* Transform a tile: vectors are `row` and `column` bytes apart, and results in the same way. */
INLINE void NAME(transform)(const struct NAME(passes) *passes, int64_t source, int64_t row,
                            int64_t column, int64_t target, int64_t target_row,
                            int64_t target_column)
{
    const int64_t line = passes->wide * VECTOR_BYTES, between = passes->between;
    if (passes->down == 0) {
        passes->across(source, 0, column, target, 0, target_column, 1);
        return;
    }
    passes->down(source, column, row, between, VECTOR_BYTES, line, passes->wide);
    passes->across(between, line, VECTOR_BYTES, target, target_row, target_column,
                   passes->high_results);
}

/* Transform the inputs of a block's tiles: a work item is one of them.
 *
 * A[frequency, register tile, block of channels, row of the register tile, lane]; rows past the
 * last tile repeat it, so that nothing is left unset. */
KERNEL(winograd_input, winograd_args, {
    const struct NAME(passes) passes = NAME(passes_of)(args, 1);
    const int64_t blocks = args->channel_blocks, rows = args->tile_rows;
    const int64_t step = args->stride_down * args->source_row;
    const int64_t step_across = args->stride_across * args->source_column;
    const int64_t group = args->group * blocks * VECTOR_BYTES, frequency = args->a_frequency;
    for (int64_t t = first; t < last; t++) {
        const struct tile_place place = find_tile(args, lesser(args->start + t, args->tiles - 1));
        const int64_t source = args->source + place.image * args->source_image + group +
                               place.down * args->step_down + place.sub_down * args->source_row +
                               place.across * args->step_across +
                               place.sub_across * args->source_column;
        int64_t target = args->base + args->inputs + t / rows * args->a_tile +
                         t % rows * VECTOR_BYTES;
        for (int64_t py = 0; py < args->phases_down; py++) {
            for (int64_t px = 0; px < args->phases_across; px++) {
                const int64_t phase = source + py * args->source_row + px * args->source_column;
                for (int64_t c = 0; c < blocks; c++) {
                    NAME(transform)(&passes, phase + c * VECTOR_BYTES, step, step_across, target,
                                    passes.wide * frequency, frequency);
                    target += rows * VECTOR_BYTES;
                }
            }
        }
    }
})

/* Turn a square of a plane's pixels from column `left` on, LANES channels of it, channels last.
 * The same pixels of the channels after them are asked for: their planes are too far apart for the
 * processor to foresee. What is outside the first `width` columns or `channels` counts as zeros and is not read. */
INLINE void NAME(turn_square)(int64_t source, int64_t plane, int64_t left, int64_t width,
                              int64_t channels, int64_t target)
{
    const int64_t start = source + left * (int64_t)sizeof(REAL);
    const NAME(lanes) inside = NAME(between)(-left, width - left);
    V square[LANE_COUNT];
    if (left >= 0 && left + LANES <= width && channels >= LANES) {
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            const int64_t next = start + (LANES + i) * plane;
            square[i] = NAME(load)(AT(start + i * plane));
            __builtin_prefetch(AT(next), 0, 2);
            __builtin_prefetch(AT(next + VECTOR_BYTES - 1), 0, 2);
        }
    } else if (channels >= LANES) {
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            square[i] = NAME(load_lanes)(AT(start + i * plane), inside);
        }
    } else {
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            square[i] = (V){0};
            if (i < channels) {
                square[i] = NAME(load_lanes)(AT(start + i * plane), inside);
            }
        }
    }
    NAME(transpose)(square);
    UNROLL for (int i = 0; i < LANE_COUNT; i++) {
        NAME(store)(AT(target + i * VECTOR_BYTES), square[i]);
    }
}

/* Turn the lines under a run of tiles, of one vector of channels, channels last. */
static void NAME(turn_run)(const struct winograd_args *args, int64_t image, int64_t channel,
                           int64_t top,
                           int64_t left, int64_t pixels)
{
    const int64_t plane = args->source_plane, size = (int64_t)sizeof(REAL);
    const int64_t source = args->source + image * args->source_image + channel * plane;
    const int64_t height = args->in_height, last = args->down_outputs + args->down_taps - 1;
    int64_t target = args->base + args->run;
    for (int64_t line = 0; line < last; line++) {
        for (int64_t phase = 0; phase < args->phases_down; phase++) {
            const int64_t row = top + line * args->stride_down + phase;
            const int64_t shown = row >= 0 && row < height ? args->in_width : 0;
            const int64_t inside = greater(lesser(row, height - 1), 0);
            for (int64_t p = 0; p < pixels; p += LANES) {
                NAME(turn_square)(source + inside * args->in_width * size, plane, left + p, shown,
                                  args->in_channels - channel, target + p * VECTOR_BYTES);
            }
            target += args->run_pixels * VECTOR_BYTES;
        }
    }
}

/* Transform as many tiles as are stored turned in a run, of one vector of channels. */
INLINE void NAME(transform_run)(const struct NAME(passes) *passes, const struct winograd_args *args,
                                int64_t c,
                                int64_t t, int64_t some)
{
    const int64_t line = args->run_pixels * VECTOR_BYTES, frequency = args->a_frequency;
    const int64_t rows = args->tile_rows, step = args->stride_across * VECTOR_BYTES;
    int64_t row = t % rows, inputs = args->base + args->inputs + t / rows * args->a_tile;
    for (int64_t g = 0; g < some; g++) {
        const int64_t target = inputs + row * VECTOR_BYTES;
        const int64_t source = args->base + args->run + g * args->across_outputs * step;
        for (int64_t py = 0; py < args->phases_down; py++) {
            for (int64_t px = 0; px < args->phases_across; px++) {
                const int64_t phase = py * args->phases_across + px;
                const int64_t block = phase * args->channel_blocks + c;
                NAME(transform)(passes, source + py * line + px * VECTOR_BYTES,
                                args->phases_down * line, step,
                                target + block * rows * VECTOR_BYTES, passes->wide * frequency,
                                frequency);
            }
        }
        if (++row == rows) {
            row = 0;
            inputs += args->a_tile;
        }
    }
}

/* The same from planes: a run of tiles next to each other is turned channels last, a vector of
 * channels at a time, into memory that stays in the first cache. */
KERNEL(winograd_planar_input, winograd_args, {
    const struct NAME(passes) passes = NAME(passes_of)(args, 1);
    const int64_t blocks = args->channel_blocks;
    for (int64_t t = first; t < last;) {
        const struct tile_place place = find_tile(args, lesser(args->start + t, args->tiles - 1));
        const int64_t some =
            lesser(lesser(args->run_tiles, last - t), args->tiles_across - place.across);
        const int64_t top = place.down * args->down_outputs * args->stride_down + place.sub_down -
                            args->before_down;
        const int64_t left = place.across * args->across_outputs * args->stride_across +
                             place.sub_across - args->before_across;
        const int64_t pixels =
            (some * args->across_outputs + args->across_taps - 1) * args->stride_across;
        for (int64_t c = 0; c < blocks; c++) {
            NAME(turn_run)(args, place.image, (args->group * blocks + c) * LANES, top, left,
                           pixels);
            NAME(transform_run)(&passes, args, c, t, some);
        }
        t += some;
    }
})

/* Multiply a frequency's inputs with one panel of its weights, in chains of channels. */
INLINE void NAME(multiply_panel)(int rows, int vectors, const struct winograd_args *args,
                                 int64_t inputs,
                                 int64_t weights, int64_t products, const int64_t *segments,
                                 int64_t count)
{
    const int64_t chain = CHAIN_CHANNELS / LANES, blocks = args->channel_blocks;
    const int64_t block = rows * VECTOR_BYTES, step = LANES * vectors * VECTOR_BYTES;
    const int64_t tiles = args->count, pitch = args->p_tile, a_tile = args->a_tile;
    for (int64_t t = 0; t < tiles; t += rows) {
        int64_t b = weights;
        for (int64_t s = 0; s < count; s++) {
            int64_t a = inputs + segments[s] * block;
            for (int64_t done = 0; done < blocks; done += chain) {
                const int64_t some = lesser(chain, blocks - done);
                V tile[MOST_VECTORS];
                NAME(tile_fill)(rows, vectors, tile, (V){0});
                NAME(tile_multiply_blocks)(rows, vectors, tile, AT(a), AT(b), some);
                if (s + done > 0) {
                    NAME(tile_add_apart)(rows, vectors, tile, products, pitch);
                }
                NAME(tile_store_apart)(rows, vectors, tile, products, pitch);
                a += some * block;
                b += some * step;
            }
        }
        inputs += a_tile;
        products += rows * pitch;
    }
}

/* Multiply a block's transformed inputs with a part's weights: a work item is a frequency. A
 * group's last panel may be narrower than the others. */
INLINE void NAME(multiply)(int rows, int vectors, const struct winograd_args *args, int64_t first,
                           int64_t last)
{
    const int64_t phases = args->phases_down * args->phases_across;
    const int64_t *counts = words_at(args->segment_counts, 0);
    const int64_t *starts = words_at(args->panel_starts, 0);
    const int64_t *sizes = words_at(args->panel_bytes, 0);
    const int64_t weights = args->weights + args->group * args->weights_group;
    const int64_t tail = parts_of(args->columns, LANES) - (args->panels - 1) * vectors;
    for (int64_t q = first; q < last; q++) {
        const int64_t inputs = args->base + args->inputs + q * args->a_frequency;
        const int64_t *segments = words_at(args->segment_starts, q * phases);
        int64_t products = args->base + args->products + q * args->p_frequency;
        for (int64_t panel = args->first_panel; panel < args->last_panel; panel++) {
            const int64_t start = weights + starts[q] + panel * sizes[q];
            const int64_t width = panel == args->panels - 1 ? tail : vectors;
#define MULTIPLY(width)                                                                            \
    NAME(multiply_panel)(rows, width, args, inputs, start, products, segments, counts[q])
            if (width == vectors) {
                MULTIPLY(vectors);
            } else if (vectors > 1 && width == 1) {
                MULTIPLY(1);
            } else if (vectors > 2 && width == 2) {
                MULTIPLY(2);
            } else if (vectors > 3) {
                MULTIPLY(3);
            }
#undef MULTIPLY
            products += vectors * VECTOR_BYTES;
        }
    }
}

#define MULTIPLY_KERNEL(rows, vectors)                                                             \
    KERNEL(winograd_multiply_##rows##x##vectors, winograd_args,                                    \
           NAME(multiply)(rows, vectors, args, first, last))
SHAPES(blocks)(MULTIPLY_KERNEL)
#undef MULTIPLY_KERNEL

#ifndef APART
#define APART static __attribute__((noinline))
#endif

/* Add the residual to `count` vectors that are stored one after the other, the first `lanes` of each, and
 * store them: at `start`, start + step, ..., or where a table says. */
APART void NAME(finish_with_residual)(const struct NAME(epilogue) *e, const REAL *values,
                                      int64_t count, int64_t lanes, const int64_t *places,
                                      int64_t start, int64_t step)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t shift = start + (places != 0 ? places[i] : i * step);
        NAME(finish_vector)(e, NAME(load)(values + i * LANES), shift, lanes);
    }
}

/* The same, element by element; nothing to be added is zeros. */
APART void NAME(finish_apart)(const struct NAME(epilogue) *e, REAL *values, int64_t count,
                              int64_t lanes, const int64_t *places, int64_t start)
{
    for (int64_t i = 0; i < count && e->residual != 0; i++) {
        REAL *own = values + i * LANES;
        for (int64_t lane = 0; lane < lanes; lane++) {
            own[lane] += *AT(e->residual + places[i] + start + lane * e->out_column);
        }
        V value = NAME(load)(own);
        NAME(tile_activate)(1, 1, &value, e->slope, e->low, e->high);
        NAME(store)(own, value);
    }
    for (int64_t lane = 0; lane < lanes; lane++) {
        const int64_t column = e->out + start + lane * e->out_column;
        for (int64_t i = 0; i < count; i++) {
            *AT(column + places[i]) = values[i * LANES + lane];
        }
    }
}

/* Store the first `lanes` of `count` vectors of a square of `rows`, with the residual. */
INLINE void NAME(finish_vectors)(int rows, const struct NAME(epilogue) *e, const V *square,
                                 int64_t count, int64_t lanes, const int64_t *places,
                                 int64_t start, int64_t step)
{
    if (e->residual != 0) {
        REAL values[LANE_COUNT * LANE_COUNT];
        UNROLL for (int i = 0; i < rows; i++) {
            NAME(store)(values + i * LANES, square[i]);
        }
        NAME(finish_with_residual)(e, values, count, lanes, places, start, step);
        return;
    }
    UNROLL for (int i = 0; i < rows; i++) {
        if (i < count) {
            REAL *place = AT(e->out + start + (places != 0 ? places[i] : i * step));
            if (lanes < LANES) {
                NAME(store_first)(place, lanes, square[i]);
            } else {
                NAME(store)(place, square[i]);
            }
        }
    }
}

/* Finish `count` pixels of a line, `rows` or fewer: see below. */
INLINE void NAME(finish_pixels)(int rows, const struct NAME(epilogue) *e, V bias,
                                const REAL *vectors, int64_t count, const int64_t *places,
                                int64_t lanes, int64_t shift)
{
    const int64_t size = (int64_t)sizeof(REAL);
    V square[LANE_COUNT];
    UNROLL for (int i = 0; i < LANE_COUNT; i++) {
        square[i] = i < rows ? NAME(load)(vectors + i * LANES) + bias : (V){0};
    }
    if (e->residual == 0) {
        NAME(tile_activate)(rows, 1, square, e->slope, e->low, e->high);
    }
    if (e->out_column == size) {
        NAME(finish_vectors)(rows, e, square, count, lanes, places, shift, 0);
    } else if (places[count - 1] - places[0] == (count - 1) * size) {
        NAME(transpose)(square);
        NAME(finish_vectors)(LANE_COUNT, e, square, lanes, count, 0, places[0] + shift,
                             e->out_column);
    } else {
        REAL values[LANE_COUNT * LANE_COUNT];
        UNROLL for (int i = 0; i < rows; i++) {
            NAME(store)(values + i * LANES, square[i]);
        }
        NAME(finish_apart)(e, values, count, lanes, places, shift);
    }
}

/* Finish a line of `pixels` outputs from `row` on, `lanes` channels of them from `column` on. What
 * they are before the bias is stored vector by vector; more vectors than pixels are read, of scratch
 * memory that goes on behind the lines. Few pixels are turned in part of a square. */
INLINE void NAME(finish_line)(const struct NAME(epilogue) *e, V bias, const REAL *vectors,
                              int64_t pixels, int64_t row, int64_t lanes, int64_t column)
{
    enum { FEW = LANE_COUNT > 2 ? LANE_COUNT * 3 / 4 : 1 };
    const int64_t shift = column * e->out_column;
    for (int64_t done = 0; done < pixels; done += LANES) {
        const int64_t *places = e->out_rows + row + done, count = lesser(pixels - done, LANES);
        if (count > FEW) {
            NAME(finish_pixels)(LANE_COUNT, e, bias, vectors, count, places, lanes, shift);
        } else {
            NAME(finish_pixels)(FEW, e, bias, vectors, count, places, lanes, shift);
        }
        vectors += LANES * LANES;
    }
}

/* Whether all of some vectors are finite: each times zero is a zero, but for infinities and NaN. */
INLINE int NAME(all_finite)(int64_t lines, int64_t pitch, int64_t rows, int64_t columns)
{
    const V zero = {0};
    V sums[8] = {{0}};
    for (int64_t i = 0; i < rows; i++, lines += pitch) {
        int64_t j = 0;
        for (; j + 8 <= columns; j += 8) {
            UNROLL for (int k = 0; k < 8; k++) {
                const V value = NAME(load)(AT(lines + (j + k) * VECTOR_BYTES));
                sums[k] = NAME(multiply_add)(value, zero, sums[k]);
            }
        }
        for (; j < columns; j++) {
            sums[0] += NAME(load)(AT(lines + j * VECTOR_BYTES)) * zero;
        }
    }
    for (int k = 1; k < 8; k++) {
        sums[0] += sums[k];
    }
    return !NAME(any_nan)(sums[0], sums[0]);
}

/* An input of a channel of one of the problem's groups; zero outside of a planar image. */
INLINE REAL NAME(plain_input)(const struct winograd_args *args, int64_t image, int64_t channel,
                              int64_t row,
                              int64_t column)
{
    const int64_t size = (int64_t)sizeof(REAL), source = args->source + image * args->source_image;
    if (!args->planar) {
        return *AT(source + (row + args->before_down) * args->source_row +
                   (column + args->before_across) * args->source_column + channel * size);
    }
    if (row < 0 || row >= args->in_height || column < 0 || column >= args->in_width) {
        return 0;
    }
    return *AT(source + channel * args->source_plane + (row * args->in_width + column) * size);
}

/* Sum one tile's outputs plainly, channel by channel and tap by tap, into their lines: `rows` x
 * `columns` of them, `lanes` channels from `column` on. The transforms mix all inputs of a tile, so
 * that an infinity or NaN among them, or an overflow, would reach every output; here it reaches
 * those whose windows hold it. */
static __attribute__((noinline)) void NAME(plain_tile)(const struct winograd_args *args,
                                                       const struct tile_place *place,
                                                       int64_t column, int64_t lanes, int64_t rows,
                                                       int64_t columns, int64_t lines,
                                                       int64_t pitch)
{
    const int64_t taps = args->kernel_height * args->kernel_width, inputs = args->group_inputs;
    const int64_t top = place->down * args->down_outputs * args->stride_down + place->sub_down -
                        args->before_down;
    const int64_t left = place->across * args->across_outputs * args->stride_across +
                         place->sub_across - args->before_across;
    const int64_t channel = args->group * args->columns + column;
    for (int64_t lane = 0, end; lane < lanes; lane = end) {
        /* Lanes of one of the problem's groups, which several may be done as one. */
        const int64_t group = (channel + lane) / args->group_outputs;
        end = lesser(lanes, (group + 1) * args->group_outputs - channel);
        V sums[MOST_TAPS][MOST_TAPS];
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < columns; j++) {
                sums[i][j] = (V){0};
            }
        }
        for (int64_t c = 0; c < inputs; c++) {
            for (int64_t tap = 0; tap < taps; tap++) {
                REAL each[LANE_COUNT] = {0};
                for (int64_t l = lane; l < end; l++) {
                    const int64_t filter = (channel + l) * inputs + c;
                    each[l] = AT(args->plain_weights)[filter * taps + tap];
                }
                const V weight = NAME(load)(each);
                const int64_t down = tap / args->kernel_width * args->subs_down;
                const int64_t across = tap % args->kernel_width * args->subs_across;
                for (int64_t i = 0; i < rows; i++) {
                    const int64_t y = top + i * args->stride_down + down;
                    for (int64_t j = 0; j < columns; j++) {
                        const int64_t x = left + j * args->stride_across + across;
                        const REAL input = NAME(plain_input)(args, place->image,
                                                             group * inputs + c, y, x);
                        sums[i][j] += weight * NAME(splat)(input);
                    }
                }
            }
        }
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < columns; j++) {
                REAL *to = AT(lines + i * pitch + j * VECTOR_BYTES);
                memcpy(to + lane, (const REAL *)&sums[i][j] + lane,
                       (size_t)(end - lane) * sizeof(REAL));
            }
        }
    }
}

/* Look through a run of tiles, and sum plainly those whose outputs are not all finite. */
INLINE void NAME(mend_run)(const struct winograd_args *args, const struct tile_place *place,
                           int64_t column,
                           int64_t rows, int64_t columns, int64_t lines, int64_t pitch)
{
    if (NAME(all_finite)(lines, pitch, rows, columns)) {
        return;
    }
    const int64_t m = args->across_outputs, lanes = lesser(args->columns - column, LANES);
    struct tile_place tile = *place;
    for (int64_t done = 0; done < columns; done += m, tile.across++) {
        const int64_t some = lesser(m, columns - done), start = lines + done * VECTOR_BYTES;
        if (!NAME(all_finite)(start, pitch, rows, some)) {
            NAME(plain_tile)(args, &tile, column, lanes, rows, some, start, pitch);
        }
    }
}

/* Transform the products of `some` tiles next to each other and store them, one vector of channels
 * at a time, a line of outputs at a time. */
INLINE void NAME(output_run)(const struct NAME(passes) *passes, const struct winograd_args *args,
                             const struct tile_place *place, int64_t t, int64_t some)
{
    const int64_t m = args->across_outputs, tall = args->down_outputs;
    const int64_t height = parts_of(args->height - place->sub_down, args->subs_down);
    const int64_t width = parts_of(args->width - place->sub_across, args->subs_across);
    const int64_t sub = place->sub_down * args->subs_across + place->sub_across;
    const int64_t pixel =
        (sub * args->sub_height + place->down * tall) * args->sub_width + place->across * m;
    const int64_t valid = lesser(some * m, width - place->across * m);
    const int64_t valid_lines = valid > 0 ? lesser(tall, height - place->down * tall) : 0;
    const int64_t shift = place->image * args->out_image + args->group * args->out_group;
    const int64_t panel = args->p_tile / args->part_panels;
    const int64_t begin = args->first_panel * panel, end = args->last_panel * panel;
    const int64_t bias = args->bias + args->group * args->panels * panel;
    const int64_t lines = args->base + args->lines, pitch = some * m * VECTOR_BYTES;
    struct NAME(epilogue) epilogue = {
        .out = args->out + shift,
        .residual = args->residual != 0 ? args->residual + shift : 0,
        .out_rows = words_at(args->out_rows, 0),
        .out_column = args->out_column,
        .column_count = args->columns,
        .slope = args->slope,
        .low = args->low,
        .high = args->high,
    };
    for (int64_t c = begin; c < end; c += VECTOR_BYTES) {
        const int64_t column = c / (int64_t)sizeof(REAL);
        if (column >= args->columns) {
            break;
        }
        for (int64_t g = 0; g < some; g++) {
            const int64_t source =
                args->base + args->products + (t + g) * args->p_tile + c - begin;
            NAME(transform)(passes, source, passes->wide * args->p_frequency, args->p_frequency,
                            lines + g * m * VECTOR_BYTES, pitch, VECTOR_BYTES);
        }
        NAME(mend_run)(args, place, column, valid_lines, valid, lines, pitch);
        for (int64_t i = 0; i < valid_lines; i++) {
            NAME(finish_line)(&epilogue, NAME(load)(AT(bias + c)), AT(lines + i * pitch), valid,
                              pixel + i * args->sub_width,
                              lesser(args->columns - column, LANES), column);
        }
    }
}

/* Transform a block's products and store them: a work item is one of its tiles. */
KERNEL(winograd_output, winograd_args, {
    const struct NAME(passes) passes = NAME(passes_of)(args, 0);
    const int64_t together = greater(LANES / args->across_outputs, 1);
    for (int64_t t = first; t < last;) {
        const struct tile_place place = find_tile(args, args->start + t);
        const int64_t some =
            lesser(lesser(together, last - t), args->tiles_across - place.across);
        NAME(output_run)(&passes, args, &place, t, some);
        t += some;
    }
})

#if REAL_IS_FLOAT
/* Walk the work: an item is a part of the output channels of one group of a block of tiles. A
 * worker that does several parts of a block transforms its inputs once. Its own words are at the
 * start of its scratch memory. It sees no elements: one of them serves both types. */
KERNEL(winograd_filtered, winograd_args, {
    const int64_t base = args->scratch_base + worker * args->scratch_stride;
    struct winograd_args *own = (struct winograd_args *)(intptr_t)base;
    memcpy(own, args, sizeof *own);
    own->base = base;
    int64_t before = -1;
    for (int64_t some, item = first; item < last; item += some) {
        const int64_t whole = item / args->parts, part = item % args->parts;
        /* Parts of a block that follow each other are done as one, as far as there is room. */
        some = parts_together(args, part, lesser(args->parts - part, last - item));
        const int64_t start = whole / args->groups * args->block_tiles;
        own->start = start;
        own->count = lesser(args->block_tiles, args->tiles - start);
        own->group = whole % args->groups;
        own->first_panel = args->panels * part / args->parts;
        own->last_panel = args->panels * (part + some) / args->parts;
        if (whole != before) {
            const int64_t rows = args->tile_rows;
            call(args->input_kernel, own, parts_of(own->count, rows) * rows, worker);
            before = whole;
        }
        call(args->multiply_kernel, own, args->frequencies, worker);
        call(args->output_kernel, own, own->count, worker);
    }
})
#endif
