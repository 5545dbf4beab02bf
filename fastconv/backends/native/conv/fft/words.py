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
# Of ``fft.filters``: taps and the spectra that they become; filters, the bytes from one to the
# next, a filter's rows and columns, bytes from row to row and from column to column, and the cells
# that dilation puts them apart; a matrix's rows and columns, and the columns up to the last tap in
# whole vectors; passes in float64; a spectrum's bytes, what spectra are scaled by, and scratch
# memory.
(FILTER_TAPS, FILTER_SPECTRA, FILTER_COUNT, FILTER_APART, FILTER_ROWS, FILTER_COLUMNS,
 FILTER_ROW_APART, FILTER_COLUMN_APART, FILTER_STEP_DOWN, FILTER_STEP_ACROSS, FILTER_LINES,
 FILTER_LENGTH, FILTER_PITCH, FILTER_DOWN, FILTER_DOWN_COUNT, FILTER_DOWN_TWIDDLES, FILTER_ACROSS,
 FILTER_ACROSS_COUNT, FILTER_ACROSS_TWIDDLES, FILTER_BYTES, FILTER_SCALE, FILTER_SCRATCH,
 FILTER_SCRATCH_STRIDE) = range(23)  # fmt: skip
