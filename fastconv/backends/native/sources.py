"""Parameters as a call gives them: transposed, sliced, of 16 bits, and packed from where they are.

A plan is made for contiguous parameters of its own dtype. ``read_from`` turns it into one for
parameters that are stored otherwise, so that no call copies or casts them in Python: panels take
each element from its place by a table (``placed``), minimal filters and Fourier transforms by
strides. All else is made contiguous first, by the same kernel (``gathered``): what is read more
than once, or is not packed at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.products import Placed
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    AnyWeights,
    Given,
    HostWeights,
    NativePlan,
    Packed,
    Slot,
    Stage,
    Weights,
    constant,
    moved,
)
from fastconv.problem.record import record
from fastconv.problem.values import SIXTEEN

# Rows that a work item packs where columns are side by side, so that each is a piece of memory: as
# many as prefetchers follow (of 64, weights from memory took 3.0 ms where of 8 they took 2.4, 512
# channels of 3x3). Elements where columns are apart, and rows of a copy: whole lines of columns.
ROWS_OF_ITEM, CHUNK_ELEMENTS, ROWS_OF_COPY = 8, 512, 64
OWN = ("float32", "float64")


@record(frozen=True)
class Source:
    """How an array is stored: its shape, the bytes from element to element, its dtype."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return int(np.dtype(self.dtype).itemsize) if self.dtype in OWN else 2

    def offsets(self, places: Array) -> Array:
        """Return the bytes from the first element to those with these flat indices."""
        at = np.unravel_index(places, self.shape) if self.shape else ()
        found = np.zeros(np.shape(places), np.int64)
        for index, stride in zip(at, self.strides, strict=True):
            found += index * stride
        return found


Sources = tuple[Source | None, ...]


def source_of(array: Array | None) -> Source | None:
    """Return how an aligned array is stored; None where plans read it as it is, or cannot."""
    if array is None or array.size == 0:
        return None
    name = array.dtype.name
    if name not in SIXTEEN and (array.flags.c_contiguous or name not in OWN):
        return None
    return Source(array.shape, array.strides, name)


def can_read(sources: Sources, dtype: str) -> bool:
    """Return whether plans of kernels for ``dtype`` read such parameters."""
    names = (OWN[0], *SIXTEEN) if dtype == OWN[0] else (dtype,)
    return dtype in OWN and all(s is None or s.dtype in names for s in sources)


class Placing(Protocol):
    """What packs a parameter of weights from a source; None where it has no way for it."""

    def __call__(self, source: Source) -> Weights | None: ...


def placed_panels(
    library: Library, dtype: str, source: Source, *, parameter: int, groups: int, columns: int,
    width: int, places: Array, group: int, step: int,
) -> Weights | None:  # fmt: skip
    """Pack panels whose row r has elements at the flat indices ``places[r]`` of a parameter.

    From group to group it is ``group`` indices, and from column to column ``step``. None where
    these are not steps in memory too, as where a reshape joined a slice's axes.
    """
    heads = source.offsets(group * np.arange(groups)[:, None] + step * np.arange(columns))
    rows = source.offsets(places)
    apart = int(heads[-1, 0]) // max(1, groups - 1)
    beside = int(heads[0, -1]) // (columns - 1) if columns > 1 else source.itemsize
    steps = apart * np.arange(groups)[:, None] + beside * np.arange(columns)
    last = source.offsets(group * (groups - 1) + step * (columns - 1) + places)
    if not np.array_equal(heads, steps) or not np.array_equal(last, heads[-1, -1] + rows):
        return None
    table = place_table(rows, source.itemsize)
    chunk = ROWS_OF_ITEM if beside == source.itemsize else CHUNK_ELEMENTS
    stage = Stage(
        placed_kernel(library, source, dtype),
        groups * -(-len(table) // chunk),
        Placed(
            source=INPUT(parameter), target=OUTPUT, group_step=apart, column_step=beside,
            columns=columns, width=width, table=constant(table), count=len(table), chunk=chunk,
        ),
    )  # fmt: skip
    nbytes = groups * -(-columns // width) * width * len(table) * np.dtype(dtype).itemsize
    return Weights(nbytes, (stage,))


def placed_kernel(library: Library, source: Source, dtype: str) -> int:
    """Return the kernel that packs elements of a source."""
    if source.dtype in SIXTEEN:
        return library.kernel("weights.placed_sixteen", source.dtype, dtype)
    return library.kernel("weights.placed", dtype)


def place_table(rows: Array, itemsize: int) -> Array:
    """Return the table of ``weights.placed`` for a column's elements: rows of `PlaceRow`."""
    order = np.argsort(rows, kind="stable")
    places = rows[order]
    # A run ends where the next element is not the next in memory.
    ends = np.flatnonzero(np.append(np.diff(places) != itemsize, True))
    at = np.arange(len(places))
    runs = ends[np.searchsorted(ends, at)] - at + 1
    return np.stack([places, order, runs], axis=1).astype(np.int64)


def gathered(
    library: Library, source: Source, dtype: str, parameter: int
) -> tuple[int, Callable[[Slot], Stage]]:
    """Return the bytes of a parameter made contiguous in ``dtype``, and the stage that does it."""
    pairs = [(n, s) for n, s in zip(source.shape, source.strides, strict=True) if n != 1]
    columns, step = pairs.pop() if pairs else (1, source.itemsize)
    while pairs and pairs[-1][1] == columns * step:
        columns *= pairs.pop()[0]
    # What is contiguous is cut along its first axis, so that threads share it out.
    groups, apart = (1, 0)
    if not pairs and columns >= CHUNK_ELEMENTS and columns // source.shape[0] >= CHUNK_ELEMENTS:
        groups = source.shape[0]
        columns //= groups
        apart = columns * step
    lead = Source(tuple(n for n, _ in pairs), tuple(s for _, s in pairs), source.dtype)
    table = place_table(lead.offsets(np.arange(prod(lead.shape))), source.itemsize)
    chunk = max(ROWS_OF_COPY, CHUNK_ELEMENTS * 16 // columns)
    address = placed_kernel(library, source, dtype)
    places = constant(table)
    items = groups * -(-len(table) // chunk)

    def stage(target: Slot) -> Stage:
        arguments = Placed(
            source=INPUT(parameter), target=target, group_step=apart, column_step=step,
            columns=columns, width=columns, table=places, count=len(table), chunk=chunk,
        )  # fmt: skip
        return Stage(address, items, arguments)

    return prod(source.shape) * np.dtype(dtype).itemsize, stage


def read_from(plan: NativePlan, sources: Sources, library: Library, dtype: str) -> NativePlan:
    """Return a plan for parameters that are stored as ``sources`` say."""
    read = {
        weights: Packed(read_weights(weights, sources, library, dtype))
        for weights in plan.weights
        if weights.reads is None or any(_at(sources, i) is not None for i in weights.reads)
    }
    changed = plan.with_weights(read)
    changed.sources = sources
    return changed


def _at(sources: Sources, number: int) -> Source | None:
    return sources[number] if number < len(sources) else None


def read_weights(weights: AnyWeights, sources: Sources, library: Library, dtype: str) -> AnyWeights:
    """Return weights that are packed from sources."""
    if isinstance(weights, HostWeights):
        pack = weights.pack
        return HostWeights(lambda *given: pack(*map(widened, given)), weights.reads)
    if isinstance(weights, Given):
        source = _at(sources, weights.number)
        assert source is not None
        nbytes, stage = gathered(library, source, dtype, weights.number)
        return Weights(nbytes, (stage(OUTPUT),))
    own = [i for i in sorted(weights.reads) if _at(sources, i) is not None]
    source = _at(sources, own[0])
    assert source is not None
    placed = weights.placed(source) if weights.placed is not None and len(own) == 1 else None
    return placed or _after_gathering(weights, [(i, sources[i]) for i in own], library, dtype)


def _after_gathering(
    weights: Weights, own: Sequence[tuple[int, Any]], library: Library, dtype: str
) -> Weights:
    """Return weights that are packed from copies of parameters, which are behind them."""
    end, slots = rounded(weights.nbytes), {}
    before: list[Stage] = []
    for number, source in own:
        nbytes, stage = gathered(library, source, dtype, number)
        slots[number] = OUTPUT + end
        before.append(stage(slots[number]))
        end += rounded(nbytes)
    stages = (*before, *moved(weights.stages, slots))
    return Weights(end, stages, weights.scratch_bytes)


def widened(values: Array | None) -> Array | None:
    """Return a parameter of 16 bits in float32; others as they are."""
    if values is None or values.dtype.name not in SIXTEEN:
        return values
    return values.astype(np.float32)
