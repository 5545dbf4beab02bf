"""Kernels of pools."""

from __future__ import annotations

from fastconv.backends.manifest.elements import FLOAT
from fastconv.backends.manifest.schema import (
    FLAG,
    Address,
    Args,
    Float,
    Int,
    Kernel,
    Record,
    dtype,
    kind,
    kinds,
    tile,
)


class Walk(Args):
    """Blocks of planar pools: kernels that fold and emit, and steps that say what."""

    fold_first: Int
    fold: Int
    fold_ordered: Int
    emit: Int
    emit_ordered: Int
    # Bytes of a volume and of an output plane.
    source: Address
    volume_bytes: Int
    out: Address
    out_bytes: Int
    width: Int
    out_depth: Int
    out_height: Int
    out_width: Int
    # Rows of each block and the input rows that they see; blocks of columns, see `ColumnBlock`.
    rows: Int
    row_table: Address
    column_blocks: Int
    column_table: Address
    pitch: Int
    # Rows of `Step`, and what they point at.
    steps: Int
    step_table: Address
    # The step before which an image's rows are all there, and where they are (below 0: the input).
    checked: Int
    checked_place: Int
    # What `emit` takes.
    result: Int
    windows: Address
    window_step: Int
    counts_down: Address
    counts_across: Address
    taps: Int
    stride: Int
    # `Fold` or `Emit` first.
    scratch_base: Address
    scratch_stride: Int

    # Words at the start of a worker's scratch memory, for the calls of `fold` and `emit`.
    CALL_WORDS = 16


class ColumnBlock(Record):
    """A block of columns."""

    first_output: Int
    outputs: Int
    # The input column of a line's first place; the first and the last that it reads.
    base: Int
    low: Int
    high: Int


class Step(Record):
    """A step of a walk: lines folded into lines."""

    # Whether cells are folded for the first time.
    first: Int
    # Where lines are put, and the bytes between them.
    target: Int
    target_bytes: Int
    # Where they are folded from (below 0: the input), with the bytes of a line and of a cell.
    source: Int
    line_bytes: Int
    cell_bytes: Int
    # Whether they are put where the image's columns are in a padded line.
    inside: Int
    # Whether to fold into the existing values.
    carry: Int
    # Where its blocks' folds begin and end in the table.
    blocks: Int


class StepFold(Record):
    """A fold of a step."""

    # The first cell's line, the cells, the elements (0 for a block's columns).
    line: Int
    cells: Int
    elements: Int
    # The lines that follow, and those from one's first cell to the next one's.
    lines: Int
    apart: Int


class FoldLines(Args):
    """Lines folded into lines; an item is a line."""

    to: Address
    to_step: Int
    source: Address
    source_step: Int
    cells: Int
    cell_step: Int
    count: Int
    # Whether to fold into the existing values.
    into: Int


class EmitLines(Args):
    """Lines folded into outputs; an item is a line, the bytes to the next after each address."""

    line: Address
    line_step: Int
    results: Address
    results_step: Int
    first_output: Int
    outputs: Int
    first_column: Int
    down: Address
    across: Address
    seen: Address
    seen_step: Int
    row_outputs: Int
    taps: Int
    stride: Int


class Whole(Args):
    """Planes pooled whole."""

    source: Address
    planes: Int
    cells: Int
    out: Address
    counts: Address


class Halving(Args):
    """Windows two columns apart."""

    source: Address
    out: Address
    planes: Int
    height: Int
    width: Int
    out_height: Int
    out_width: Int
    tall: Int
    row_stride: Int
    taps: Int
    # Rows of outputs of a work item.
    item_rows: Int
    divisor: Float
    # Whether the divisor's reciprocal is exact.
    exact: Int


class Unpool(Args):
    """Values put where their indices say."""

    source: Address
    indices: Address
    out: Address
    cells: Int
    plane: Int
    lanes: Int

    # Lanes of a work item.
    LANE_BLOCK = 64


class PoolBlock(Args):
    """What the pools share that go tile by tile of an output row."""

    source: Address
    out: Address
    depth: Int
    height: Int
    width: Int
    lanes: Int
    out_depth: Int
    out_height: Int
    out_width: Int
    # Windows: see `window_table`.
    d_table: Address
    h_table: Address
    w_table: Address
    d_step: Int
    h_step: Int
    w_step: Int
    lane_block: Int
    tile: Int
    tiles: Int
    tile_from: Address
    tile_to: Address
    mode: Int
    taps: Int
    tap_table: Address
    stride: Int
    dilation: Int
    before: Int
    scratch_base: Address
    scratch_stride: Int


class Separable(PoolBlock):
    """One dimension after the other."""

    # Cells that a mean counts.
    d_count: Address
    h_count: Address
    w_count: Address
    power: Float
    line_bytes: Int
    sum_bytes: Int

    # Cells of a run that are folded side by side.
    RUN_LANES = 16


class PoolIndices(PoolBlock):
    """Maxima with their places."""

    indices: Address
    row_line_bytes: Int


class Weighted(PoolBlock):
    """Weighted means."""

    weights: Address
    kernel_height: Int
    # Sums of the weights that are counted, by kinds of place.
    sums: Address
    d_kinds: Int
    h_kinds: Int
    w_kinds: Int
    d_kind: Address
    h_kind: Address
    w_kind: Address


_MEANS = kind("max", "avg")
_EMITTED = kind("max", "avg", "squares", "magnitudes")

KERNELS = (
    Kernel("pool.fold", FoldLines, "pool.folds:fold", "pool.h",
           (tile(), kind("max", "ordered max", "sum", "squares", "magnitudes"))),
    Kernel("pool.emit", EmitLines, "pool.folds:emit", "pool.h",
           (tile(), kinds("max max", "max ordered max", "avg sum", "squares sum",
                          "magnitudes sum")), ("taps", "stride")),
    Kernel("pool.emit_windows", EmitLines, "pool.folds:emit_windows", "pool.h", (tile(), _EMITTED)),
    Kernel("pool.whole", Whole, "pool.whole:whole", "pool.h", (tile(), _MEANS)),
    Kernel("pool.whole_rows", Whole, "pool.whole:whole_rows", "pool.h", (tile(), _MEANS)),
    Kernel("pool.walk", Walk, "pool.walk:walk", "pool.h", (tile(), FLAG)),
    Kernel("pool.halving", Halving, "pool.halving:halving", "pool_halving.h", (tile(), _EMITTED)),
    Kernel("pool.unpool", Unpool, "pool.unpool:unpool", "unpool.c",
           (dtype("uint8", "uint16", "uint32", "uint64"),)),
    Kernel("pool.separable", Separable, "pool.separable:separable", "pool_separable.h",
           (kind("max", "avg", "largest", "lp"), FLOAT)),
    Kernel("pool.indices", PoolIndices, "pool.indices:max_with_indices", "pool_indices.h",
           (FLOAT,)),
    Kernel("pool.weighted", Weighted, "pool.weighted:weighted", "pool_weighted.h", (FLOAT,)),
)  # fmt: skip
RECORDS = (ColumnBlock, Step, StepFold)
# See `ALGORITHMS` of the package.
ALGORITHMS = (
    ("PoolProblem", "c numba", "pool.halving", "Halving"),
    ("PoolProblem", "c numba", "pool.planar", "Planar"),
    ("PoolProblem", "c numba", "pool.separable", "Separable"),
    ("PoolProblem", "c numba", "pool.weighted", "Weighted"),
    ("AdaptivePoolProblem", "c numba", "pool.whole", "Whole"),
    ("AdaptivePoolProblem", "c numba", "pool.planar", "Planar"),
    ("AdaptivePoolProblem", "c numba", "pool.separable", "Separable"),
    ("MaxUnpoolProblem", "c numba", "pool.unpool", "Scatter"),
)
