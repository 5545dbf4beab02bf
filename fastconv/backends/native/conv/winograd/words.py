"""The words of the argument block that all kernels of a filtered convolution share.

The kernels are compiled apart, each for as few constants as it can, and called by address: a
network's many shapes share them. The last words change from block to block; a worker keeps a copy
of all at the start of its scratch memory.
"""

from __future__ import annotations

# Where tiles of the packed input lie: bytes; phases are 1 where the stride is.
(SOURCE, SOURCE_IMAGE, SOURCE_ROW, SOURCE_COLUMN, STEP_DOWN, STEP_ACROSS, PHASES_DOWN,
 PHASES_ACROSS, STRIDE_DOWN, STRIDE_ACROSS, CHANNEL_BLOCKS,
 # Where they lie in a planar input: bytes a plane, channels, rows, columns, padding before; tiles
 # of a run and pixels of its lines.
 SOURCE_PLANE, IN_CHANNELS, IN_HEIGHT, IN_WIDTH, BEFORE_DOWN, BEFORE_ACROSS, RUN_TILES, RUN_PIXELS,
 # Sub-images of a dilated convolution, down and across, a band of their tiles, rows and columns.
 SUBS_DOWN, SUBS_ACROSS, TILES_BAND, SUB_HEIGHT, SUB_WIDTH,
 # Tiles: of an image, of all images, of a block; rows of a register tile.
 TILES_ACROSS, TILES_IMAGE, TILES, BLOCK_TILES, TILE_ROWS,
 # Transformed inputs: bytes from frequency to frequency, and from register tile to register tile.
 FREQUENCIES, A_FREQUENCY, A_TILE,
 # Weights: groups, the bytes to a frequency's panels and of one of them, segments of channels.
 WEIGHTS, WEIGHTS_GROUP, GROUPS, PANELS, PANEL_STARTS, PANEL_BYTES, SEGMENT_STARTS, SEGMENT_COUNTS,
 # Products: panels held at once, parts, bytes from frequency to frequency and from tile to tile.
 PART_PANELS, PARTS, P_FREQUENCY, P_TILE,
 # Outputs.
 BIAS, OUT, OUT_IMAGE, OUT_GROUP, OUT_ROWS, OUT_COLUMN, RESIDUAL, SLOPE, LOW, HIGH, HEIGHT, WIDTH,
 COLUMNS,
 # Outputs of a tile and taps, down and across: Numba's kernels are made for them.
 DOWN_OUTPUTS, DOWN_TAPS, ACROSS_OUTPUTS, ACROSS_TAPS,
 # What plain sums read: the weights as they are given, their taps down and across, the input
 # channels and output channels of one of the problem's groups, whether the input is planar.
 PLAIN_WEIGHTS, KERNEL_HEIGHT, KERNEL_WIDTH, GROUP_INPUTS, GROUP_OUTPUTS, PLANAR,
 # Kernels' addresses.
 INPUT_KERNEL, MULTIPLY_KERNEL, OUTPUT_KERNEL,
 # Scratch memory: its start, bytes a worker, bytes from its start to the parts.
 SCRATCH_BASE, SCRATCH_STRIDE, BETWEEN, RUN, LINES, INPUTS, PRODUCTS,
 # What changes: this worker's scratch memory, the block's first tile and count, the group, panels.
 BASE, START, COUNT, GROUP, FIRST_PANEL, LAST_PANEL, COUNT_WORDS) = range(84)  # fmt: skip
