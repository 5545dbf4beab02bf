"""Pools as plans see them: blocks, steps, argument blocks."""
