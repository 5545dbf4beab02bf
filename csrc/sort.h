/* Keys and the places that they come from, sorted by falling key; equal ones stay as they are.
 *
 * A key is an INTEGER whose order is that of numbers: NaN above all, zeros alike. Everything is
 * done in memory that callers give.
 */
#include "words.h"

#ifndef SORT_SHORT
#define AT_INTEGERS(address) ((INTEGER *)(intptr_t)(address))
/* Up to so many are sorted by putting each in its place. */
#define SORT_SHORT 48
#endif

/* A number's key; `flip` is 0, or -1 where the smallest comes first. */
INLINE INTEGER NAME(key_of)(REAL x, INTEGER flip)
{
    INTEGER bits;
    memcpy(&bits, &x, sizeof bits);
    const INTEGER size = bits & INTEGER_MAX;
    const INTEGER infinite =
        REAL_IS_FLOAT ? (INTEGER)0x7f800000 : (INTEGER)0x7ff0000000000000;
    INTEGER key = bits < 0 ? -size : size;
    key = size > infinite ? INTEGER_MAX : key;
    return key ^ flip;
}

static void NAME(sort_short)(INTEGER *keys, int32_t *places, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        const INTEGER key = keys[i];
        const int32_t place = places[i];
        int64_t j = i;
        for (; j > 0 && keys[j - 1] < key; j--) {
            keys[j] = keys[j - 1];
            places[j] = places[j - 1];
        }
        keys[j] = key;
        places[j] = place;
    }
}

/* The digit of a key, such that larger keys have smaller digits. */
INLINE int NAME(digit)(INTEGER key, int shift)
{
    /* The sign's bit is turned, then all are. */
    return (int)(((uint64_t)(key ^ INTEGER_MAX) >> shift) & 255);
}

/* Sort by digits, the last first; `other_keys` and `other_places` have room for as many. */
static void NAME(sort_falling)(INTEGER *keys, int32_t *places, INTEGER *other_keys,
                               int32_t *other_places, int64_t count)
{
    if (count <= SORT_SHORT) {
        NAME(sort_short)(keys, places, count);
        return;
    }
    INTEGER *const own_keys = keys;
    int32_t *const own_places = places;
    for (int shift = 0; shift < (int)sizeof(INTEGER) * 8; shift += 8) {
        int64_t starts[256] = {0}, total = 0;
        for (int64_t i = 0; i < count; i++) {
            starts[NAME(digit)(keys[i], shift)]++;
        }
        if (starts[NAME(digit)(keys[0], shift)] == count) {
            continue;
        }
        for (int d = 0; d < 256; d++) {
            const int64_t here = starts[d];
            starts[d] = total;
            total += here;
        }
        for (int64_t i = 0; i < count; i++) {
            const int64_t to = starts[NAME(digit)(keys[i], shift)]++;
            other_keys[to] = keys[i];
            other_places[to] = places[i];
        }
        INTEGER *const swapped = keys;
        int32_t *const swapped_places = places;
        keys = other_keys, places = other_places;
        other_keys = swapped, other_places = swapped_places;
    }
    if (keys != own_keys) {
        memcpy(own_keys, keys, (size_t)count * sizeof *keys);
        memcpy(own_places, places, (size_t)count * sizeof *places);
    }
}
