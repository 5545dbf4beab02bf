"""Weights that are on the GPU are packed there: by tables of the places that they go to.

The tables come from the same code that packs weights in main memory: it is given each weight's
place in place of its value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import cuda
from numba import int64 as i64

from fastconv.backends.base import Array
from fastconv.backends.cuda.algorithm import CudaAlgorithm
from fastconv.backends.cuda.engine.kernel import Body, Int64, kernel
from fastconv.backends.cuda.engine.plan import (
    WORKSPACE,
    Argument,
    CudaPlan,
    Launch,
    source_of,
    with_source,
)
from fastconv.backends.cuda.engine.words import Word, of_words, type_of
from fastconv.backends.native.arena import ALIGNMENT
from fastconv.backends.native.plan import INPUT, Constant, Slot, constant
from fastconv.problem import Shape

_THREADS = 256
# The dtype of places; no kernel's own tables have it.
_PLACE = np.dtype(np.uint64)


@kernel
def gather(count: int, size: int) -> tuple[Body, int]:
    """Return ``count`` cells of ``size`` bytes by the places of theirs, from 1 on; 0 is a zero."""
    COUNT, THREADS, WORD = count, _THREADS, type_of(size)

    def body(x: Word, places: Int64, y: Word) -> None:
        item = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
        if item < i64(COUNT):
            place = places[item]
            cell = WORD(0)
            if place > i64(0):
                cell = x[place - i64(1)]
            y[item] = cell

    return of_words(body, size), THREADS


def gathering(places: Array, size: int, source: Argument, target: Argument) -> Launch:
    """Return the launch that packs cells of ``size`` bytes by their places, from 1 on."""
    table = constant(places.reshape(-1), np.int64)
    kern = gather(places.size, size)
    return Launch(kern, (-(-places.size // _THREADS), 1, 1), [source, table, target])


def packed_on_card(
    algorithm: CudaAlgorithm, problem: Any, shapes: Sequence[Shape | None], first: int
) -> CudaPlan:
    """Plan a problem whose parameters come with each run, as inputs from the slot ``first`` on.

    ``shapes`` are theirs, None for what is not given.

    Raises
    ------
    ValueError
        For an algorithm that does not only move them.
    """
    places, begins = _places(shapes)
    busy = problem.without_idle()
    inner = algorithm.launches(busy, *(places if busy is problem else problem.busy(tuple(places))))
    packed = {id(each.array): _origin(each.array, begins) for each in _constants(inner)}
    if {number for number, _ in packed.values()} != {
        number for number, shape in enumerate(shapes) if shape is not None
    }:
        raise ValueError(
            f"{algorithm} works out its parameters in main memory: give {problem.name} them as "
            f"NumPy arrays"
        )
    size, at = problem.dtype.itemsize, inner.workspace_bytes
    before: list[Launch] = []
    moved: dict[int, Slot] = {}
    for key, (number, own) in packed.items():
        moved[key] = INPUT(first + number)
        if not np.array_equal(own.reshape(-1), np.arange(1, own.size + 1)):
            at = -(-at // ALIGNMENT) * ALIGNMENT
            before.append(gathering(own, size, moved[key], WORKSPACE + at))
            moved[key] = WORKSPACE + at
            at += own.size * size

    def new(argument: Argument) -> Argument:
        source = source_of(argument)
        given = moved.get(id(source.array)) if isinstance(source, Constant) else None
        return argument if given is None else with_source(argument, given)

    after = [
        dataclasses.replace(launch, arguments=[*map(new, launch.arguments)])
        for launch in inner.launches
    ]
    return CudaPlan([*before, *after], workspace_bytes=at)


def are_places(parameter: Array) -> bool:
    """Return whether a parameter stands for one that comes with each run."""
    return parameter.dtype == _PLACE


def _origin(packed: Array, begins: Any) -> tuple[int, Array]:
    """Return which parameter a packed array is of, and its places within that one."""
    number = int(np.searchsorted(begins, packed.max(), "left")) - 1
    begin = int(begins[number])
    return number, np.where(packed > 0, packed.astype(np.int64) - begin, 0)


def _places(shapes: Sequence[Shape | None]) -> tuple[list[Any], Any]:
    """Return each parameter's places, counted on from one to the next, and where they begin."""
    sizes = [0 if shape is None else int(np.prod(shape)) for shape in shapes]
    begins = np.cumsum([0, *sizes[:-1]])
    places = [
        None if shape is None else _from_one(shape) + _PLACE.type(begin)
        for shape, begin in zip(shapes, begins, strict=True)
    ]
    return places, begins


def _from_one(shape: Shape) -> Array:
    return np.arange(1, int(np.prod(shape)) + 1, dtype=_PLACE).reshape(shape)


def _constants(plan: CudaPlan) -> list[Constant]:
    """Return the constants that hold places."""
    found: dict[int, Constant] = {}
    for launch in plan.launches:
        for source in map(source_of, launch.arguments):
            if isinstance(source, Constant) and source.array.dtype == _PLACE:
                found[id(source.array)] = source
    return list(found.values())
