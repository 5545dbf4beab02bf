"""Convolution by discrete Fourier transforms of overlapping blocks (overlap-save)."""
