/* Boxes by falling score that overlap none chosen before: an item is a class of an image.
 *
 * Overlaps are float32's, in one order:
 * areas are added, then what is shared is taken away.
 */
#include "sort.h"

#ifndef SUPPRESS_ONCE
#define SUPPRESS_ONCE
/* Chosen boxes that one is held against at a time. */
enum { SUPPRESS_BLOCK = 16 };

struct suppress_box {
    float left, top, right, bottom, area;
};

WORDS_INLINE struct suppress_box suppress_box(const float *box, int64_t centers)
{
    struct suppress_box found;
    if (centers) {
        const float half_width = box[2] / 2, half_height = box[3] / 2;
        found.left = box[0] - half_width, found.right = box[0] + half_width;
        found.top = box[1] - half_height, found.bottom = box[1] + half_height;
    } else {
        found.left = box[0] < box[2] ? box[0] : box[2];
        found.right = box[0] < box[2] ? box[2] : box[0];
        found.top = box[1] < box[3] ? box[1] : box[3];
        found.bottom = box[1] < box[3] ? box[3] : box[1];
    }
    found.area = (found.right - found.left) * (found.bottom - found.top);
    return found;
}

/* The boxes that are chosen, a number of each after the other. */
struct suppress_chosen {
    float *left, *top, *right, *bottom, *area;
    int64_t count;
};
#endif

/* Whether a box overlaps one of `n` chosen ones from place i on. */
INLINE int NAME(overlaps)(const struct suppress_chosen *chosen, struct suppress_box box, int64_t i,
                          const int64_t n, float limit)
{
    const float *left = chosen->left + i, *right = chosen->right + i, *top = chosen->top + i;
    const float *bottom = chosen->bottom + i, *area = chosen->area + i;
    int found = 0;
    for (int64_t k = 0; k < n; k++) {
        const float from = left[k] > box.left ? left[k] : box.left;
        const float to = right[k] < box.right ? right[k] : box.right;
        const float above = top[k] > box.top ? top[k] : box.top;
        const float below = bottom[k] < box.bottom ? bottom[k] : box.bottom;
        const float shared = (to - from) * (below - above);
        const float both = area[k] + box.area - shared;
        found |= (to > from) & (below > above) & (shared > 0) & (area[k] > 0) & (both > 0) &
                 (shared / both > limit);
    }
    return found && box.area > 0;
}

static void NAME(suppress_items)(const struct suppress_args *args, int64_t first, int64_t last,
                                 int64_t worker)
{
    const int64_t count = args->box_count, most = args->most;
    /* Whole blocks, so that all may be read at once. */
    const int64_t room = parts_of(most, SUPPRESS_BLOCK) * SUPPRESS_BLOCK;
    INTEGER *keys = AT_INTEGERS(args->scratch_base + worker * args->scratch_stride);
    INTEGER *other_keys = keys + count;
    int32_t *places = (int32_t *)(other_keys + count), *other_places = places + count;
    struct suppress_chosen chosen;
    chosen.left = (float *)(other_places + count);
    chosen.top = chosen.left + room, chosen.right = chosen.top + room;
    chosen.bottom = chosen.right + room, chosen.area = chosen.bottom + room;
    const float limit = (float)args->overlap, least = (float)args->least;
    for (int64_t item = first; item < last; item++) {
        const float *boxes = AT(args->boxes) + item / args->classes * count * 4;
        const float *scores = AT(args->scores) + item * count;
        int64_t *result = (int64_t *)(intptr_t)args->chosen + item * most;
        int64_t candidates = 0;
        for (int64_t i = 0; i < count; i++) {
            keys[candidates] = NAME(key_of)(scores[i], 0);
            /* NaN is not a candidate where there is a least score, and the last one otherwise. */
            keys[candidates] = scores[i] == scores[i] ? keys[candidates] : -INTEGER_MAX - 1;
            places[candidates] = (int32_t)i;
            candidates += !args->has_least || scores[i] > least;
        }
        NAME(sort_falling)(keys, places, other_keys, other_places, candidates);
        chosen.count = 0;
        for (int64_t i = 0; i < candidates && chosen.count < most; i++) {
            const struct suppress_box box = suppress_box(boxes + 4 * (int64_t)places[i],
                                                         args->centers);
            int found = 0;
            for (int64_t k = 0; k < chosen.count && !found; k += SUPPRESS_BLOCK) {
                found = NAME(overlaps)(&chosen, box, k, SUPPRESS_BLOCK, limit);
            }
            if (found) {
                continue;
            }
            if (chosen.count % SUPPRESS_BLOCK == 0) {
                /* Boxes of no area overlap nothing. */
                memset(chosen.area + chosen.count, 0, SUPPRESS_BLOCK * sizeof(float));
                memset(chosen.left + chosen.count, 0, SUPPRESS_BLOCK * sizeof(float));
                memset(chosen.right + chosen.count, 0, SUPPRESS_BLOCK * sizeof(float));
                memset(chosen.top + chosen.count, 0, SUPPRESS_BLOCK * sizeof(float));
                memset(chosen.bottom + chosen.count, 0, SUPPRESS_BLOCK * sizeof(float));
            }
            chosen.left[chosen.count] = box.left, chosen.right[chosen.count] = box.right;
            chosen.top[chosen.count] = box.top, chosen.bottom[chosen.count] = box.bottom;
            chosen.area[chosen.count] = box.area;
            result[chosen.count++] = places[i];
        }
        ((int64_t *)(intptr_t)args->counts)[item] = chosen.count;
        memset(result + chosen.count, 0, (size_t)(most - chosen.count) * sizeof *result);
    }
}

KERNEL(suppress, suppress_args, NAME(suppress_items)(args, first, last, worker))
