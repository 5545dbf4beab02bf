"""Convolutions, all but one fed into the one GEMM."""
