"""SciPy's filters as calls of fastconv: docs/semantics.md's table for its users, to be run.

Each function has the name, the arguments and the meaning of SciPy's, over arrays of 1 to 3
dimensions, and makes one call of fastconv's, or two where the border must be padded first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fastconv.functional as F

Array = np.ndarray[Any, Any]
Pairs = list[tuple[int, int]]

# ndimage's mode: what it is called here, and in NumPy.
MODES = {"constant": "zeros", "nearest": "replicate", "mirror": "reflect", "wrap": "circular"}
# signal.convolve2d's boundary: ndimage's mode.
BOUNDARIES = {"fill": "constant", "wrap": "wrap", "symm": "reflect"}


def filtered(
    function: Any, x: Array, weights: Array, pairs: Pairs, mode: str, cval: float, **options: Any
) -> Array:
    """Convolve or correlate an array with a border of so many cells."""
    if mode in MODES and not cval:
        options["padding_mode"] = MODES[mode]
    else:
        x, pairs = bordered(x, pairs, mode, cval), [(0, 0)] * x.ndim
    return np.asarray(function(x[None, None], weights[None, None], padding=pairs, **options)[0, 0])


def bordered(x: Array, pairs: Pairs, mode: str, cval: float = 0) -> Array:
    """Pad an array: ndimage's "reflect" repeats the edge, and is "symmetric" in NumPy alone."""
    if mode == "reflect":
        return np.pad(x, pairs, mode="symmetric")
    flat = [cells for pair in reversed(pairs) for cells in pair]
    name = MODES[mode] if mode != "constant" else "constant"
    value = cval if mode == "constant" else None
    return np.asarray(F.pad(x[None, None], flat, name, value)[0, 0])


def correlation(ndim: int) -> Any:
    """Return the correlation over so many dimensions."""
    return (F.conv1d, F.conv2d, F.conv3d)[ndim - 1]


# scipy.ndimage


def correlate(
    input: Any, weights: Any, mode: str = "reflect", cval: float = 0.0, origin: int = 0
) -> Array:
    """ndimage: a window is from k // 2 + origin cells before each place on."""
    x, w = as_floats(input, weights)
    pairs = [(k // 2 + origin, k - 1 - k // 2 - origin) for k in w.shape]
    return filtered(correlation(x.ndim), x, w, pairs, mode, cval)


def convolve(
    input: Any, weights: Any, mode: str = "reflect", cval: float = 0.0, origin: int = 0
) -> Array:
    """ndimage: with origin 0 the padding is "same", of even kernels too."""
    x, w = as_floats(input, weights)
    pairs = [((k - 1) // 2 - origin, k // 2 + origin) for k in w.shape]
    padding: Any = pairs if origin or mode not in MODES or cval else "same"
    if padding == "same":
        result = F.convolve(x[None, None], w[None, None], padding="same", padding_mode=MODES[mode])
        return np.asarray(result[0, 0])
    return filtered(F.convolve, x, w, pairs, mode, cval)


def correlate1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Array:
    x, w = as_floats(input, weights)
    return along(lambda line: correlate(line, w, mode, cval, origin), x, axis)


def convolve1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Array:
    x, w = as_floats(input, weights)
    return along(lambda line: convolve(line, w, mode, cval, origin), x, axis)


def uniform_filter(
    input: Any, size: int = 3, mode: str = "reflect", cval: float = 0.0, origin: int = 0
) -> Array:
    """A mean that counts its border: `avg_pool` with stride 1."""
    (x,) = as_floats(input)
    pairs = [(size // 2 + origin, size - 1 - size // 2 - origin)] * x.ndim
    if mode != "constant" or cval:
        x, pairs = bordered(x, pairs, mode, cval), [(0, 0)] * x.ndim
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.ndim - 1]
    return np.asarray(pool(x[None, None], size, 1, pairs)[0, 0])


def uniform_filter1d(input: Any, size: int, axis: int = -1, **options: Any) -> Array:
    return along(lambda line: uniform_filter(line, size, **options), as_floats(input)[0], axis)


def maximum_filter(
    input: Any, size: int, mode: str = "reflect", cval: float = 0.0, origin: int = 0
) -> Array:
    """`max_pool` with stride 1, whose border is never chosen: "nearest", for it adds no value."""
    x = np.asarray(input)
    pairs = [(size // 2 + origin, size - 1 - size // 2 - origin)] * x.ndim
    if mode != "nearest":
        x, pairs = bordered(x, pairs, mode, cval), [(0, 0)] * x.ndim
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 1]
    return np.asarray(pool(x[None, None], size, 1, pairs)[0, 0])


def minimum_filter(
    input: Any, size: int, mode: str = "reflect", cval: float = 0.0, origin: int = 0
) -> Array:
    return -maximum_filter(-np.asarray(input), size, mode, -cval, origin)


def maximum_filter1d(input: Any, size: int, axis: int = -1, **options: Any) -> Array:
    return along(lambda line: maximum_filter(line, size, **options), np.asarray(input), axis)


def minimum_filter1d(input: Any, size: int, axis: int = -1, **options: Any) -> Array:
    return along(lambda line: minimum_filter(line, size, **options), np.asarray(input), axis)


def gaussian_filter1d(
    input: Any, sigma: float, axis: int = -1, mode: str = "reflect", truncate: float = 4.0
) -> Array:
    x, w = as_floats(input, gaussian(sigma, truncate))
    return along(lambda line: correlate(line, w, mode), x, axis)


def gaussian_filter(
    input: Any, sigma: float, mode: str = "reflect", truncate: float = 4.0
) -> Array:
    """One call in two dimensions: outer products are found, and run as two lines."""
    x, line = as_floats(input, gaussian(sigma, truncate))
    weights = line
    for _ in range(x.ndim - 1):
        weights = np.multiply.outer(weights, line)
    return correlate(x, weights, mode)


def gaussian(sigma: float, truncate: float = 4.0) -> Array:
    """Return the weights of a Gaussian filter."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return weights / weights.sum()


# scipy.signal


def signal_convolve(in1: Any, in2: Any, mode: str = "full", **options: Any) -> Array:
    """The second is the kernel, and no larger than the first."""
    x, w = as_alike(in1, in2)
    return filtered(F.convolve, x, w, pairs_of(mode, w), "constant", 0, **options)


def signal_correlate(in1: Any, in2: Any, mode: str = "full", **options: Any) -> Array:
    """SciPy takes the kernel's conjugate."""
    x, w = as_alike(in1, np.conj(in2))
    pairs = pairs_of(mode, w)
    return filtered(correlation(x.ndim), x, w, pairs, "constant", 0, **options)


def signal_convolve2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: float = 0
) -> Array:
    x, w = as_alike(in1, in2)
    return filtered(F.convolve, x, w, pairs_of(mode, w), BOUNDARIES[boundary], fillvalue)


def signal_correlate2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: float = 0
) -> Array:
    x, w = as_alike(in1, np.conj(in2))
    pairs = [pair[::-1] for pair in pairs_of(mode, w)]
    return filtered(F.conv2d, x, w, pairs, BOUNDARIES[boundary], fillvalue)


def lfilter(b: Any, a: Any, x: Any) -> Array:
    """A filter without feedback: "causal"."""
    if np.size(a) != 1:
        raise ValueError("a filter with feedback is not a convolution")
    x, w = as_alike(x, np.asarray(b) / np.ravel(a)[0])
    return np.asarray(F.convolve(x[None, None], w[None, None], padding="causal")[0, 0])


def pairs_of(mode: str, kernel: Array) -> Pairs:
    """Return the border that signal's modes see; of an even kernel "same" has more before."""
    return {
        "full": [(k - 1, k - 1) for k in kernel.shape],
        "same": [(k // 2, (k - 1) // 2) for k in kernel.shape],
        "valid": [(0, 0) for _ in kernel.shape],
    }[mode]


# Arrays


def as_floats(*values: Any) -> tuple[Array, ...]:
    """Return arrays of one float dtype: float32 where all are, else float64."""
    arrays = [np.asarray(value) for value in values]
    single = arrays[0].dtype == np.float32
    return tuple(array.astype("f4" if single else "f8") for array in arrays)


def as_alike(first: Any, second: Any) -> tuple[Array, Array]:
    """Return two arrays of the dtype that NumPy makes of both."""
    a, b = np.asarray(first), np.asarray(second)
    dtype = np.result_type(a, b)
    return a.astype(dtype), b.astype(dtype)


def along(function: Any, x: Array, axis: int) -> Array:
    """Apply a function of lines along an axis."""
    return np.apply_along_axis(function, axis, x)
