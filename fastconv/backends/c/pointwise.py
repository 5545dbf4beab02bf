"""Activations by the C kernels."""

from __future__ import annotations

from fastconv.backends.c import library
from fastconv.backends.native import pointwise
from fastconv.problem import ElementwiseProblem


class Elementwise(pointwise.Elementwise):
    """An activation over blocks of elements."""

    backend = "c"
    library = library

    def why_not(self, problem: ElementwiseProblem) -> str | None:
        function, _ = pointwise.kernel_of(problem.activation)
        refused = super().why_not(problem)
        if refused is not None:
            return refused
        there = library.has("pointwise.elementwise", function, problem.dtype.name, False)
        return None if there else f"{function}: the C extension has no kernel for it"
