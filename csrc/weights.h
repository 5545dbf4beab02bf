/* Packing parameters for the kernels that read them: panels of columns, and transformed weights. */
#include "epilogue.h"
#include "lines.h"
#include "panels.h"
#include "placed.h"

/* A work item is a chunk of the elements of one panel of one group. */
static void NAME(weights_panels_items)(const struct panels_args *args, int64_t first, int64_t last)
{
    const int64_t width = args->width, columns = args->columns;
    const int64_t taps = args->taps, channels = args->channels;
    const int64_t elements = taps * channels, panels = parts_of(columns, width);
    const int64_t chunks = parts_of(elements, args->chunk);
    for (int64_t item = first; item < last; item++) {
        const int64_t from = item % chunks * args->chunk;
        const int64_t to = lesser(from + args->chunk, elements);
        const int64_t number = item / chunks, panel = number % panels * width;
        REAL *target = AT(args->target) + number * elements * width;
        if (args->source == 0) {
            memset(target + from * width, 0, (size_t)((to - from) * width) * sizeof(REAL));
            continue;
        }
        const struct columns all = {
            .source = (const char *)(intptr_t)args->source +
                      number / panels * args->group_step + panel * args->column_step,
            .step = args->column_step,
            .there = columns - panel,
            .width = width,
            .taps = taps,
            .channels = channels,
        };
        NAME(pack_columns)(&all, target, from, to);
    }
}

KERNEL(weights_panels, panels_args, NAME(weights_panels_items)(args, first, last))

#ifndef WINOGRAD_WEIGHTS_ONCE
#define WINOGRAD_WEIGHTS_ONCE
/* Channels that are transformed together, the most taps of a filter, and points along one side. */
enum { MOST_FILTER_TAPS = 49, MOST_SIDE_TAPS = 7, MOST_POINTS = 12 };
#endif

/* Transforms are made in float64, and rounded once. */
#define WIDE JOIN(vector, float64, ISA)
#define WIDE_LANES ((int64_t)(VECTOR_BYTES / sizeof(double)))
#define WIDE_NAME(x) JOIN(x, float64, ISA)

/* A vector's lanes in float64: two vectors of them, where lanes are floats. */
enum { NAME(HALVES) = REAL_IS_FLOAT ? 2 : 1 };
struct NAME(wide) {
    WIDE half[NAME(HALVES)];
};

INLINE struct NAME(wide) NAME(load_wide)(const REAL *p)
{
    struct NAME(wide) v;
#if REAL_IS_FLOAT
    v.half[0] = WIDE_NAME(load_floats)(p);
    v.half[1] = WIDE_NAME(load_floats)(p + WIDE_LANES);
#else
    v.half[0] = NAME(load)(p);
#endif
    return v;
}

/* One store of a whole vector: lines of the target share few sets of the caches, so that a line
 * which is not written at once may be fetched and written back again in between. */
INLINE void NAME(store_wide)(REAL *p, struct NAME(wide) v)
{
#if REAL_IS_FLOAT
    NAME(store)(p, NAME(narrowed)(v.half[0], v.half[1]));
#else
    NAME(store)(p, v.half[0]);
#endif
}

/* Not fused: the same bits on every instruction set. */
INLINE struct NAME(wide) NAME(wide_multiply_add)(double a, struct NAME(wide) b, struct NAME(wide) c)
{
    const WIDE factor = WIDE_NAME(splat)(a);
    UNROLL for (int i = 0; i < NAME(HALVES); i++) {
        c.half[i] += factor * b.half[i];
    }
    return c;
}

/* The filters of one channel for some output channels, `taps` vectors of them, at all frequencies
 * of one phase. Rows of the target are `row` elements apart. */
INLINE void NAME(transform_filters)(const struct transformed_args *args, const REAL *filters,
                                    int64_t phase_down,
                                    int64_t phase_across, int64_t taps_down, int64_t taps_across,
                                    int64_t target, int64_t panel, int64_t row, int64_t channel)
{
    const int64_t down = args->points_down, across = args->points_across;
    const int64_t phase = phase_down * args->phases_across + phase_across;
    const double *by_down =
        (const double *)(intptr_t)args->matrix_down + phase_down * down * taps_down;
    const double *by_across =
        (const double *)(intptr_t)args->matrix_across + phase_across * across * taps_across;
    const int64_t *places = words_at(args->places, phase * down * across);
    const int64_t *starts = words_at(args->starts, 0), *sizes = words_at(args->sizes, 0);
    struct NAME(wide) taps[MOST_FILTER_TAPS], lines[MOST_SIDE_TAPS];
    for (int64_t t = 0; t < taps_down * taps_across; t++) {
        taps[t] = NAME(load_wide)(filters + t * LANES);
    }
    for (int64_t i = 0; i < down; i++) {
        for (int64_t b = 0; b < taps_across; b++) {
            struct NAME(wide) sum = {0};
            for (int64_t a = 0; a < taps_down; a++) {
                sum = NAME(wide_multiply_add)(by_down[i * taps_down + a], taps[a * taps_across + b],
                                              sum);
            }
            lines[b] = sum;
        }
        for (int64_t j = 0; j < across; j++) {
            const int64_t q = i * across + j;
            if (places[q] < 0) {
                continue;
            }
            struct NAME(wide) sum = {0};
            for (int64_t b = 0; b < taps_across; b++) {
                sum = NAME(wide_multiply_add)(by_across[j * taps_across + b], lines[b], sum);
            }
            NAME(store_wide)(AT(target + starts[q] + panel * sizes[q]) +
                             (places[q] + channel) * row, sum);
        }
    }
}

/* Load the taps of some channels of a vector of output channels: lanes `from` to `to` - 1. The next
 * ones of each are asked for: there are more streams than the processor foresees. */
INLINE void NAME(load_filters)(REAL *filters, const char *p, int64_t step, int64_t from, int64_t to,
                               int64_t elements)
{
    for (int64_t e = 0; e < elements; e += LANES) {
        V square[LANE_COUNT];
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            square[i] = (V){0};
            if (i >= from && i < to) {
                const REAL *column = (const REAL *)(p + i * step) + e;
                square[i] = NAME(load_some)(column, elements - e, (V){0});
                __builtin_prefetch(column + elements, 0, 2);
            }
        }
        NAME(transpose)(square);
        UNROLL for (int i = 0; i < LANE_COUNT; i++) {
            NAME(store)(filters + (e + i) * LANES, square[i]);
        }
    }
}

/* The same of weights whose output channels are side by side: vectors as they are, channels
 * `channel_step` bytes apart, and taps where a table says. */
INLINE void NAME(load_placed_filters)(const struct transformed_args *args, REAL *filters,
                                      const char *p, int64_t from, int64_t to, int64_t taps,
                                      int64_t some)
{
    const int64_t channel = args->channel_step;
    const int64_t *places = words_at(args->tap_places, 0);
    const NAME(lanes) inside = NAME(between)(from, to);
    for (int64_t t = 0; t < taps; t++) {
        for (int64_t s = 0; s < some; s++) {
            const char *tap = p + s * channel + places[t];
            NAME(store)(filters + (s * taps + t) * LANES,
                        NAME(load_lanes)((const REAL *)tap, inside));
            __builtin_prefetch(tap + TRANSFORMED_FEW_CHANNELS * channel, 0, 2);
        }
    }
}


/* Minimal filters' weights: a work item is a few rows of channels of one panel of one group. */
static void NAME(weights_winograd_items)(const struct transformed_args *args, int64_t first,
                                         int64_t last)
{
    const int64_t own = args->group_channels, channels = own * args->merged_groups;
    const int64_t taps_down = args->taps_down, taps_across = args->taps_across;
    const int64_t taps = taps_down * taps_across, out = args->out_channels;
    const int64_t chunks = parts_of(args->depth_rows, TRANSFORMED_FEW_CHANNELS);
    const int64_t phases = args->phases_down * args->phases_across;
    const int64_t channel_step =
        args->tap_places ? args->channel_step : taps * (int64_t)sizeof(REAL);
    for (int64_t item = first; item < last; item++) {
        const int64_t panel = item / chunks % args->panels;
        const int64_t group = item / chunks / args->panels;
        const int64_t target = args->target + group * args->group_bytes;
        const int64_t row = panel == args->panels - 1 ? args->last_lanes : args->panel_lanes;
        const int64_t end = lesser((item % chunks + 1) * TRANSFORMED_FEW_CHANNELS, args->depth_rows);
        for (int64_t some, k = item % chunks * TRANSFORMED_FEW_CHANNELS; k < end; k += some) {
            const int64_t sub = k / own, channel = k - sub * own;
            some = k < channels ? lesser(own - channel, end - k) : end - k;
            for (int64_t j = 0; j < row; j += LANES) {
                const int64_t column = panel * args->panel_lanes + j;
                const int64_t from = sub * out - column;
                const int64_t to = lesser(from + out, args->group_columns - column);
                const char *p = (const char *)(intptr_t)args->source +
                                (group * args->group_columns + column) * args->out_channel_step +
                                channel * channel_step;
                REAL filters[(MOST_FILTER_TAPS * TRANSFORMED_FEW_CHANNELS + LANE_COUNT) * LANE_COUNT];
                const int64_t stop = k < channels ? to : 0;
                if (args->tap_places) {
                    NAME(load_placed_filters)(args, filters, p, from, stop, taps, some);
                } else {
                    NAME(load_filters)(filters, p, args->out_channel_step, from, stop, some * taps);
                }
                for (int64_t phase = 0; phase < phases; phase++) {
                    const int64_t py = phase / args->phases_across;
                    const int64_t px = phase % args->phases_across;
                    for (int64_t s = 0; s < some; s++) {
#define TRANSFORM(taps_down, taps_across)                                                          \
    NAME(transform_filters)(args, filters + s * taps * LANES, py, px, taps_down, taps_across,      \
                            target + j * (int64_t)sizeof(REAL), panel, row, k + s)
                        if (taps_down == 3 && taps_across == 3) {
                            TRANSFORM(3, 3);
                        } else {
                            TRANSFORM(taps_down, taps_across);
                        }
#undef TRANSFORM
                    }
                }
            }
        }
    }
}

KERNEL(weights_winograd, transformed_args, NAME(weights_winograd_items)(args, first, last))
#undef WIDE
#undef WIDE_LANES
#undef WIDE_NAME

/* A work item is a chunk of the rows of one panel of one group. */
static void NAME(weights_rows_items)(const struct pack_rows_args *args, int64_t first, int64_t last)
{
    const int64_t width = args->width, rows = args->row_count, step = args->column_step;
    const int64_t panels = parts_of(args->columns, width);
    const int64_t chunks = parts_of(rows, args->chunk);
    const int64_t *places = words_at(args->places, 0);
    for (int64_t item = first; item < last; item++) {
        const int64_t number = item / chunks, panel = number % panels * width;
        const int64_t from = item % chunks * args->chunk;
        const int64_t to = lesser(from + args->chunk, rows);
        const int64_t some = lesser(width, args->columns - panel);
        const char *source = (const char *)(intptr_t)args->source +
                             number / panels * args->group_step + panel * step;
        REAL *target = AT(args->target) + number * rows * width;
        for (int64_t r = from; r < to; r++) {
            REAL *row = target + r * width;
            for (int64_t j = 0; j < some; j++) {
                row[j] = *(const REAL *)(source + places[r] + j * step);
            }
            for (int64_t j = some; j < width; j++) {
                row[j] = 0;
            }
        }
    }
}

KERNEL(weights_rows, pack_rows_args, NAME(weights_rows_items)(args, first, last))

INLINE double NAME(parameter)(int64_t address, int64_t place, double missing)
{
    return address == 0 ? missing : (double)AT(address)[place];
}

/* A batch norm's scale and shift of each channel, in float64. */
KERNEL(weights_affine, affine_args, {
    const int64_t channels = args->channels, run = args->run;
    double *scales = (double *)(intptr_t)args->scales, *shifts = (double *)(intptr_t)args->shifts;
    (void)first;
    (void)last;
    for (int64_t c = 0; c < channels; c++) {
        const double variance = NAME(parameter)(args->variance, c, 1);
        const double deviation = sqrt(variance + args->epsilon);
        const double scale = NAME(parameter)(args->weight, c, 1) / deviation;
        const double shift =
            NAME(parameter)(args->bias, c, 0) - NAME(parameter)(args->mean, c, 0) * scale;
        for (int64_t i = 0; i < run; i++) {
            scales[c * run + i] = scale;
            shifts[c * run + i] = shift;
        }
    }
    for (int64_t i = channels * run; i < channels * run * args->times; i++) {
        scales[i] = scales[i - channels * run];
        shifts[i] = shifts[i - channels * run];
    }
})

#define REPEAT_KERNEL(name, NUMBER)                                                                \
    KERNEL(name, repeat_args, {                                                                    \
        const int64_t count = args->count, run = args->run;                                        \
        NUMBER *target = (NUMBER *)(intptr_t)args->target;                                         \
        (void)first;                                                                               \
        (void)last;                                                                                \
        for (int64_t c = 0; c < count; c++) {                                                      \
            const NUMBER value =                                                                   \
                (NUMBER)NAME(parameter)(args->source, c, args->value);                             \
            for (int64_t i = 0; i < run; i++) {                                                    \
                target[c * run + i] = value;                                                       \
            }                                                                                      \
        }                                                                                          \
        for (int64_t i = count * run; i < count * run * args->times; i++) {                        \
            target[i] = target[i - count * run];                                                   \
        }                                                                                          \
    })
REPEAT_KERNEL(weights_repeat, REAL)
REPEAT_KERNEL(weights_repeat_widened, double)
#undef REPEAT_KERNEL
