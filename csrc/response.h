/* Local response normalisation: squares summed over neighbouring channels, in doubles. */
#include "words.h"
#include "wide.h"

/* x / (term + factor squares)^beta of n elements, a vector of doubles at most; the power three
 * quarters, which all known networks take, from roots. */
INLINE void NAME(respond)(int root, const REAL *source, REAL *target, int64_t n, W squares,
                          const struct response_args *args)
{
    const W factor = WIDE(splat)(args->factor);
    const W base = factor * squares + WIDE(splat)(args->term);
    if (root) {
        const W once = WIDE(root)(base), power = once * WIDE(root)(once);
        NAME(store_wide_some)(target, n, NAME(load_wide_some)(source, n, power) / power);
    } else {
        double bases[VECTOR_BYTES / sizeof(double)];
        WIDE(store)(bases, base);
        /* A loop: unrolled, the numbers would go back and forth between vectors and memory. */
        ROLLED for (int64_t i = 0; i < lesser(n, WIDE_LANES); i++) {
            target[i] = (REAL)((double)source[i] / pow(bases[i], args->beta));
        }
    }
}

/* Channels before pixels: a work item is a block of an image's pixels, in all channels. */
INLINE void NAME(response_planes)(int root, const struct response_args *args, int64_t first,
                                  int64_t last)
{
    const int64_t channels = args->channels, pixels = args->pixels;
    const int64_t blocks = parts_of(pixels, RESPONSE_PIXELS);
    const W none = {0};
    for (int64_t item = first; item < last; item++) {
        const int64_t image = item / blocks, start = item % blocks * RESPONSE_PIXELS;
        const int64_t count = lesser(RESPONSE_PIXELS, pixels - start);
        const REAL *source = AT(args->source) + image * channels * pixels + start;
        REAL *target = AT(args->target) + image * channels * pixels + start;
        for (int64_t c = 0; c < channels; c++) {
            const int64_t from = greater(0, c - args->before);
            const int64_t end = lesser(channels, c + args->after + 1);
            for (int64_t i = 0; i < count; i += WIDE_LANES) {
                W squares = none;
                for (int64_t j = from; j < end; j++) {
                    const W x = NAME(load_wide_some)(source + j * pixels + i, count - i, none);
                    squares = WIDE(multiply_add)(x, x, squares);
                }
                NAME(respond)(root, source + c * pixels + i, target + c * pixels + i, count - i,
                              squares, args);
            }
        }
    }
}

/* Channels last: a work item is some pixels. A pixel's squares are stored in scratch memory between zeros
 * that stand for the channels beyond the first and the last. */
INLINE void NAME(response_pixels)(int root, const struct response_args *args, int64_t first,
                                  int64_t last,
                                  int64_t worker)
{
    const int64_t channels = args->channels, per_item = greater(1, RESPONSE_PIXELS / channels);
    const int64_t before = lesser(args->before, channels - 1);
    const int64_t after = lesser(args->after, channels - 1);
    const int64_t scratch = args->scratch_base + worker * args->scratch_stride;
    double *squares = (double *)(intptr_t)scratch;
    const W none = {0};
    for (int64_t i = 0; i < before + channels + after + WIDE_LANES; i++) {
        squares[i] = 0;
    }
    const int64_t end = lesser(last * per_item, args->pixels);
    for (int64_t pixel = first * per_item; pixel < end; pixel++) {
        const REAL *source = AT(args->source) + pixel * channels;
        REAL *target = AT(args->target) + pixel * channels;
        for (int64_t c = 0; c < channels; c += WIDE_LANES) {
            const W x = NAME(load_wide_some)(source + c, channels - c, none);
            WIDE(store)(squares + before + c, x * x);
        }
        for (int64_t c = 0; c < channels; c += WIDE_LANES) {
            W sum = none;
            for (int64_t j = 0; j <= before + after; j++) {
                sum += WIDE(load)(squares + c + j);
            }
            NAME(respond)(root, source + c, target + c, channels - c, sum, args);
        }
    }
}

KERNEL(response_planes_0, response_args, NAME(response_planes)(0, args, first, last))
KERNEL(response_planes_1, response_args, NAME(response_planes)(1, args, first, last))
KERNEL(response_pixels_0, response_args, NAME(response_pixels)(0, args, first, last, worker))
KERNEL(response_pixels_1, response_args, NAME(response_pixels)(1, args, first, last, worker))
