"""The kernels of convolution by transforms of overlapping blocks."""
