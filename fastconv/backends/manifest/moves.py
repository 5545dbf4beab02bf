"""Kernels that move cells, sum windows back, resample, choose, and pool regions."""

from __future__ import annotations

from fastconv.backends.manifest.elements import FLOAT, Rows
from fastconv.backends.manifest.schema import (
    Address,
    Args,
    Float,
    Int,
    Int3,
    Int5,
    Int6,
    Kernel,
    dtype,
    tile,
)


class Gather(Args):
    """Cells that tables of three axes name; -1: the fill."""

    source: Address
    target: Address
    fill: Address
    a_table: Address
    b_table: Address
    c_table: Address
    # Lengths after and before, and the cells of the innermost axis.
    a_out: Int
    b_out: Int
    c_out: Int
    a_in: Int
    b_in: Int
    c_in: Int
    inner: Int
    # The longest run of neighbours in the last table.
    run_from: Int
    run_to: Int
    # How many times that table has each cell, one after the other, where cells are single; else 0.
    repeats: Int


class Permute(Args):
    """Six axes in another order."""

    source: Address
    target: Address
    # Lengths of the output's axes but the first; cells from one to the next in the input.
    lengths: Int5
    steps: Int6


class CopyRows(Rows):
    """Rows copied; pitches are cells from a row to the next."""

    source: Address
    target: Address
    source_pitch: Int
    target_pitch: Int


class Windows(Args):
    """Windows moved over an image, and the columns that they make."""

    source: Address
    target: Address
    channels: Int
    height: Int
    width: Int
    # Cells of the image from one to the next along each of its axes.
    image_step: Int
    channel_step: Int
    y_step: Int
    x_step: Int
    kernel_height: Int
    kernel_width: Int
    # Places of the window.
    rows: Int
    columns: Int
    y_stride: Int
    x_stride: Int
    # Padding before the image.
    top: Int
    left: Int
    y_dilation: Int
    x_dilation: Int
    # For `fold` of channels that are last: a row of one of them.
    scratch_base: Address
    scratch_stride: Int


class Weigh(Args):
    """Sums of weighted cells along three axes."""

    source: Address
    target: Address
    # The axes' lengths after and before, and the cells of the innermost.
    a_out: Int
    b_out: Int
    c_out: Int
    a_in: Int
    b_in: Int
    c_in: Int
    inner: Int
    # For each axis where an output's taps begin, their cells and weights.
    a_first: Address
    a_index: Address
    a_weight: Address
    b_first: Address
    b_index: Address
    b_weight: Address
    c_first: Address
    c_index: Address
    c_weight: Address
    # A line.
    scratch_base: Address
    scratch_stride: Int
    # Whether a lone row may be read in place.
    plain: Int
    # Taps of each output of the last axis: 0 where that varies, -1 where the axis has one cell.
    taps: Int
    # For each vector of those outputs, see `_blocks` in native/resample.py.
    block_starts: Address
    block_places: Address
    block_weights: Address


class LineNearest(Args):
    """Long lines resized by copies of cells."""

    source: Address
    target: Address
    # Cells of a line before and after, elements of a cell.
    in_cells: Int
    out_cells: Int
    inner: Int
    # Outputs of an item, and items of a line.
    chunk: Int
    chunks: Int
    # Input cells that an output spans, and what is added to its number first.
    scale: Float
    shift: Float


class LineLinear(LineNearest):
    """Long lines resized by sums of two cells."""

    # Whether places are rounded to float32, and whether all cells stay.
    narrow: Int
    same: Int


class SampleGrid(Args):
    """Images read at places that a grid has."""

    source: Address
    places: Address
    mask: Address
    target: Address
    # Channels of an image and points of it.
    channels: Int
    points: Int
    # The image's sizes, the last ones filled, and how many dimensions it has.
    size: Int3
    axes: Int
    # Numbers of one of MODES and PADDINGS; whether corners' centres are the ends.
    mode: Int
    padding: Int
    corners: Int
    # Points and channels of an item.
    block: Int
    part: Int
    scratch_base: Address
    scratch_stride: Int


class SampleOffsets(SampleGrid):
    """Images read at a window's taps that offsets move; images are groups of channels."""

    # Points of a tap.
    group_points: Int
    out: Int3
    taps: Int3
    stride: Int3
    # Padding before the image.
    before: Int3
    dilation: Int3


class TopK(Args):
    """The largest or smallest entries along an axis."""

    source: Address
    values: Address
    places: Address
    outer: Int
    length: Int
    inner: Int
    count: Int
    # Whether the largest are wanted, and whether in order.
    largest: Int
    ordered: Int
    scratch_base: Address
    scratch_stride: Int
    # Entries that the scratch memory has room for.
    room: Int

    # Lines of an axis that is not the last are brought together so many at a time.
    LINES = 16
    # Up to so many are chosen by putting each in its place among those before.
    FEW = 16


class Suppress(Args):
    """Boxes by score that overlap none chosen before."""

    boxes: Address
    scores: Address
    chosen: Address
    counts: Address
    classes: Int
    box_count: Int
    # The most to choose.
    most: Int
    overlap: Float
    # The least score, and whether there is one.
    least: Float
    has_least: Int
    # Whether boxes are given by their centres.
    centers: Int
    scratch_base: Address
    scratch_stride: Int


class RoiAlign(Args):
    """Regions of images pooled by samples between cells."""

    source: Address
    regions: Address
    images: Address
    target: Address
    channels: Int
    height: Int
    width: Int
    out_rows: Int
    out_columns: Int
    # Samples along a bin; 0: by the region.
    ratio: Int
    scale: Float
    # Whether cells' centres are at halves, and whether the largest sample is wanted.
    half_pixel: Int
    largest: Int
    scratch_base: Address
    scratch_stride: Int
    # Rows and columns of samples that the scratch memory has room for.
    most_rows: Int
    most_columns: Int

    # Channels of a work item.
    CHANNELS_AT_ONCE = 64


class Chains(Args):
    """Multiply-adds that wait for each other."""

    # Of an item in each chain.
    steps: Int
    factor: Float
    term: Float
    # Where each worker's result goes.
    sink: Address
    sink_stride: Int


class ReadBytes(Args):
    """Bytes that are read ``times`` times, a part for each item."""

    source: Address
    part_bytes: Int
    times: Int
    sink: Address
    sink_stride: Int


# Types by which cells of any dtype are moved.
CELL = dtype("uint8", "uint16", "uint32", "uint64", "complex128")

KERNELS = (
    Kernel("move.gather", Gather, "move:gather", "move.h", (CELL,)),
    Kernel("move.permute", Permute, "move:permute", "move.h", (CELL,)),
    Kernel("move.rows", CopyRows, "move:rows", "move.h", (CELL,)),
    Kernel("move.unfold", Windows, "unfold:unfold", "move.h", (CELL,)),
    Kernel("fold", Windows, "unfold:fold", "fold.h", (FLOAT,)),
    Kernel("resample.weigh", Weigh, "resample:weigh", "resample.h", (FLOAT,), ("taps",)),
    Kernel("line.nearest", LineNearest, "line:nearest", "line_copy.h", (CELL,)),
    Kernel("line.linear", LineLinear, "line:linear", "line.h", (FLOAT,)),
    Kernel("sample.grid", SampleGrid, "sample:by_grid", "sample.h", (FLOAT,)),
    Kernel("sample.offsets", SampleOffsets, "sample:by_offsets", "sample.h", (FLOAT,)),
    Kernel("topk", TopK, "choosing:topk", "topk.h", (FLOAT,)),
    Kernel("suppress", Suppress, "choosing:suppress", "suppress.h", (dtype("float32"),)),
    Kernel("roi_align", RoiAlign, "regions:roi_align", "roi_align.h", (FLOAT,)),
    Kernel("peak.chains", Chains, "peak:chains", "peak.h", (tile(),)),
    Kernel("peak.read", ReadBytes, "peak:read", "peak.h", (tile(),)),
)
# See `ALGORITHMS` of the package.
ALGORITHMS = (
    ("ConcatenateProblem", "c numba", "joining", "Concatenate"),
    ("StridedProblem", "c numba", "joining", "Strided"),
    ("PadProblem", "c numba", "resample", "Pad"),
    ("InterpolateProblem", "c numba", "resample", "Nearest"),
    ("InterpolateProblem", "c numba", "resample", "Weighted"),
    ("PixelShuffleProblem", "c numba", "resample", "PixelShuffle"),
    ("TopKProblem", "c numba", "choosing", "TopK"),
    ("NonMaxSuppressionProblem", "c numba", "choosing", "NonMaxSuppression"),
    ("RoiAlignProblem", "c numba", "regions", "RoiAlign"),
    ("GridSampleProblem", "c numba", "sample", "GridSample"),
    ("DeformProblem", "c numba", "sample", "Deform"),
    ("UnfoldProblem", "c numba", "unfold", "Unfold"),
    ("FoldProblem", "c numba", "unfold", "Fold"),
)
