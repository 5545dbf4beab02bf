/* Long lines resized by copies of cells: as line.h has it. Places are computed in float32 for cells
 * of every dtype. */
#ifndef LINE_COPY_WORDS
#define LINE_COPY_WORDS
enum { SOURCE, TARGET, IN, OUT, INNER, CHUNK, CHUNKS, SCALE, SHIFT };
#endif

static void NAME(nearest)(const int64_t *args, int64_t first, int64_t last)
{
    const int64_t inner = args[INNER], most = args[IN] - 1;
    const float scale = (float)number_of(args[SCALE]), shift = (float)number_of(args[SHIFT]);
    for (int64_t item = first; item < last; item++) {
        const int64_t outer = item / args[CHUNKS], from = item % args[CHUNKS] * args[CHUNK];
        const int64_t end = lesser(from + args[CHUNK], args[OUT]);
        const CELL *line = (const CELL *)(intptr_t)args[SOURCE] + outer * args[IN] * inner;
        CELL *to = (CELL *)(intptr_t)args[TARGET] + (outer * args[OUT] + from) * inner;
        if (inner == 1) {
            for (int64_t i = from; i < end; i++) {
                *to++ = line[lesser((int64_t)(((float)i + shift) * scale), most)];
            }
            continue;
        }
        for (int64_t i = from; i < end; i++, to += inner) {
            const int64_t cell = lesser((int64_t)(((float)i + shift) * scale), most);
            memcpy(to, line + cell * inner, (size_t)inner * sizeof *to);
        }
    }
}

KERNEL(line_nearest, NAME(nearest)(args, first, last))
