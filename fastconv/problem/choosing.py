"""What is chosen among entries: the largest along an axis, boxes that do not overlap."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import axis_of, check_dtype

Outputs = tuple[tuple[Shape, np.dtype[Any]], ...]
_PLACES = np.dtype(np.int64)


@record(frozen=True)
class TopKProblem(Problem):
    """The ``count`` largest or smallest entries along an axis, and their places.

    Of equal entries the first ones win; NaN is above all numbers. ``ordered``: by size, else by
    place.
    """

    shape: Shape
    axis: int
    count: int
    largest: bool
    ordered: bool

    @classmethod
    @remembered
    def of(
        cls, input: ArraySpec, count: int, *, axis: int = -1, largest: bool = True,
        ordered: bool = True,
    ) -> TopKProblem:  # fmt: skip
        """Validate: float32 or float64, and as many entries along the axis."""
        dtype = check_dtype(input, ("float32", "float64"), "input of topk")
        shape = tuple(input.shape)
        axis = axis_of(axis, max(1, len(shape)), "axis")
        if not 0 <= count <= shape[axis]:
            raise ValueError(
                f"selected index k out of range: {count} of {shape[axis]} entries along axis {axis}"
            )
        return cls(dtype, shape, axis, count, bool(largest), bool(ordered))

    @property
    def name(self) -> str:
        return "topk"

    @property
    def input_shape(self) -> Shape:
        return self.shape

    @property
    def output_shape(self) -> Shape:
        return (*self.shape[: self.axis], self.count, *self.shape[self.axis + 1 :])

    @property
    def output_shapes(self) -> Outputs:
        """Shapes and dtypes of the values and of their places."""
        return (self.output_shape, self.dtype), (self.output_shape, _PLACES)

    @property
    def extents(self) -> tuple[int, int, int]:
        """Elements before, along and after the axis."""
        shape = self.shape
        return prod(shape[: self.axis]), shape[self.axis], prod(shape[self.axis + 1 :])


@record(frozen=True)
class NonMaxSuppressionProblem(Problem):
    """For each image and class the boxes by falling score that overlap none chosen before.

    Inputs are boxes (images, boxes, 4) by two opposite corners, or with ``centers`` by centre and
    size, and scores (images, classes, boxes), both float32; outputs are (images, classes, ``most``)
    numbers of boxes and (images, classes) how many of them there are. A box is left out where the
    area that it shares is more than ``overlap`` of both together; scores must be above ``least``.
    """

    images: int
    classes: int
    boxes: int
    most: int
    overlap: float
    least: float | None
    centers: bool

    @classmethod
    @remembered
    def of(
        cls, boxes: ArraySpec, scores: ArraySpec, most: int, *, overlap: float = 0.0,
        least: float | None = None, centers: bool = False,
    ) -> NonMaxSuppressionProblem:  # fmt: skip
        """Validate shapes and dtypes."""
        dtype = check_dtype(boxes, ("float32",), "boxes")
        check_dtype(scores, ("float32",), "scores")
        first, second = tuple(boxes.shape), tuple(scores.shape)
        if len(first) != 3 or first[2] != 4 or len(second) != 3:
            raise ValueError(
                f"boxes must be (images, boxes, 4) and scores (images, classes, boxes), but got "
                f"{list(first)} and {list(second)}"
            )
        if (first[0], first[1]) != (second[0], second[2]):
            raise ValueError(
                f"boxes of {list(first)} and scores of {list(second)} must agree in images and "
                f"boxes"
            )
        kept = max(0, min(most, first[1]))
        return cls(
            dtype, first[0], second[1], first[1], kept, float(overlap),
            None if least is None else float(least), bool(centers),
        )  # fmt: skip

    @property
    def name(self) -> str:
        return "non_max_suppression"

    @property
    def input_shape(self) -> Shape:
        return self.images, self.boxes, 4

    @property
    def output_shape(self) -> Shape:
        return self.images, self.classes, self.most

    @property
    def output_dtype(self) -> np.dtype[Any]:
        return _PLACES

    @property
    def output_shapes(self) -> Outputs:
        """Shapes and dtypes of the numbers of boxes and of how many there are."""
        return (self.output_shape, _PLACES), ((self.images, self.classes), _PLACES)


@record(frozen=True)
class RoiAlignProblem(Problem):
    """Regions of images pooled by samples between cells. He et al., Mask R-CNN, 2017.

    Inputs are images (N, C, H, W), regions (R, 4) as x1, y1, x2, y2 and the image of each in
    int64. A bin has ``ratio`` by ``ratio`` samples; 0: as many as cells, rounded up, of which
    kernels hold ``most`` rows and columns for all bins of a region. The mean of a bin's samples,
    or with ``largest`` the largest weighted cell of any.
    """

    image: Shape
    regions: int
    size: tuple[int, int]
    ratio: int
    scale: float
    half_pixel: bool
    largest: bool
    most: tuple[int, int]

    @property
    def name(self) -> str:
        return "roi_align"

    @property
    def input_shape(self) -> Shape:
        return self.image

    @property
    def output_shape(self) -> Shape:
        return (self.regions, self.image[1], *self.size)
