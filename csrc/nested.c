/* Programs within a program: an item runs all stages of one piece, in its worker's own memory.
 *
 * The words are those of fastconv/backends/native/nested.py. It is compiled once: the kernels that
 * it calls are those of an instruction set.
 */
#include <stddef.h>

#include "fastconv.h"
#include "words.h"

enum {
    RUNS, RUN_COUNT, STAGES, BLOCKS, PLACES, BUFFERS, BLOCK_AT, SCRATCH_BASE, SCRATCH_STRIDE,
    FIRST_BUFFER
};
enum {
    FIRST, STAGE_AT, STAGE_COUNT, WORD_AT, WORD_COUNT, PLACE_AT, PLACE_COUNT, WORKSPACE_AT,
    SCRATCH_AT, OFFSETS
};
enum { STAGE_WORDS = 3, PLACE_WORDS = 3 };

/* Write where a piece's buffers lie; the workspace and scratch memory come last. */
static void locate(const int64_t *args, const int64_t *run, int64_t piece, int64_t own,
                   int64_t *addresses)
{
    const int64_t given = args[BUFFERS] - 2;
    for (int64_t i = 0; i < given; i++) {
        const int64_t base = args[FIRST_BUFFER + i], *steps = run + OFFSETS + 2 * i;
        addresses[i] = base != 0 ? base + steps[0] + piece * steps[1] : 0;
    }
    addresses[given] = own + run[WORKSPACE_AT];
    addresses[given + 1] = own + run[SCRATCH_AT];
}

/* Copy a run's block, with the addresses in it. */
static void fill(const int64_t *args, const int64_t *run, const int64_t *addresses, int64_t *words)
{
    memcpy(words, words_at(args[BLOCKS], run[WORD_AT]),
           (size_t)run[WORD_COUNT] * sizeof(int64_t));
    const int64_t *place = words_at(args[PLACES], PLACE_WORDS * run[PLACE_AT]);
    for (int64_t i = 0; i < run[PLACE_COUNT]; i++, place += PLACE_WORDS) {
        const int64_t base = addresses[place[1]];
        words[place[0]] = base != 0 ? base + place[2] : 0;
    }
}

static void nested(const int64_t *args, int64_t first, int64_t last, int64_t worker)
{
    const int64_t own = args[SCRATCH_BASE] + worker * args[SCRATCH_STRIDE];
    const int64_t width = OFFSETS + 2 * (args[BUFFERS] - 2);
    int64_t *addresses = (int64_t *)(intptr_t)own;
    int64_t *words = (int64_t *)(intptr_t)(own + args[BLOCK_AT]);
    int64_t r = 0;
    for (int64_t item = first; item < last; item++) {
        while (r + 1 < args[RUN_COUNT] && words_at(args[RUNS], (r + 1) * width)[FIRST] <= item) {
            r++;
        }
        const int64_t *run = words_at(args[RUNS], r * width);
        locate(args, run, item - run[FIRST], own, addresses);
        fill(args, run, addresses, words);
        const int64_t *stage = words_at(args[STAGES], STAGE_WORDS * run[STAGE_AT]);
        for (int64_t i = 0; i < run[STAGE_COUNT]; i++, stage += STAGE_WORDS) {
            const int64_t *words_of_stage = words + stage[1] / (int64_t)sizeof(int64_t);
            call(stage[0], words_of_stage, stage[2], 0);
        }
    }
}

static const struct fastconv_entry entries[] = {{"nested", nested}, {NULL, NULL}};
const struct fastconv_entry *const fastconv_nested[] = {entries, NULL};
