/* Rows cut into chunks, and chunks or short rows gathered into work items: `Rows` in
 * fastconv/backends/manifest/elements.py.
 */
#ifndef FASTCONV_ROWS_H
#define FASTCONV_ROWS_H

#include "words.h"

/* What an item does: `count` elements from `start` on, of the rows from `first` to `last` - 1. */
struct row_item {
    int64_t part, start, count, first, last;
};

WORDS_INLINE struct row_item row_item(const struct rows_args *args, int64_t item)
{
    const int64_t block = item / args->row_chunks, part = item % args->row_chunks;
    const int64_t start = part * args->row_chunk, first = block * args->rows_per_item;
    const struct row_item found = {part, start, lesser(args->row_chunk, args->row_length - start),
                                   first, lesser(first + args->rows_per_item, args->rows)};
    return found;
}

#endif
