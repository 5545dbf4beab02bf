"""The argument blocks of the kernels of channels-first pools."""

from __future__ import annotations

# `walk`: kernels; input and output with the bytes of a volume and of an output plane; sizes; blocks
# (rows of each and the input rows they see; of columns, see `COLUMN_BLOCK`); steps; the step
# before which an image's rows are all there, and where they are (below 0: in the input); what
# `emit` takes; scratch memory.
(FOLD_FIRST, FOLD, FOLD_ORDERED, EMIT, EMIT_ORDERED, SOURCE, VOLUME_BYTES, OUT, OUT_BYTES, WIDTH,
 OUT_DEPTH, OUT_HEIGHT, OUT_WIDTH, ROWS, ROW_TABLE, COLUMN_BLOCKS, COLUMN_TABLE, PITCH, STEPS,
 STEP_TABLE, CHECKED, CHECKED_PLACE, RESULT, WINDOWS, WINDOW_STEP, COUNTS_DOWN, COUNTS_ACROSS,
 TAPS, STRIDE, SCRATCH_BASE, SCRATCH_STRIDE) = range(31)  # fmt: skip

# A block of columns: its first output and their number, the input column of a line's first place,
# the first and the last input column that it reads.
COLUMN_BLOCK = 5

# A step: whether cells are folded for the first time; where lines are put, and the bytes between
# them; where they are folded from (below 0: the input), with the bytes of a line and of a cell;
# whether they are put where the image's columns lie in a padded line; whether to fold into what
# stands there; where its blocks' folds begin and end in the table. A fold is the first cell's
# line, the cells, the elements (0 for a block's columns), the number of lines that follow, and the
# lines from one's first cell to the next one's.
(FIRST, TARGET, TARGET_BYTES, FROM, LINE_BYTES, CELL_BYTES, INSIDE, CARRY, BLOCKS,
 STEP_WORDS) = range(10)  # fmt: skip
FOLD_WORDS = 5

# `fold`: an item is a line.
(TO, TO_STEP, CELLS_AT, CELLS_STEP, CELLS, CELL_STEP, COUNT, INTO) = range(8)

# `emit`: an item is a line, the bytes from one to the next after each address.
(LINE, LINE_STEP, RESULTS, RESULTS_STEP, FIRST_OUTPUT, OUTPUTS, FIRST_COLUMN, DOWN, ACROSS, SEEN,
 SEEN_STEP, ROW_OUTPUTS, LINE_TAPS, LINE_STRIDE) = range(14)  # fmt: skip

# Words at the start of a worker's scratch memory, for the calls of `fold` and `emit`.
CALL_WORDS = 16

# What windows are brought together as: their cells, folded ones, and folded ones without a NaN.
OPERATIONS = {
    "max": ("max", "max", "ordered max"),
    "avg": ("sum", "sum", "sum"),
    "squares": ("squares", "sum", "sum"),
    "magnitudes": ("magnitudes", "sum", "sum"),
}
# Vectors of the tile that lines are folded in.
VECTORS = 2
# Cells of a window from which on it is folded by vectors where windows differ.
LONG = 32
# Vectors that a long run of cells is summed in side by side, and cells of each before blocks are
# put together in float64.
SUMS, SUM_CELLS = 4, 32
