/* The largest or smallest entries along an axis, and their places: an item is a line, or some lines
 * of an axis that is not the last, which are brought together first. */
#include "sort.h"

#ifndef TOPK_ONCE
#define TOPK_ONCE
enum { TOP_BLOCK = 64 };
#endif

/* The key of which `rank` keys are as large or larger, at least, and fewer are larger; `left` is
 * spoilt. */
static INTEGER NAME(key_at)(INTEGER *left, int64_t count, int64_t rank)
{
    for (int shift = (int)sizeof(INTEGER) * 8 - 8; shift >= 0; shift -= 8) {
        int64_t counts[256] = {0};
        for (int64_t i = 0; i < count; i++) {
            counts[NAME(digit)(left[i], shift)]++;
        }
        int digit = 0;
        while (counts[digit] < rank) {
            rank -= counts[digit++];
        }
        if (counts[digit] == count) {
            continue;
        }
        int64_t kept = 0;
        for (int64_t i = 0; i < count; i++) {
            left[kept] = left[i];
            kept += NAME(digit)(left[i], shift) == digit;
        }
        count = kept;
    }
    return left[0];
}

/* Memory for candidates in two forms, and how many there are. */
struct NAME(candidates) {
    INTEGER *keys, *other_keys;
    int32_t *places, *other_places;
    int64_t count;
};

/* Whether any of a block's keys is above the least that is wanted. */
INLINE int NAME(any_above)(const REAL *line, int64_t count, INTEGER least, INTEGER flip)
{
    INTEGER found = 0;
    for (int64_t i = 0; i < count; i++) {
        found |= NAME(key_of)(line[i], flip) > least;
    }
    return found != 0;
}

/* Choose a few: those so far are kept sorted. */
static void NAME(choose_few)(struct NAME(candidates) *best, const REAL *line, int64_t length,
                             int64_t wanted, INTEGER flip)
{
    int64_t have = 0;
    for (int64_t start = 0; start < length; start += TOP_BLOCK) {
        const int64_t end = lesser(start + TOP_BLOCK, length);
        if (have == wanted &&
            !(end - start == TOP_BLOCK
                  ? NAME(any_above)(line + start, TOP_BLOCK, best->keys[have - 1], flip)
                  : NAME(any_above)(line + start, end - start, best->keys[have - 1], flip))) {
            continue;
        }
        for (int64_t i = start; i < end; i++) {
            const INTEGER key = NAME(key_of)(line[i], flip);
            if (have == wanted && key <= best->keys[have - 1]) {
                continue;
            }
            int64_t j = have < wanted ? have++ : have - 1;
            for (; j > 0 && best->keys[j - 1] < key; j--) {
                best->keys[j] = best->keys[j - 1];
                best->places[j] = best->places[j - 1];
            }
            best->keys[j] = key;
            best->places[j] = (int32_t)i;
        }
    }
    best->count = have;
}

/* Leave the best of the candidates, in the order of their places; give the least one's key. */
static INTEGER NAME(cut_down)(struct NAME(candidates) *best, int64_t wanted)
{
    memcpy(best->other_keys, best->keys, (size_t)best->count * sizeof *best->keys);
    const INTEGER least = NAME(key_at)(best->other_keys, best->count, wanted);
    int64_t above = 0, kept = 0;
    for (int64_t i = 0; i < best->count; i++) {
        above += best->keys[i] > least;
    }
    int64_t equal = wanted - above;
    for (int64_t i = 0; i < best->count; i++) {
        const INTEGER key = best->keys[i];
        if (key > least || (key == least && equal-- > 0)) {
            best->keys[kept] = key;
            best->places[kept++] = best->places[i];
        }
    }
    best->count = kept;
    return least;
}

static void NAME(choose_many)(struct NAME(candidates) *best, const REAL *line, int64_t length,
                              int64_t wanted, int64_t room, INTEGER flip)
{
    /* The first ones are all candidates; then those above the least of the best. */
    for (int64_t i = 0; i < room; i++) {
        best->keys[i] = NAME(key_of)(line[i], flip);
        best->places[i] = (int32_t)i;
    }
    best->count = room;
    INTEGER least = wanted < room ? NAME(cut_down)(best, wanted) : 0;
    for (int64_t start = room; start < length; start += TOP_BLOCK) {
        const int64_t end = lesser(start + TOP_BLOCK, length);
        if (end - start == TOP_BLOCK && !NAME(any_above)(line + start, TOP_BLOCK, least, flip)) {
            continue;
        }
        for (int64_t i = start; i < end; i++) {
            const INTEGER key = NAME(key_of)(line[i], flip);
            if (key > least) {
                if (best->count == room) {
                    least = NAME(cut_down)(best, wanted);
                    if (key <= least) {
                        continue;
                    }
                }
                best->keys[best->count] = key;
                best->places[best->count++] = (int32_t)i;
            }
        }
    }
    if (best->count > wanted) {
        NAME(cut_down)(best, wanted);
    }
}

INLINE void NAME(top_of_line)(const struct top_k_args *args, struct NAME(candidates) *best,
                              const REAL *line,
                              REAL *values, int64_t *places)
{
    const int64_t wanted = args->count, length = args->length, inner = args->inner;
    const INTEGER flip = args->largest ? 0 : -1;
    if (wanted <= TOP_K_FEW) {
        NAME(choose_few)(best, line, length, wanted, flip);
    } else {
        NAME(choose_many)(best, line, length, wanted, args->room, flip);
    }
    if (!args->ordered && wanted <= TOP_K_FEW) {
        for (int64_t i = 1; i < best->count; i++) {
            const int32_t place = best->places[i];
            int64_t j = i;
            for (; j > 0 && best->places[j - 1] > place; j--) {
                best->places[j] = best->places[j - 1];
            }
            best->places[j] = place;
        }
    } else if (args->ordered && wanted > TOP_K_FEW) {
        NAME(sort_falling)(best->keys, best->places, best->other_keys, best->other_places,
                           best->count);
    }
    for (int64_t i = 0; i < wanted; i++) {
        values[i * inner] = line[best->places[i]];
        places[i * inner] = best->places[i];
    }
}

static void NAME(top_items)(const struct top_k_args *args, int64_t first, int64_t last,
                            int64_t worker)
{
    const int64_t length = args->length, inner = args->inner, count = args->count;
    const int64_t blocks = parts_of(inner, TOP_K_LINES), room = args->room;
    struct NAME(candidates) best;
    best.keys = AT_INTEGERS(args->scratch_base + worker * args->scratch_stride);
    best.other_keys = best.keys + room;
    REAL *lines = (REAL *)(best.other_keys + room);
    best.places = (int32_t *)(lines + (inner > 1 ? TOP_K_LINES * length : 0));
    best.other_places = best.places + room;
    for (int64_t item = first; item < last; item++) {
        const int64_t outer = item / blocks, start = item % blocks * TOP_K_LINES;
        const int64_t width = lesser(TOP_K_LINES, inner - start);
        const REAL *source = AT(args->source) + outer * length * inner + start;
        REAL *values = AT(args->values) + outer * count * inner + start;
        int64_t *places = (int64_t *)(intptr_t)args->places + outer * count * inner + start;
        if (inner == 1) {
            NAME(top_of_line)(args, &best, source, values, places);
            continue;
        }
        for (int64_t i = 0; i < length; i++) {
            for (int64_t j = 0; j < width; j++) {
                lines[j * length + i] = source[i * inner + j];
            }
        }
        for (int64_t j = 0; j < width; j++) {
            NAME(top_of_line)(args, &best, lines + j * length, values + j, places + j);
        }
    }
}

KERNEL(topk, top_k_args, NAME(top_items)(args, first, last, worker))
