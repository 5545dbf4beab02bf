/* Transposed convolution of channels-first images whose filters are as long as their strides, two
 * across: every input pixel makes a patch of its own.
 *
 * A register tile is `rows` columns, (channel, tap down, tap across), of `vectors` vectors of
 * neighbouring pixels. The sums of both taps across are interleaved into an output line. A work
 * item is some input lines of one group of one image. Read by planar.h.
 */
#define FIRST_PAIRS(x, i) ((i) / 2 + ((i) & 1) * LANE_COUNT + (x))

/* Copy the pixels from `at` on of all channels, zeros past the line's end. */
INLINE void NAME(copy_pairs)(int vectors, const struct interleaved_args *args, const REAL *line,
                             int64_t at, REAL *panel)
{
    const int64_t plane = args->source_plane / (int64_t)sizeof(REAL);
    const int64_t left = args->width - at;
    for (int64_t k = 0; k < args->channels; k++) {
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
INLINE void NAME(store_pairs)(const struct interleaved_args *args, V first, V second, int64_t count,
                              int64_t shift)
{
    V both[2] = {SHUFFLE(first, second, EACH_LANE(FIRST_PAIRS, 0)),
                 SHUFFLE(first, second, EACH_LANE(FIRST_PAIRS, LANE_COUNT / 2))};
    REAL *out = AT(args->target + shift);
    if (args->residual != 0) {
        const REAL *residual = AT(args->residual + shift);
        UNROLL for (int i = 0; i < 2; i++) {
            both[i] += NAME(load_first)(residual + i * LANES, 2 * count - i * LANES, (V){0});
        }
        NAME(tile_activate)(1, 2, both, args->slope, args->low,
                            args->high);
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
INLINE void NAME(interleaved_tile)(int rows, int vectors, const struct interleaved_args *args,
                                   const REAL *panel, const REAL *weights, const REAL *bias,
                                   int64_t shift, int64_t y, int64_t at, int64_t t)
{
    const int64_t size = (int64_t)sizeof(REAL), columns = args->columns;
    const int64_t down = args->down, line = 2 * args->width * size;
    V tile[MOST_ROWS * MOST_PIXELS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            tile[r * vectors + v] = NAME(splat)(bias[lesser(t * rows + r, columns - 1)]);
        }
    }
    NAME(multiply_panel)(rows, vectors, tile, panel, weights + t * rows * args->channels,
                         args->channels);
    if (args->residual == 0) {
        NAME(tile_activate)(rows, vectors, tile, args->slope,
                            args->low, args->high);
    }
    UNROLL for (int r = 0; r < rows; r += 2) {
        const int64_t pair = (t * rows + r) / 2;
        if (2 * pair >= columns) {
            break;
        }
        const int64_t place = shift + pair / down * args->out_plane +
                              (y * down + pair % down) * line + 2 * at * size;
        UNROLL for (int v = 0; v < vectors; v++) {
            const int64_t count = args->width - at - v * LANES;
            if (count > 0) {
                NAME(store_pairs)(args, tile[r * vectors + v], tile[(r + 1) * vectors + v], count,
                                  place + 2 * v * VECTOR_BYTES);
            }
        }
    }
}

INLINE void NAME(interleaved)(int rows, int vectors, const struct interleaved_args *args,
                              int64_t first, int64_t last, int64_t worker)
{
    const int64_t columns = args->columns, tiles = parts_of(columns, rows);
    const int64_t blocks = parts_of(args->height, args->lines);
    const int64_t channels = args->channels, width = args->width;
    REAL *panel = AT(args->scratch_base + worker * args->scratch_stride);
    for (int64_t item = first; item < last; item++) {
        const int64_t begin = item % blocks * args->lines, rest = item / blocks;
        const int64_t end = lesser(begin + args->lines, args->height);
        const int64_t image = rest / args->groups, group = rest % args->groups;
        const int64_t source = args->source + image * args->source_image +
                               group * channels * args->source_plane;
        const int64_t shift = image * args->out_image +
                              group * (columns / args->down / 2) * args->out_plane;
        const REAL *weights = AT(args->weights) + group * tiles * rows * channels;
        const REAL *bias = AT(args->bias) + group * columns;
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

#define INTERLEAVED_KERNEL(rows, vectors)                                                          \
    KERNEL(interleaved_##rows##x##vectors, interleaved_args,                                       \
           NAME(interleaved)(rows, vectors, args, first, last, worker))
SHAPES(interleaved)(INTERLEAVED_KERNEL)
#undef INTERLEAVED_KERNEL
