/* Programs within a program: an item runs all stages of one piece, in its worker's own memory.
 *
 * It is compiled once: the kernels that it calls are those of an instruction set.
 */
#include <stddef.h>

#include "fastconv.h"
#include "nested_arguments.h"
#include "words.h"

enum { STAGE_WORDS = 3, PLACE_WORDS = 3 };

/* Write where a piece's buffers are; the workspace and scratch memory come last. */
static void locate(const struct nested_args *args, const struct nested_run *run, int64_t piece,
                   int64_t own, int64_t *addresses)
{
    const int64_t given = args->buffers - 2;
    for (int64_t i = 0; i < given; i++) {
        const int64_t base = args->buffer_addresses[i], *steps = run->offsets + 2 * i;
        addresses[i] = base != 0 ? base + steps[0] + piece * steps[1] : 0;
    }
    addresses[given] = own + run->workspace_at;
    addresses[given + 1] = own + run->scratch_at;
}

/* Copy a run's block, with the addresses in it. */
static void fill(const struct nested_args *args, const struct nested_run *run,
                 const int64_t *addresses, int64_t *words)
{
    memcpy(words, words_at(args->blocks, run->word_at),
           (size_t)run->word_count * sizeof(int64_t));
    const int64_t *place = words_at(args->places, PLACE_WORDS * run->place_at);
    for (int64_t i = 0; i < run->place_count; i++, place += PLACE_WORDS) {
        const int64_t base = addresses[place[1]];
        words[place[0]] = base != 0 ? base + place[2] : 0;
    }
}

static const struct nested_run *run_at(const struct nested_args *args, int64_t word)
{
    return (const struct nested_run *)words_at(args->runs, word);
}

void fastconv_nested(const int64_t *block, int64_t first, int64_t last, int64_t worker)
{
    const struct nested_args *args = (const struct nested_args *)block;
    const int64_t own = args->scratch_base + worker * args->scratch_stride;
    /* Words of a run. */
    const int64_t width =
        (int64_t)(sizeof(struct nested_run) / sizeof(int64_t)) + 2 * (args->buffers - 2);
    int64_t *addresses = (int64_t *)(intptr_t)own;
    int64_t *words = (int64_t *)(intptr_t)(own + args->block_at);
    int64_t r = 0;
    for (int64_t item = first; item < last; item++) {
        while (r + 1 < args->run_count && run_at(args, (r + 1) * width)->first <= item) {
            r++;
        }
        const struct nested_run *run = run_at(args, r * width);
        locate(args, run, item - run->first, own, addresses);
        fill(args, run, addresses, words);
        const int64_t *stage = words_at(args->stages, STAGE_WORDS * run->stage_at);
        for (int64_t i = 0; i < run->stage_count; i++, stage += STAGE_WORDS) {
            const int64_t *words_of_stage = words + stage[1] / (int64_t)sizeof(int64_t);
            call(stage[0], words_of_stage, stage[2], 0);
        }
    }
}
