/* Scaled dot product attention.
 *
 * A block of queries is done at a time: their scores stay in the second cache until they have
 * weighed the values. Sums run over width and keys in order, whatever the block.
 */
#include "matrices.h"
#include "softmax_row.h"

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
INLINE void NAME(score_panel)(int rows, int vectors, const struct attention_args *args,
                              int64_t base,
                              int64_t step, int64_t there, const REAL *panel, int64_t out,
                              int64_t pitch)
{
    const V factor = S(args->scale);
    for (int64_t r = 0; r < there; r += rows) {
        int64_t addresses[MOST_ROWS];
        V tile[MOST_VECTORS];
        NAME(tile_rows_apart)(rows, addresses, base + r * step, step, there - r);
        NAME(tile_fill)(rows, vectors, tile, (V){0});
        NAME(tile_multiply_add)(rows, vectors, tile, addresses, 0, panel, args->key_width);
        UNROLL for (int i = 0; i < rows * vectors; i++) {
            tile[i] *= factor;
        }
        NAME(tile_store_apart)(rows, vectors, tile, out + r * pitch, pitch);
    }
}

/* Values of a panel, weighed by a block's powers, `seen` of a row, and their sums. */
INLINE void NAME(weigh_panel)(int rows, int vectors, const struct attention_args *args,
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
        NAME(tile_store_part)(rows, vectors, tile, out + r * args->out_row,
                              args->out_row, there - r, columns);
    }
}

/* One block of queries of an entry: `there` of them from `row` on. */
INLINE void NAME(attend)(int rows, int vectors, const struct attention_args *args,
                         const struct NAME(attention_memory) *own, int64_t query, int64_t keys_at,
                         int64_t values_at, int64_t mask, int64_t out, int64_t row, int64_t there)
{
    const int64_t width = vectors * LANES, size = (int64_t)sizeof(REAL);
    const int64_t keys = args->keys, depth = args->key_width, causal = args->causal;
    const int64_t pitch = parts_of(keys, width) * width;
    const int64_t seen = greater(0, lesser(keys, row + there + causal));
    int64_t base = query + row * args->query_row, step = args->query_row;
    if (args->query_step != size) {
        NAME(rows_of)((const char *)(intptr_t)base, step, args->query_step, there, depth,
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
                                     : (const char *)(intptr_t)mask + (row + r) * args->mask_row;
        own->factors[r] = NAME(weigh_row)(AT(own->scores) + r * pitch, line, args->mask_step,
                                          count, seen, args->zeros || keys == 0);
    }
    for (int64_t column = 0; column < args->value_width; column += width) {
        const REAL *panel = AT(values_at) + column * keys;
        const int64_t some = args->value_width - column;
        const int64_t to = out + row * args->out_row + column * size;
        if (NAME(panel_width)(vectors, some) < width) {
            NAME(weigh_panel)(rows, 1, args, own, pitch * size, there, seen, panel, to, some);
        } else {
            NAME(weigh_panel)(rows, vectors, args, own, pitch * size, there, seen, panel, to, some);
        }
    }
}

/* A work item is some queries of an entry. */
INLINE void NAME(attention)(int rows, int vectors, const struct attention_args *args, int64_t first,
                            int64_t last,
                            int64_t worker)
{
    const int64_t width = vectors * LANES, size = (int64_t)sizeof(REAL);
    const int64_t keys = args->keys, depth = args->key_width, wide = args->value_width;
    const int64_t panels = parts_of(keys, width), block = args->query_block;
    const int64_t row_items = parts_of(args->queries, args->item_queries);
    struct NAME(attention_memory) own;
    int64_t free_at = args->scratch_base + worker * args->scratch_stride;
    own.factors = AT(free_at);
    free_at += parts_of(block * size, 64) * 64;
    own.queries = free_at;
    free_at += args->query_step != size ? parts_of(block * depth * size, 64) * 64 : 0;
    own.scores = free_at;
    free_at += parts_of(block * panels * width * size, 64) * 64;
    own.keys = free_at;
    free_at += args->key_step != IS_PACKED ? parts_of(panels * width * depth * size, 64) * 64 : 0;
    own.values = free_at;
    int64_t before = -1;
    for (int64_t item = first; item < last; item++) {
        const int64_t entry = item / row_items, from = item % row_items * args->item_queries;
        const int64_t to = lesser(from + args->item_queries, args->queries);
        int64_t keys_at = args->key + words_at(args->key_places, entry)[0];
        int64_t values_at = args->value + words_at(args->value_places, entry)[0];
        const int64_t mask =
            args->mask == 0 ? 0 : args->mask + words_at(args->mask_places, entry)[0];
        if (args->key_step != IS_PACKED) {
            for (int64_t c = 0; entry != before && c < keys; c += width) {
                NAME(panel_of)((const char *)(intptr_t)keys_at + c * args->key_row, args->key_step,
                               args->key_row, depth, keys - c,
                               NAME(panel_width)(vectors, keys - c), AT(own.keys) + c * depth);
            }
            for (int64_t c = 0; entry != before && c < wide; c += width) {
                NAME(panel_of)((const char *)(intptr_t)values_at + c * args->value_step,
                               args->value_row, args->value_step, keys, wide - c,
                               NAME(panel_width)(vectors, wide - c), AT(own.values) + c * keys);
            }
            before = entry;
            keys_at = own.keys, values_at = own.values;
        }
        for (int64_t row = from; row < to; row += block) {
            NAME(attend)(rows, vectors, args, &own,
                         args->query + words_at(args->query_places, entry)[0], keys_at, values_at,
                         mask, args->out + words_at(args->out_places, entry)[0],
                         row, lesser(block, to - row));
        }
    }
}

#define ATTENTION_KERNEL(rows, vectors)                                                            \
    KERNEL(attention_##rows##x##vectors, attention_args,                                           \
           NAME(attention)(rows, vectors, args, first, last, worker))
SHAPES(gemm)(ATTENTION_KERNEL)
#undef ATTENTION_KERNEL
