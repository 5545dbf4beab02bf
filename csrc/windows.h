/* Windows moved over an image: what their two directions share. */
#ifndef WINDOWS_H
#define WINDOWS_H

#include "words.h"


struct span {
    int64_t low, high;
};

/* The blocks, out of `blocks`, whose cell stride * block + offset is in [0, length). */
WORDS_INLINE struct span blocks_inside(int64_t length, int64_t blocks, int64_t stride,
                                       int64_t offset)
{
    const int64_t low = offset >= 0 ? 0 : lesser(parts_of(-offset, stride), blocks);
    const int64_t high = offset >= length ? 0 : lesser(parts_of(length - offset, stride), blocks);
    return (struct span){low, greater(low, high)};
}

#endif
