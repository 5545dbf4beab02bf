"""Convolution on matrix tiles: products of bf16 pieces, summed in float32."""
