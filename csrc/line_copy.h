/* Long lines resized by copies of cells: as line.h has it. Places are computed in float32 for cells
 * of every dtype. */
static void NAME(nearest)(const struct line_nearest_args *args, int64_t first, int64_t last)
{
    const int64_t inner = args->inner, most = args->in_cells - 1;
    const float scale = (float)args->scale, shift = (float)args->shift;
    for (int64_t item = first; item < last; item++) {
        const int64_t outer = item / args->chunks, from = item % args->chunks * args->chunk;
        const int64_t end = lesser(from + args->chunk, args->out_cells);
        const CELL *line = (const CELL *)(intptr_t)args->source + outer * args->in_cells * inner;
        CELL *to = (CELL *)(intptr_t)args->target + (outer * args->out_cells + from) * inner;
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

KERNEL(line_nearest, line_nearest_args, NAME(nearest)(args, first, last))
