"""The one list of algorithms: dispatch, tests, benchmarks and the docs' tables all read it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

from fastconv.backends.base import Algorithm
from fastconv.backends.manifest import ALGORITHMS
from fastconv.problem import Problem

# (problem type, backends, module, class); those preferred come first. The algorithms on compiled
# kernels are in the manifest, next to the kernels.
ROWS: tuple[tuple[str, str, str, str], ...] = (
    *ALGORITHMS,
    ("ConvProblem", "cuda", "conv.hopper", "DirectHopper"),
    ("ConvProblem", "cuda", "conv.direct_tensor", "DirectTensor"),
    ("ConvProblem", "cuda", "conv.direct", "Direct"),
    ("ConvProblem", "cuda", "conv.depthwise", "Depthwise"),
    ("ConvProblem", "cuda", "conv.winograd", "Winograd2"),
    ("ConvProblem", "cuda", "conv.winograd", "Winograd4"),
    ("ConvProblem", "reference", "conv", "Conv"),
    ("ConvTransposeProblem", "cuda", "conv.transposed_tensor", "TransposedTensor"),
    ("ConvTransposeProblem", "cuda", "conv.transposed", "Transposed"),
    ("ConvTransposeProblem", "cuda", "conv.depthwise_transposed", "DepthwiseTransposed"),
    ("ConvTransposeProblem", "reference", "conv", "ConvTranspose"),
    ("LinearProblem", "cuda", "linear_hopper", "LinearHopper"),
    ("LinearProblem", "cuda", "linear_tensor", "LinearTensor"),
    ("LinearProblem", "cuda", "linear", "Linear"),
    ("MatmulProblem", "reference", "matmul", "Matmul"),
    ("AttentionProblem", "reference", "matmul", "Attention"),
    ("PoolProblem", "cuda", "pool_whole", "PoolWhole"),
    ("PoolProblem", "cuda", "pool", "Pool"),
    ("PoolProblem", "cuda", "pool_indices", "PoolIndices"),
    ("PoolProblem", "cuda", "pool_weighted", "PoolWeighted"),
    ("PoolProblem", "reference", "pool", "Pool"),
    ("AdaptivePoolProblem", "cuda", "pool_whole", "PoolWhole"),
    ("AdaptivePoolProblem", "cuda", "pool", "Pool"),
    ("AdaptivePoolProblem", "cuda", "pool_indices", "PoolIndices"),
    ("AdaptivePoolProblem", "reference", "pool", "Pool"),
    ("MaxUnpoolProblem", "cuda", "unpool", "Scatter"),
    ("MaxUnpoolProblem", "reference", "pool", "MaxUnpool"),
    ("ElementwiseProblem", "cuda", "pointwise", "Elementwise"),
    ("ElementwiseProblem", "reference", "pointwise", "Elementwise"),
    ("FunctionProblem", "reference", "pointwise", "Functions"),
    ("ArithmeticProblem", "cuda", "arithmetic", "Arithmetic"),
    ("ArithmeticProblem", "reference", "pointwise", "Arithmetic"),
    ("ConcatenateProblem", "cuda", "moves", "Concatenate"),
    ("ConcatenateProblem", "reference", "moves", "Concatenate"),
    ("StridedProblem", "cuda", "moves", "Strided"),
    ("StridedProblem", "reference", "moves", "Strided"),
    ("PreluProblem", "cuda", "arithmetic", "Prelu"),
    ("PreluProblem", "reference", "pointwise", "Prelu"),
    ("SoftmaxProblem", "cuda", "softmax", "Softmax"),
    ("SoftmaxProblem", "reference", "pointwise", "Softmax"),
    ("BatchNormProblem", "cuda", "norm", "BatchNorm"),
    ("BatchNormProblem", "reference", "norm", "BatchNorm"),
    ("GroupNormProblem", "cuda", "norm", "GroupNorm"),
    ("GroupNormProblem", "reference", "norm", "GroupNorm"),
    ("LayerNormProblem", "cuda", "norm", "LayerNorm"),
    ("LayerNormProblem", "reference", "norm", "LayerNorm"),
    ("LocalResponseNormProblem", "cuda", "response", "LocalResponseNorm"),
    ("LocalResponseNormProblem", "reference", "norm", "LocalResponseNorm"),
    ("LinearProblem", "reference", "linear", "Linear"),
    ("RecurrentProblem", "reference", "recurrent", "Recurrent"),
    ("PadProblem", "cuda", "resample", "Pad"),
    ("PadProblem", "reference", "resample", "Pad"),
    ("InterpolateProblem", "cuda", "resample", "Nearest"),
    ("InterpolateProblem", "cuda", "resample", "Weighted"),
    ("InterpolateProblem", "reference", "resample", "Interpolate"),
    ("PixelShuffleProblem", "cuda", "resample", "PixelShuffle"),
    ("PixelShuffleProblem", "reference", "resample", "PixelShuffle"),
    ("CastProblem", "reference", "cast", "Casts"),
    ("QuantizeProblem", "reference", "quantised", "Quantize"),
    ("DequantizeProblem", "reference", "quantised", "Dequantize"),
    ("TopKProblem", "reference", "choosing", "TopK"),
    ("NonMaxSuppressionProblem", "reference", "choosing", "NonMaxSuppression"),
    ("RoiAlignProblem", "reference", "regions", "RoiAlign"),
    ("ReduceProblem", "reference", "reduce", "Reduce"),
    ("GridSampleProblem", "reference", "sample", "GridSample"),
    ("DeformProblem", "reference", "sample", "Deform"),
    ("UnfoldProblem", "cuda", "unfold", "Unfold"),
    ("UnfoldProblem", "reference", "unfold", "Unfold"),
    ("FoldProblem", "cuda", "unfold", "Fold"),
    ("FoldProblem", "reference", "unfold", "Fold"),
)

# Backends whose algorithms are plans of `fastconv.backends.native` on kernels of their own.
LIBRARIES = ("c", "numba")

# backend: (module, class) of what carries its algorithms to dtypes that they have no kernels for.
CARRIERS: dict[str, tuple[str, str]] = {"numba": ("carry.algorithm", "Carried")}


# Backends whose arrays are elsewhere: they are taken where they are asked for, and never else.
APART = ("cuda",)


def algorithms(problem_type: type[Problem], backend: str | None = None) -> tuple[Algorithm, ...]:
    """Every algorithm for a type of problem whose backend is installed, preferred first.

    Those of a backend whose arrays are elsewhere come only where ``backend`` names it, and alone.
    """
    return _load(problem_type.__name__, backend if backend in APART else None)


@functools.cache
def _load(problem_name: str, apart: str | None) -> tuple[Algorithm, ...]:
    found = []
    for name, backends, module, cls in ROWS:
        if name != problem_name or (apart is not None) != (backends in APART):
            continue
        twin: Algorithm | None = None
        for backend in filter(backend_available, backends.split()):
            if backend in LIBRARIES:
                library = importlib.import_module(f"fastconv.backends.{backend}.library")
                algorithm = _class("native", module, cls)(library)
            else:
                algorithm = _class(backend, module, cls)()
            if backend in CARRIERS:
                algorithm = _class(backend, *CARRIERS[backend])(algorithm)
            algorithm.twin, twin = twin, algorithm
            found.append(algorithm)
    return tuple(found)


def _class(folder: str, module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"fastconv.backends.{folder}.{module}"), name)


@functools.cache
def backend_available(backend: str) -> bool:
    """Return whether what a backend needs is installed; Numba is not imported to find out."""
    return why_not_installed(backend) is None


def why_not_installed(backend: str | None) -> str | None:
    """Return what a backend needs that is missing; None: all is, or the backend is unknown.

    Whether there is a GPU is not asked: that would need its driver.
    """
    if backend == "c":
        reason: str | None = importlib.import_module("fastconv.backends.c").why_not()
        return reason
    if backend == "cuda":
        missing: str | None = importlib.import_module("fastconv.backends.cuda").why_not_compile()
        return missing
    absent = backend == "numba" and importlib.util.find_spec("numba") is None
    return "numba is not installed" if absent else None
