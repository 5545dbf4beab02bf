"""Kernels of convolutions that are not the GEMM alone."""

from __future__ import annotations

from fastconv.backends.manifest.schema import (
    BASIC,
    FLAG,
    FLOATS,
    Address,
    Args,
    Float,
    Int,
    Int3,
    Kernel,
    Record,
    dtype,
    kind,
    tile,
)


class Pack(Args):
    """An input copied to padded channels-last cells; steps are elements."""

    source: Address
    target: Address
    source_image: Int
    source_depth: Int
    source_row: Int
    source_pixel: Int
    source_channel: Int
    # The cells that are packed, and the input's cell that each one shows (-1: zero).
    target_depth: Int
    target_height: Int
    target_width: Int
    depths: Address
    heights: Address
    widths: Address
    channels: Int
    # Elements from cell to cell.
    pitch: Int
    # The first cell of a run of neighbours, and their number.
    run: Int
    count: Int
    # Cells of a row that a work item packs.
    part: Int


class Depthwise(Args):
    """Depthwise convolution, channels last. Sizes have three dimensions."""

    source: Address
    source_image: Int
    # Bytes of a pixel.
    pitch: Int
    weights: Address
    bias: Address
    out: Address
    out_image: Int
    out_rows: Address
    out_column: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    channels: Int
    # Lines of a work item, and outputs of a tile.
    line_block: Int
    tile_rows: Int
    kernel_size: Int3
    stride: Int3
    dilation: Int3
    # Cells of zeros before the first.
    before: Int3
    input_size: Int3
    output_size: Int3
    scratch_base: Address
    scratch_stride: Int
    column_block: Int


class Skinny(Args):
    """A GEMM of few pixels: rows are output channels, whose weights are read as they are given."""

    weights: Address
    # Lowered, and elements from a row of them to the next: see ``pitch``.
    columns: Address
    bias: Address
    out: Address
    residual: Address
    slope: Float
    low: Float
    high: Float
    # The length of a sum, output channels of a group.
    depth: Int
    channels: Int
    groups: Int
    pixels: Int
    pitch: Int
    images: Int
    # Channels and pixels of a work item.
    row_block: Int
    column_block: Int
    # Parts of the tile's rows.
    scratch_base: Address
    scratch_stride: Int

    # Elements of a row that are copied together: rows a multiple of 4 KB apart would drive each
    # other out of the first cache while a tile reads them side by side.
    CHUNK = 64


class Lower(Args):
    """Planes and the rows of cells that they are lowered to."""

    planes: Address
    lowered: Address
    # Cells of a plane, and the cell of each entry of its rows (-1: zero).
    cells: Int
    table: Address
    entries: Int
    plane_count: Int
    # Planes of a work item.
    plane_block: Int


class Lines(Args):
    """How lines of a plane are copied: see native/conv/planes.py."""

    # The input row of each padded row, and column of each place of a line; -1: zeros.
    line_rows: Address
    line_columns: Address
    line_width: Int
    line_before: Int
    line_phase: Int
    line_step: Int
    line_phases: Int
    line_by_table: Int


class DepthwisePlanar(Lines):
    """Depthwise convolution of planes."""

    planes: Address
    plane_bytes: Int
    weights: Address
    bias: Address
    out: Address
    out_bytes: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    height: Int
    width: Int
    row_block: Int
    multiplier: Int
    channels: Int
    taps_down: Int
    step_down: Int
    apart_down: Int
    taps_across: Int
    offsets: Address
    in_height: Int
    before_down: Int
    tile_rows: Int
    tile_vectors: Int
    scratch_base: Address
    scratch_stride: Int
    column_block: Int


class Planar(Lines):
    """Direct convolution of channels-first images."""

    planes: Address
    image_bytes: Int
    plane_bytes: Int
    weights: Address
    bias: Address
    out: Address
    out_image: Int
    out_plane: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    groups: Int
    in_channels: Int
    out_channels: Int
    # Elements of a sum, and where each is from an output's first.
    steps: Int
    offsets: Address
    pixels: Address
    chunk: Int
    height: Int
    width: Int
    # The number of one of CUTS, and whether windows are single cells.
    cut: Int
    single: Int
    taps_down: Int
    stride_down: Int
    apart_down: Int
    scratch_base: Address
    scratch_stride: Int
    parts: Int
    # Bytes to the panel of a block's inputs in scratch memory, -1: they are read where they are.
    panel: Int


class PlanarPixels(Record):
    """A vector of pixels: bytes to its input and to its output, lanes to store."""

    source: Int
    target: Int
    lanes: Int


class Interleaved(Args):
    """Transposed convolution of planes whose patches are stored side by side."""

    source: Address
    source_image: Int
    source_plane: Int
    weights: Address
    bias: Address
    target: Address
    out_image: Int
    out_plane: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    groups: Int
    channels: Int
    # Of a group: (channel, tap down, tap across), and taps down.
    columns: Int
    down: Int
    height: Int
    width: Int
    # Input lines of a work item.
    lines: Int
    scratch_base: Address
    scratch_stride: Int


class Fft(Args):
    """Overlap-save. The first are those of depthwise convolution of planes: its epilogue."""

    planes: Address
    plane_bytes: Int
    # Spectra.
    weights: Address
    bias: Address
    out: Address
    out_bytes: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    height: Int
    width: Int
    # Sizes in blocks and cells.
    matrices: Int
    blocks: Int
    blocks_across: Int
    outputs_down: Int
    outputs_across: Int
    step_down: Int
    step_across: Int
    # The input's row, and column, that each padded one shows (-1: zeros).
    rows: Address
    columns: Address
    in_width: Int
    before: Int
    multiplier: Int
    channels: Int
    lines: Int
    length: Int
    pitch: Int
    # What the matrices take.
    matrix_bytes: Int
    line_bytes: Int
    spectrum_bytes: Int
    # The passes down and across, which are rows of a table; their number; twiddle factors.
    down: Address
    down_count: Int
    down_twiddles: Address
    across: Address
    across_count: Int
    across_twiddles: Address
    scratch_base: Address
    scratch_stride: Int
    # Parts of a plane's filters.
    parts: Int


class FftFilters(Args):
    """Filters and the spectra that they become. Steps are bytes."""

    taps: Address
    spectra: Address
    count: Int
    # From filter to filter; a filter's rows and columns, and from one to the next.
    apart: Int
    rows: Int
    columns: Int
    row_apart: Int
    column_apart: Int
    # Cells that dilation puts them apart.
    step_down: Int
    step_across: Int
    # A matrix's rows and columns, and the columns up to the last tap in whole vectors.
    lines: Int
    length: Int
    pitch: Int
    # Passes in float64.
    down: Address
    down_count: Int
    down_twiddles: Address
    across: Address
    across_count: Int
    across_twiddles: Address
    spectrum_bytes: Int
    scale: Float
    scratch_base: Address
    scratch_stride: Int


class FftPass(Record):
    """A pass: its radix, the length that it splits, bytes to its twiddle factors."""

    radix: Int
    length: Int
    twiddles: Int


class Winograd(Args):
    """What all kernels of a filtered convolution share.

    They are compiled for as few constants as they can, and called by address: a network's many
    shapes share them. The last fields change from block to block; a worker keeps a copy of all at
    the start of its scratch memory.
    """

    # Where tiles of the packed input are: bytes; phases are 1 where the stride is.
    source: Address
    source_image: Int
    source_row: Int
    source_column: Int
    step_down: Int
    step_across: Int
    phases_down: Int
    phases_across: Int
    stride_down: Int
    stride_across: Int
    channel_blocks: Int
    # Where they are in a planar input: bytes of a plane, channels, rows, columns, padding before;
    # tiles of a run and pixels of its lines.
    source_plane: Int
    in_channels: Int
    in_height: Int
    in_width: Int
    before_down: Int
    before_across: Int
    run_tiles: Int
    run_pixels: Int
    # Sub-images of a dilated convolution, down and across, a band of their tiles, rows, columns.
    subs_down: Int
    subs_across: Int
    tiles_band: Int
    sub_height: Int
    sub_width: Int
    # Tiles: of a row of them, of an image, of all images, of a block; rows of a register tile.
    tiles_across: Int
    tiles_image: Int
    tiles: Int
    block_tiles: Int
    tile_rows: Int
    # Transformed inputs: bytes from frequency to frequency, from register tile to register tile.
    frequencies: Int
    a_frequency: Int
    a_tile: Int
    # Weights: groups, bytes to a frequency's panels and of one of them, segments of channels.
    weights: Address
    weights_group: Int
    groups: Int
    panels: Int
    panel_starts: Address
    panel_bytes: Address
    segment_starts: Address
    segment_counts: Address
    # Products: panels held at once, parts, bytes from frequency to frequency, from tile to tile.
    part_panels: Int
    parts: Int
    p_frequency: Int
    p_tile: Int
    bias: Address
    out: Address
    out_image: Int
    out_group: Int
    out_rows: Address
    out_column: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    height: Int
    width: Int
    columns: Int
    # Outputs of a tile and taps, down and across: Numba's kernels are compiled for them.
    down_outputs: Int
    down_taps: Int
    across_outputs: Int
    across_taps: Int
    # What plain sums read: the weights as they are given, their taps down and across, input and
    # output channels of one of the problem's groups, whether the input is planar.
    plain_weights: Address
    kernel_height: Int
    kernel_width: Int
    group_inputs: Int
    group_outputs: Int
    planar: Int
    # Addresses of kernels.
    input_kernel: Int
    multiply_kernel: Int
    output_kernel: Int
    # Scratch memory, and bytes from its start to the parts.
    scratch_base: Address
    scratch_stride: Int
    between: Int
    run: Int
    lines: Int
    inputs: Int
    products: Int
    # What changes: this worker's scratch memory, the block's first tile and count, group, panels.
    base: Int
    start: Int
    count: Int
    group: Int
    first_panel: Int
    last_panel: Int


_FILTERS = ("down_outputs", "across_outputs")


class ConvolveTiles(Args):
    """Convolution on matrix tiles; the layout of blocks is explained in `native.conv.tiles.layout`.

    Steps are bytes, of the input and of the output from image to image, group to group, channel to
    channel and pixel to pixel.
    """

    source: Address
    source_image: Int
    source_group: Int
    source_channel: Int
    source_pixel: Int
    # Input channels of a group; their blocks of 32, and bytes of a block's rows, to the second
    # pieces of a row, of a pixel in a row, and of the padding that is cleared first.
    channels: Int
    depth_blocks: Int
    depth_bytes: Int
    low_bytes: Int
    pixel_bytes: Int
    cleared: Int
    # Slices that blocks show (from block to block, of a block), bytes to each in a block, pixels of
    # a slice and bytes to each of a block's.
    slices: Address
    slice_step: Int
    slice_count: Int
    slice_targets: Address
    slice_pixels: Int
    pixel_targets: Address
    # Rows are `TileEdge`.
    edges: Address
    edge_count: Int
    weights: Address
    weights_group: Int
    bias: Address
    # Bytes to each chunk of a sum, and its numbers.
    chunks: Address
    chunk_count: Int
    chunk_depths: Address
    # Rows are `TileRow`; bytes from one row of a tile to the next.
    tiles: Address
    tile_count: Int
    tile_step: Int
    target: Address
    out_image: Int
    out_group: Int
    out_pixel: Int
    out_channel: Int
    # Output channels of a group.
    out_channels: Int
    residual: Address
    slope: Float
    low: Float
    high: Float
    groups: Int
    blocks: Int
    # Outputs of a block and of an image; parts of the output channels, an item each.
    block_pixels: Int
    image_pixels: Int
    parts: Int
    scratch_base: Address
    scratch_stride: Int


class TileEdge(Record):
    """A cell at the edge: bytes from its slice's start, and the slice's pixel that it shows."""

    target: Int
    source: Int


class TileRow(Record):
    """Bytes to the first pixel, which of 16 are outputs, the first one's place, and how many."""

    place: Int
    mask: Int
    out: Int
    pixels: Int


class TileWeights(Args):
    """Weights as right tiles."""

    source: Address
    target: Address
    # Elements of a column, and columns of a group.
    column: Int
    columns: Int
    # Elements of each chunk's depth, -1 for zeros.
    places: Address
    chunks: Int
    # Chunks of a work item, and elements of a column that it turns.
    part: Int
    run: Int
    scratch_base: Address
    scratch_stride: Int


# Pieces of products, and where there are kernels of them: emulated, or the processor's own.
_PIECES = (kind("bf16x3", "bf16"), dtype("float32"))
_WITH_AMX = (*BASIC, "amx")
KERNELS = (
    Kernel("pack", Pack, "conv.pack:pack", "pack.h", (tile(),)),
    Kernel("depthwise", Depthwise, "conv.depthwise:depthwise", "depthwise.h", (tile(),),
           ("kernel_size", "stride", "dilation")),
    Kernel("depthwise_planar.copied", DepthwisePlanar, "conv.depthwise_planar:depthwise_copied",
           "depthwise_planar.h", (tile(),), ("taps_down", "step_down", "apart_down", "line_step",
                                             "line_phases", "line_by_table")),
    Kernel("depthwise_planar.inside", DepthwisePlanar, "conv.depthwise_planar:depthwise_inside",
           "depthwise_planar.h", (tile(),), ("taps_down", "step_down", "apart_down")),
    Kernel("planar", Planar, "conv.planar:planar", "planar.h", (tile("planar"),),
           ("line_step", "line_phases", "line_by_table", "cut", "single")),
    Kernel("interleaved", Interleaved, None, "planar.h", (tile("interleaved"),)),
    Kernel("skinny", Skinny, "conv.skinny:skinny", "skinny.h", (tile("skinny"),)),
    Kernel("skinny.lower", Lower, "conv.skinny:lower", "skinny.h", (dtype(*FLOATS),)),
    Kernel("fft.overlap_save", Fft, "conv.fft.kernels:overlap_save", "fft.h",
           (tile(), FLAG, FLAG)),
    Kernel("fft.filters", FftFilters, "conv.fft.filters:filters", "fft.h", (tile(), FLAG)),
    Kernel("winograd.filtered", Winograd, "conv.winograd.kernels:filtered", "winograd.h"),
    Kernel("winograd.input", Winograd, "conv.winograd.kernels:transform_input", "winograd.h",
           (tile(),), _FILTERS),
    Kernel("winograd.planar_input", Winograd, "conv.winograd.planar_input:transform_planar",
           "winograd.h", (tile(),), _FILTERS),
    Kernel("winograd.multiply", Winograd, "conv.winograd.kernels:multiply", "winograd.h",
           (tile("blocks"),), ("columns",)),
    Kernel("winograd.output", Winograd, "conv.winograd.kernels:transform_output", "winograd.h",
           (tile(),), _FILTERS),
    Kernel("tiles.convolve", ConvolveTiles, None, "tiles_convolve.h", _PIECES, isas=_WITH_AMX),
    Kernel("tiles.weights", TileWeights, None, "tiles_convolve.h", _PIECES, isas=_WITH_AMX),
)  # fmt: skip
RECORDS = (FftPass, PlanarPixels, TileEdge, TileRow)
# See `ALGORITHMS` of the package.
ALGORITHMS = (
    ("ConvProblem", "c numba", "conv.direct", "Direct"),
    ("ConvProblem", "c numba", "conv.planar", "Planar"),
    ("ConvProblem", "c numba", "conv.depthwise", "Depthwise"),
    ("ConvProblem", "c numba", "conv.depthwise_planar", "DepthwisePlanar"),
    ("ConvProblem", "c numba", "conv.separable", "Separable"),
    ("ConvProblem", "c numba", "conv.fft.algorithm", "Fft"),
    ("ConvProblem", "c numba", "conv.im2col", "Im2col"),
    ("ConvProblem", "c numba", "conv.skinny", "Skinny"),
    ("ConvProblem", "c numba", "conv.winograd.algorithm", "Winograd2"),
    ("ConvProblem", "c numba", "conv.winograd.algorithm", "Winograd3"),
    ("ConvProblem", "c numba", "conv.winograd.algorithm", "Winograd4"),
    ("ConvProblem", "c numba", "conv.winograd.algorithm", "Winograd5"),
    ("ConvProblem", "c numba", "conv.winograd.algorithm", "Winograd6"),
    ("ConvProblem", "c", "conv.tiles.algorithm", "Tiles"),
    ("ConvProblem", "c", "dot", "DotConv"),
    ("ConvTransposeProblem", "c numba", "conv.transposed", "Transposed"),
    ("ConvTransposeProblem", "c", "conv.interleaved", "Interleaved"),
)
