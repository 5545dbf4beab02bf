/* Long lines resized: an item is a chunk of a line's outputs, whose places follow from their
 * numbers, so that no table is as long as the line. */
#include "words.h"

#ifndef LINE_ONCE
#define LINE_ONCE
/* Outputs whose places are computed at once. */
enum { LINE_BLOCK = 64 };
#endif

/* Cells before the places of `count` outputs from `first` on, and the weights of them and of the
 * next ones. */
INLINE void NAME(line_places)(const struct line_linear_args *args, int64_t first, int64_t count, int64_t *low,
                              int64_t *high, REAL *one, REAL *other)
{
    const double scale = args->scale, shift = args->shift;
    const int64_t last = args->in_cells - 1, narrow = args->narrow;
    for (int64_t i = 0; i < count; i++) {
        const double exact = scale * ((double)(first + i) + shift) - shift;
        const double rounded = narrow ? (double)(float)exact : exact;
        const double real = rounded > 0 ? rounded : 0;
        const int64_t cell = lesser((int64_t)real, last);
        const double behind = real - (double)cell, part = behind < 1 ? behind : 1;
        low[i] = cell;
        high[i] = lesser(cell + 1, last);
        one[i] = (REAL)(1 - part);
        other[i] = (REAL)part;
    }
}

INLINE void NAME(line_cells)(const REAL *line, REAL *to, int64_t count, const int64_t *low,
                             const int64_t *high, const REAL *one, const REAL *other)
{
    int64_t i = 0;
#if VECTOR_BYTES == 64
    for (; i + LANES <= count; i += LANES) {
        const V first = NAME(load_at)(line, low + i), second = NAME(load_at)(line, high + i);
        V total = {0};
        total += NAME(load)(one + i) * first;
        total += NAME(load)(other + i) * second;
        NAME(store)(to + i, total);
    }
#endif
    for (; i < count; i++) {
        REAL total = 0;
        total += one[i] * line[low[i]];
        total += other[i] * line[high[i]];
        to[i] = total;
    }
}

static void NAME(linear)(const struct line_linear_args *args, int64_t first, int64_t last)
{
    const int64_t inner = args->inner;
    int64_t low[LINE_BLOCK], high[LINE_BLOCK];
    REAL one[LINE_BLOCK], other[LINE_BLOCK];
    for (int64_t item = first; item < last; item++) {
        const int64_t outer = item / args->chunks, from = item % args->chunks * args->chunk;
        const int64_t end = lesser(from + args->chunk, args->out_cells);
        const REAL *line = AT(args->source) + outer * args->in_cells * inner;
        REAL *to = AT(args->target) + (outer * args->out_cells + from) * inner;
        if (args->same) {
            memcpy(to, line + from * inner, (size_t)((end - from) * inner) * sizeof *to);
            continue;
        }
        for (int64_t start = from; start < end; start += LINE_BLOCK) {
            const int64_t count = lesser(LINE_BLOCK, end - start);
            NAME(line_places)(args, start, count, low, high, one, other);
            if (inner == 1) {
                NAME(line_cells)(line, to, count, low, high, one, other);
                to += count;
                continue;
            }
            for (int64_t i = 0; i < count; i++, to += inner) {
                const REAL *a = line + low[i] * inner, *b = line + high[i] * inner;
                for (int64_t c = 0; c < inner; c++) {
                    to[c] = one[i] * a[c] + other[i] * b[c];
                }
            }
        }
    }
}

KERNEL(line_linear, line_linear_args, NAME(linear)(args, first, last))
