"""Pools: windows given as tables a dimension, so that one kernel serves every rank and layout."""
