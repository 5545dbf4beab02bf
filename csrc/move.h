/* Cells of any dtype moved bit for bit: gathered by tables, permuted, or copied from windows.
 *
 * `gather`: the arrays are (outer, A, B, C, inner), an item is one row of the last table.
 * `permute`: an item is what the output's last three axes hold. `rows`: an item
 * is a chunk of a row, or some short rows, copied to where another array has them. `unfold`: an item
 * is one tap of one channel, a row of the columns.
 */
#include "rows.h"
#include "windows.h"

#ifndef MOVE_ONCE
#define MOVE_ONCE
/* Bytes between cells up to which loops over them are unrolled. */
enum { NEAR = 64 };
/* Cells of a row of the output from which on it is written at once, if the input's are near. */
enum { SHORT_ROW = 8 };
#endif

#define CELLS_AT(address) ((CELL *)(intptr_t)(address))

typedef uint8_t NAME(block) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

INLINE NAME(block) NAME(load_block)(const char *of, int64_t place)
{
    return *(const NAME(block) *)(of + place);
}

INLINE void NAME(store_block)(char *to, int64_t place, NAME(block) block)
{
    *(NAME(block) *)(to + place) = block;
}

/* Copy fewer bytes than a vector has: rows are often as short, and a call takes longer. */
INLINE void NAME(copy_few)(char *restrict to, const char *restrict of, int64_t bytes)
{
#if VECTOR_BYTES == 64
    const __mmask64 there = ((__mmask64)1 << bytes) - 1;
    _mm512_mask_storeu_epi8(to, there, _mm512_maskz_loadu_epi8(there, of));
#else
    /* Two parts that overlap. */
    if (bytes >= 16) {
        memcpy(to, of, 16);
        memcpy(to + bytes - 16, of + bytes - 16, 16);
    } else if (bytes >= 8) {
        memcpy(to, of, 8);
        memcpy(to + bytes - 8, of + bytes - 8, 8);
    } else {
        for (int64_t i = 0; i < bytes; i++) {
            to[i] = of[i];
        }
    }
#endif
}

/* Copy cells. Two vectors at a time, which no compiler takes for a call of memcpy: for rows of an
 * image those would be a tenth of the time. */
INLINE void NAME(copy)(CELL *restrict to, const CELL *restrict of, int64_t count)
{
    const int64_t bytes = count * (int64_t)sizeof(CELL);
    char *target = (char *)to;
    const char *source = (const char *)of;
    if (bytes < VECTOR_BYTES) {
        NAME(copy_few)(target, source, bytes);
        return;
    }
    int64_t done = 0;
    for (; done + 2 * VECTOR_BYTES <= bytes; done += 2 * VECTOR_BYTES) {
        const NAME(block) first = NAME(load_block)(source, done);
        const NAME(block) second = NAME(load_block)(source, done + VECTOR_BYTES);
        NAME(store_block)(target, done, first);
        NAME(store_block)(target, done + VECTOR_BYTES, second);
    }
    if (done + VECTOR_BYTES <= bytes) {
        NAME(store_block)(target, done, NAME(load_block)(source, done));
    }
    /* The last vector overlaps the one before. */
    const int64_t last = bytes - VECTOR_BYTES;
    NAME(store_block)(target, last, NAME(load_block)(source, last));
}

/* Take blocks of `inner` cells by a table's places first to last - 1. */
INLINE void NAME(pick)(CELL *restrict to, const CELL *restrict of, const CELL *restrict fill,
                       const int64_t *table, int64_t first, int64_t last, const int64_t inner)
{
    for (int64_t c = first; c < last; c++) {
        const CELL *from = table[c] < 0 ? fill + c * inner : of + table[c] * inner;
        if (inner <= 4) {
            memcpy(to + c * inner, from, (size_t)inner * sizeof(CELL));
        } else {
            NAME(copy)(to + c * inner, from, inner);
        }
    }
}

/* Write each cell of a row so many times in a row. */
INLINE void NAME(repeat)(CELL *restrict to, const CELL *restrict of, int64_t count,
                         const int64_t times)
{
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = 0; k < times; k++) {
            to[i * times + k] = of[i];
        }
    }
}

/* The same where the number of times is known to no compiler; 0: it is another. */
INLINE int NAME(repeated)(CELL *restrict to, const CELL *restrict of, int64_t count, int64_t times)
{
    switch (times) {
    case 2:
        NAME(repeat)(to, of, count, 2);
        return 1;
    case 3:
        NAME(repeat)(to, of, count, 3);
        return 1;
    case 4:
        NAME(repeat)(to, of, count, 4);
        return 1;
    default:
        return 0;
    }
}

/* Gather one row; neighbours in the table are copied at once. */
INLINE void NAME(gather_row)(const struct gather_args *args, CELL *row, const CELL *start,
                             const int64_t inner)
{
    const int64_t *table = words_at(args->c_table, 0);
    const CELL *fill = CELLS_AT(args->fill);
    const int64_t from = args->run_from, to = args->run_to;
    NAME(pick)(row, start, fill, table, 0, from, inner);
    if (to > from) {
        NAME(copy)(row + from * inner, start + table[from] * inner, (to - from) * inner);
    }
    NAME(pick)(row, start, fill, table, to, args->c_out, inner);
}

static void NAME(gather)(const struct gather_args *args, int64_t first, int64_t last)
{
    const int64_t *a_table = words_at(args->a_table, 0), *b_table = words_at(args->b_table, 0);
    const int64_t inner = args->inner, cells = args->c_out * inner, rest = first / args->b_out;
    int64_t b = first % args->b_out - 1, a = rest % args->a_out, outer = rest / args->a_out;
    for (int64_t item = first; item < last; item++) {
        CELL *row = CELLS_AT(args->target) + item * cells;
        if (++b == args->b_out) {
            b = 0;
            if (++a == args->a_out) {
                a = 0;
                outer++;
            }
        }
        if (b > 0 && item > first && b_table[b] == b_table[b - 1]) {
            NAME(copy)(row, row - cells, cells);
            continue;
        }
        if (a_table[a] < 0 || b_table[b] < 0) {
            NAME(copy)(row, CELLS_AT(args->fill), cells);
            continue;
        }
        const int64_t line = (outer * args->a_in + a_table[a]) * args->b_in + b_table[b];
        const CELL *start = CELLS_AT(args->source) + line * args->c_in * inner;
        if (args->repeats && NAME(repeated)(row, start, args->c_in, args->repeats)) {
            continue;
        }
        switch (inner) {
        case 1:
            NAME(gather_row)(args, row, start, 1);
            break;
        case 2:
            NAME(gather_row)(args, row, start, 2);
            break;
        case 3:
            NAME(gather_row)(args, row, start, 3);
            break;
        case 4:
            NAME(gather_row)(args, row, start, 4);
            break;
        default:
            NAME(gather_row)(args, row, start, inner);
            break;
        }
    }
}

INLINE void NAME(every_cell)(CELL *restrict to, const CELL *restrict of, const int64_t step,
                             int64_t count)
{
    _Pragma("GCC unroll 4") for (int64_t i = 0; i < count; i++) {
        to[i] = of[i * step];
    }
}

/* The same by single loads and stores, without a vector's overhead. */
INLINE void NAME(single_cells)(CELL *restrict to, const CELL *restrict of, const int64_t step,
                               int64_t count)
{
    _Pragma("GCC unroll 8") for (int64_t i = 0; i < count; i++) {
        STAY_SCALAR();
        to[i] = of[i * step];
    }
}

/* The same by one load instruction, from whose strides prefetchers learn. */
INLINE void NAME(far_cells)(CELL *restrict to, const CELL *restrict of, const int64_t step,
                            int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        STAY_SCALAR();
        to[i] = of[i * step];
    }
}

/* Bring cells that are `step` apart together. */
static void NAME(take_every)(CELL *restrict to, const CELL *restrict of, int64_t step,
                             int64_t count)
{
    const int64_t size = (int64_t)sizeof(CELL);
    if (step == 1) {
        NAME(copy)(to, of, count);
    } else if (step == 0) {
        const CELL only = *of;
        for (int64_t i = 0; i < count; i++) {
            to[i] = only;
        }
    } else if (step * size > NEAR) {
        NAME(far_cells)(to, of, step, count);
    } else if (size == 1 && count < VECTOR_BYTES) {
        NAME(single_cells)(to, of, step, count);
    } else if (step == 2) {
        NAME(every_cell)(to, of, 2, count);
    } else if (step == 3) {
        NAME(every_cell)(to, of, 3, count);
    } else if (step == 4) {
        NAME(every_cell)(to, of, 4, count);
    } else {
        NAME(every_cell)(to, of, step, count);
    }
}

/* Turn a plane whose output has few columns: one run of the input after the other. */
INLINE void NAME(turn)(CELL *restrict to, const CELL *restrict of, int64_t rows,
                       const int64_t columns, const int64_t row_step, int64_t column_step)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            to[i * columns + j] = of[i * row_step + j * column_step];
        }
    }
}

static void NAME(permute_plane)(CELL *restrict to, const CELL *restrict of, int64_t rows,
                                int64_t columns, int64_t row_step, int64_t column_step)
{
    if (row_step == 1 && columns == 2) {
        NAME(turn)(to, of, rows, 2, 1, column_step);
    } else if (row_step == 1 && columns == 3) {
        NAME(turn)(to, of, rows, 3, 1, column_step);
    } else if (row_step == 1 && columns == 4) {
        NAME(turn)(to, of, rows, 4, 1, column_step);
    } else if (columns < rows && column_step > 1 &&
               (column_step > row_step || columns < SHORT_ROW)) {
        for (int64_t j = 0; j < columns; j++) {
            for (int64_t i = 0; i < rows; i++) {
                to[i * columns + j] = of[i * row_step + j * column_step];
            }
        }
    } else {
        for (int64_t i = 0; i < rows; i++) {
            NAME(take_every)(to + i * columns, of + i * row_step, column_step, columns);
        }
    }
}

/* Turn planes of few cells: one cell of all of them after the other. */
INLINE void NAME(permute_planes)(CELL *restrict to, const CELL *restrict of, int64_t planes,
                                 int64_t rows, int64_t columns, const int64_t *steps)
{
    for (int64_t cell = 0; cell < rows * columns; cell++) {
        const CELL *from = of + cell / columns * steps[1] + cell % columns * steps[2];
        for (int64_t plane = 0; plane < planes; plane++) {
            to[plane * rows * columns + cell] = from[plane * steps[0]];
        }
    }
}

static void NAME(permute)(const struct permute_args *args, int64_t first, int64_t last)
{
    const int64_t *lengths = args->lengths, *steps = args->steps;
    const int64_t planes = lengths[2], rows = lengths[3], columns = lengths[4];
    for (int64_t item = first; item < last; item++) {
        const int64_t rest = item / lengths[1];
        const int64_t origin = item % lengths[1] * steps[2] + rest % lengths[0] * steps[1] +
                               rest / lengths[0] * steps[0];
        CELL *to = CELLS_AT(args->target) + item * planes * rows * columns;
        const CELL *of = CELLS_AT(args->source) + origin;
        if (planes > rows * columns) {
            NAME(permute_planes)(to, of, planes, rows, columns, steps + 3);
            continue;
        }
        for (int64_t plane = 0; plane < planes; plane++) {
            NAME(permute_plane)(to + plane * rows * columns, of + plane * steps[3], rows, columns,
                                steps[4], steps[5]);
        }
    }
}

static void NAME(copy_rows)(const struct copy_rows_args *args, int64_t first, int64_t last)
{
    for (int64_t item = first; item < last; item++) {
        const struct row_item rows = row_item(&args->base, item);
        for (int64_t row = rows.first; row < rows.last; row++) {
            NAME(copy)(CELLS_AT(args->target) + row * args->target_pitch + rows.start,
                       CELLS_AT(args->source) + row * args->source_pitch + rows.start, rows.count);
        }
    }
}

INLINE void NAME(zero)(CELL *to, int64_t count)
{
    memset(to, 0, (size_t)count * sizeof(CELL));
}

static void NAME(unfold)(const struct windows_args *args, int64_t first, int64_t last)
{
    const int64_t rows = args->rows, columns = args->columns, x_step = args->x_step;
    for (int64_t item = first; item < last; item++) {
        const int64_t j = item % args->kernel_width, tap_row = item / args->kernel_width;
        const int64_t i = tap_row % args->kernel_height, plane = tap_row / args->kernel_height;
        const int64_t channel = plane % args->channels, image = plane / args->channels;
        const int64_t y_from = i * args->y_dilation - args->top;
        const int64_t x_from = j * args->x_dilation - args->left;
        const struct span inside = blocks_inside(args->width, columns, args->x_stride, x_from);
        const CELL *cells = CELLS_AT(args->source) + image * args->image_step +
                            channel * args->channel_step +
                            (inside.low * args->x_stride + x_from) * x_step;
        CELL *to = CELLS_AT(args->target) + item * rows * columns;
        for (int64_t row = 0; row < rows; row++, to += columns) {
            const int64_t y = row * args->y_stride + y_from;
            if (y < 0 || y >= args->height || inside.high == inside.low) {
                NAME(zero)(to, columns);
                continue;
            }
            NAME(zero)(to, inside.low);
            NAME(take_every)(to + inside.low, cells + y * args->y_step, args->x_stride * x_step,
                             inside.high - inside.low);
            NAME(zero)(to + inside.high, columns - inside.high);
        }
    }
}

KERNEL(move_gather, gather_args, NAME(gather)(args, first, last))
KERNEL(move_permute, permute_args, NAME(permute)(args, first, last))
KERNEL(move_rows, copy_rows_args, NAME(copy_rows)(args, first, last))
KERNEL(move_unfold, windows_args, NAME(unfold)(args, first, last))
