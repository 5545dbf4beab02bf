/* Panels of a parameter whose elements are stored anywhere: transposed, sliced, of 16 bits.
 *
 * A table has a row for each element of a column, in the order of their addresses: bytes from the
 * column's start, the panel's row that the element is for, and how many elements from this one on
 * are side by side.
 */
#ifndef PLACED_WORDS
#define PLACED_WORDS
/* What elements are: of the kernel's own type, float16, bfloat16. */
enum { OWN, HALF, BRAIN };
/* Fewer elements side by side are not worth a square of vectors; so many columns are done at a time,
 * which are in as many pages of memory where they are rows of the source. */
enum { SHORTEST_RUN = 4, COLUMN_BLOCK = 32 };
#endif

#if REAL_IS_FLOAT
/* float16's bits, one in each lane, as the floats that they stand for: all of them exact. */
INLINE V NAME(from_halves)(M bits)
{
    const M exponent = bits & 0x7C00;
    const M normal = ((bits & 0x7FFF) << 13) + (112 << 23), special = normal | 0x7F800000;
    V small = {0};
    for (int i = 0; i < LANE_COUNT; i++) {
        small[i] = (REAL)(bits[i] & 0x3FF);
    }
    small *= (REAL)0x1p-24;
    const M is_small = exponent == 0, is_special = exponent == 0x7C00;
    const M size = (is_small & (M)small) | (is_special & special) |
                   (~(is_small | is_special) & normal);
    return (V)(size | ((bits & 0x8000) << 16));
}

/* The first n of LANES numbers of 16 bits. */
INLINE V NAME(load_sixteen)(int kind, const char *p, int64_t n)
{
#if VECTOR_BYTES == 64
    const __mmask16 mask = n >= LANES ? 0xFFFF : n > 0 ? (__mmask16)((1 << n) - 1) : 0;
    const __m256i words = _mm256_maskz_loadu_epi16(mask, p);
    if (kind == HALF) {
        return _mm512_cvtph_ps(words);
    }
    return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16);
#else
    uint16_t words[LANE_COUNT] = {0};
    memcpy(words, p, (size_t)(2 * lesser(LANES, greater(n, 0))));
    M bits = {0};
    for (int i = 0; i < LANE_COUNT; i++) {
        bits[i] = words[i];
    }
    return kind == HALF ? NAME(from_halves)(bits) : (V)(bits << 16);
#endif
}
#endif

/* The first n elements from p on, side by side; zeros in the other lanes. */
INLINE V NAME(load_kind)(int kind, const char *p, int64_t n)
{
#if REAL_IS_FLOAT
    if (kind != OWN) {
        return NAME(load_sixteen)(kind, p, n);
    }
#endif
    (void)kind;
    return NAME(load_some)((const REAL *)p, n, (V){0});
}

/* The same of elements `step` bytes apart. */
INLINE V NAME(load_apart)(int kind, const char *p, int64_t step, int64_t n)
{
    if (kind == OWN) {
        REAL lanes[LANE_COUNT] = {0};
        for (int64_t i = 0; i < LANES && i < n; i++) {
            lanes[i] = *(const REAL *)(p + i * step);
        }
        return NAME(load)(lanes);
    }
    uint16_t lanes[LANE_COUNT] = {0};
    for (int64_t i = 0; i < LANES && i < n; i++) {
        lanes[i] = *(const uint16_t *)(p + i * step);
    }
    return NAME(load_kind)(kind, (const char *)lanes, LANES);
}

/* Elements `from` to `to` - 1 of the `some` columns that there are of `width`; zeros in the others.
 * Rows of the target are `pitch` elements apart. */
INLINE void NAME(place_columns)(int kind, const struct place_row *table, const char *source, int64_t step,
                                int64_t some, REAL *target, int64_t pitch, int64_t width,
                                int64_t from, int64_t to)
{
    const int64_t size = kind == OWN ? (int64_t)sizeof(REAL) : 2;
    for (int64_t e = from; e < to;) {
        const struct place_row *row = table + e;
        const char *p = source + row->place;
        const int64_t run = lesser(row->run, lesser(LANES, to - e));
        if (step == size || run < SHORTEST_RUN) {
            REAL *put = target + row->row * pitch;
            if (step != size && kind == OWN) {
                /* By elements: a vector of them would wait for its lanes to be stored. */
                for (int64_t j = 0; j < width; j++) {
                    put[j] = j < some ? *(const REAL *)(p + j * step) : (REAL)0;
                }
                e++;
                continue;
            }
            for (int64_t j = 0; j < width; j += LANES) {
                const V v = step == size ? NAME(load_kind)(kind, p + j * step, some - j)
                                         : NAME(load_apart)(kind, p + j * step, step, some - j);
                NAME(store_some)(put + j, width - j, v);
            }
            e++;
            continue;
        }
        for (int64_t j = 0; j < width; j += LANES) {
            V square[LANE_COUNT];
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                square[i] = (V){0};
                if (i < some - j) {
                    square[i] = NAME(load_kind)(kind, p + (j + i) * step, run);
                }
            }
            NAME(transpose)(square);
            UNROLL for (int i = 0; i < LANE_COUNT; i++) {
                if (i < run) {
                    NAME(store_some)(target + row[i].row * pitch + j,
                                     width - j, square[i]);
                }
            }
        }
        e += run;
    }
}

/* A work item is a chunk of the elements of all columns of one group. */
INLINE void NAME(placed)(int kind, const struct placed_args *args, int64_t first, int64_t last)
{
    const int64_t columns = args->columns, width = args->width;
    const int64_t count = args->count, step = args->column_step;
    const int64_t chunks = parts_of(count, args->chunk), panels = parts_of(columns, width);
    for (int64_t item = first; item < last; item++) {
        const int64_t group = item / chunks, from = item % chunks * args->chunk;
        const int64_t to = lesser(from + args->chunk, count);
        for (int64_t panel = 0; panel < panels; panel++) {
            const char *source = (const char *)(intptr_t)args->source +
                                 group * args->group_step + panel * width * step;
            REAL *target = AT(args->target) + (group * panels + panel) * count * width;
            const int64_t some = lesser(width, columns - panel * width);
            for (int64_t j = 0; j < width; j += COLUMN_BLOCK) {
                NAME(place_columns)(kind, RECORDS_AT(place_row, args->table), source + j * step, step,
                                    some - j, target + j, width, lesser(COLUMN_BLOCK, width - j),
                                    from, to);
            }
        }
    }
}

KERNEL(weights_placed, placed_args, NAME(placed)(OWN, args, first, last))
#if REAL_IS_FLOAT
KERNEL(weights_placed_sixteen_float16, placed_args, NAME(placed)(HALF, args, first, last))
KERNEL(weights_placed_sixteen_bfloat16, placed_args, NAME(placed)(BRAIN, args, first, last))
#endif
