"""A model's inputs: drawn at random, or read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.cli.common import drawn
from fastconv.network import Port

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
# What integers go through on their way to a table whose rows they name.
_CARRIERS = frozenset(("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"))


def read_feeds(path: str, ports: Sequence[Port]) -> dict[str, Array]:
    """Read inputs by name from an .npz file, or the only input from an .npy file.

    Raises
    ------
    ValueError
        For a file that cannot be read, or that does not hold an array for each input.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if len(ports) != 1:
                raise ValueError(f"the model takes {len(ports)} inputs: store them in an .npz file")
            return {ports[0].name: _fed(loaded, ports[0])}
        with loaded:
            found = {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    names = {port.name for port in ports}
    if set(found) != names:
        raise ValueError(
            f"{path} must hold arrays named {', '.join(sorted(names))}, but holds "
            f"{', '.join(sorted(found)) or 'none'}"
        )
    return {port.name: _fed(found[port.name], port) for port in ports}


def _fed(array: Array, port: Port) -> Array:
    """Return strings as engines take them."""
    return array.astype(object) if port.dtype == "object" else array


def read_shapes(texts: Sequence[str], ports: Sequence[Port]) -> dict[str, Shape]:
    """Read ``--shape`` options such as "x=1x3x224x224"; "x=" is a scalar.

    Raises
    ------
    ValueError
        For other texts, names that no input has, and sizes that contradict the model.
    """
    known = {port.name: port for port in ports}
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        parts = sizes.replace(",", "x").split("x") if sizes else []
        if not equals or not all(part.strip().isdigit() for part in parts):
            raise ValueError(f"--shape takes a name and sizes such as x=1x3x224x224, not {text!r}")
        if name not in known:
            raise ValueError(f"there is no input {name!r}; there are {', '.join(known)}")
        shape = tuple(int(part) for part in parts)
        declared = known[name].shape
        if not known[name].any_rank and (
            len(shape) != len(declared)
            or any(s != d for s, d in zip(shape, declared, strict=True) if isinstance(d, int))
        ):
            raise ValueError(f"--shape {text} contradicts the model's {_shown(known[name])}")
        shapes[name] = shape
    return shapes


def draw_feeds(
    ports: Sequence[Port], shapes: Mapping[str, Shape], limits: Mapping[str, int], seed: int
) -> tuple[dict[str, Array], list[str]]:
    """Draw all inputs; return them, and the open dimensions (after the first) that became 1.

    A named dimension has the size that it has in the ``shapes`` of other inputs. ``limits`` are
    bounds that integers are to stay below, by input.

    Raises
    ------
    ValueError
        For an input that is not a tensor, or of unknown rank, and for one dimension of two sizes.
    """
    rng = np.random.default_rng(seed)
    sizes: dict[str, int] = {}
    for port in ports:
        for place, name in enumerate(port.shape):
            if port.name in shapes and isinstance(name, str):
                size = shapes[port.name][place]
                if sizes.setdefault(name, size) != size:
                    raise ValueError(f"--shape sets dimension {name!r} to {sizes[name]} and {size}")
    feeds, taken = {}, []
    for port in ports:
        if port.kind:
            raise ValueError(
                f"input {port.name!r} is {port.kind}: only tensors can be drawn or read from a file"
            )
        shape = shapes.get(port.name)
        if shape is None:
            if port.any_rank:
                raise ValueError(
                    f"input {port.name!r} has no declared shape: set one with "
                    f"--shape {port.name}=1x3x224x224"
                )
            shape = tuple(s if isinstance(s, int) else sizes.get(s or "", 1) for s in port.shape)
            taken += [
                f"{port.name}: {size or place}"
                for place, size in enumerate(port.shape)
                if place and not isinstance(size, int) and size not in sizes
            ]
        feeds[port.name] = drawn(rng, shape, port.dtype, limits.get(port.name))
    return feeds, taken


def row_limits(graph: Any, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return how many rows the tables have that inputs name rows of, by input.

    An integer input that goes to a Gather of a constant must stay below the constant's size there.
    ``shapes`` are those of constants.
    """
    source = {port.name: port.name for port in graph.input}
    limits: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in _CARRIERS and node.input and node.input[0] in source:
            source[node.output[0]] = source[node.input[0]]
        if node.op_type != "Gather" or len(node.input) < 2 or node.input[1] not in source:
            continue
        shape = shapes.get(node.input[0])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        if shape and -len(shape) <= axis < len(shape):
            name = source[node.input[1]]
            limits[name] = min(int(shape[axis]), limits.get(name, int(shape[axis])))
    return limits


def existing(path: str) -> Path:
    """Return a model's path.

    Raises
    ------
    ValueError
        For a file that is missing, or is not an ONNX model by its suffix.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file {path}")
    if file.suffix != ".onnx":
        raise ValueError(f"compare takes an ONNX model (.onnx), which others read too, not {path}")
    return file


def _shown(port: Port) -> str:
    return f"{port.name} of shape {list(port.shape)}"
