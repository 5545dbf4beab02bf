"""What is timed on a GPU: layers at several batches, in several precisions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.cases import Case, layers
from fastconv.problem import ConvProblem
from fastconv.problem.remember import Spec

BATCHES = (1, 32, 128)
# Bytes of a layer's arrays, above which a batch is left out.
MOST_BYTES = 16 << 30


@dataclasses.dataclass(frozen=True)
class Mode:
    """How products are rounded: by the arrays' dtype, or by what a call of float32 arrays allows.

    ``target`` names the row of targets that its figures are held against.
    """

    name: str
    dtype: str
    precision: str | None
    target: str


MODES = (
    Mode("fp32", "float32", None, "fp32"),
    Mode("3xtf32", "float32", "3xtf32", "3xtf32"),
    Mode("tf32", "float32", "tf32", "tf32"),
    Mode("fp16", "float16", None, "half"),
    Mode("bf16", "bfloat16", None, "half"),
)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a network at a batch, in a mode."""

    case: Case
    batch: int
    mode: Mode

    @property
    def name(self) -> str:
        """Such as "rn50.2b.3x3 x32 fp16"."""
        return f"{self.case.name} x{self.batch} {self.mode.name}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The arrays' dtype."""
        given: Any = self.mode.dtype
        if given == "bfloat16":
            import ml_dtypes

            given = ml_dtypes.bfloat16
        dtype: np.dtype[Any] = np.dtype(given)
        return dtype

    def problem(self) -> ConvProblem:
        """Return the problem, channels last."""
        _, channels, height, width = self.case.shape
        assert self.case.weight_shape is not None
        return ConvProblem.of(
            2, Spec((self.batch, height, width, channels), self.dtype),
            Spec(self.case.weight_shape, self.dtype), layout="NHWC",
            precision=self.mode.precision, **self.case.options,
        )  # fmt: skip


def selected(quick: bool = False) -> Iterator[Layer]:
    """Yield all layers to time; with ``quick`` a few, at all batches."""
    for mode in MODES:
        for case in layers():
            if quick and not case.quick:
                continue
            # One-channel layers gain nothing from tensor cores; fp32's figures stand for them.
            if mode.precision in ("tf32", "3xtf32") and case.depthwise:
                continue
            for batch in BATCHES:
                layer = Layer(case, batch, mode)
                if layer.problem().bytes <= MOST_BYTES:
                    yield layer
