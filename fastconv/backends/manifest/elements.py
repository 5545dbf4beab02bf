"""Kernels that go over elements one by one or in rows: functions, sums of two, normalisations."""

from __future__ import annotations

from fastconv.backends.manifest.scalar_functions import FUNCTIONS
from fastconv.backends.manifest.schema import (
    FLAG,
    FLOATS,
    Address,
    Args,
    Float,
    Int,
    Int4,
    Kernel,
    dtype,
    kind,
)

FLOAT = dtype(*FLOATS)


class Rows(Args):
    """Rows cut into chunks, and chunks or short rows gathered into work items."""

    rows: Int
    row_length: Int
    row_chunk: Int
    row_chunks: Int
    rows_per_item: Int


class Arithmetic(Rows):
    """Two inputs, whose elements follow each other in a row (1) or are one number (0)."""

    left: Address
    target: Address
    right: Address
    left_each: Int
    right_each: Int
    # Dimensions of rows: their lengths, and elements from one to the next in either input.
    lengths: Int4
    left_steps: Int4
    right_steps: Int4
    # What results are clamped to.
    low: Float
    high: Float

    DIMENSIONS = 4


class ByTable(Args):
    """Elements that meet a table's entries in turn."""

    source: Address
    target: Address
    # Elements of an image, entries, elements of a work item, items of an image.
    image: Int
    period: Int
    block: Int
    blocks: Int
    first_table: Address
    second_table: Address
    # Bytes from an image's tables to the next one's.
    table_step: Int
    low: Float
    high: Float


class ByRow(Rows):
    """Rows that have an entry each."""

    source: Address
    target: Address
    first_entries: Address
    second_entries: Address
    entry_count: Int
    low: Float
    high: Float


class Elementwise(Args):
    """A function of ``count`` elements, and its parameters."""

    source: Address
    target: Address
    count: Int
    first: Float
    second: Float

    # Elements of a work item.
    BLOCK = 8192


class SoftmaxRows(Rows):
    """Softmax of rows."""

    source: Address
    target: Address


class SoftmaxColumns(Args):
    """Softmax along an axis that others follow."""

    source: Address
    target: Address
    # Extents before, along and after the axis, the first that an item takes, blocks of columns.
    outer: Int
    length: Int
    inner: Int
    per_item: Int
    blocks: Int
    # AT_ONCE sums in float64, then as many largest elements.
    scratch_base: Address
    scratch_stride: Int

    # Columns that a work item sums at once.
    AT_ONCE = 256


class RowMoments(Rows):
    """Means and sums of squares of rows' chunks."""

    source: Address
    means: Address
    sums: Address


class PixelMoments(Args):
    """The same of each channel of channels-last images, in chunks of pixels."""

    source: Address
    pixels: Int
    channels: Int
    chunk: Int
    chunks: Int
    means: Address
    sums: Address


class CombineMoments(Args):
    """Moments of groups from those of their parts, and what they scale and shift by."""

    means: Address
    sums: Address
    groups: Int
    # A group's parts, ``parts_down`` times ``parts_across`` that are side by side.
    parts_down: Int
    parts_across: Int
    # Elements of a part (the last ones have what is left) and of all that are below each other.
    part_length: Int
    group_length: Int
    # Numbers from an image's parts, a group's and a part's to the next one's.
    image_step: Int
    group_step: Int
    part_step: Int
    group_channels: Int
    weights: Address
    biases: Address
    scales: Address
    shifts: Address
    epsilon: Float


class Standardise(Rows):
    """Rows scaled and shifted, then each place by its own weight and bias."""

    source: Address
    target: Address
    row_scales: Address
    row_shifts: Address
    place_weights: Address
    place_biases: Address


class Reduce(Args):
    """Sums, smallest or largest elements along an axis."""

    source: Address
    target: Address
    # Elements before, along and after the axis.
    outer: Int
    length: Int
    inner: Int
    # Rows of an item where nothing is after the axis, else items of the elements after it.
    each: Int
    parts: Int

    # Elements that are summed in one block, and those after the axis that an item has.
    BLOCK = 1024
    LANES = 128


class Response(Args):
    """Elements divided by a power of their neighbours' squares."""

    source: Address
    target: Address
    channels: Int
    pixels: Int
    # Neighbours on either side.
    before: Int
    after: Int
    factor: Float
    beta: Float
    term: Float
    # Sums of a block's pixels, or of a pixel's channels with their neighbours.
    scratch_base: Address
    scratch_stride: Int

    # Pixels of a work item.
    PIXELS = 512


class Quantised(Rows):
    """Numbers to integers or back; see `ScaleRows` for how a row finds its scale."""

    source: Address
    target: Address
    scales: Address
    zeros: Address
    period: Int
    step: Int
    scale_rows: Int
    each: Int


class Cast(Args):
    """``count`` elements in another dtype."""

    source: Address
    target: Address
    count: Int

    # Elements of a work item.
    BLOCK = 8192


class FinishIntegers(Args):
    """Integer sums with bias and residual, clamped, in the output's dtype."""

    source: Address
    residual: Address
    target: Address
    count: Int
    high: Int
    bias: Address
    channels: Int
    # Elements of one channel that follow each other.
    run: Int


class ComplexPlanes(Args):
    """Planes of complex cells, and their real and imaginary parts."""

    source: Address
    target: Address
    planes: Int
    cells: Int


# What kernels compute, by the names of their C functions.
_BINARY = kind("add", "subtract", "multiply", "divide", "maximum", "minimum")
_CHANNELWISE = kind("affine", "prelu")
_NARROW = dtype("int8", "uint8", "int16", "uint16")
_INTEGERS = dtype("int8", "uint8", "int16", "uint16", "int32")

KERNELS = (
    Kernel("arithmetic", Arithmetic, "arithmetic:arithmetic", "arithmetic.h", (_BINARY, FLOAT)),
    Kernel("channelwise.by_row", ByRow, "channelwise:by_row", "channelwise.h",
           (_CHANNELWISE, FLOAT)),
    Kernel("channelwise.by_table", ByTable, "channelwise:by_table", "channelwise.h",
           (_CHANNELWISE, FLOAT)),
    # Numba's kernel in place is another: it knows that its arrays are one.
    Kernel("pointwise.elementwise", Elementwise, "pointwise:elementwise", "pointwise.h",
           (kind(*FUNCTIONS), FLOAT), ("target",)),
    Kernel("softmax.rows", SoftmaxRows, "softmax:softmax_rows", "softmax.h", (FLOAT, FLAG)),
    Kernel("softmax.columns", SoftmaxColumns, "softmax:softmax_columns", "softmax.h",
           (FLOAT, FLAG)),
    Kernel("reduce", Reduce, "reduce:reduce", "reduce.h", (kind("sum", "min", "max"), FLOAT)),
    Kernel("norm.combine", CombineMoments, "norm:combine", "norm.h", (dtype("float64"),)),
    Kernel("norm.pixel_moments", PixelMoments, "norm:pixel_moments", "norm.h", (FLOAT,)),
    Kernel("norm.row_moments", RowMoments, "norm:row_moments", "norm.h", (FLOAT,)),
    Kernel("norm.standardise", Standardise, "norm:standardise", "norm.h", (FLOAT,)),
    Kernel("response.pixels", Response, "response:response_pixels", "response.h", (FLOAT, FLAG)),
    Kernel("response.planes", Response, "response:response_planes", "response.h", (FLOAT, FLAG)),
    Kernel("quantised.quantize", Quantised, "quantised:quantize", "quantised.h", (_NARROW,)),
    Kernel("quantised.dequantize", Quantised, "quantised:dequantize", "quantised.h", (_INTEGERS,)),
    # To 16 bits and from them; Numba's are the next row's.
    Kernel("cast.halves", Cast, None, "cast.h", (kind("to", "from"), FLOAT)),
    Kernel("cast.brains", Cast, None, "cast.h", (kind("to", "from"), dtype("float32"))),
    Kernel("cast.sixteen", Cast, "cast:cast_sixteen", None),
    Kernel("cast.convert", Cast, "cast:convert", None),
    Kernel("integers.finish", FinishIntegers, "carry.integers:finish", None),
    Kernel("complex.take_apart", ComplexPlanes, "carry.complexes:take_apart", None),
    Kernel("complex.put_together", ComplexPlanes, "carry.complexes:put_together", None),
)  # fmt: skip
# See `ALGORITHMS` of the package.
ALGORITHMS = (
    ("ElementwiseProblem", "c numba", "pointwise", "Elementwise"),
    ("FunctionProblem", "c numba", "pointwise", "Functions"),
    ("ArithmeticProblem", "c numba", "arithmetic", "Arithmetic"),
    ("PreluProblem", "c numba", "channelwise", "Prelu"),
    ("SoftmaxProblem", "c numba", "softmax", "Softmax"),
    ("BatchNormProblem", "c numba", "norm", "BatchNorm"),
    ("GroupNormProblem", "c numba", "norm", "GroupNorm"),
    ("LayerNormProblem", "c numba", "norm", "LayerNorm"),
    ("ReduceProblem", "c numba", "reduce", "Reduce"),
    ("LocalResponseNormProblem", "c numba", "response", "LocalResponseNorm"),
    ("QuantizeProblem", "c numba", "quantised", "Quantize"),
    ("DequantizeProblem", "c numba", "quantised", "Dequantize"),
    ("CastProblem", "c", "cast", "Casts"),
)
