"""The argument block of overlap-save."""

from __future__ import annotations

# The first are those of depthwise convolution of planes, whose epilogue this is, with spectra as
# weights. Then sizes in blocks and cells; tables of the input's row, and column, that each padded
# one shows (-1: zeros); what the matrices take; the passes down and across, which are rows of a
# table, their number, and twiddle factors; the parts of a plane's filters.
(PLANES, PLANE_BYTES, WEIGHTS, BIAS, OUT, OUT_BYTES, RESIDUAL, SLOPE, LOW, HIGH, HEIGHT, WIDTH,
 MATRICES, BLOCKS, BLOCKS_ACROSS, OUTPUTS_DOWN, OUTPUTS_ACROSS, STEP_DOWN, STEP_ACROSS, ROWS,
 COLUMNS, IN_WIDTH, BEFORE, MULTIPLIER, CHANNELS, LINES, LENGTH, PITCH, MATRIX_BYTES, LINE_BYTES,
 SPECTRUM_BYTES, DOWN, DOWN_COUNT, DOWN_TWIDDLES, ACROSS, ACROSS_COUNT, ACROSS_TWIDDLES,
 SCRATCH_BASE, SCRATCH_STRIDE, PARTS) = range(40)  # fmt: skip
