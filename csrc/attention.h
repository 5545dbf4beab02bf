/* Scaled dot product attention. The words are those of fastconv/backends/native/attention.py.
 *
 * A block of queries is done at a time: their scores stay in the second cache until they have
 * weighed the values. Sums run over width and keys in order, whatever the block.
 */
#include "matrices.h"
#include "softmax_row.h"

#ifndef ATTENTION_WORDS
#define ATTENTION_WORDS
enum {
    QUERY, KEY, VALUE, MASK, ATTENTION_OUT, QUERY_PLACES, KEY_PLACES, VALUE_PLACES, MASK_PLACES,
    ATTENTION_OUT_PLACES, QUERIES, KEYS, KEY_WIDTH, VALUE_WIDTH, QUERY_ROW, QUERY_STEP, KEY_ROW,
    KEY_STEP, VALUE_ROW, VALUE_STEP, MASK_ROW, MASK_STEP, ATTENTION_OUT_ROW, ITEM_QUERIES,
    QUERY_BLOCK, ATTENTION_SCALE, CAUSAL, ZEROS, ATTENTION_SCRATCH_BASE, ATTENTION_SCRATCH_STRIDE
};
#endif

/* Where a worker's memory has what; sizes are rounded up to 64 bytes. */
struct NAME(attention_memory) {
    int64_t queries, scores, keys, values;
    REAL *factors;
};

/* Turn the first `count` scores of a row into powers, with the mask added; return what their
 * weighted sum is multiplied by. `seen` is how many of them products will read. */
INLINE REAL NAME(weigh_row)(REAL *row, const char *mask, int64_t mask_step, int64_t count,
                            int64_t seen, int zeros)
{
    if (mask != NULL) {
        const V same = NAME(splat)(count > 0 ? *(const REAL *)mask : (REAL)0);
        for (int64_t i = 0; i < count; i += LANES) {
            const V more = mask_step == 0
                               ? same
                               : NAME(load_some)((const REAL *)mask + i, count - i, (V){0});
            /* Rows have room for whole vectors. */
            NAME(store)(row + i, NAME(load)(row + i) + more);
        }
    }
    const REAL most = NAME(largest)(row, count);
    if (most == (REAL)-INFINITY && zeros) {
        int unordered = 0;
        for (int64_t i = 0; i < count; i++) {
            unordered |= row[i] != row[i];
        }
        if (!unordered) {
            memset(row, 0, (size_t)seen * sizeof(REAL));
            return 0;
        }
    }
    const V top = S(most);
    W sums[2] = {{0}, {0}};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        NAME(store)(row + i, NAME(exponentiated)(0, NAME(load)(row + i) - top, LANES, sums));
    }
    if (i < count) {
        const V x = NAME(load_first)(row + i, count - i, top) - top;
        NAME(store)(row + i, NAME(exponentiated)(0, x, count - i, sums));
    }
    for (i = count; i < seen; i++) {
        row[i] = 0;
    }
    return (REAL)(1.0 / WIDE(sum_of_lanes)(sums[0] + sums[1]));
}

/* Scaled scores of a block of queries for the keys of a panel. */
INLINE void NAME(score_panel)(int rows, int vectors, const int64_t *args, int64_t base,
                              int64_t step, int64_t there, const REAL *panel, int64_t out,
                              int64_t pitch)
{
    const V factor = S(number_of(args[ATTENTION_SCALE]));
    for (int64_t r = 0; r < there; r += rows) {
        int64_t addresses[MOST_ROWS];
        V tile[MOST_VECTORS];
        NAME(tile_rows_apart)(rows, addresses, base + r * step, step, there - r);
        NAME(tile_fill)(rows, vectors, tile, (V){0});
        NAME(tile_multiply_add)(rows, vectors, tile, addresses, 0, panel, args[KEY_WIDTH]);
        UNROLL for (int i = 0; i < rows * vectors; i++) {
            tile[i] *= factor;
        }
        NAME(tile_store_apart)(rows, vectors, tile, out + r * pitch, pitch);
    }
}

/* Values of a panel, weighed by a block's powers, `seen` of a row, and their sums. */
INLINE void NAME(weigh_panel)(int rows, int vectors, const int64_t *args,
                              const struct NAME(attention_memory) *own, int64_t pitch,
                              int64_t there, int64_t seen, const REAL *panel, int64_t out,
                              int64_t columns)
{
    for (int64_t r = 0; r < there; r += rows) {
        int64_t addresses[MOST_ROWS];
        V tile[MOST_VECTORS];
        NAME(tile_rows_apart)(rows, addresses, own->scores + r * pitch, pitch, there - r);
        NAME(tile_fill)(rows, vectors, tile, (V){0});
        NAME(tile_multiply_add)(rows, vectors, tile, addresses, 0, panel, seen);
        UNROLL for (int i = 0; i < rows; i++) {
            const V share = NAME(splat)(own->factors[lesser(r + i, there - 1)]);
            UNROLL for (int v = 0; v < vectors; v++) {
                tile[i * vectors + v] *= share;
            }
        }
        NAME(tile_store_part)(rows, vectors, tile, out + r * args[ATTENTION_OUT_ROW],
                              args[ATTENTION_OUT_ROW], there - r, columns);
    }
}

/* One block of queries of an entry: `there` of them from `row` on. */
INLINE void NAME(attend)(int rows, int vectors, const int64_t *args,
                         const struct NAME(attention_memory) *own, int64_t query, int64_t keys_at,
                         int64_t values_at, int64_t mask, int64_t out, int64_t row, int64_t there)
{
    const int64_t width = vectors * LANES, size = (int64_t)sizeof(REAL);
    const int64_t keys = args[KEYS], depth = args[KEY_WIDTH], causal = args[CAUSAL];
    const int64_t pitch = parts_of(keys, width) * width;
    const int64_t seen = greater(0, lesser(keys, row + there + causal));
    int64_t base = query + row * args[QUERY_ROW], step = args[QUERY_ROW];
    if (args[QUERY_STEP] != size) {
        NAME(rows_of)((const char *)(intptr_t)base, step, args[QUERY_STEP], there, depth,
                      AT(own->queries));
        base = own->queries, step = depth * size;
    }
    for (int64_t column = 0; column < seen; column += width) {
        const REAL *panel = AT(keys_at) + column * depth;
        const int64_t to = own->scores + column * size;
        if (NAME(panel_width)(vectors, keys - column) < width) {
            NAME(score_panel)(rows, 1, args, base, step, there, panel, to, pitch * size);
        } else {
            NAME(score_panel)(rows, vectors, args, base, step, there, panel, to, pitch * size);
        }
    }
    for (int64_t r = 0; r < there; r++) {
        const int64_t count = greater(0, lesser(keys, row + r + causal + 1));
        const char *line = mask == 0 ? NULL
                                     : (const char *)(intptr_t)mask + (row + r) * args[MASK_ROW];
        own->factors[r] = NAME(weigh_row)(AT(own->scores) + r * pitch, line, args[MASK_STEP],
                                          count, seen, args[ZEROS] || keys == 0);
    }
    for (int64_t column = 0; column < args[VALUE_WIDTH]; column += width) {
        const REAL *panel = AT(values_at) + column * keys;
        const int64_t some = args[VALUE_WIDTH] - column;
        const int64_t to = out + row * args[ATTENTION_OUT_ROW] + column * size;
        if (NAME(panel_width)(vectors, some) < width) {
            NAME(weigh_panel)(rows, 1, args, own, pitch * size, there, seen, panel, to, some);
        } else {
            NAME(weigh_panel)(rows, vectors, args, own, pitch * size, there, seen, panel, to, some);
        }
    }
}

/* A work item is some queries of an entry. */
INLINE void NAME(attention)(int rows, int vectors, const int64_t *args, int64_t first, int64_t last,
                            int64_t worker)
{
    const int64_t width = vectors * LANES, size = (int64_t)sizeof(REAL);
    const int64_t keys = args[KEYS], depth = args[KEY_WIDTH], wide = args[VALUE_WIDTH];
    const int64_t panels = parts_of(keys, width), block = args[QUERY_BLOCK];
    const int64_t row_items = parts_of(args[QUERIES], args[ITEM_QUERIES]);
    struct NAME(attention_memory) own;
    int64_t free_at = args[ATTENTION_SCRATCH_BASE] + worker * args[ATTENTION_SCRATCH_STRIDE];
    own.factors = AT(free_at);
    free_at += parts_of(block * size, 64) * 64;
    own.queries = free_at;
    free_at += args[QUERY_STEP] != size ? parts_of(block * depth * size, 64) * 64 : 0;
    own.scores = free_at;
    free_at += parts_of(block * panels * width * size, 64) * 64;
    own.keys = free_at;
    free_at += args[KEY_STEP] != IS_PACKED ? parts_of(panels * width * depth * size, 64) * 64 : 0;
    own.values = free_at;
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t entry = item / row_items, from = item % row_items * args[ITEM_QUERIES];
        const int64_t to = lesser(from + args[ITEM_QUERIES], args[QUERIES]);
        int64_t keys_at = args[KEY] + words_at(args[KEY_PLACES], entry)[0];
        int64_t values_at = args[VALUE] + words_at(args[VALUE_PLACES], entry)[0];
        const int64_t mask =
            args[MASK] == 0 ? 0 : args[MASK] + words_at(args[MASK_PLACES], entry)[0];
        if (args[KEY_STEP] != IS_PACKED) {
            for (int64_t c = 0; entry != before && c < keys; c += width) {
                NAME(panel_of)((const char *)(intptr_t)keys_at + c * args[KEY_ROW], args[KEY_STEP],
                               args[KEY_ROW], depth, keys - c,
                               NAME(panel_width)(vectors, keys - c), AT(own.keys) + c * depth);
            }
            for (int64_t c = 0; entry != before && c < wide; c += width) {
                NAME(panel_of)((const char *)(intptr_t)values_at + c * args[VALUE_STEP],
                               args[VALUE_ROW], args[VALUE_STEP], keys, wide - c,
                               NAME(panel_width)(vectors, wide - c), AT(own.values) + c * keys);
            }
            before = entry;
            keys_at = own.keys, values_at = own.values;
        }
        for (int64_t row = from; row < to; row += block) {
            NAME(attend)(rows, vectors, args, &own,
                         args[QUERY] + words_at(args[QUERY_PLACES], entry)[0], keys_at, values_at,
                         mask, args[ATTENTION_OUT] + words_at(args[ATTENTION_OUT_PLACES], entry)[0],
                         row, lesser(block, to - row));
        }
    }
}

#define ATTENTION_KERNEL(rows, vectors)                                                            \
    KERNEL(attention_##rows##x##vectors, NAME(attention)(rows, vectors, args, first, last, worker))
ATTENTION_KERNEL(1, 1)
PRODUCT_SHAPES(ATTENTION_KERNEL)
#undef ATTENTION_KERNEL
