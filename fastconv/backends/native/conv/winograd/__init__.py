"""Winograd's minimal filtering: transforms, a GEMM a frequency, fused over blocks of tiles."""
