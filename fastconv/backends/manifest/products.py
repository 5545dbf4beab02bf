"""Kernels around register tiles: products of matrices, attention, recurrent steps, packing."""

from __future__ import annotations

from fastconv.backends.manifest.elements import FLOAT
from fastconv.backends.manifest.schema import (
    Address,
    Address2,
    Args,
    Float,
    Int,
    Int2,
    Int4,
    Int18,
    Kernel,
    Record,
    dtype,
    kind,
    tile,
)


class Gemm(Args):
    """One GEMM over images and groups. Offsets and strides are bytes."""

    a: Address
    a_image: Int
    a_group: Int
    # Where the rows and a row's taps are.
    rows: Address
    taps: Address
    tap_count: Int
    depth: Int
    # Panels (group, panel, tap, k, column).
    b: Address
    bias: Address
    out: Address
    out_image: Int
    out_group: Int
    out_rows: Address
    out_column: Int
    residual: Address
    # The clamp: see `clamp`.
    slope: Float
    low: Float
    high: Float
    row_count: Int
    column_count: Int
    groups: Int
    # Rows and panels of a work item.
    row_block: Int
    panel_block: Int
    # A tile that cannot be stored as it is.
    scratch_base: Address
    scratch_stride: Int


class FreshGemm(Gemm):
    """A GEMM whose columns come as they are given; the panel that is packed is scratch, too."""

    fresh_group: Int
    fresh_column: Int
    fresh_taps: Int
    fresh_channels: Int
    images: Int


class Im2col(Gemm):
    """A GEMM over windows that are copied to scratch memory first: where the windows are."""

    source_image: Int
    source_group: Int
    source_rows: Address
    source_taps: Address
    source_count: Int
    source_depth: Int


class Dot(Args):
    """Rows times columns as they are given; steps from row to row and group to group are bytes."""

    a: Address
    a_row: Int
    a_group: Int
    b: Address
    bias: Address
    out: Address
    out_row: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    rows: Int
    length: Int
    columns: Int
    # Rows and columns of a work item.
    row_block: Int
    column_block: Int


class Matmul(Args):
    """Products of matrices. Places are tables of bytes, an entry each; steps are bytes."""

    left: Address
    right: Address
    out: Address
    left_places: Address
    right_places: Address
    out_places: Address
    rows: Int
    depth: Int
    columns: Int
    left_row: Int
    left_depth: Int
    # PACKED where the right matrices come packed.
    right_depth: Int
    right_column: Int
    out_row: Int
    # An item is ``item_rows`` rows of an entry, done by ``row_block``, and ``panel_block`` panels.
    item_rows: Int
    row_block: Int
    panel_block: Int
    scale: Float
    # Whether the right matrix is read in place.
    direct: Int
    scratch_base: Address
    scratch_stride: Int


class PackMatrix(Args):
    """Panels of right matrices: a work item is one panel."""

    source: Address
    target: Address
    places: Address
    depth: Int
    columns: Int
    width: Int
    depth_step: Int
    column_step: Int


class Attention(Args):
    """Scaled dot product attention. Places are tables of bytes, an entry each; steps are bytes."""

    query: Address
    key: Address
    value: Address
    mask: Address
    out: Address
    query_places: Address
    key_places: Address
    value_places: Address
    mask_places: Address
    out_places: Address
    queries: Int
    keys: Int
    key_width: Int
    value_width: Int
    query_row: Int
    query_step: Int
    key_row: Int
    # PACKED where keys and values come packed.
    key_step: Int
    value_row: Int
    value_step: Int
    mask_row: Int
    mask_step: Int
    out_row: Int
    # An item is ``item_queries`` of an entry, done by ``query_block``.
    item_queries: Int
    query_block: Int
    scale: Float
    causal: Int
    zeros: Int
    scratch_base: Address
    scratch_stride: Int


class Recurrent(Args):
    """Steps of a recurrent layer. Steps from place to place are bytes."""

    # The rows of the GEMM before it.
    x: Address
    x_direction: Int
    x_step: Int
    x_row: Int
    lengths: Address
    h_first: Address
    c_first: Address
    h_last: Address
    c_last: Address
    state_direction: Int
    state_row: Int
    y: Address
    y_step: Int
    y_direction: Int
    y_row: Int
    # Each direction's first step and way.
    starts: Int2
    backwards: Int2
    count: Int
    batch: Int
    entries: Int
    hidden: Int
    padded: Int
    clip: Float
    input_forget: Int
    # Elements of a row before each gate.
    offsets: Int4
    weights: Address2
    candidates: Address2
    hidden_biases: Address2
    peepholes: Address2
    # Each direction's functions: three of (number, two parameters' bits).
    gates: Int18
    scratch_base: Address
    scratch_stride: Int

    GATE_WORDS = 3
    # Tiles of an item whose weights do not stay in the second cache.
    MOST_TILES = 3


class Panels(Args):
    """Panels of columns of a parameter. Steps are bytes."""

    source: Address
    target: Address
    group_step: Int
    column_step: Int
    columns: Int
    width: Int
    taps: Int
    channels: Int
    # Elements of a column that a work item packs.
    chunk: Int


class PackRows(Args):
    """The same row by row: a row is the elements of all columns at one of ``places``."""

    source: Address
    target: Address
    group_step: Int
    column_step: Int
    columns: Int
    width: Int
    places: Address
    row_count: Int
    # Rows that a work item packs.
    chunk: Int


class Placed(Args):
    """Panels of a parameter whose elements are anywhere. Steps are bytes."""

    source: Address
    target: Address
    group_step: Int
    column_step: Int
    columns: Int
    width: Int
    # A `PlaceRow` for each element of a column, in the order of their addresses.
    table: Address
    count: Int
    # Rows of the table that a work item packs.
    chunk: Int


class PlaceRow(Record):
    """Bytes from a column's start, the panel's row, elements from here on side by side."""

    place: Int
    row: Int
    run: Int


class FilterLines(Args):
    """Filters that are outer products, and their columns and rows. Steps are bytes."""

    source: Address
    columns: Address
    rows: Address
    # From filter to filter.
    apart: Int
    # Rows and columns of a filter, and from one to the next.
    down: Int
    across: Int
    down_apart: Int
    across_apart: Int
    scratch_base: Address
    scratch_stride: Int


class Affine(Args):
    """Statistics and parameters of channels, and the scales and shifts that they come to.

    Each is ``run`` times in a row, all of them ``times`` times.
    """

    mean: Address
    variance: Address
    weight: Address
    bias: Address
    scales: Address
    shifts: Address
    channels: Int
    run: Int
    times: Int
    epsilon: Float


class Repeat(Args):
    """Numbers repeated in the same way; ``value`` stands for a missing parameter."""

    source: Address
    target: Address
    count: Int
    run: Int
    times: Int
    value: Float


class Transformed(Args):
    """Filters transformed for minimal filtering, packed in panels."""

    source: Address
    target: Address
    # Bytes from one output channel to the next, output channels of a group of the problem.
    out_channel_step: Int
    out_channels: Int
    # Columns of a group here, input channels of a group of the problem, how many are done as one.
    group_columns: Int
    group_channels: Int
    merged_groups: Int
    # The filters' taps, phases and points; their matrices, phase by phase.
    taps_down: Int
    taps_across: Int
    phases_down: Int
    phases_across: Int
    points_down: Int
    points_across: Int
    matrix_down: Address
    matrix_across: Address
    # Where each phase goes at each frequency (-1: nowhere).
    places: Address
    # What `Layout` says of panels.
    starts: Address
    sizes: Address
    group_bytes: Int
    panels: Int
    panel_lanes: Int
    last_lanes: Int
    depth_rows: Int
    # Numba's kernel has a column of taps, and of lines, there.
    scratch_base: Address
    scratch_stride: Int
    # Where output channels are side by side, bytes from an input channel to the next, and a table
    # of the bytes to each tap; else 0.
    channel_step: Int
    tap_places: Address

    # Channels that a work item transforms.
    FEW_CHANNELS = 8


_SIXTEEN, _SINGLE = kind("float16", "bfloat16"), dtype("float32")

KERNELS = (
    Kernel("gemm", Gemm, "gemm:gemm", "gemm.h", (tile("gemm"),)),
    Kernel("gemm.fresh", FreshGemm, None, "gemm.h", (tile("gemm"),)),
    Kernel("im2col", Im2col, "conv.im2col:im2col_gemm", "gemm.h", (tile("gemm"),)),
    Kernel("dot", Dot, None, "dot.h", (FLOAT,)),
    Kernel("matmul", Matmul, "matmul:matmul", "matmul.h", (tile("gemm"),)),
    Kernel("matmul.pack", PackMatrix, "matmul:pack", "matmul.h", (FLOAT,)),
    Kernel("attention", Attention, "attention:attention", "attention.h", (tile("gemm"),)),
    Kernel("recurrent.lstm", Recurrent, "recurrent:lstm", "recurrent.h", (tile("steps"),)),
    Kernel("recurrent.gru", Recurrent, "recurrent:gru", "recurrent.h", (tile("gru"),)),
    Kernel("recurrent.reset", Recurrent, "recurrent:reset", "recurrent.h", (tile("steps"),)),
    Kernel("recurrent.rnn", Recurrent, "recurrent:rnn", "recurrent.h", (tile("steps"),)),
    Kernel("weights.panels", Panels, "weights:panels", "weights.h", (FLOAT,)),
    Kernel("weights.rows", PackRows, "weights:rows", "weights.h", (FLOAT,)),
    Kernel("weights.placed", Placed, "placed:own", "weights.h", (FLOAT,)),
    Kernel("weights.placed_sixteen", Placed, "placed:sixteen", "weights.h", (_SIXTEEN, _SINGLE)),
    Kernel("weights.lines", FilterLines, "lines:lines", "weights.h", (FLOAT,)),
    Kernel("weights.affine", Affine, "weights:affine", "weights.h", (FLOAT,)),
    Kernel("weights.repeat", Repeat, "weights:repeat", "weights.h", (FLOAT,)),
    Kernel("weights.repeat_widened", Repeat, "weights:repeat_widened", "weights.h", (FLOAT,)),
    Kernel("weights.winograd", Transformed, "weights:winograd", "weights.h", (FLOAT,)),
)
RECORDS = (PlaceRow,)
# See `ALGORITHMS` of the package.
ALGORITHMS = (
    ("LinearProblem", "c numba", "linear", "Linear"),
    ("LinearProblem", "c", "dot", "DotLinear"),
    ("MatmulProblem", "c numba", "matmul", "Matmul"),
    ("AttentionProblem", "c numba", "attention", "Attention"),
    ("RecurrentProblem", "c numba", "recurrent", "Recurrent"),
)
