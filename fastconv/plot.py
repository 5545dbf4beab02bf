"""Pictures of networks at work, by matplotlib (the extra ``fastconv[plot]``).

None of them opens a window: what is given is a figure, to be shown in a notebook or saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.arrays import as_array
from fastconv.network import Network
from fastconv.network.drawing import new_figure
from fastconv.problem.values import integer, shown

__all__ = ["feature_maps"]

# Rows where no layers are asked for.
MOST_LAYERS = 12


def feature_maps(
    network: Network, image: Any, layers: Sequence[str] | None = None, channels: int = 16
) -> Any:
    """Draw what each layer makes of an image: a row a layer, its first channels side by side.

    Parameters
    ----------
    network : Network
        Of one input.
    image : array, shape (1, C, H, W) or (C, H, W)
        As the network takes it.
    layers : sequence of str, optional
        Names of ``network.layers``. By default those that give images of more than one cell, at
        most 12 of them, spread over the network from the first to the last.
    channels : int
        How many channels of each layer are drawn, at most. Each is stretched to its own range
        from black to white.

    Returns
    -------
    matplotlib.figure.Figure
        Such as ``figure.savefig("maps.png")`` saves.

    Raises
    ------
    ValueError
        Where matplotlib is missing, for a network of several inputs, for a layer that is
        missing or gives no image, and for an image that the network does not take.
    """
    channels = integer(channels, "channels")
    if channels < 1:
        raise ValueError(f"channels must be at least 1, but got {channels}")
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, not {shown(network)}")
    if len(network.inputs) != 1:
        raise ValueError(f"feature_maps takes a network of one input, not {len(network.inputs)}")
    pixels = np.asarray(as_array(image, "image"))
    if pixels.ndim == len(network.inputs[0].shape) - 1:
        pixels = pixels[None]
    if pixels.ndim != 4 or pixels.shape[0] != 1:
        raise ValueError(f"image must have shape (C, H, W) or (1, C, H, W), not {pixels.shape}")
    maps = _maps(network, pixels, layers)
    rows = [(network.inputs[0].name, pixels), *maps.items()]
    figure = new_figure(12, 0.3 + 0.95 * len(rows))
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axis, (name, values) in zip(axes, rows, strict=True):
        count, height, width = values.shape[1:]
        axis.imshow(_strip(values[0], channels), cmap="gray", vmin=0, vmax=1, aspect="equal")
        axis.set_title(f"{name}: {count} x {height} x {width}", fontsize=8, loc="left", pad=2)
        axis.set_axis_off()
    return figure


def _maps(network: Network, pixels: Any, layers: Sequence[str] | None) -> dict[str, Any]:
    if layers is not None:
        given = network.outputs_of(layers, pixels)
        flat = [name for name, value in given.items() if np.ndim(value) != 4]
        if flat:
            raise ValueError(
                f"layer {flat[0]!r} gives no image, but shape {list(given[flat[0]].shape)}"
            )
        return given
    names = list(network.layers)
    # What holds others gives what the last of them does.
    leaves = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
    given = network.outputs_of(leaves, pixels)
    images = {k: v for k, v in given.items() if np.ndim(v) == 4 and v.shape[2] * v.shape[3] > 1}
    places = np.linspace(0, len(images) - 1, min(len(images), MOST_LAYERS)).round().astype(int)
    return {name: images[name] for name in np.array(list(images), object)[places]}


def _strip(image: Any, channels: int) -> Any:
    """Put channels side by side, each from 0 to 1, with a gap as wide as a sixteenth of them."""
    shown = np.asarray(image[:channels], np.float64)
    finite = np.where(np.isfinite(shown), shown, np.nan)
    empty = np.isnan(finite).all((1, 2), keepdims=True)
    low = np.nanmin(np.where(empty, 0, finite), (1, 2), keepdims=True)
    high = np.nanmax(np.where(empty, 0, finite), (1, 2), keepdims=True)
    scaled = np.nan_to_num((finite - low) / np.where(high > low, high - low, 1))
    count, height, width = scaled.shape
    gap = max(1, width // 16)
    strip = np.full((height, channels * (width + gap) - gap), np.nan)
    for place in range(count):
        strip[:, place * (width + gap) :][:, :width] = scaled[place]
    return strip
