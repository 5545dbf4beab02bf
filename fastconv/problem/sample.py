"""Images read at places between cells, which an input names."""

from __future__ import annotations

from math import prod

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import check_dtype, check_same_dtype, flag, integer, integers, one_of

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")
_DTYPES = ("float32", "float64")


@record(frozen=True)
class GridSampleProblem(Problem):
    """Images read where a grid says. Jaderberg et al., Spatial transformer networks, 2015.

    Inputs are images (N, C, *size) of one to three dimensions, and the grid (N, *out, n): for each
    output cell a place in each dimension, the last dimension's first, from -1 at one end of the
    image to 1 at the other. ``align_corners``: the ends are the centres of corner cells.
    """

    image: Shape
    out: Shape
    mode: str
    padding: str
    align_corners: bool

    @classmethod
    @remembered
    def of(
        cls, input: ArraySpec, grid: ArraySpec, *, mode: str = "linear", padding: str = "zeros",
        align_corners: bool = False,
    ) -> GridSampleProblem:  # fmt: skip
        """Validate shapes, options and dtypes."""
        one_of(mode, MODES, "mode")
        one_of(padding, PADDINGS, "padding_mode")
        dtype = check_dtype(input, _DTYPES, "input of grid_sample")
        check_same_dtype(input, grid, ("input", "grid"))
        image, points = tuple(input.shape), tuple(grid.shape)
        n = len(image) - 2
        if n not in (1, 2, 3) or len(points) != n + 2 or points[-1] != n:
            raise ValueError(
                f"grid_sample(): expected grid to have size {n} in last dimension, and input and "
                f"grid to have the same number of dimensions, but got input with sizes "
                f"{list(image)} and grid with sizes {list(points)}"
            )
        if image[0] != points[0]:
            raise ValueError(
                f"grid_sample(): expected grid and input to have same batch size, but got input "
                f"with sizes {list(image)} and grid with sizes {list(points)}"
            )
        if 0 in image[2:]:
            raise ValueError(
                f"grid_sample(): expected input to have non-empty spatial dimensions, but input "
                f"has sizes {list(image)}"
            )
        corners = flag(align_corners, "align_corners")
        return cls(dtype, image, points[1:-1], mode, padding, corners)

    @property
    def name(self) -> str:
        return "grid_sample"

    @property
    def n(self) -> int:
        """Number of spatial dimensions."""
        return len(self.out)

    @property
    def input_shape(self) -> Shape:
        return self.image

    @property
    def output_shape(self) -> Shape:
        return (*self.image[:2], *self.out)

    @property
    def taps(self) -> int:
        """Cells that an output cell is summed from."""
        return int({"nearest": 1, "linear": 2, "cubic": 4}[self.mode] ** self.n)

    @property
    def macs(self) -> int:
        return prod(self.output_shape) * self.taps

    @property
    def bytes(self) -> int:
        places = self.image[0] * prod(self.out) * self.n
        return (prod(self.image) + prod(self.output_shape) + places) * self.dtype.itemsize


@record(frozen=True)
class DeformProblem(Problem):
    """Windows of an image whose taps are moved by offsets: what a deformable convolution weighs.

    Dai et al., Deformable convolutional networks, 2017; with ``masked``, Zhu et al., Deformable
    ConvNets v2, 2018. Inputs are images (N, C, *size), offsets (N, groups taps n, *out) and with
    ``masked`` a factor of each tap (N, groups taps, *out); the output is (N, C, taps, *out).
    Taps between cells are interpolated linearly, those outside the image are zero.
    """

    image: Shape
    out: Shape
    kernel_size: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    groups: int
    masked: bool

    @classmethod
    @remembered
    def of(
        cls, input: ArraySpec, offset: ArraySpec, mask: ArraySpec | None, *,
        kernel_size: Shape, stride: Shape = (1,), before: Shape = (0,), dilation: Shape = (1,),
        groups: int = 1,
    ) -> DeformProblem:  # fmt: skip
        """Validate shapes and dtypes; ``before`` is the padding before each dimension."""
        dtype = check_dtype(input, _DTYPES, "input of deform_conv")
        check_same_dtype(input, offset, ("input", "offset"))
        image, moved = tuple(input.shape), tuple(offset.shape)
        n = len(image) - 2
        if n not in (1, 2, 3) or len(moved) != n + 2 or len(kernel_size) != n:
            raise ValueError(
                f"deform_conv takes images, offsets and weights of 1 to 3 spatial dimensions, but "
                f"got input {list(image)}, offset {list(moved)} and a kernel of "
                f"{list(kernel_size)}"
            )
        groups = integer(groups, "offset_group", least=1)
        taps = prod(kernel_size)
        if moved[:2] != (image[0], groups * taps * n) or image[1] % groups:
            raise ValueError(
                f"offset of deform_conv must have sizes {[image[0], groups * taps * n]} before its "
                f"spatial ones for input {list(image)}, {groups} groups and a kernel of "
                f"{list(kernel_size)}, but got {list(moved)}"
            )
        if mask is not None:
            check_same_dtype(input, mask, ("input", "mask"))
            if tuple(mask.shape) != (image[0], groups * taps, *moved[2:]):
                raise ValueError(
                    f"mask of deform_conv must be {[image[0], groups * taps, *moved[2:]]}, but "
                    f"got {list(mask.shape)}"
                )
        return cls(
            dtype, image, moved[2:], tuple(kernel_size), integers(stride, n, "stride", least=1),
            integers(dilation, n, "dilation", least=1), integers(before, n, "padding"), groups,
            mask is not None,
        )  # fmt: skip

    @property
    def name(self) -> str:
        return "deform_conv"

    @property
    def n(self) -> int:
        """Number of spatial dimensions."""
        return len(self.out)

    @property
    def input_shape(self) -> Shape:
        return self.image

    @property
    def input_size(self) -> Shape:
        """The image's size."""
        return self.image[2:]

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Cells added before the image; nothing depends on those after it."""
        return tuple((n, 0) for n in self.before)

    @property
    def output_shape(self) -> Shape:
        return (*self.image[:2], prod(self.kernel_size), *self.out)

    @property
    def taps(self) -> int:
        """Cells that an output cell is summed from."""
        return int(2**self.n)

    @property
    def macs(self) -> int:
        return prod(self.output_shape) * self.taps

    @property
    def bytes(self) -> int:
        places = self.image[0] * self.groups * prod(self.kernel_size) * prod(self.out) * self.n
        return (prod(self.image) + prod(self.output_shape) + places) * self.dtype.itemsize
