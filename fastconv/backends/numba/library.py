"""The kernels that Numba compiles, by the names that plans know them by."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastconv.backends.native.tile import Tile, register_tile
from fastconv.machine import Machine

BACKEND = "numba"

# Name: module below this package and family in it.
FAMILIES = {
    "arithmetic": ("arithmetic", "arithmetic"),
    "attention": ("attention", "attention"),
    "channelwise.by_row": ("channelwise", "by_row"),
    "channelwise.by_table": ("channelwise", "by_table"),
    "depthwise": ("conv.depthwise", "depthwise"),
    "depthwise_planar.copied": ("conv.depthwise_planar", "depthwise_copied"),
    "depthwise_planar.inside": ("conv.depthwise_planar", "depthwise_inside"),
    "fft.overlap_save": ("conv.fft.kernels", "overlap_save"),
    "fold": ("unfold", "fold"),
    "gemm": ("gemm", "gemm"),
    "im2col": ("conv.im2col", "im2col_gemm"),
    "matmul": ("matmul", "matmul"),
    "matmul.pack": ("matmul", "pack"),
    "move.gather": ("move", "gather"),
    "move.permute": ("move", "permute"),
    "move.rows": ("move", "rows"),
    "move.unfold": ("unfold", "unfold"),
    "norm.combine": ("norm", "combine"),
    "norm.pixel_moments": ("norm", "pixel_moments"),
    "norm.row_moments": ("norm", "row_moments"),
    "norm.standardise": ("norm", "standardise"),
    "pack": ("conv.pack", "pack"),
    "peak.chains": ("peak", "chains"),
    "peak.read": ("peak", "read"),
    "planar": ("conv.planar", "planar"),
    "pointwise.elementwise": ("pointwise", "elementwise"),
    "pool.emit": ("pool.folds", "emit"),
    "pool.emit_windows": ("pool.folds", "emit_windows"),
    "pool.fold": ("pool.folds", "fold"),
    "pool.halving": ("pool.halving", "halving"),
    "pool.indices": ("pool.indices", "max_with_indices"),
    "pool.separable": ("pool.separable", "separable"),
    "pool.unpool": ("pool.unpool", "unpool"),
    "pool.walk": ("pool.walk", "walk"),
    "pool.weighted": ("pool.weighted", "weighted"),
    "pool.whole": ("pool.whole", "whole"),
    "pool.whole_rows": ("pool.whole", "whole_rows"),
    "quantised.dequantize": ("quantised", "dequantize"),
    "quantised.quantize": ("quantised", "quantize"),
    "recurrent.gru": ("recurrent", "gru"),
    "recurrent.lstm": ("recurrent", "lstm"),
    "recurrent.reset": ("recurrent", "reset"),
    "recurrent.rnn": ("recurrent", "rnn"),
    "resample.weigh": ("resample", "weigh"),
    "response.pixels": ("response", "response_pixels"),
    "response.planes": ("response", "response_planes"),
    "roi_align": ("regions", "roi_align"),
    "softmax.columns": ("softmax", "softmax_columns"),
    "softmax.rows": ("softmax", "softmax_rows"),
    "suppress": ("choosing", "suppress"),
    "topk": ("choosing", "topk"),
    "weights.affine": ("weights", "affine"),
    "weights.panels": ("weights", "panels"),
    "weights.repeat": ("weights", "repeat"),
    "weights.rows": ("weights", "rows"),
    "weights.winograd": ("weights", "winograd"),
    "winograd.filtered": ("conv.winograd.kernels", "filtered"),
    "winograd.input": ("conv.winograd.kernels", "transform_input"),
    "winograd.multiply": ("conv.winograd.kernels", "multiply"),
    "winograd.output": ("conv.winograd.kernels", "transform_output"),
    "winograd.planar_input": ("conv.winograd.planar_input", "transform_planar"),
}


def tile(dtype: np.dtype[Any], machine: Machine) -> Tile:
    """Give the register tile as kernels take it."""
    return register_tile(dtype, machine)


def kernel(name: str, *constants: Any) -> int:
    """Give the address of a kernel for its constants, compiled when it is not there yet."""
    module, family = FAMILIES[name]
    found = getattr(importlib.import_module(f"fastconv.backends.numba.{module}"), family)
    return int(found(*constants))


def has(name: str, *constants: Any) -> bool:
    """Tell whether there is a kernel for these constants: it can be compiled for any."""
    return name in FAMILIES


def has_tiles() -> bool:
    """Tell whether kernels of matrix tiles run on the processor's own: there are none here."""
    return False
