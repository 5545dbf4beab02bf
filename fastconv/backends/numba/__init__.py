"""float32 and float64 kernels on explicit vectors, compiled by Numba for this machine."""
