"""WHAT is asked: problems, validated and hashable; every size and every shape error, once."""

from fastconv.problem.activation import ACTIVATIONS, Activation
from fastconv.problem.adaptive_pool import AdaptivePoolProblem
from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.conv import ConvProblem, ConvTransposeProblem
from fastconv.problem.linear import LinearProblem
from fastconv.problem.norm import (
    BatchNormProblem,
    GroupNormProblem,
    LayerNormProblem,
    LocalResponseNormProblem,
)
from fastconv.problem.pointwise import ElementwiseProblem, PreluProblem, SoftmaxProblem
from fastconv.problem.pool import PoolProblem
from fastconv.problem.resample import InterpolateProblem, PadProblem, PixelShuffleProblem
from fastconv.problem.unfold import FoldProblem, UnfoldProblem
from fastconv.problem.unpool import MaxUnpoolProblem

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "AdaptivePoolProblem",
    "ArraySpec",
    "BatchNormProblem",
    "ConvProblem",
    "ConvTransposeProblem",
    "ElementwiseProblem",
    "FoldProblem",
    "GroupNormProblem",
    "InterpolateProblem",
    "LayerNormProblem",
    "LinearProblem",
    "LocalResponseNormProblem",
    "MaxUnpoolProblem",
    "PadProblem",
    "PixelShuffleProblem",
    "PoolProblem",
    "PreluProblem",
    "Problem",
    "Shape",
    "SoftmaxProblem",
    "UnfoldProblem",
]
