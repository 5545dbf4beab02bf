/* Minimal filtering: transforms of inputs and outputs, a GEMM a frequency, and the walk over blocks
 * of tiles that calls them.
 *
 * The words of the argument block, which all four share, are explained in
 * fastconv/backends/native/conv/winograd/words.py. A filter along one dimension is a pass over
 * lines of vectors; one tile takes a pass down and a pass across.
 */
#include "epilogue.h"
#include "transforms.h"

#ifndef WINOGRAD_WORDS
#define WINOGRAD_WORDS
enum {
    SOURCE, SOURCE_IMAGE, SOURCE_ROW, SOURCE_COLUMN, STEP_DOWN, STEP_ACROSS, PHASES_DOWN,
    PHASES_ACROSS, STRIDE_DOWN, STRIDE_ACROSS, CHANNEL_BLOCKS, SOURCE_PLANE, IN_CHANNELS, IN_HEIGHT,
    IN_WIDTH, BEFORE_DOWN, BEFORE_ACROSS, RUN_TILES, RUN_PIXELS, SUBS_DOWN, SUBS_ACROSS, TILES_BAND,
    SUB_HEIGHT, SUB_WIDTH, TILES_ACROSS, TILES_IMAGE, TILES, BLOCK_TILES, TILE_ROWS, FREQUENCIES,
    A_FREQUENCY, A_TILE, WEIGHTS, WEIGHTS_GROUP, GROUPS, PANELS, PANEL_STARTS, PANEL_BYTES,
    SEGMENT_STARTS, SEGMENT_COUNTS, PART_PANELS, PARTS, P_FREQUENCY, P_TILE, BIAS, OUT, OUT_IMAGE,
    OUT_GROUP, OUT_ROWS, OUT_COLUMN, RESIDUAL, SLOPE, LOW, HIGH, HEIGHT, WIDTH, COLUMNS,
    DOWN_OUTPUTS, DOWN_TAPS, ACROSS_OUTPUTS, ACROSS_TAPS, PLAIN_WEIGHTS, KERNEL_HEIGHT,
    KERNEL_WIDTH, GROUP_INPUTS, GROUP_OUTPUTS, PLANAR, INPUT_KERNEL, MULTIPLY_KERNEL,
    OUTPUT_KERNEL, SCRATCH_BASE, SCRATCH_STRIDE, BETWEEN, RUN, LINES, INPUTS, PRODUCTS, BASE, START,
    COUNT, GROUP, FIRST_PANEL, LAST_PANEL, COUNT_WORDS
};
enum { MOST_TAPS = 8 };
#define FILTER_NUMBER(m, r) ((m) * MOST_TAPS + (r))

/* A tile's image, its sub-image down and across, its row and column of tiles. A band of tiles of
 * all sub-images comes before the next. */
struct tile_place {
    int64_t image, sub_down, sub_across, down, across;
};

WORDS_INLINE struct tile_place find_tile(const int64_t *args, int64_t number)
{
    const int64_t in_image = number % args[TILES_IMAGE], in_band = in_image % args[TILES_BAND];
    const int64_t sub = in_band / args[TILES_ACROSS];
    return (struct tile_place){
        .image = number / args[TILES_IMAGE],
        .sub_down = sub / args[SUBS_ACROSS],
        .sub_across = sub % args[SUBS_ACROSS],
        .down = in_image / args[TILES_BAND],
        .across = in_band % args[TILES_ACROSS],
    };
}
#endif

#ifndef PARTS_TOGETHER
#define PARTS_TOGETHER
/* How many of `most` parts have products that fit where one worker's are held: at least one. */
WORDS_INLINE int64_t parts_together(const int64_t *args, int64_t part, int64_t most)
{
    const int64_t begin = args[PANELS] * part / args[PARTS];
    int64_t some = 1;
    while (some < most &&
           args[PANELS] * (part + some + 1) / args[PARTS] - begin <= args[PART_PANELS]) {
        some++;
    }
    return some;
}
#endif

/* A pass transforms `count` lines of vectors: line i's lie `stride` bytes apart from
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

INLINE struct NAME(passes) NAME(passes_of)(const int64_t *args, int of_inputs)
{
    const struct NAME(filter) down =
        NAME(filters)[FILTER_NUMBER(args[DOWN_OUTPUTS], args[DOWN_TAPS])];
    const struct NAME(filter) across =
        NAME(filters)[FILTER_NUMBER(args[ACROSS_OUTPUTS], args[ACROSS_TAPS])];
    const int64_t high = args[DOWN_OUTPUTS] + args[DOWN_TAPS] - 1;
    return (struct NAME(passes)){
        .down = high == 1 ? 0 : of_inputs ? down.inputs : down.outputs,
        .across = of_inputs ? across.inputs : across.outputs,
        .wide = args[ACROSS_OUTPUTS] + args[ACROSS_TAPS] - 1,
        .high_results = of_inputs ? high : args[DOWN_OUTPUTS],
        .between = args[BASE] + args[BETWEEN],
    };
}

/* Transform a tile: vectors lie `row` and `column` bytes apart, and results in the same way. */
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
KERNEL(winograd_input, {
    const struct NAME(passes) passes = NAME(passes_of)(args, 1);
    const int64_t blocks = args[CHANNEL_BLOCKS], rows = args[TILE_ROWS];
    const int64_t step = args[STRIDE_DOWN] * args[SOURCE_ROW];
    const int64_t step_across = args[STRIDE_ACROSS] * args[SOURCE_COLUMN];
    const int64_t group = args[GROUP] * blocks * VECTOR_BYTES, frequency = args[A_FREQUENCY];
    for (int64_t t = first; t < last; t++) {
        const struct tile_place place = find_tile(args, lesser(args[START] + t, args[TILES] - 1));
        const int64_t source = args[SOURCE] + place.image * args[SOURCE_IMAGE] + group +
                               place.down * args[STEP_DOWN] + place.sub_down * args[SOURCE_ROW] +
                               place.across * args[STEP_ACROSS] +
                               place.sub_across * args[SOURCE_COLUMN];
        int64_t target = args[BASE] + args[INPUTS] + t / rows * args[A_TILE] +
                         t % rows * VECTOR_BYTES;
        for (int64_t py = 0; py < args[PHASES_DOWN]; py++) {
            for (int64_t px = 0; px < args[PHASES_ACROSS]; px++) {
                const int64_t phase = source + py * args[SOURCE_ROW] + px * args[SOURCE_COLUMN];
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
 * The same pixels of the channels after them are asked for: their planes lie too far apart for the
 * processor to foresee. What lies outside the first `width` columns or `channels` counts as zeros and is not read. */
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
static void NAME(turn_run)(const int64_t *args, int64_t image, int64_t channel, int64_t top,
                           int64_t left, int64_t pixels)
{
    const int64_t plane = args[SOURCE_PLANE], size = (int64_t)sizeof(REAL);
    const int64_t source = args[SOURCE] + image * args[SOURCE_IMAGE] + channel * plane;
    const int64_t height = args[IN_HEIGHT], last = args[DOWN_OUTPUTS] + args[DOWN_TAPS] - 1;
    int64_t target = args[BASE] + args[RUN];
    for (int64_t line = 0; line < last; line++) {
        for (int64_t phase = 0; phase < args[PHASES_DOWN]; phase++) {
            const int64_t row = top + line * args[STRIDE_DOWN] + phase;
            const int64_t shown = row >= 0 && row < height ? args[IN_WIDTH] : 0;
            const int64_t inside = greater(lesser(row, height - 1), 0);
            for (int64_t p = 0; p < pixels; p += LANES) {
                NAME(turn_square)(source + inside * args[IN_WIDTH] * size, plane, left + p, shown,
                                  args[IN_CHANNELS] - channel, target + p * VECTOR_BYTES);
            }
            target += args[RUN_PIXELS] * VECTOR_BYTES;
        }
    }
}

/* Transform as many tiles as lie turned in a run, of one vector of channels. */
INLINE void NAME(transform_run)(const struct NAME(passes) *passes, const int64_t *args, int64_t c,
                                int64_t t, int64_t some)
{
    const int64_t line = args[RUN_PIXELS] * VECTOR_BYTES, frequency = args[A_FREQUENCY];
    const int64_t rows = args[TILE_ROWS], step = args[STRIDE_ACROSS] * VECTOR_BYTES;
    int64_t row = t % rows, inputs = args[BASE] + args[INPUTS] + t / rows * args[A_TILE];
    for (int64_t g = 0; g < some; g++) {
        const int64_t target = inputs + row * VECTOR_BYTES;
        const int64_t source = args[BASE] + args[RUN] + g * args[ACROSS_OUTPUTS] * step;
        for (int64_t py = 0; py < args[PHASES_DOWN]; py++) {
            for (int64_t px = 0; px < args[PHASES_ACROSS]; px++) {
                const int64_t phase = py * args[PHASES_ACROSS] + px;
                const int64_t block = phase * args[CHANNEL_BLOCKS] + c;
                NAME(transform)(passes, source + py * line + px * VECTOR_BYTES,
                                args[PHASES_DOWN] * line, step,
                                target + block * rows * VECTOR_BYTES, passes->wide * frequency,
                                frequency);
            }
        }
        if (++row == rows) {
            row = 0;
            inputs += args[A_TILE];
        }
    }
}

/* The same from planes: a run of tiles beside each other is turned channels last, a vector of
 * channels at a time, into memory that stays in the first cache. */
KERNEL(winograd_planar_input, {
    const struct NAME(passes) passes = NAME(passes_of)(args, 1);
    const int64_t blocks = args[CHANNEL_BLOCKS];
    for (int64_t t = first; t < last;) {
        const struct tile_place place = find_tile(args, lesser(args[START] + t, args[TILES] - 1));
        const int64_t some =
            lesser(lesser(args[RUN_TILES], last - t), args[TILES_ACROSS] - place.across);
        const int64_t top = place.down * args[DOWN_OUTPUTS] * args[STRIDE_DOWN] + place.sub_down -
                            args[BEFORE_DOWN];
        const int64_t left = place.across * args[ACROSS_OUTPUTS] * args[STRIDE_ACROSS] +
                             place.sub_across - args[BEFORE_ACROSS];
        const int64_t pixels =
            (some * args[ACROSS_OUTPUTS] + args[ACROSS_TAPS] - 1) * args[STRIDE_ACROSS];
        for (int64_t c = 0; c < blocks; c++) {
            NAME(turn_run)(args, place.image, (args[GROUP] * blocks + c) * LANES, top, left, pixels);
            NAME(transform_run)(&passes, args, c, t, some);
        }
        t += some;
    }
})

/* Multiply a frequency's inputs with one panel of its weights, in chains of channels. */
INLINE void NAME(multiply_panel)(int rows, int vectors, const int64_t *args, int64_t inputs,
                                 int64_t weights, int64_t products, const int64_t *segments,
                                 int64_t count)
{
    const int64_t chain = CHAIN_CHANNELS / LANES, blocks = args[CHANNEL_BLOCKS];
    const int64_t block = rows * VECTOR_BYTES, step = LANES * vectors * VECTOR_BYTES;
    const int64_t tiles = args[COUNT], pitch = args[P_TILE], a_tile = args[A_TILE];
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
INLINE void NAME(multiply)(int rows, int vectors, const int64_t *args, int64_t first, int64_t last)
{
    const int64_t phases = args[PHASES_DOWN] * args[PHASES_ACROSS];
    const int64_t *counts = words_at(args[SEGMENT_COUNTS], 0);
    const int64_t *starts = words_at(args[PANEL_STARTS], 0);
    const int64_t *sizes = words_at(args[PANEL_BYTES], 0);
    const int64_t weights = args[WEIGHTS] + args[GROUP] * args[WEIGHTS_GROUP];
    const int64_t tail = parts_of(args[COLUMNS], LANES) - (args[PANELS] - 1) * vectors;
    for (int64_t q = first; q < last; q++) {
        const int64_t inputs = args[BASE] + args[INPUTS] + q * args[A_FREQUENCY];
        const int64_t *segments = words_at(args[SEGMENT_STARTS], q * phases);
        int64_t products = args[BASE] + args[PRODUCTS] + q * args[P_FREQUENCY];
        for (int64_t panel = args[FIRST_PANEL]; panel < args[LAST_PANEL]; panel++) {
            const int64_t start = weights + starts[q] + panel * sizes[q];
            const int64_t width = panel == args[PANELS] - 1 ? tail : vectors;
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

/* The shapes of fastconv/machine.py for operands in blocks. */
#undef BLOCK_SHAPES
#if VECTOR_REGISTERS == 32
#define BLOCK_SHAPES(X) X(14, 2) X(8, 3) X(9, 3) X(6, 4) X(16, 1) X(7, 3)
#else
#define BLOCK_SHAPES(X) X(6, 2) X(5, 2) X(4, 3) X(3, 4) X(12, 1)
#endif
#define MULTIPLY_KERNEL(rows, vectors)                                                             \
    KERNEL(winograd_multiply_##rows##x##vectors, NAME(multiply)(rows, vectors, args, first, last))
BLOCK_SHAPES(MULTIPLY_KERNEL)
#undef MULTIPLY_KERNEL

#ifndef APART
#define APART static __attribute__((noinline))
#endif

/* Add the residual to `count` vectors that lie one after the other, the first `lanes` of each, and
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
 * they are before the bias lies vector by vector; more vectors than pixels are read, of scratch
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
INLINE REAL NAME(plain_input)(const int64_t *args, int64_t image, int64_t channel, int64_t row,
                              int64_t column)
{
    const int64_t size = (int64_t)sizeof(REAL), source = args[SOURCE] + image * args[SOURCE_IMAGE];
    if (!args[PLANAR]) {
        return *AT(source + (row + args[BEFORE_DOWN]) * args[SOURCE_ROW] +
                   (column + args[BEFORE_ACROSS]) * args[SOURCE_COLUMN] + channel * size);
    }
    if (row < 0 || row >= args[IN_HEIGHT] || column < 0 || column >= args[IN_WIDTH]) {
        return 0;
    }
    return *AT(source + channel * args[SOURCE_PLANE] + (row * args[IN_WIDTH] + column) * size);
}

/* Sum one tile's outputs plainly, channel by channel and tap by tap, into their lines: `rows` x
 * `columns` of them, `lanes` channels from `column` on. The transforms mix all inputs of a tile, so
 * that an infinity or NaN among them, or an overflow, would reach every output; here it reaches
 * those whose windows hold it. */
static __attribute__((noinline)) void NAME(plain_tile)(const int64_t *args,
                                                       const struct tile_place *place,
                                                       int64_t column, int64_t lanes, int64_t rows,
                                                       int64_t columns, int64_t lines,
                                                       int64_t pitch)
{
    const int64_t taps = args[KERNEL_HEIGHT] * args[KERNEL_WIDTH], inputs = args[GROUP_INPUTS];
    const int64_t top = place->down * args[DOWN_OUTPUTS] * args[STRIDE_DOWN] + place->sub_down -
                        args[BEFORE_DOWN];
    const int64_t left = place->across * args[ACROSS_OUTPUTS] * args[STRIDE_ACROSS] +
                         place->sub_across - args[BEFORE_ACROSS];
    const int64_t channel = args[GROUP] * args[COLUMNS] + column;
    for (int64_t lane = 0, end; lane < lanes; lane = end) {
        /* Lanes of one of the problem's groups, which several may be done as one. */
        const int64_t group = (channel + lane) / args[GROUP_OUTPUTS];
        end = lesser(lanes, (group + 1) * args[GROUP_OUTPUTS] - channel);
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
                    each[l] = AT(args[PLAIN_WEIGHTS])[filter * taps + tap];
                }
                const V weight = NAME(load)(each);
                const int64_t down = tap / args[KERNEL_WIDTH] * args[SUBS_DOWN];
                const int64_t across = tap % args[KERNEL_WIDTH] * args[SUBS_ACROSS];
                for (int64_t i = 0; i < rows; i++) {
                    const int64_t y = top + i * args[STRIDE_DOWN] + down;
                    for (int64_t j = 0; j < columns; j++) {
                        const int64_t x = left + j * args[STRIDE_ACROSS] + across;
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
INLINE void NAME(mend_run)(const int64_t *args, const struct tile_place *place, int64_t column,
                           int64_t rows, int64_t columns, int64_t lines, int64_t pitch)
{
    if (NAME(all_finite)(lines, pitch, rows, columns)) {
        return;
    }
    const int64_t m = args[ACROSS_OUTPUTS], lanes = lesser(args[COLUMNS] - column, LANES);
    struct tile_place tile = *place;
    for (int64_t done = 0; done < columns; done += m, tile.across++) {
        const int64_t some = lesser(m, columns - done), start = lines + done * VECTOR_BYTES;
        if (!NAME(all_finite)(start, pitch, rows, some)) {
            NAME(plain_tile)(args, &tile, column, lanes, rows, some, start, pitch);
        }
    }
}

/* Transform the products of `some` tiles beside each other and store them, one vector of channels
 * at a time, a line of outputs at a time. */
INLINE void NAME(output_run)(const struct NAME(passes) *passes, const int64_t *args,
                             const struct tile_place *place, int64_t t, int64_t some)
{
    const int64_t m = args[ACROSS_OUTPUTS], tall = args[DOWN_OUTPUTS];
    const int64_t height = parts_of(args[HEIGHT] - place->sub_down, args[SUBS_DOWN]);
    const int64_t width = parts_of(args[WIDTH] - place->sub_across, args[SUBS_ACROSS]);
    const int64_t sub = place->sub_down * args[SUBS_ACROSS] + place->sub_across;
    const int64_t pixel =
        (sub * args[SUB_HEIGHT] + place->down * tall) * args[SUB_WIDTH] + place->across * m;
    const int64_t valid = lesser(some * m, width - place->across * m);
    const int64_t valid_lines = valid > 0 ? lesser(tall, height - place->down * tall) : 0;
    const int64_t shift = place->image * args[OUT_IMAGE] + args[GROUP] * args[OUT_GROUP];
    const int64_t panel = args[P_TILE] / args[PART_PANELS];
    const int64_t begin = args[FIRST_PANEL] * panel, end = args[LAST_PANEL] * panel;
    const int64_t bias = args[BIAS] + args[GROUP] * args[PANELS] * panel;
    const int64_t lines = args[BASE] + args[LINES], pitch = some * m * VECTOR_BYTES;
    struct NAME(epilogue) epilogue = {
        .out = args[OUT] + shift,
        .residual = args[RESIDUAL] != 0 ? args[RESIDUAL] + shift : 0,
        .out_rows = words_at(args[OUT_ROWS], 0),
        .out_column = args[OUT_COLUMN],
        .column_count = args[COLUMNS],
        .slope = number_of(args[SLOPE]),
        .low = number_of(args[LOW]),
        .high = number_of(args[HIGH]),
    };
    for (int64_t c = begin; c < end; c += VECTOR_BYTES) {
        const int64_t column = c / (int64_t)sizeof(REAL);
        if (column >= args[COLUMNS]) {
            break;
        }
        for (int64_t g = 0; g < some; g++) {
            const int64_t source =
                args[BASE] + args[PRODUCTS] + (t + g) * args[P_TILE] + c - begin;
            NAME(transform)(passes, source, passes->wide * args[P_FREQUENCY], args[P_FREQUENCY],
                            lines + g * m * VECTOR_BYTES, pitch, VECTOR_BYTES);
        }
        NAME(mend_run)(args, place, column, valid_lines, valid, lines, pitch);
        for (int64_t i = 0; i < valid_lines; i++) {
            NAME(finish_line)(&epilogue, NAME(load)(AT(bias + c)), AT(lines + i * pitch), valid,
                              pixel + i * args[SUB_WIDTH],
                              lesser(args[COLUMNS] - column, LANES), column);
        }
    }
}

/* Transform a block's products and store them: a work item is one of its tiles. */
KERNEL(winograd_output, {
    const struct NAME(passes) passes = NAME(passes_of)(args, 0);
    const int64_t together = greater(LANES / args[ACROSS_OUTPUTS], 1);
    for (int64_t t = first; t < last;) {
        const struct tile_place place = find_tile(args, args[START] + t);
        const int64_t some =
            lesser(lesser(together, last - t), args[TILES_ACROSS] - place.across);
        NAME(output_run)(&passes, args, &place, t, some);
        t += some;
    }
})

/* Walk the work: an item is a part of the output channels of one group of a block of tiles. A
 * worker that does several parts of a block transforms its inputs once. Its own words stand at the
 * start of its scratch memory. */
KERNEL(winograd_filtered, {
    const int64_t base = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE];
    int64_t *words = (int64_t *)(intptr_t)base;
    memcpy(words, args, COUNT_WORDS * sizeof *words);
    words[BASE] = base;
    int64_t before = -1;
    for (int64_t some, item = first; item < last; item += some) {
        const int64_t whole = item / args[PARTS], part = item % args[PARTS];
        /* Parts of a block that follow each other are done as one, as far as there is room. */
        some = parts_together(args, part, lesser(args[PARTS] - part, last - item));
        const int64_t start = whole / args[GROUPS] * args[BLOCK_TILES];
        words[START] = start;
        words[COUNT] = lesser(args[BLOCK_TILES], args[TILES] - start);
        words[GROUP] = whole % args[GROUPS];
        words[FIRST_PANEL] = args[PANELS] * part / args[PARTS];
        words[LAST_PANEL] = args[PANELS] * (part + some) / args[PARTS];
        if (whole != before) {
            const int64_t rows = args[TILE_ROWS];
            call(args[INPUT_KERNEL], words, parts_of(words[COUNT], rows) * rows, worker);
            before = whole;
        }
        call(args[MULTIPLY_KERNEL], words, args[FREQUENCIES], worker);
        call(args[OUTPUT_KERNEL], words, words[COUNT], worker);
    }
})
