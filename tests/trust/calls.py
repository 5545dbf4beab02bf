"""One call of the functional API with its arrays: posed, run, and told in one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import fastconv.functional as F
from fastconv.backends.base import Algorithm
from fastconv.dispatch import algorithms
from fastconv.problem import Problem

Array = np.ndarray[Any, Any]


class Posed(Exception):
    """The problem that a call poses, and its parameters."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class Untold:
    """An array without its data: what is asked of it is caught, and not done."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def reshape(self, *shape: Any) -> Untold:
        """Return it with another shape."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return Untold(np.broadcast_to(np.empty(()), self.shape).reshape(wanted).shape, self.dtype)

    def __fastconv_record__(self, problem: Problem, *_: Any) -> Any:
        raise Posed(problem)


@dataclasses.dataclass
class Call:
    """A function's name and its arguments.

    ``whole``: the values are small integers, whatever the dtype, so that sums are exact.
    ``outer``: the weight's filters are outer products.
    """

    function: str
    arrays: dict[str, Array]
    options: dict[str, Any]
    whole: bool = False
    outer: bool = False

    @property
    def input(self) -> Array:
        return self.arrays["input"]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.input.dtype

    def problem(self) -> Problem:
        """Return the problem that is posed; a call that is refused raises what it raises."""
        arrays: dict[str, Any] = dict(self.arrays)
        arrays["input"] = Untold(self.input.shape, self.dtype)
        more = {"algorithm": "separable"} if self.outer else {}
        try:
            getattr(F, self.function)(**arrays, **self.options, **more)
        except Posed as posed:
            return posed.problem
        raise AssertionError(f"{self.function} posed no problem")

    def run(self, **more: Any) -> Any:
        """Call it."""
        return getattr(F, self.function)(**self.arrays, **(self.options | more))

    def exact(self) -> Any:
        """Return what NumPy computes in float64, complex128 or the integers themselves.

        Where cells are weighed by their distance, the weights are those of the dtype.
        """
        if self.function == "interpolate":
            return widened(self.run(backend="reference"))
        wide = {name: widened(array) for name, array in self.arrays.items()}
        options = {k: v for k, v in self.options.items() if k != "precision"}
        return dataclasses.replace(self, arrays=wide, options=options).run(backend="reference")

    def image(self, number: int) -> Call:
        """Return the call for one image of the batch alone, still as a batch."""
        alone = dict(self.arrays)
        for name in ("input", "residual", "indices"):
            if name in alone:
                alone[name] = alone[name][number : number + 1].copy()
        return dataclasses.replace(self, arrays=alone)

    def __str__(self) -> str:
        shapes = [f"{name} {tuple(a.shape)}" for name, a in self.arrays.items()]
        told = [f"{k}={v!r}" for k, v in self.options.items()]
        values = "whole numbers" if self.whole else "normal"
        return f"{self.function} {self.dtype.name} {values}: {', '.join([*shapes, *told])}"


def widened(array: Array) -> Array:
    """Return an array in the widest dtype of its kind, which the reference computes in."""
    if array.dtype.kind in "iu?":
        return array
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def able(problem: Problem) -> list[Algorithm]:
    """Return the algorithms that say they can."""
    busy = problem.without_idle()
    return [a for a in algorithms(type(problem)) if a.why_not(busy) is None]
