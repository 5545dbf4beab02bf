/* Rows cut into chunks, and chunks or short rows gathered into work items: the words of `Rows` in
 * fastconv/backends/native/channelwise.py, which stand after two addresses.
 */
#ifndef FASTCONV_ROWS_H
#define FASTCONV_ROWS_H

#include "words.h"

enum { ROWS = 2, ROW_LENGTH, ROW_CHUNK, ROW_CHUNKS, ROWS_PER_ITEM, AFTER_ROWS };

/* What an item does: `count` elements from `start` on, of the rows from `first` to `last` - 1. */
struct row_item {
    int64_t part, start, count, first, last;
};

WORDS_INLINE struct row_item row_item(const int64_t *args, int64_t item)
{
    const int64_t block = item / args[ROW_CHUNKS], part = item % args[ROW_CHUNKS];
    const int64_t start = part * args[ROW_CHUNK], first = block * args[ROWS_PER_ITEM];
    const struct row_item found = {part, start, lesser(args[ROW_CHUNK], args[ROW_LENGTH] - start),
                                   first, lesser(first + args[ROWS_PER_ITEM], args[ROWS])};
    return found;
}

#endif
