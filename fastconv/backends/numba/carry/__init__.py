"""What carries the float kernels to other dtypes: 16-bit floats, integers, complex numbers."""
