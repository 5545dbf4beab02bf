/* Transposed convolution of channels-first images whose filters are as long as their strides, two
 * across: every input pixel makes a patch of its own.
 *
 * A register tile is `rows` columns, (channel, tap down, tap across), of `vectors` vectors of
 * neighbouring pixels. The sums of both taps across are interleaved into an output line. A work
 * item is some input lines of one group of one image. The words are those of
 * fastconv/backends/native/conv/interleaved.py. Read by planar.h.
 */
#ifndef INTERLEAVED_WORDS
#define INTERLEAVED_WORDS
enum {
    PAIR_SOURCE, PAIR_SOURCE_IMAGE, PAIR_SOURCE_PLANE, PAIR_WEIGHTS, PAIR_BIAS, PAIR_OUT,
    PAIR_OUT_IMAGE, PAIR_OUT_PLANE, PAIR_RESIDUAL, PAIR_SLOPE, PAIR_LOW, PAIR_HIGH, PAIR_GROUPS,
    PAIR_CHANNELS, PAIR_COLUMNS, PAIR_DOWN, PAIR_HEIGHT, PAIR_WIDTH, PAIR_LINES, PAIR_SCRATCH,
    PAIR_SCRATCH_STRIDE
};
#endif

#define FIRST_PAIRS(x, i) ((i) / 2 + ((i) & 1) * LANE_COUNT + (x))

/* Copy the pixels from `at` on of all channels, zeros past the line's end. */
INLINE void NAME(copy_pairs)(int vectors, const int64_t *args, const REAL *line, int64_t at,
                             REAL *panel)
{
    const int64_t plane = args[PAIR_SOURCE_PLANE] / (int64_t)sizeof(REAL);
    const int64_t left = args[PAIR_WIDTH] - at;
    for (int64_t k = 0; k < args[PAIR_CHANNELS]; k++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const int64_t some = left - v * LANES;
            V value = {0};
            if (some > 0) {
                value = NAME(load_some)(line + at + v * LANES, some, value);
            }
            NAME(store)(panel + v * LANES, value);
        }
        line += plane;
        panel += vectors * LANES;
    }
}

/* Store the sums of two taps across, `count` pixels of them, interleaved. */
INLINE void NAME(store_pairs)(const int64_t *args, V first, V second, int64_t count,
                              int64_t shift)
{
    V both[2] = {SHUFFLE(first, second, EACH_LANE(FIRST_PAIRS, 0)),
                 SHUFFLE(first, second, EACH_LANE(FIRST_PAIRS, LANE_COUNT / 2))};
    REAL *out = AT(args[PAIR_OUT] + shift);
    if (args[PAIR_RESIDUAL] != 0) {
        const REAL *residual = AT(args[PAIR_RESIDUAL] + shift);
        UNROLL for (int i = 0; i < 2; i++) {
            both[i] += NAME(load_first)(residual + i * LANES, 2 * count - i * LANES, (V){0});
        }
        NAME(tile_activate)(1, 2, both, number_of(args[PAIR_SLOPE]), number_of(args[PAIR_LOW]),
                            number_of(args[PAIR_HIGH]));
    }
    if (count >= LANES) {
        NAME(store)(out, both[0]);
        NAME(store)(out + LANES, both[1]);
    } else {
        NAME(store_first)(out, 2 * count, both[0]);
        NAME(store_first)(out + LANES, 2 * count - LANES, both[1]);
    }
}

/* Make columns t * rows, ... of a block of pixels of input line `y`. */
INLINE void NAME(interleaved_tile)(int rows, int vectors, const int64_t *args, const REAL *panel,
                                   const REAL *weights, const REAL *bias, int64_t shift,
                                   int64_t y, int64_t at, int64_t t)
{
    const int64_t size = (int64_t)sizeof(REAL), columns = args[PAIR_COLUMNS];
    const int64_t down = args[PAIR_DOWN], line = 2 * args[PAIR_WIDTH] * size;
    V tile[MOST_ROWS * MOST_PIXELS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            tile[r * vectors + v] = NAME(splat)(bias[lesser(t * rows + r, columns - 1)]);
        }
    }
    NAME(multiply_panel)(rows, vectors, tile, panel, weights + t * rows * args[PAIR_CHANNELS],
                         args[PAIR_CHANNELS]);
    if (args[PAIR_RESIDUAL] == 0) {
        NAME(tile_activate)(rows, vectors, tile, number_of(args[PAIR_SLOPE]),
                            number_of(args[PAIR_LOW]), number_of(args[PAIR_HIGH]));
    }
    UNROLL for (int r = 0; r < rows; r += 2) {
        const int64_t pair = (t * rows + r) / 2;
        if (2 * pair >= columns) {
            break;
        }
        const int64_t place = shift + pair / down * args[PAIR_OUT_PLANE] +
                              (y * down + pair % down) * line + 2 * at * size;
        UNROLL for (int v = 0; v < vectors; v++) {
            const int64_t count = args[PAIR_WIDTH] - at - v * LANES;
            if (count > 0) {
                NAME(store_pairs)(args, tile[r * vectors + v], tile[(r + 1) * vectors + v], count,
                                  place + 2 * v * VECTOR_BYTES);
            }
        }
    }
}

INLINE void NAME(interleaved)(int rows, int vectors, const int64_t *args, int64_t first,
                              int64_t last, int64_t worker)
{
    const int64_t columns = args[PAIR_COLUMNS], tiles = parts_of(columns, rows);
    const int64_t blocks = parts_of(args[PAIR_HEIGHT], args[PAIR_LINES]);
    const int64_t channels = args[PAIR_CHANNELS], width = args[PAIR_WIDTH];
    REAL *panel = AT(args[PAIR_SCRATCH] + worker * args[PAIR_SCRATCH_STRIDE]);
    for (int64_t item = first; item < last; item++) {
        const int64_t begin = item % blocks * args[PAIR_LINES], rest = item / blocks;
        const int64_t end = lesser(begin + args[PAIR_LINES], args[PAIR_HEIGHT]);
        const int64_t image = rest / args[PAIR_GROUPS], group = rest % args[PAIR_GROUPS];
        const int64_t source = args[PAIR_SOURCE] + image * args[PAIR_SOURCE_IMAGE] +
                               group * channels * args[PAIR_SOURCE_PLANE];
        const int64_t shift = image * args[PAIR_OUT_IMAGE] +
                              group * (columns / args[PAIR_DOWN] / 2) * args[PAIR_OUT_PLANE];
        const REAL *weights = AT(args[PAIR_WEIGHTS]) + group * tiles * rows * channels;
        const REAL *bias = AT(args[PAIR_BIAS]) + group * columns;
        for (int64_t y = begin; y < end; y++) {
            for (int64_t at = 0; at < width; at += vectors * LANES) {
                NAME(copy_pairs)(vectors, args, AT(source) + y * width, at, panel);
                for (int64_t t = 0; t < tiles; t++) {
                    NAME(interleaved_tile)(rows, vectors, args, panel, weights, bias, shift, y, at,
                                           t);
                }
            }
        }
    }
}
#undef FIRST_PAIRS

/* Columns of a channel of 2 x 2 taps, and the vectors that registers are left for. */
#undef INTERLEAVED_SHAPES
#if VECTOR_BYTES == 64
#define INTERLEAVED_SHAPES(X) X(4, 6) X(12, 2)
#else
#define INTERLEAVED_SHAPES(X) X(4, 3) X(6, 2)
#endif
#define INTERLEAVED_KERNEL(rows, vectors)                                                          \
    KERNEL(interleaved_##rows##x##vectors,                                                         \
           NAME(interleaved)(rows, vectors, args, first, last, worker))
INTERLEAVED_SHAPES(INTERLEAVED_KERNEL)
#undef INTERLEAVED_KERNEL
