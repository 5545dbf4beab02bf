"""How parameters are packed: panels of columns that register tiles read from end to end.

The kernel ``weights.panels`` turns (group, column, channel, tap) into (group, panel, tap, channel,
column of the panel), zeros after the last column: what a GEMM, a filter per channel or a planar
tile multiplies with, whatever its width.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.backends.base import Array
from fastconv.backends.manifest.products import Affine, PackRows, Panels, Repeat
from fastconv.backends.native.arena import rounded
from fastconv.backends.native.library import Library
from fastconv.backends.native.plan import (
    INPUT,
    OUTPUT,
    Packed,
    Stage,
    Weights,
    constant,
)
from fastconv.backends.native.sources import Source, placed_panels
from fastconv.machine import Machine

# The part of the last cache, which threads share, from which on transformed weights are far: they
# are stored line by line to as many places as there are frequencies.
FAR_SHARE = 0.25
# Elements of a column that an item packs: enough items for some threads, runs long enough for the
# prefetchers. A multiple of any vector.
CHUNK_ELEMENTS = 512
# Rows of a table that an item packs.
ROWS_OF_ITEM = 64


def packing_seconds(problem: Any, machine: Machine, scattered_bytes: int = 0) -> float:
    """Predict packing the parameters; ``scattered_bytes`` is what they are transformed into."""
    figures = machine.figures.packing
    if not scattered_bytes:
        return float(figures.copy * problem.parameter_bytes / machine.memory_bandwidth)
    far = scattered_bytes > machine.near_bytes * FAR_SHARE
    moved = figures.read * problem.parameter_bytes
    moved += (figures.far_scatter if far else figures.scatter) * scattered_bytes
    return float(moved / machine.memory_bandwidth)


def packed_panels(
    library: Library,
    dtype: str,
    *,
    groups: int,
    columns: int,
    width: int,
    channels: int,
    taps: int = 1,
    parameter: int = 0,
) -> Packed:
    """Pack a parameter, (groups x columns, channels, taps), into panels of ``width``."""
    size = np.dtype(dtype).itemsize
    column = channels * taps * size
    panels = groups * -(-columns // width)
    stage = Stage(
        library.kernel("weights.panels", dtype),
        panels * -(-taps * channels // CHUNK_ELEMENTS),
        Panels(
            source=INPUT(parameter), target=OUTPUT, group_step=column * columns,
            column_step=column, columns=columns, width=width, taps=taps, channels=channels,
            chunk=CHUNK_ELEMENTS,
        ),
    )  # fmt: skip

    def placed(source: Source) -> Weights | None:
        tap, channel = np.divmod(np.arange(taps * channels), channels)
        return placed_panels(
            library, dtype, source, parameter=parameter, groups=groups, columns=columns,
            width=width, places=channel * taps + tap, group=columns * channels * taps,
            step=channels * taps,
        )  # fmt: skip

    return Packed(Weights(panels * width * column, (stage,), placed=placed))


def packed_bias(library: Library, dtype: str, *, groups: int, columns: int, width: int) -> Packed:
    """Pack the second parameter, a bias or none, into panels: zeros where there is none."""
    return packed_panels(
        library, dtype, groups=groups, columns=columns, width=width, channels=1, parameter=1
    )


def packed_rows(
    library: Library,
    dtype: str,
    *,
    groups: int,
    columns: int,
    width: int,
    places: Array,
    group: int,
    step: int,
) -> Packed:
    """Pack the first parameter row by row: row r of a group has elements at ``places[r]``.

    From group to group it is ``group`` elements, and from column to column ``step``.
    """
    size, rows = np.dtype(dtype).itemsize, len(places)
    panels = -(-columns // width)
    stage = Stage(
        library.kernel("weights.rows", dtype),
        groups * panels * -(-rows // ROWS_OF_ITEM),
        PackRows(
            source=INPUT(0), target=OUTPUT, group_step=group * size, column_step=step * size,
            columns=columns, width=width, places=constant(places * size, np.int64),
            row_count=rows, chunk=ROWS_OF_ITEM,
        ),
    )  # fmt: skip

    def placed(source: Source) -> Weights | None:
        return placed_panels(
            library, dtype, source, parameter=0, groups=groups, columns=columns, width=width,
            places=places, group=group, step=step,
        )  # fmt: skip

    nbytes = groups * panels * width * rows * size
    return Packed(Weights(nbytes, (stage,), placed=placed))


def packed_affine(
    library: Library, dtype: str, channels: int, eps: float, run: int = 1, times: int = 1
) -> tuple[Packed, Packed]:
    """Turn (mean, variance, weight, bias) into scales and shifts in float64."""
    count = channels * run * times
    shifts = rounded(8 * count)
    stage = Stage(
        library.kernel("weights.affine", dtype),
        1,
        Affine(
            mean=INPUT(0), variance=INPUT(1), weight=INPUT(2), bias=INPUT(3), scales=OUTPUT,
            shifts=OUTPUT + shifts, channels=channels, run=run, times=times, epsilon=eps,
        ),
    )  # fmt: skip
    weights = Weights(shifts + 8 * count, (stage,))
    return Packed(weights), Packed(weights, shifts)


def packed_repeat(
    library: Library, dtype: str, parameter: int, count: int, *, value: float = 0.0, run: int = 1,
    times: int = 1, widened: bool = False,
) -> Packed:  # fmt: skip
    """Repeat a parameter's elements, of this dtype or ``widened`` to float64."""
    size = 8 if widened else np.dtype(dtype).itemsize
    stage = Stage(
        library.kernel("weights.repeat_widened" if widened else "weights.repeat", dtype),
        1,
        Repeat(
            source=INPUT(parameter), target=OUTPUT, count=count, run=run, times=times, value=value
        ),
    )
    return Packed(Weights(count * run * times * size, (stage,)))
