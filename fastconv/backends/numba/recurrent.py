"""The steps of recurrent layers; csrc/recurrent.h has their twins.

A panel's sums are made in a register tile, and its gates finished from memory, lanes across units.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.backends.manifest.products import Recurrent
from fastconv.backends.native.recurrent import CANDIDATE_PANELS, NUMBERS, PANELS
from fastconv.backends.numba.elementary import (
    clamped,
    make_exp,
    make_expm1,
    make_log1p,
    make_tanh,
    pick,
)
from fastconv.backends.numba.elementary import inlined as small
from fastconv.backends.numba.engine import array, as_float, kernel, part
from fastconv.backends.numba.simd import (
    Tile,
    tile_load,
    tile_multiply_add,
    tile_store,
    tile_strided,
)

GATE_WORDS = Recurrent.GATE_WORDS

Function = Callable[..., Any]
_clamped = small(clamped)


@functools.cache
def _make_gate(name: str) -> Function:
    """Make what applies a gate's function to some elements in place, bounded by the clip before.

    ``words`` is the place of the function's number and parameters among the gates' words.
    """
    real = np.dtype(name).type
    exp, tanh, expm1, log1p = (make(name) for make in (make_exp, make_tanh, make_expm1, make_log1p))
    zero, one, twenty = real(0), real(1), real(20)
    sigmoid_number, tanh_number, relu_number = NUMBERS["sigmoid"], NUMBERS["tanh"], NUMBERS["relu"]
    affine_number, leaky_number = NUMBERS["affine"], NUMBERS["leaky_relu"]
    threshold_number, scaled_number = NUMBERS["thresholded_relu"], NUMBERS["scaled_tanh"]
    hard_number, elu_number = NUMBERS["hard_sigmoid"], NUMBERS["elu"]
    softsign_number = NUMBERS["softsign"]

    @part
    def gate(args, words, clip, x):  # type: ignore[no-untyped-def]
        number = args.gates[words]
        a, b = real(as_float(args.gates[words + 1])), real(as_float(args.gates[words + 2]))
        for i in range(x.shape[0]):
            x[i] = _clamped(x[i], -clip, clip)
        if number == sigmoid_number:
            for i in range(x.shape[0]):
                x[i] = one / (one + exp(-x[i]))
        elif number == tanh_number:
            for i in range(x.shape[0]):
                x[i] = tanh(x[i])
        elif number == relu_number:
            for i in range(x.shape[0]):
                x[i] = pick(x[i] < zero, zero, x[i])
        elif number == affine_number:
            for i in range(x.shape[0]):
                x[i] = a * x[i] + b
        elif number == leaky_number:
            for i in range(x.shape[0]):
                x[i] = pick(x[i] > zero, x[i], a * x[i])
        elif number == threshold_number:
            for i in range(x.shape[0]):
                x[i] = pick(x[i] < a, zero, x[i])
        elif number == scaled_number:
            for i in range(x.shape[0]):
                x[i] = a * tanh(b * x[i])
        elif number == hard_number:
            for i in range(x.shape[0]):
                x[i] = _clamped(a * x[i] + b, zero, one)
        elif number == elu_number:
            for i in range(x.shape[0]):
                x[i] = pick(x[i] < zero, a * expm1(x[i]), x[i])
        elif number == softsign_number:
            for i in range(x.shape[0]):
                x[i] = x[i] / (one + abs(x[i]))
        else:
            for i in range(x.shape[0]):
                value = x[i]
                above = pick(value > zero, value, zero)
                smooth = above + log1p(exp(-abs(value)))
                x[i] = pick(value > twenty, value, smooth)

    return gate  # type: ignore[no-any-return]


def _make_sums(tile: Tile, gates: int, wide: int) -> Function:
    """Make what sums a panel's gates into the rows of ``sums``.

    They begin with the inputs' part, from gate ``first`` on; the last of a GRU's with its bias.
    """
    real, size, lanes, rows = np.dtype(tile.dtype).type, tile.size, tile.lanes, tile.rows
    width = wide * lanes
    pitch = tile.columns * size

    @part
    def sums(args, first, biased, xs, direction, unit, sums_at, state_at, weights):  # type: ignore[no-untyped-def]
        hidden = args.hidden
        there = min(width, hidden - unit)
        target = array(sums_at, (rows, gates, width), real)
        for r in range(rows):
            for g in range(gates):
                source = xs[r] + (args.offsets[first + g] + unit) * size
                if biased and g == gates - 1:
                    source = args.hidden_biases[direction] + unit * size
                row = array(source, (there,), real)
                for i in range(there):
                    target[r, g, i] = row[i]
                for i in range(there, width):
                    target[r, g, i] = 0
        places = tile_strided(tile, sums_at, pitch)
        states = tile_strided(tile, state_at, args.padded * size)
        values = tile_load(tile, places)
        values = tile_multiply_add(tile, values, states, 0, weights, hidden)
        tile_store(tile, values, places)

    return sums  # type: ignore[no-any-return]


def _make_store(tile: Tile) -> Function:
    """Make what stores the new state of an entry's units, or leaves the one before."""
    real, size = np.dtype(tile.dtype).type, tile.size

    @part
    def store(before, after, y, active, unit, state, there):  # type: ignore[no-untyped-def]
        for i in range(there):
            after[unit + i] = state[i] if active != 0 else before[unit + i]
        if y != 0:
            out = array(y + unit * size, (there,), real)
            for i in range(there):
                out[i] = state[i] if active != 0 else real(0)

    return store  # type: ignore[no-any-return]


# Of a step: argument block, direction, clip, the rows' inputs, outputs and activity, then where
# sums, the state before and after, the cells or update gates and the reset states are.


def _make_lstm(tile: Tile) -> Function:
    real, size, lanes, rows = np.dtype(tile.dtype).type, tile.size, tile.lanes, tile.rows
    gate, store = _make_gate(tile.dtype), _make_store(tile)
    sums = _make_sums(tile, *PANELS["lstm"])
    # What a cell holds is not clipped.
    one, unbounded = real(1), real(np.inf)

    @part
    def step(  # type: ignore[no-untyped-def]
        args, direction, clip, xs, ys, active, sums_at, before_at, after_at, cell_at, reset_at
    ):
        hidden, padded = args.hidden, args.padded
        before = array(before_at, (rows, padded), real)
        after = array(after_at, (rows, padded), real)
        cells = array(cell_at, (rows, padded), real)
        found = array(sums_at, (rows, 4, lanes), real)
        words = direction * 3 * GATE_WORDS
        peepholes = args.peepholes[direction]
        for unit in range(0, hidden, lanes):
            weights = args.weights[direction] + unit * hidden * 4 * size
            sums(args, 0, False, xs, direction, unit, sums_at, before_at, weights)
            there = min(lanes, hidden - unit)
            for r in range(rows):
                cell = cells[r, unit : unit + there]
                of_input, of_output = found[r, 0, :there], found[r, 1, :there]
                forget, entry = found[r, 2, :there], found[r, 3, :there]
                if peepholes != 0:
                    peephole = array(peepholes, (3, padded), real)
                    for i in range(there):
                        of_input[i] += peephole[0, unit + i] * cell[i]
                        forget[i] += peephole[2, unit + i] * cell[i]
                gate(args, words, clip, of_input)
                if args.input_forget != 0:
                    for i in range(there):
                        forget[i] = one - of_input[i]
                else:
                    gate(args, words, clip, forget)
                gate(args, words + GATE_WORDS, clip, entry)
                for i in range(there):
                    entry[i] = forget[i] * cell[i] + of_input[i] * entry[i]
                if peepholes != 0:
                    peephole = array(peepholes, (3, padded), real)
                    for i in range(there):
                        of_output[i] += peephole[1, unit + i] * entry[i]
                if active[r] != 0:
                    for i in range(there):
                        cell[i] = entry[i]
                gate(args, words, clip, of_output)
                gate(args, words + 2 * GATE_WORDS, unbounded, entry)
                for i in range(there):
                    of_output[i] *= entry[i]
                store(before[r], after[r], ys[r], active[r], unit, of_output, there)

    return step  # type: ignore[no-any-return]


def _make_gru(tile: Tile) -> Function:
    real, size, lanes, rows = np.dtype(tile.dtype).type, tile.size, tile.lanes, tile.rows
    gate, store = _make_gate(tile.dtype), _make_store(tile)
    sums = _make_sums(tile, *PANELS["gru"])

    @part
    def step(  # type: ignore[no-untyped-def]
        args, direction, clip, xs, ys, active, sums_at, before_at, after_at, cell_at, reset_at
    ):
        hidden, padded = args.hidden, args.padded
        before = array(before_at, (rows, padded), real)
        after = array(after_at, (rows, padded), real)
        found = array(sums_at, (rows, 3, lanes), real)
        words = direction * 3 * GATE_WORDS
        for unit in range(0, hidden, lanes):
            weights = args.weights[direction] + unit * hidden * 3 * size
            sums(args, 0, True, xs, direction, unit, sums_at, before_at, weights)
            there = min(lanes, hidden - unit)
            for r in range(rows):
                update, reset = found[r, 0, :there], found[r, 1, :there]
                candidate = found[r, 2, :there]
                own = array(xs[r] + (args.offsets[2] + unit) * size, (there,), real)
                gate(args, words, clip, update)
                gate(args, words, clip, reset)
                for i in range(there):
                    candidate[i] = reset[i] * candidate[i] + own[i]
                gate(args, words + GATE_WORDS, clip, candidate)
                for i in range(there):
                    old = before[r, unit + i]
                    candidate[i] = update[i] * (old - candidate[i]) + candidate[i]
                store(before[r], after[r], ys[r], active[r], unit, candidate, there)

    return step  # type: ignore[no-any-return]


def _make_reset(tile: Tile) -> Function:
    real, size, lanes, rows = np.dtype(tile.dtype).type, tile.size, tile.lanes, tile.rows
    gate = _make_gate(tile.dtype)
    gates, wide = PANELS["reset"]
    sums = _make_sums(tile, gates, wide)
    width = wide * lanes
    candidates = _make_single(tile, True)

    @part
    def step(  # type: ignore[no-untyped-def]
        args, direction, clip, xs, ys, active, sums_at, before_at, after_at, cell_at, reset_at
    ):
        hidden, padded = args.hidden, args.padded
        before = array(before_at, (rows, padded), real)
        updates = array(cell_at, (rows, padded), real)
        resets = array(reset_at, (rows, padded), real)
        found = array(sums_at, (rows, gates, width), real)
        words = direction * 3 * GATE_WORDS
        for unit in range(0, hidden, width):
            weights = args.weights[direction] + unit * hidden * gates * size
            sums(args, 0, False, xs, direction, unit, sums_at, before_at, weights)
            there = min(width, hidden - unit)
            for r in range(rows):
                update, reset = found[r, 0, :there], found[r, 1, :there]
                gate(args, words, clip, update)
                gate(args, words, clip, reset)
                for i in range(there):
                    updates[r, unit + i] = update[i]
                    resets[r, unit + i] = reset[i] * before[r, unit + i]
        candidates(
            args, direction, clip, xs, ys, active, sums_at, before_at, after_at, cell_at, reset_at
        )

    return step  # type: ignore[no-any-return]


def _make_single(tile: Tile, gated: bool) -> Function:
    """Make the step of one gate: a plain network's, or the candidates of a GRU (``gated``)."""
    real, size, lanes, rows = np.dtype(tile.dtype).type, tile.size, tile.lanes, tile.rows
    gate, store = _make_gate(tile.dtype), _make_store(tile)
    gates, wide = CANDIDATE_PANELS
    sums = _make_sums(tile, gates, wide)
    width = wide * lanes
    first = 2 if gated else 0
    which = GATE_WORDS if gated else 0

    @part
    def step(  # type: ignore[no-untyped-def]
        args, direction, clip, xs, ys, active, sums_at, before_at, after_at, cell_at, reset_at
    ):
        hidden, padded = args.hidden, args.padded
        before = array(before_at, (rows, padded), real)
        after = array(after_at, (rows, padded), real)
        updates = array(cell_at, (rows, padded), real)
        found = array(sums_at, (rows, width), real)
        words = direction * 3 * GATE_WORDS + which
        state_at = reset_at if gated else before_at
        for unit in range(0, hidden, width):
            weights = (args.candidates if gated else args.weights)[direction] + unit * hidden * size
            sums(args, first, False, xs, direction, unit, sums_at, state_at, weights)
            there = min(width, hidden - unit)
            for r in range(rows):
                state = found[r, :there]
                gate(args, words, clip, state)
                if gated:
                    for i in range(there):
                        old = before[r, unit + i]
                        state[i] = updates[r, unit + i] * (old - state[i]) + state[i]
                store(before[r], after[r], ys[r], active[r], unit, state, there)

    return step  # type: ignore[no-any-return]


def _make_copy(tile: Tile) -> Function:
    """Make what copies an entry's state, zeros where there is none; the rest of a row is zeros."""
    real = np.dtype(tile.dtype).type

    @part
    def copy(source, target, count, padded):  # type: ignore[no-untyped-def]
        to = array(target, (padded,), real)
        for i in range(padded):
            to[i] = 0
        if source != 0:
            row = array(source, (count,), real)
            for i in range(count):
                to[i] = row[i]

    return copy  # type: ignore[no-any-return]


def _body(tile: Tile, step: Function, has_cell: bool) -> Function:
    """Make the kernel of a kind's steps: a work item is some entries of one direction."""
    rows, size = tile.rows, tile.size
    tile_bytes = rows * tile.columns * size
    real = np.dtype(tile.dtype).type
    copy = _make_copy(tile)

    def body(args, first, last, worker):  # type: ignore[no-untyped-def]
        batch, entries = args.batch, args.entries
        hidden, padded, count = args.hidden, args.padded, args.count
        blocks = (batch + entries - 1) // entries
        clip = real(args.clip)
        base = args.scratch_base + worker * args.scratch_stride
        whole = rows * padded * size
        cell_at, reset_at = base + 2 * whole, base + 3 * whole
        sums_at = base + 4 * entries * padded * size
        own_words = array(sums_at + tile_bytes, (3, rows), np.int64)
        xs, ys, active = own_words[0], own_words[1], own_words[2]
        for item in range(first, last):
            direction, block = divmod(item, blocks)
            backwards = args.backwards[direction]
            start = args.starts[direction]
            lowest = start - count + 1 if backwards != 0 else start
            stop = min((block + 1) * entries, batch)
            for entry in range(block * entries, stop, rows):
                before_at, after_at = base, base + whole
                for r in range(rows):
                    own = min(entry + r, batch - 1)
                    shift = direction * args.state_direction + own * args.state_row
                    place = r * padded * size
                    source = args.h_first
                    source = source + shift if source != 0 else source
                    copy(source, before_at + place, hidden, padded)
                    if has_cell:
                        source = args.c_first
                        source = source + shift if source != 0 else source
                        copy(source, cell_at + place, hidden, padded)
                for s in range(count):
                    t = start - s if backwards != 0 else start + s
                    x = args.x + direction * args.x_direction + (t - lowest) * args.x_step
                    y = args.y + direction * args.y_direction + t * args.y_step
                    for r in range(rows):
                        own = min(entry + r, batch - 1)
                        xs[r] = x + own * args.x_row
                        ys[r] = y + own * args.y_row if entry + r < batch else 0
                        active[r] = 1
                        if args.lengths != 0:
                            ends = array(args.lengths, (batch,), np.int32)
                            active[r] = 1 if t < ends[own] else 0
                    step(
                        args, direction, clip, xs, ys, active, sums_at, before_at, after_at,
                        cell_at, reset_at,
                    )  # fmt: skip
                    before_at, after_at = after_at, before_at
                for r in range(min(rows, batch - entry)):
                    shift = direction * args.state_direction + (entry + r) * args.state_row
                    place = r * padded * size
                    copy(before_at + place, args.h_last + shift, hidden, hidden)
                    if has_cell:
                        copy(cell_at + place, args.c_last + shift, hidden, hidden)

    return body


@kernel(Recurrent)
def lstm(tile: Tile) -> Any:
    """Run the steps of an LSTM."""
    return _body(tile, _make_lstm(tile), True)


@kernel(Recurrent)
def gru(tile: Tile) -> Any:
    """Run the steps of a GRU whose reset gate multiplies the state's product."""
    return _body(tile, _make_gru(tile), False)


@kernel(Recurrent)
def reset(tile: Tile) -> Any:
    """Run the steps of a GRU whose reset gate multiplies the state."""
    return _body(tile, _make_reset(tile), False)


@kernel(Recurrent)
def rnn(tile: Tile) -> Any:
    """Run the steps of a plain network."""
    return _body(tile, _make_single(tile, False), False)
