"""Images from files, in the form that a network's input wants."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.network import Port

Array = np.ndarray[Any, Any]
CHANNELS = (1, 3, 4)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class Form:
    """What a network's image input is like, and how pixels become its numbers.

    ``size`` (height, width) None: every image keeps its own. ``scale`` None: integers are divided
    by 255 where the network takes floats, floats are taken as they are.
    """

    channels: int
    size: tuple[int, int] | None
    channels_last: bool
    dtype: str
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    crop: bool = False

    @classmethod
    def of(
        cls,
        port: Port,
        *,
        size: tuple[int, int] | None = None,
        layout: str | None = None,
        **options: Any,
    ) -> Form:
        """Read a network's input; what the caller gives goes before what the input says.

        Raises
        ------
        ValueError
            For an input that is not a batch of images, or a size that contradicts it.
        """
        if len(port.shape) != 4:
            raise ValueError(
                f"the network's input {port.name!r} has shape {list(port.shape)}: images need four "
                f"dimensions"
            )
        last = _channels_last(port, layout)
        channels = port.shape[3 if last else 1]
        sides = port.shape[1:3] if last else port.shape[2:4]
        known = tuple(s for s in sides if isinstance(s, int))
        if len(known) == 2:
            if size is not None and size != known:
                raise ValueError(
                    f"--size {size[0]}x{size[1]} contradicts the network's input, which is "
                    f"{known[0]}x{known[1]}"
                )
            size = (known[0], known[1])
        count = channels if isinstance(channels, int) else 3
        form = cls(count, size, last, port.dtype, **options)
        for name, values in (("--mean", form.mean), ("--std", form.std)):
            if len(values) not in (0, 1, count):
                raise ValueError(f"{name} needs 1 or {count} numbers, but got {len(values)}")
        return form

    def prepare(self, pixels: Array) -> Array:
        """Bring one image (height, width, channels) into the network's numbers and layout."""
        pixels = self._fit(pixels)
        if np.dtype(self.dtype).kind == "f":
            whole = pixels.dtype.kind in "iu"
            scale = self.scale if self.scale is not None else (255.0 if whole else 1.0)
            values: Array = pixels.astype(np.float32) / np.float32(scale)
            if self.mean:
                values = values - np.array(self.mean, np.float32)
            if self.std:
                values = values / np.array(self.std, np.float32)
        else:
            values = pixels
        ordered = values if self.channels_last else np.moveaxis(values, -1, 0)
        return np.ascontiguousarray(ordered.astype(self.dtype))

    def _fit(self, pixels: Array) -> Array:
        height, width, channels = pixels.shape
        if channels == self.channels and self.size in (None, (height, width)):
            return pixels
        if pixels.dtype != np.uint8:
            raise ValueError(
                f"an array of {pixels.dtype} of {height}x{width} with {channels} channels cannot "
                f"be fitted to the network's {self._wanted()}: only 8-bit images are resized"
            )
        image = _as_picture(pixels).convert(MODES[self.channels])
        if self.size is not None and self.size != (height, width):
            image = _resize(image, self.size, self.crop)
        fitted = np.asarray(image)
        return fitted[:, :, None] if fitted.ndim == 2 else fitted

    def _wanted(self) -> str:
        size = "any size" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return f"{size} with {self.channels} channels"


def read_images(paths: Sequence[str], key: str | None = None) -> Iterator[tuple[str, Array]]:
    """Yield (name, pixels of shape (height, width, channels)) of every image in the files.

    PNG, JPEG and what else Pillow reads; .npy and .npz hold one image or many.

    Raises
    ------
    ValueError
        For a file that is not an image, in one line.
    """
    for path in paths:
        if Path(path).suffix in (".npy", ".npz"):
            yield from _read_arrays(path, key)
        else:
            yield path, _read_picture(path)


def _read_picture(path: str) -> Array:
    image = _pillow()
    try:
        with image.open(path) as opened:
            opened.load()
            pixels = _pixels(_upright(opened))
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except Exception as error:  # Pillow's plugins raise what they like on a broken file
        raise ValueError(f"cannot read {path} as an image: {error}") from None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _upright(image: Any) -> Any:
    """Return a picture as it is to be seen: cameras store it turned, and say so in its EXIF."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _pixels(image: Any) -> Array:
    """Return a picture's pixels in 8 bits, those of floating-point pictures as they are."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)  # greys of 16 bits
        return ((wide * 255 + 32767) // 65535).astype(np.uint8)
    return np.asarray(image.convert(image.mode if image.mode in MODES.values() else "RGB"))


def _read_arrays(path: str, key: str | None) -> Iterator[tuple[str, Array]]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            array = loaded
        else:
            with loaded:
                array = loaded[_key(path, loaded.files, key)]
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    images = _as_images(path, array)
    for place, pixels in enumerate(images):
        yield (path if len(images) == 1 else f"{path}[{place}]"), pixels


def _key(path: str, names: Sequence[str], key: str | None) -> str:
    if key is not None:
        if key not in names:
            raise ValueError(f"there is no array {key!r}; there are {', '.join(names)}")
        return key
    if len(names) == 1:
        return names[0]
    if "images" in names:
        return "images"
    raise ValueError(f"several arrays ({', '.join(names)}): name one with --key")


def _as_images(path: str, array: Array) -> Array:
    """Return an array as (images, height, width, channels)."""
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path} holds {array.dtype}, not numbers")
    if array.ndim == 2:
        return array[None, :, :, None]
    if array.ndim == 3:
        return array[None] if array.shape[-1] in CHANNELS else array[:, :, :, None]
    if array.ndim == 4:
        if array.shape[-1] in CHANNELS:
            return array
        if array.shape[1] in CHANNELS:
            return np.moveaxis(array, 1, -1)
    raise ValueError(
        f"{path} holds an array of shape {list(array.shape)}: images are (H, W), (H, W, C), "
        f"(N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels"
    )


def _as_picture(pixels: Array) -> Any:
    return _pillow().fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels)


def _resize(image: Any, size: tuple[int, int], crop: bool) -> Any:
    """Resize with an antialiased triangle filter; ``crop`` keeps proportions and the middle."""
    height, width = size
    bilinear = _pillow().Resampling.BILINEAR
    if not crop:
        return image.resize((width, height), bilinear)
    ratio = max(width / image.width, height / image.height)
    larger = (max(width, round(image.width * ratio)), max(height, round(image.height * ratio)))
    resized = image.resize(larger, bilinear)
    left, top = (larger[0] - width) // 2, (larger[1] - height) // 2
    return resized.crop((left, top, left + width, top + height))


def _channels_last(port: Port, layout: str | None) -> bool:
    if layout is not None:
        return layout == "NHWC"
    return port.shape[1] not in CHANNELS and port.shape[3] in CHANNELS


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("reading images needs Pillow: pip install 'fastconv[onnx]'") from None
    return Image
