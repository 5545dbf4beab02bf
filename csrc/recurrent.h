/* The steps of recurrent layers: a work item is some batch entries of one direction, all steps.
 *
 * What each step's inputs come to is known already (a GEMM's rows, bias included). A step adds the
 * products of the state before it, unit by unit in order, and finishes the gates of a panel's
 * hidden units in registers. Lanes run across hidden units; the state of both steps is in the
 * worker's own memory. How weights are packed is explained in
 * fastconv/backends/native/recurrent.py.
 */
#include "functions.h"
#include "tile.h"

#ifndef RECURRENT_ONCE
#define RECURRENT_ONCE
/* Kinds: a GRU's reset gate goes before or after the product with the state. */
enum { LSTM, GRU, RESET, RNN };
/* The words of a direction's functions, and their numbers. */
enum { GATES_OF_DIRECTION = 3 * RECURRENT_GATE_WORDS };
enum {
    SIGMOID, TANH, RELU, AFFINE, LEAKY_RELU, THRESHOLDED_RELU, SCALED_TANH, HARD_SIGMOID, ELU,
    SOFTSIGN, SOFTPLUS
};
/* Batch entries of a tile, tiles of an item, and panels of a single entry: enough sums at once to hide the latency
 * of a multiply-add. */
enum { MOST_ENTRIES = 6, PANELS_TOGETHER = 2, PANEL_VECTORS = 4 };
#endif

/* One step of the batch entries of a tile. States and weights have `padded` elements a row. */
struct NAME(turn) {
    const struct recurrent_args *args;
    const int64_t *gates;
    int64_t direction, hidden, padded;
    V clip;
    REAL *before, *after, *cell, *reset;
    const REAL *x[MOST_ENTRIES];
    REAL *y[MOST_ENTRIES]; /* NULL for entries past the last */
    int64_t active[MOST_ENTRIES];
};

/* The functions that few networks have. */
static __attribute__((noinline, unused)) V NAME(rare_gate)(int64_t function, V x, V a, V b)
{
    switch (function) {
    case RELU:
        /* NaN stays. */
        return NAME(larger)(S(0), x);
    case AFFINE:
        return FMA(a, x, b);
    case LEAKY_RELU:
        return NAME(leaky_relu)(x, a, b);
    case THRESHOLDED_RELU:
        return WHERE_LESS(x, a, S(0), x);
    case SCALED_TANH:
        return a * NAME(hyperbolic_tangent)(b * x);
    case HARD_SIGMOID:
        return NAME(larger)(S(0), NAME(smaller)(S(1), FMA(a, x, b)));
    case ELU:
        return NAME(elu)(x, a, b);
    case SOFTSIGN:
        return NAME(softsign)(x, a, b);
    default:
        return NAME(softplus)(x, S(1), S(20));
    }
}

/* A gate's function of a sum that is bounded by the clip; what an LSTM's cell holds is not. */
INLINE V NAME(gate)(const struct NAME(turn) *turn, int which, V x)
{
    const int64_t *words = turn->gates + which * RECURRENT_GATE_WORDS;
    const V bounded = which == 2 ? x : NAME(smaller)(turn->clip, NAME(larger)(-turn->clip, x));
    if (words[0] == SIGMOID) {
        return NAME(sigmoid)(bounded, bounded, bounded);
    }
    if (words[0] == TANH) {
        return NAME(hyperbolic_tangent)(bounded);
    }
    return NAME(rare_gate)(words[0], bounded, S(number_of(words[1])), S(number_of(words[2])));
}

/* Start the sums of `gates` gates, `wide` vectors of units each, with what the inputs come to. */
INLINE void NAME(start_gates)(int rows, int gates, int all, int wide, V *tile,
                              const struct NAME(turn) *turn, int first, int64_t unit)
{
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int g = 0; g < gates; g++) {
            UNROLL for (int u = 0; u < wide; u++) {
                const int64_t place = unit + u * LANES;
                tile[(r * all + g) * wide + u] =
                    NAME(load_some)(turn->x[r] + turn->args->offsets[first + g] + place,
                                    turn->hidden - place, S(0));
            }
        }
    }
}

/* Add the products of the states at `state` with panels of weights: `together` of them side by
 * side, each with a tile of its own. */
INLINE void NAME(add_products)(int rows, int vectors, int together, V *tile, const REAL *state,
                               int64_t pitch, const REAL *weights, int64_t depth)
{
    const int64_t apart = depth * vectors * LANES;
    for (int64_t k = 0; k < depth; k++) {
        V b[PANELS_TOGETHER * PANEL_VECTORS];
        UNROLL for (int p = 0; p < together; p++) {
            UNROLL for (int v = 0; v < vectors; v++) {
                b[p * vectors + v] = NAME(load)(weights + p * apart + v * LANES);
            }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const V factor = NAME(splat)(state[r * pitch + k]);
            UNROLL for (int p = 0; p < together; p++) {
                UNROLL for (int v = 0; v < vectors; v++) {
                    const int place = (p * rows + r) * vectors + v;
                    tile[place] = FMA(factor, b[p * vectors + v], tile[place]);
                }
            }
        }
        weights += vectors * LANES;
    }
}

/* Store a vector of an entry's new state; the state stays where its sequence has ended. */
INLINE void NAME(store_state)(const struct NAME(turn) *turn, int r, int64_t unit, V state)
{
    const int64_t place = r * turn->padded + unit;
    if (!turn->active[r]) {
        NAME(store)(turn->after + place, NAME(load)(turn->before + place));
        state = S(0);
    } else {
        NAME(store)(turn->after + place, state);
    }
    if (turn->y[r] != NULL) {
        NAME(store_some)(turn->y[r] + unit, turn->hidden - unit, state);
    }
}

/* Gates in the order input, output, forget, cell. */
INLINE void NAME(finish_lstm)(const struct NAME(turn) *turn, int r, int64_t unit, const V *sums)
{
    const int64_t place = r * turn->padded + unit;
    const int64_t peepholes = turn->args->peepholes[turn->direction];
    const REAL *peephole = AT(peepholes) + unit;
    const V before = NAME(load)(turn->cell + place);
    V input = sums[0], output = sums[1], forget = sums[2];
    if (peepholes != 0) {
        input = FMA(NAME(load)(peephole), before, input);
        forget = FMA(NAME(load)(peephole + 2 * turn->padded), before, forget);
    }
    input = NAME(gate)(turn, 0, input);
    forget = turn->args->input_forget ? S(1) - input : NAME(gate)(turn, 0, forget);
    const V cell = FMA(forget, before, input * NAME(gate)(turn, 1, sums[3]));
    if (peepholes != 0) {
        output = FMA(NAME(load)(peephole + turn->padded), cell, output);
    }
    output = NAME(gate)(turn, 0, output);
    if (turn->active[r]) {
        NAME(store)(turn->cell + place, cell);
    }
    NAME(store_state)(turn, r, unit, output * NAME(gate)(turn, 2, cell));
}

INLINE void NAME(lstm_panels)(int rows, int together, const struct NAME(turn) *turn, int64_t panel)
{
    V tile[MOST_ENTRIES * PANEL_VECTORS + PANELS_TOGETHER * PANEL_VECTORS];
    UNROLL for (int p = 0; p < together; p++) {
        NAME(start_gates)(rows, 4, 4, 1, tile + p * rows * 4, turn, 0, (panel + p) * LANES);
    }
    const REAL *weights = AT(turn->args->weights[turn->direction]);
    NAME(add_products)(rows, 4, together, tile, turn->before, turn->padded,
                       weights + panel * turn->hidden * 4 * LANES, turn->hidden);
    UNROLL for (int p = 0; p < together; p++) {
        UNROLL for (int r = 0; r < rows; r++) {
            NAME(finish_lstm)(turn, r, (panel + p) * LANES, tile + (p * rows + r) * 4);
        }
    }
}

/* n + z (h - n): the new state between the candidate and the old one. */
INLINE void NAME(finish_gru)(const struct NAME(turn) *turn, int r, int64_t unit, V update,
                             V candidate)
{
    const V before = NAME(load)(turn->before + r * turn->padded + unit);
    NAME(store_state)(turn, r, unit, FMA(update, before - candidate, candidate));
}

/* Gates in the order update, reset, candidate; the last one's product has a bias of its own. */
INLINE void NAME(gru_panels)(int rows, int together, const struct NAME(turn) *turn, int64_t panel)
{
    V tile[MOST_ENTRIES * PANEL_VECTORS + PANELS_TOGETHER * PANEL_VECTORS];
    const REAL *bias = AT(turn->args->hidden_biases[turn->direction]);
    UNROLL for (int p = 0; p < together; p++) {
        const int64_t unit = (panel + p) * LANES;
        NAME(start_gates)(rows, 2, 3, 1, tile + p * rows * 3, turn, 0, unit);
        UNROLL for (int r = 0; r < rows; r++) {
            tile[(p * rows + r) * 3 + 2] = NAME(load)(bias + unit);
        }
    }
    const REAL *weights = AT(turn->args->weights[turn->direction]);
    NAME(add_products)(rows, 3, together, tile, turn->before, turn->padded,
                       weights + panel * turn->hidden * 3 * LANES, turn->hidden);
    UNROLL for (int p = 0; p < together; p++) {
        UNROLL for (int r = 0; r < rows; r++) {
            const int64_t unit = (panel + p) * LANES;
            const V *sums = tile + (p * rows + r) * 3;
            V own;
            NAME(start_gates)(1, 1, 1, 1, &own, &(struct NAME(turn)){
                .args = turn->args, .hidden = turn->hidden, .x = {turn->x[r]}}, 2, unit);
            const V update = NAME(gate)(turn, 0, sums[0]), reset = NAME(gate)(turn, 0, sums[1]);
            NAME(finish_gru)(turn, r, unit, update, NAME(gate)(turn, 1, FMA(reset, sums[2], own)));
        }
    }
}

/* The gates of a GRU that multiplies the state with its reset gate before the product: they are
 * in memory until all units have theirs. */
INLINE void NAME(reset_panels)(int rows, int together, const struct NAME(turn) *turn,
                               int64_t panel)
{
    V tile[MOST_ENTRIES * PANEL_VECTORS + PANELS_TOGETHER * PANEL_VECTORS];
    UNROLL for (int p = 0; p < together; p++) {
        NAME(start_gates)(rows, 2, 2, 2, tile + p * rows * 4, turn, 0, (panel + p) * 2 * LANES);
    }
    const REAL *weights = AT(turn->args->weights[turn->direction]);
    NAME(add_products)(rows, 4, together, tile, turn->before, turn->padded,
                       weights + panel * turn->hidden * 4 * LANES, turn->hidden);
    UNROLL for (int p = 0; p < together; p++) {
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int u = 0; u < 2; u++) {
                const V *sums = tile + (p * rows + r) * 4 + u;
                const int64_t unit = ((panel + p) * 2 + u) * LANES;
                const int64_t place = r * turn->padded + unit;
                const V before = NAME(load)(turn->before + place);
                NAME(store)(turn->cell + place, NAME(gate)(turn, 0, sums[0]));
                NAME(store)(turn->reset + place, before * NAME(gate)(turn, 0, sums[2]));
            }
        }
    }
}

/* One gate of all units: a plain network's, or the candidate of a GRU as above. */
INLINE void NAME(single_panels)(int kind, int rows, int together, const struct NAME(turn) *turn,
                                int64_t panel)
{
    V tile[MOST_ENTRIES * PANEL_VECTORS + PANELS_TOGETHER * PANEL_VECTORS];
    const int64_t *table = kind == RNN ? turn->args->weights : turn->args->candidates;
    const REAL *weights = AT(table[turn->direction]);
    UNROLL for (int p = 0; p < together; p++) {
        NAME(start_gates)(rows, 1, 1, 4, tile + p * rows * 4, turn, kind == RNN ? 0 : 2,
                          (panel + p) * 4 * LANES);
    }
    NAME(add_products)(rows, 4, together, tile, kind == RNN ? turn->before : turn->reset,
                       turn->padded, weights + panel * turn->hidden * 4 * LANES, turn->hidden);
    UNROLL for (int p = 0; p < together; p++) {
        UNROLL for (int r = 0; r < rows; r++) {
            for (int u = 0; u < 4; u++) {
                const int64_t unit = ((panel + p) * 4 + u) * LANES;
                const V sum = tile[((p * rows) + r) * 4 + u];
                if (kind == RNN) {
                    NAME(store_state)(turn, r, unit, NAME(gate)(turn, 0, sum));
                } else {
                    const V update = NAME(load)(turn->cell + r * turn->padded + unit);
                    NAME(finish_gru)(turn, r, unit, update, NAME(gate)(turn, 1, sum));
                }
            }
        }
    }
}

/* All panels of `units` units, each for all entries while its weights are in the second cache; of a
 * single entry several panels at once. */
#define EACH_PANEL(units, function, ...)                                                           \
    do {                                                                                           \
        const int64_t panels = parts_of(turns->hidden, (units) * LANES);                           \
        const int together = rows == 1 ? PANELS_TOGETHER : 1;                                      \
        int64_t panel = 0;                                                                         \
        for (; panel + together <= panels; panel += together) {                                    \
            for (int64_t tile = 0; tile < tiles; tile++) {                                         \
                NAME(function)(__VA_ARGS__ rows, together, turns + tile, panel);                   \
            }                                                                                      \
        }                                                                                          \
        for (; rows == 1 && panel < panels; panel++) {                                             \
            NAME(function)(__VA_ARGS__ rows, 1, turns, panel);                                     \
        }                                                                                          \
    } while (0)
#define KIND kind,

INLINE void NAME(take_turn)(int kind, int rows, const struct NAME(turn) *turns, int64_t tiles)
{
    if (kind == LSTM) {
        EACH_PANEL(1, lstm_panels, );
    } else if (kind == GRU) {
        EACH_PANEL(1, gru_panels, );
    } else {
        if (kind == RESET) {
            EACH_PANEL(2, reset_panels, );
        }
        EACH_PANEL(4, single_panels, KIND);
    }
}

/* Copy an entry's state from an array, zeros where there is none. */
INLINE void NAME(read_state)(REAL *to, int64_t from, int64_t hidden, int64_t padded)
{
    for (int64_t i = 0; i < padded; i += LANES) {
        NAME(store)(to + i, from == 0 ? S(0) : NAME(load_some)(AT(from) + i, hidden - i, S(0)));
    }
}

INLINE void NAME(write_state)(int64_t to, const REAL *from, int64_t hidden)
{
    for (int64_t i = 0; i < hidden; i += LANES) {
        NAME(store_some)(AT(to) + i, hidden - i, NAME(load)(from + i));
    }
}

INLINE int64_t NAME(state_at)(const struct recurrent_args *args, int64_t base, int64_t direction,
                              int64_t entry)
{
    return base == 0 ? 0 : base + direction * args->state_direction + entry * args->state_row;
}

/* The first states of a tile's entries; what is past the last entry repeats it. */
INLINE void NAME(begin)(int kind, int rows, struct NAME(turn) *turn, int64_t entry)
{
    const struct recurrent_args *args = turn->args;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t own = lesser(entry + r, args->batch - 1), place = r * turn->padded;
        NAME(read_state)(turn->after + place,
                         NAME(state_at)(args, args->h_first, turn->direction, own), turn->hidden,
                         turn->padded);
        if (kind == LSTM) {
            NAME(read_state)(turn->cell + place,
                             NAME(state_at)(args, args->c_first, turn->direction, own),
                             turn->hidden, turn->padded);
        }
    }
}

/* Make a tile's next step: what was the new state is the one before. */
INLINE void NAME(advance)(int rows, struct NAME(turn) *turn, int64_t entry, int64_t step, int64_t x,
                          int64_t y)
{
    const struct recurrent_args *args = turn->args;
    const int32_t *lengths = (const int32_t *)(intptr_t)args->lengths;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t own = lesser(entry + r, args->batch - 1);
        turn->x[r] = AT(x + own * args->x_row);
        turn->y[r] = entry + r < args->batch ? AT(y + own * args->y_row) : NULL;
        turn->active[r] = lengths == NULL || step < lengths[own];
    }
    REAL *other = turn->before;
    turn->before = turn->after;
    turn->after = other;
}

INLINE void NAME(end)(int kind, int rows, const struct NAME(turn) *turn, int64_t entry)
{
    const struct recurrent_args *args = turn->args;
    for (int64_t r = 0; r < rows && entry + r < args->batch; r++) {
        const int64_t own = entry + r, place = r * turn->padded;
        NAME(write_state)(NAME(state_at)(args, args->h_last, turn->direction, own),
                          turn->after + place, turn->hidden);
        if (kind == LSTM) {
            NAME(write_state)(NAME(state_at)(args, args->c_last, turn->direction, own),
                              turn->cell + place, turn->hidden);
        }
    }
}

INLINE void NAME(recurrent)(int kind, int rows, const struct recurrent_args *args, int64_t first,
                            int64_t last,
                            int64_t worker)
{
    const int64_t blocks = parts_of(args->batch, args->entries), size = rows * args->padded;
    REAL *memory = AT(args->scratch_base + worker * args->scratch_stride);
    for (int64_t item = first; item < last; item++) {
        const int64_t direction = item / blocks, entry = item % blocks * args->entries;
        const int64_t backwards = args->backwards[direction], start = args->starts[direction];
        const int64_t lowest = backwards ? start - args->count + 1 : start;
        const int64_t tiles = parts_of(lesser(args->entries, args->batch - entry), rows);
        struct NAME(turn) turns[RECURRENT_MOST_TILES];
        for (int64_t tile = 0; tile < tiles; tile++) {
            REAL *own = memory + 4 * tile * size;
            turns[tile] = (struct NAME(turn)){
                .args = args,
                .gates = args->gates + direction * GATES_OF_DIRECTION,
                .direction = direction,
                .hidden = args->hidden,
                .padded = args->padded,
                .clip = S(args->clip),
                .before = own,
                .after = own + size,
                .cell = own + 2 * size,
                .reset = own + 3 * size,
            };
            NAME(begin)(kind, rows, turns + tile, entry + tile * rows);
        }
        for (int64_t s = 0; s < args->count; s++) {
            const int64_t step = backwards ? start - s : start + s;
            const int64_t x = args->x + direction * args->x_direction + (step - lowest) * args->x_step;
            const int64_t y = args->y + direction * args->y_direction + step * args->y_step;
            for (int64_t tile = 0; tile < tiles; tile++) {
                NAME(advance)(rows, turns + tile, entry + tile * rows, step, x, y);
            }
            NAME(take_turn)(kind, rows, turns, tiles);
        }
        for (int64_t tile = 0; tile < tiles; tile++) {
            NAME(end)(kind, rows, turns + tile, entry + tile * rows);
        }
    }
}

#define RECURRENT_KERNELS(rows, vectors)                                                           \
    KERNEL(recurrent_lstm_##rows##x4, recurrent_args,                                              \
           NAME(recurrent)(LSTM, rows, args, first, last, worker))                                 \
    KERNEL(recurrent_gru_##rows##x3, recurrent_args,                                               \
           NAME(recurrent)(GRU, rows, args, first, last, worker))                                  \
    KERNEL(recurrent_reset_##rows##x4, recurrent_args,                                             \
           NAME(recurrent)(RESET, rows, args, first, last, worker))                                \
    KERNEL(recurrent_rnn_##rows##x4, recurrent_args,                                               \
           NAME(recurrent)(RNN, rows, args, first, last, worker))
SHAPES(steps)(RECURRENT_KERNELS)
#undef RECURRENT_KERNELS
#undef EACH_PANEL
#undef KIND
