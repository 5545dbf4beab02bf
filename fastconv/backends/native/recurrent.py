"""Recurrent layers: a GEMM for the inputs of many steps, then these steps in one stage.

The GEMM's rows are (step, batch entry), its columns the gates of all hidden units. A step then adds
the products of the state before it: of a panel of hidden units all gates' sums are in registers
together, start with the GEMM's row and end in the new state. Each sum runs over the inputs, then
over the hidden units, in order, whatever the tile, the batch or the number of threads.

Long sequences go in chunks of steps, so that what is between the two stages stays in a cache.
Chunks hand the state on in the arrays of the last states.
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastconv.backends.base import Array, Cost
from fastconv.backends.manifest.products import Recurrent as RecurrentArgs
from fastconv.backends.manifest.schema import float_bits
from fastconv.backends.manifest.tiles import tiles_of
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.bounds import sum_bound
from fastconv.backends.native.conv.common import unit
from fastconv.backends.native.gemm import Gemm, flush, scratch_bytes, tile_for
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    SCRATCH,
    WORKSPACE,
    Argument,
    Constant,
    HostWeights,
    NativePlan,
    Packed,
    Stage,
    immutable_root,
    scratch_stride,
)
from fastconv.backends.native.tile import Tile
from fastconv.machine import Machine, get_machine
from fastconv.problem import RecurrentProblem
from fastconv.problem.record import record
from fastconv.problem.recurrent import FUNCTIONS, PARAMETERS

# The functions by number.
NUMBERS = {name: number for number, name in enumerate(FUNCTIONS)}
# A kernel's panels: the gates whose sums are in a tile together, and vectors of units of each.
# ``reset`` is a GRU whose reset gate goes before the product: its candidates come in a second turn.
PANELS = {"lstm": (4, 1), "gru": (3, 1), "reset": (2, 2), "rnn": (1, 4)}
CANDIDATE_PANELS = (1, 4)
# Vectors of a row of the GEMM's tile, whatever the number of rows: packed once for all.
GEMM_VECTORS = 4
# Fewer rows go one by one: the weights are read from a cache more often, but no row is idle.
FEW_ROWS = 2
# What the GEMM writes for one chunk of steps, and rows that it has at least.
CHUNK_BYTES, CHUNK_ROWS = 1 << 20, 64
# Bytes of packed weights that a core reads from its second cache in a second, and the time of a
# vector of gates' functions.
CACHE_BANDWIDTH = 80e9
GATE_SECONDS = 6e-9


class Recurrent(NativeAlgorithm):
    """LSTM, GRU and plain networks, either direction or both."""

    name = "steps"

    def error_bound(self, problem: RecurrentProblem) -> float:
        """Bound the errors of gates that each carry those of the steps before.

        No function is steeper than 1. States keep errors as they keep what they hold, by a factor
        of one half a step where gates have no leaning: twice a step's own, and as much again for
        those that lean.
        """
        return 4 * sum_bound(problem.sum_length, unit(problem.dtype))

    def cost(self, problem: RecurrentProblem, machine: Machine) -> Cost:
        columns = problem.gates * problem.hidden_size
        positions = problem.steps * problem.batch * problem.directions
        seconds = 2 * positions * columns * problem.input_size / machine.peak_flops(problem.dtype)
        rows, tiles = entries_of(problem, machine)
        entries = rows * tiles
        blocks = -(-problem.batch // entries) * problem.directions * problem.steps
        products = 2 * entries * columns * problem.hidden_size / machine.peak_flops(problem.dtype)
        weights = columns * problem.hidden_size * problem.dtype.itemsize / CACHE_BANDWIDTH
        vectors = -(-problem.hidden_size // machine.lanes(problem.dtype)) * entries
        gates = (problem.gates + 1) * vectors * GATE_SECONDS
        seconds += blocks * (max(products, weights) + gates)
        seconds += problem.bytes / machine.memory_bandwidth
        packing = machine.figures.packing.copy * problem.parameter_bytes / machine.memory_bandwidth
        return Cost(seconds, packing_seconds=2 * packing)

    def geometry(self, problem: RecurrentProblem) -> NativePlan:
        return _Steps(self, problem).plan()


def entries_of(problem: RecurrentProblem, machine: Machine) -> tuple[int, int]:
    """Return the rows of a tile and the tiles of a work item: as few idle rows as can be."""
    shapes = [rows for rows, _ in tiles_of(machine.isa).steps]
    tiles = -(-problem.batch // shapes[-1])
    wanted = -(-problem.batch // max(1, tiles))
    rows = next(n for n in shapes if n >= wanted)
    weights = problem.gates * problem.hidden_size**2 * problem.dtype.itemsize
    if weights <= machine.l2_bytes // 2:
        return rows, 1
    items = -(-tiles // RecurrentArgs.MOST_TILES)
    return rows, -(-tiles // max(1, items))


class _Steps:
    """The plan of one problem."""

    def __init__(self, algorithm: Recurrent, problem: RecurrentProblem) -> None:
        self._algorithm, self._problem = algorithm, problem
        self._library = algorithm.library
        machine = get_machine()
        self._tile = tile_for(self._library, problem.dtype, machine)
        self._most_rows = tiles_of(machine.isa).steps[-1][0]
        self._rows, tiles = entries_of(problem, machine)
        self._entries = self._rows * tiles
        self._kernel = problem.kind
        if problem.kind == "gru" and not problem.reset_after:
            self._kernel = "reset"
        self._size = problem.dtype.itemsize
        self._columns = problem.gates * problem.hidden_size
        # Whole panels of every kind.
        whole = 4 * self._tile.lanes
        self._padded = -(-problem.hidden_size // whole) * whole
        self._packings = tuple(
            packings(
                problem.dtype.name, self._kernel, problem.order, problem.input_size,
                problem.hidden_size, self._tile.lanes, problem.bias, problem.peepholes, d,
            )
            for d in range(problem.directions)
        )  # fmt: skip

    def plan(self) -> NativePlan:
        problem = self._problem
        row = self._columns * self._size
        steps = max(CHUNK_BYTES // (problem.directions * problem.batch * row),
                    -(-CHUNK_ROWS // problem.batch))  # fmt: skip
        steps = max(1, min(steps, problem.steps))
        direction_bytes = rounded(steps * problem.batch * row)
        scratch = max(self._scratch_bytes, scratch_bytes(self._gemm_tile(FEW_ROWS + 1)))
        stages: list[Stage] = []
        for first in range(0, problem.steps, steps) or [0]:
            count = min(steps, problem.steps - first)
            if count:
                stages += self._products(first, count, direction_bytes, scratch)
            stages.append(self._steps(first, count, direction_bytes, scratch))
        return self._algorithm.native_plan(
            problem,
            stages,
            workspace_bytes=direction_bytes * problem.directions,
            scratch_bytes=scratch,
            extra_outputs=problem.output_shapes[1:],
        )

    def _lowest(self, direction: int, first: int, count: int) -> int:
        """Return the lowest step of a chunk: the reverse direction begins at the end."""
        backwards = self._problem.backwards(direction)
        return self._problem.steps - first - count if backwards else first

    def _gemm_tile(self, rows: int) -> Tile:
        own = 1 if rows <= FEW_ROWS else self._most_rows
        return dataclasses.replace(self._tile, rows=own, vectors=GEMM_VECTORS)

    def _products(self, first: int, count: int, apart: int, scratch: int) -> Iterator[Stage]:
        """Multiply the inputs of a chunk's steps, each direction's by itself."""
        problem, size = self._problem, self._size
        batch, features = problem.batch, problem.input_size
        step, entry = batch * features, features
        if problem.layout == "BTH":
            step, entry = features, problem.steps * features
        places: Any = np.arange(count)[:, None] * step + np.arange(batch) * entry
        rows: Any = np.arange(count * batch)
        tile = self._gemm_tile(count * batch)
        for d in range(problem.directions):
            packed = self._packings[d]
            job = Gemm(
                a=INPUT(0) + self._lowest(d, first, count) * step * size,
                a_image=0,
                a_group=0,
                rows=places.reshape(-1) * size,
                taps=np.zeros(1, np.int64),
                depth=features,
                b=Packed(packed.columns),
                bias=Packed(packed.bias),
                out=WORKSPACE + d * apart,
                out_image=0,
                out_group=0,
                out_rows=rows * self._columns * size,
                out_column=size,
                residual=0,
                activation=None,
                columns=self._columns,
                groups=1,
            )
            arguments = job.arguments(tile, scratch)
            yield Stage(self._library.kernel("gemm", tile), job.items(1, tile), arguments)

    @property
    def _scratch_bytes(self) -> int:
        """Return room for both states, the cells or update gates, and the states that are reset.

        Numba's kernels have a tile there too, and three words a row of it.
        """
        gates, wide = PANELS[self._kernel]
        tile = gates * wide * self._tile.lanes
        states = 4 * self._entries * self._padded * self._size
        return states + self._rows * (tile * self._size + 3 * 8)

    def _steps(self, first: int, count: int, apart: int, scratch: int) -> Stage:
        problem, size = self._problem, self._size
        batch, hidden = problem.batch, problem.hidden_size
        row = self._columns * size
        given = problem.input_count
        h_last, c_last = INPUT(given), INPUT(given + 1) if problem.kind == "lstm" else 0
        h_first: Argument = INPUT(2) if problem.initial_h else 0
        c_first: Argument = INPUT(3) if problem.initial_c else 0
        if first:
            h_first, c_first = h_last, c_last
        state = (batch * hidden, hidden)
        if problem.state_layout == "BDH":
            state = (hidden, problem.directions * hidden)
        # Steps of the output: from step to step, direction to direction, entry to entry.
        units = problem.directions * hidden
        y = {
            "TBH": (batch * units, hidden, units),
            "BTH": (units, hidden, problem.steps * units),
            "TDBH": (batch * units, batch * hidden, hidden),
        }[problem.layout]
        both = range(2)
        backwards = [int(problem.backwards(d)) for d in both]
        starts = [self._lowest(d, first, count) + (count - 1 if backwards[d] else 0) for d in both]
        offsets = [problem.order[g] * hidden if g < problem.gates else 0 for g in range(4)]
        kernel = dataclasses.replace(
            self._tile, rows=self._rows, vectors=3 if self._kernel == "gru" else 4
        )
        arguments = RecurrentArgs(
            x=WORKSPACE, x_direction=apart, x_step=batch * row, x_row=row,
            lengths=INPUT(1) if problem.lengths else 0, h_first=h_first, c_first=c_first,
            h_last=h_last, c_last=c_last, state_direction=state[0] * size,
            state_row=state[1] * size, y=OUTPUT, y_step=y[0] * size, y_direction=y[1] * size,
            y_row=y[2] * size, starts=starts, backwards=backwards, count=count, batch=batch,
            entries=self._entries, hidden=hidden, padded=self._padded, clip=problem.clip,
            input_forget=int(problem.input_forget), offsets=offsets,
            weights=self._both("weights"), candidates=self._both("candidates"),
            hidden_biases=self._both("hidden_bias"), peepholes=self._both("peepholes"),
            gates=tuple(self._functions()), scratch_base=SCRATCH,
            scratch_stride=scratch_stride(scratch),
        )  # fmt: skip
        items = problem.directions * -(-batch // self._entries)
        return Stage(self._library.kernel(f"recurrent.{self._kernel}", kernel), items, arguments)

    def _both(self, name: str) -> list[Argument]:
        """Return the packed weights of a name of both directions, 0 for those not there."""
        found = [getattr(packing, name) for packing in self._packings]
        words: list[Argument] = [0 if weights is None else Packed(weights) for weights in found]
        return (words * 2)[:2]

    def _functions(self) -> Iterator[int]:
        problem = self._problem
        each = len(problem.functions) // problem.directions
        for d in range(2):
            own = problem.functions[d * each : (d + 1) * each] or problem.functions[:each]
            for f in (own * 3)[:3]:
                yield from (NUMBERS[f.name], float_bits(f.alpha), float_bits(f.beta))


@record(frozen=True)
class Packings:
    """The packed weights of one direction; those that its kernel has no use for are None."""

    columns: HostWeights
    bias: HostWeights
    weights: HostWeights
    candidates: HostWeights | None
    hidden_bias: HostWeights | None
    peepholes: HostWeights | None


# What was packed from which immutable memory, as long as both live.
_known: dict[Any, tuple[Any, tuple[Any, ...]]] = {}
_MOST_KNOWN = 1024


class Once(HostWeights):
    """Weights that are packed once for all plans that read them, whatever their sizes.

    What is packed from memory that cannot change is found again as long as a plan holds it.
    """

    def __init__(self, pack: Any, reads: Sequence[int]) -> None:
        super().__init__(pack, frozenset(reads))

    def packed(self, parameters: Sequence[Array | None]) -> Constant | int:
        assert self.reads is not None
        own = [parameters[i] for i in sorted(self.reads)]
        roots = [immutable_root(array) for array in own if array is not None]
        if not roots or any(root is None for root in roots):
            return super().packed(parameters)
        places = (None if a is None else (a.shape, address_of(a)) for a in own)
        key = (self, *places)
        found = _known.get(key)
        if found is not None:
            array = found[0]()
            if array is not None and all(
                ref() is root for ref, root in zip(found[1], roots, strict=True)
            ):
                return Constant(array)
        made = super().packed(parameters)
        if isinstance(made, int):
            return made
        if len(_known) >= _MOST_KNOWN:
            for old, (kept, _) in list(_known.items()):
                if kept() is None:
                    _known.pop(old, None)
        _known[key] = weakref.ref(made.array), tuple(map(weakref.ref, roots))
        return made


@functools.lru_cache(maxsize=256)
def packings(
    dtype: str,
    kernel: str,
    order: tuple[int, ...],
    input_size: int,
    hidden: int,
    lanes: int,
    has_bias: bool,
    has_peepholes: bool,
    direction: int,
) -> Packings:
    """Return how one direction's weights are packed: the same objects for any steps and batch."""
    gates, first = len(order), direction * len(PARAMETERS)
    ih, hh, bias_ih, bias_hh, peepholes = range(first, first + len(PARAMETERS))
    places = list(order)
    wide = GEMM_VECTORS * lanes
    panels = -(-gates * hidden // wide)
    turns, units = PANELS[kernel]
    whole = -(-hidden // (4 * lanes)) * 4 * lanes

    def in_panels(values: Array, width: int) -> Array:
        """Turn (gates, units, rows) into (panel, row, gate, units of a panel)."""
        count, _, rows = values.shape
        blocks = -(-hidden // width)
        padded = np.zeros((count, blocks * width, rows), dtype)
        padded[:, :hidden] = values
        split = padded.reshape(count, blocks, width, rows)
        return flush(np.ascontiguousarray(split.transpose(1, 3, 0, 2)))

    def columns(*parameters: Array | None) -> Array:
        weight = parameters[ih]
        assert weight is not None
        padded = np.zeros((panels * wide, input_size), dtype)
        padded[: gates * hidden] = weight
        split = padded.reshape(panels, wide, input_size)
        return flush(np.ascontiguousarray(split.transpose(0, 2, 1)))

    def row_of(value: Array | None) -> Array:
        return np.zeros((gates, hidden), dtype) if value is None else value.reshape(gates, hidden)

    def bias(*parameters: Array | None) -> Array:
        own, other = row_of(parameters[bias_ih]), row_of(parameters[bias_hh])
        together = own + other
        if kernel == "gru":
            together[places[2]] = own[places[2]]
        padded = np.zeros(panels * wide, dtype)
        padded[: gates * hidden] = together.reshape(-1)
        return padded

    def recurrent(parameters: Sequence[Array | None]) -> Array:
        weight = parameters[hh]
        assert weight is not None
        return weight.reshape(gates, hidden, hidden)[places]

    def weights(*parameters: Array | None) -> Array:
        return in_panels(recurrent(parameters)[:turns], units * lanes)

    def candidates(*parameters: Array | None) -> Array:
        return in_panels(recurrent(parameters)[2:], CANDIDATE_PANELS[1] * lanes)

    def hidden_bias(*parameters: Array | None) -> Array:
        padded = np.zeros(whole, dtype)
        padded[:hidden] = row_of(parameters[bias_hh])[places[2]]
        return padded

    def peephole(*parameters: Array | None) -> Array:
        value = parameters[peepholes]
        assert value is not None
        padded = np.zeros((3, whole), dtype)
        padded[:, :hidden] = value.reshape(3, hidden)
        return padded

    return Packings(
        columns=Once(columns, [ih]),
        bias=Once(bias, [bias_ih, bias_hh]),
        weights=Once(weights, [hh]),
        candidates=Once(candidates, [hh]) if kernel == "reset" else None,
        hidden_bias=Once(hidden_bias, [bias_hh]) if kernel == "gru" else None,
        peepholes=Once(peephole, [peepholes]) if has_peepholes else None,
    )
