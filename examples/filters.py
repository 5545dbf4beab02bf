"""Edge, blur and emboss filters on a picture, each of them one convolution.

Usage: python examples/filters.py [IMAGE] [--output filters.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from scene import render

import fastconv

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Array = np.ndarray

SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def per_channel(image: Array, kernel: Array) -> Array:
    """The same kernel over every channel of a (channels, height, width) image, size kept."""
    channels, radius = len(image), kernel.shape[0] // 2
    weight = np.repeat(kernel[None, None], channels, axis=0)
    result = fastconv.conv2d(
        image[None], weight, padding=radius, groups=channels, padding_mode="reflect"
    )
    return result[0]


def edges(image: Array) -> Array:
    """The magnitude of the Sobel gradient of the luminance, scaled to 0..1."""
    grey = np.tensordot(LUMINANCE, image, axes=1)
    weight = np.stack([SOBEL_X, SOBEL_X.T])[:, None]
    across, down = fastconv.conv2d(grey[None, None], weight, padding=1, padding_mode="reflect")[0]
    magnitude = np.hypot(across, down)
    return magnitude / max(float(np.percentile(magnitude, 99.5)), 1e-6)


def gaussian(sigma: float) -> Array:
    """A square Gaussian kernel that sums to one, three sigmas wide each way."""
    steps = np.arange(-np.ceil(3 * sigma), np.ceil(3 * sigma) + 1)
    bell = np.exp(-0.5 * (steps / sigma) ** 2)
    return (np.outer(bell, bell) / bell.sum() ** 2).astype(np.float32)


def load(path: Path) -> Array:
    """A picture file as float32 (height, width, 3) with values 0..1."""
    return np.asarray(Image.open(path).convert("RGB"), np.float32) / 255


def draw(panels: dict[str, Array], output: Path) -> None:
    """The pictures two by two, each under its title."""
    height, width = next(iter(panels.values())).shape[:2]
    figure, axes = plt.subplots(
        2, 2, figsize=(10, 10 * height / width + 0.7), layout="constrained", dpi=120
    )
    for axis, (title, picture) in zip(axes.flat, panels.items(), strict=True):
        axis.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=12)
        axis.axis("off")
    figure.savefig(output)
    plt.close(figure)


def main() -> None:
    """Read or render a picture, filter it three ways and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path, help="any picture; default: a drawn scene")
    parser.add_argument("--output", type=Path, default=Path("filters.png"))
    args = parser.parse_args()

    original = load(args.image) if args.image else render()
    image = np.ascontiguousarray(original.transpose(2, 0, 1))
    panels = {
        "original": original,
        "edges (Sobel magnitude, 3x3)": edges(image),
        "blur (Gaussian, 13x13)": per_channel(image, gaussian(2.0)).transpose(1, 2, 0),
        "emboss (3x3)": per_channel(image, EMBOSS).transpose(1, 2, 0),
    }
    draw(panels, args.output)
    print(f"{args.output}: {original.shape[1]}x{original.shape[0]} picture, three filters")


if __name__ == "__main__":
    main()
