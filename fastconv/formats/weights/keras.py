"""Keras's weights, channels last, as the arrays of a state dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastconv.arrays import Array, as_array
from fastconv.problem.values import flag, integer, is_sequence, items_of, one_of, shown


def keras_weights(
    layer: str,
    weights: Sequence[ArrayLike],
    *,
    prefix: str = "",
    scale: bool = True,
    center: bool = True,
    flattened: Sequence[int] | None = None,
) -> dict[str, Array]:
    r"""Turn one Keras layer's weights into a state dict's arrays.

    Parameters
    ----------
    layer : str
        The layer's class, and with it the order and shapes of its weights:

        - ``Conv1D``, ``Conv2D``, ``Conv3D``: kernel (\*k, in / groups, out), bias (out,)
        - ``Conv1DTranspose`` to ``Conv3DTranspose``: kernel (\*k, out, in), bias
        - ``DepthwiseConv1D``, ``DepthwiseConv2D``: kernel (\*k, in, multiplier), bias
        - ``SeparableConv1D``, ``SeparableConv2D``: the depthwise kernel, the pointwise
          (1, ..., in * multiplier, out), bias
        - ``Dense``: kernel (in, out), bias
        - ``BatchNormalization``: gamma, beta, mean, variance, each (channels,)
        - ``LayerNormalization``, ``GroupNormalization``: gamma, beta
        - ``PReLU``: alpha, shared over all but the channels

        A layer without a bias has no last array.
    weights : sequence of arrays
        What ``layer.get_weights()`` gives.
    prefix : str
        Of the names, such as ``"conv1."``.
    scale, center : bool
        Whether a normalisation has gamma, and whether it has beta, as its arguments of these names
        say; what it has not is 1, or 0.
    flattened : (\*size, channels), optional
        Of a ``Dense`` that follows a ``Flatten``: the shape that is flattened. Channels come first
        here, so that its inputs are in another order.

    Returns
    -------
    dict of str to array
        ``weight`` and ``bias``; of a normalisation over batches ``running_mean`` and
        ``running_var`` besides; of a separable convolution ``depthwise.weight``,
        ``pointwise.weight`` and ``pointwise.bias``. Convolutions' weights are (out, in / groups,
        \*k); transposed ones' (in, out, \*k); a depthwise one's (in * multiplier, 1, \*k), for
        ``groups=in``.

    Raises
    ------
    ValueError
        For a layer that is not known, another number of arrays, or another shape.

    Notes
    -----
    Keras's normalisations have ``eps=1e-3`` by default, and its ``padding="same"`` is fastconv's.
    """
    one_of(layer, tuple(LAYERS), "layer")
    if not is_sequence(weights):
        raise TypeError(f"weights must be a sequence of arrays, not {shown(weights)}")
    arrays = [np.asarray(as_array(array, "weights")) for array in items_of(weights, "weights")]
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, not {shown(prefix)}")
    scale, center = flag(scale, "scale"), flag(center, "center")
    if flattened is not None:
        if not is_sequence(flattened):
            raise TypeError(f"flattened must be a tuple of ints, not {shown(flattened)}")
        sizes = items_of(flattened, "flattened")
        flattened = tuple(integer(size, "flattened", least=1) for size in sizes)
    if flattened is not None and layer != "Dense":
        raise ValueError(f"flattened is for Dense, but got {layer}")
    options: dict[str, Any] = {}
    if layer == "Dense":
        options["flattened"] = flattened
    elif layer.endswith("Normalization"):
        options.update(scale=scale, center=center)
    found = LAYERS[layer](layer, arrays, **options)
    return {prefix + name: np.ascontiguousarray(array) for name, array in found.items()}


def _with_bias(layer: str, arrays: list[Array], kernels: int, rank: int) -> list[Array]:
    """Check numbers and ranks; give the kernels."""
    if len(arrays) not in (kernels, kernels + 1):
        raise ValueError(f"{layer} has {kernels} or {kernels + 1} arrays, but got {len(arrays)}")
    for array in arrays[:kernels]:
        if array.ndim != rank:
            raise ValueError(f"{layer} has kernels of {rank} dimensions, but got {array.shape}")
    return arrays[:kernels]


def _and_bias(
    layer: str, found: dict[str, Array], arrays: list[Array], channels: int, name: str = "bias"
) -> dict[str, Array]:
    kernels = len(found)
    if len(arrays) > kernels:
        if arrays[kernels].shape != (channels,):
            raise ValueError(
                f"{layer} has a bias of shape ({channels},), but got {arrays[kernels].shape}"
            )
        found[name] = arrays[kernels]
    return found


def _spatial(layer: str) -> int:
    return int(next(letter for letter in layer if letter.isdigit()))


def _conv(layer: str, arrays: list[Array]) -> dict[str, Array]:
    (kernel,) = _with_bias(layer, arrays, 1, _spatial(layer) + 2)
    # (*k, in, out) to (out, in, *k); a transposed one's (*k, out, in) to (in, out, *k): alike.
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    channels = kernel.shape[-2] if layer.endswith("Transpose") else kernel.shape[-1]
    return _and_bias(layer, {"weight": weight}, arrays, channels)


def _one_a_channel(kernel: Array) -> Array:
    """Return (*k, in, multiplier) as (in * multiplier, 1, *k)."""
    weight = np.moveaxis(kernel, (-2, -1), (0, 1))
    return weight.reshape(-1, 1, *kernel.shape[:-2])


def _depthwise(layer: str, arrays: list[Array]) -> dict[str, Array]:
    (kernel,) = _with_bias(layer, arrays, 1, _spatial(layer) + 2)
    weight = _one_a_channel(kernel)
    return _and_bias(layer, {"weight": weight}, arrays, weight.shape[0])


def _separable(layer: str, arrays: list[Array]) -> dict[str, Array]:
    first, second = _with_bias(layer, arrays, 2, _spatial(layer) + 2)
    depthwise = _one_a_channel(first)
    if second.shape[:-1] != (*(1,) * _spatial(layer), depthwise.shape[0]):
        raise ValueError(
            f"{layer} has a pointwise kernel over {depthwise.shape[0]} channels, but got "
            f"{second.shape}"
        )
    pointwise = np.moveaxis(second, (-1, -2), (0, 1))
    found = {"depthwise.weight": depthwise, "pointwise.weight": pointwise}
    return _and_bias(layer, found, arrays, pointwise.shape[0], "pointwise.bias")


def _dense(layer: str, arrays: list[Array], flattened: Sequence[int] | None) -> dict[str, Array]:
    (kernel,) = _with_bias(layer, arrays, 1, 2)
    weight = kernel.T
    if flattened is not None:
        shape = tuple(int(n) for n in flattened)
        if int(np.prod(shape)) != kernel.shape[0]:
            raise ValueError(f"a kernel of shape {kernel.shape} does not follow {shape} flattened")
        weight = np.moveaxis(weight.reshape(-1, *shape), -1, 1).reshape(weight.shape)
    return _and_bias(layer, {"weight": weight}, arrays, kernel.shape[1])


def _norm(layer: str, arrays: list[Array], scale: bool, center: bool) -> dict[str, Array]:
    names = [name for name, there in (("weight", scale), ("bias", center)) if there]
    names += ["running_mean", "running_var"] if layer == "BatchNormalization" else []
    if len(arrays) != len(names):
        raise ValueError(
            f"{layer} with scale={scale} and center={center} has {len(names)} arrays, but got "
            f"{len(arrays)}"
        )
    found = dict(zip(names, arrays, strict=True))
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(f"{layer} has arrays of one shape (channels,), but got {sorted(shapes)}")
    if arrays:
        found.setdefault("weight", np.ones_like(arrays[0]))
        found.setdefault("bias", np.zeros_like(arrays[0]))
    return found


def _prelu(layer: str, arrays: list[Array]) -> dict[str, Array]:
    if len(arrays) != 1 or arrays[0].size != arrays[0].shape[-1]:
        raise ValueError("PReLU has one array, shared over all axes but the channels")
    return {"weight": arrays[0].reshape(-1)}


LAYERS: dict[str, Callable[..., dict[str, Array]]] = {
    **{f"Conv{n}D": _conv for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": _conv for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": _depthwise for n in (1, 2)},
    **{f"SeparableConv{n}D": _separable for n in (1, 2)},
    "Dense": _dense,
    "BatchNormalization": _norm,
    "LayerNormalization": _norm,
    "GroupNormalization": _norm,
    "PReLU": _prelu,
}
