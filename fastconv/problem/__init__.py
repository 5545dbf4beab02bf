"""WHAT is asked: problems, validated and hashable; every size and every shape error, once."""

from fastconv.problem.activation import ACTIVATIONS, Activation
from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.conv import ConvProblem, ConvTransposeProblem

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "ArraySpec",
    "ConvProblem",
    "ConvTransposeProblem",
    "Problem",
    "Shape",
]
