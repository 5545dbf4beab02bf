"""What several commands share: the model, its input's shape, a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import numpy as np

import fastconv
from fastconv.network import Network, Port

model_argument = click.argument("model", type=click.Path(dir_okay=False))
input_shape_option = click.option(
    "--input-shape", help="Such as 1,3,224,224; default: the model's."
)

values_option = click.option(
    "--value",
    "values",
    multiple=True,
    help="An input's value that decides a branch, such as sr=16000; may be repeated.",
)

threads_option = click.option("--threads", type=click.IntRange(1), help="Threads to use.")


def use_threads(threads: int | None) -> None:
    """Take the number of ``--threads``, where it is given."""
    if threads is not None:
        fastconv.set_num_threads(threads)


def random_feeds(
    network: Network,
    input_shape: tuple[int, ...] | None,
    batch_size: int,
    values: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> list[np.ndarray[Any, Any]]:
    """Return random inputs: of the shape given, or of the network's with an open batch closed.

    ``values`` are those of some inputs by name.
    """
    rng = np.random.default_rng(0)
    feeds = []
    for port in network.inputs:
        if values and port.name in values:
            feeds.append(values[port.name])
            continue
        given = input_shape or tuple(s if isinstance(s, int) else 1 for s in port.shape)
        fixed = input_shape is not None or not port.shape or isinstance(port.shape[0], int)
        shape = given if fixed else (batch_size, *given[1:])
        feeds.append(drawn(rng, shape, port.dtype))
    return feeds


def shapes_of_inputs(network: Network, input_shape: tuple[int, ...] | None) -> Any:
    """Return ``--input-shape``, of several inputs for each whose own shape has open sizes."""
    if input_shape is None or len(network.inputs) == 1:
        return input_shape
    known = [tuple(s for s in port.shape if isinstance(s, int)) for port in network.inputs]
    pairs = zip(network.inputs, known, strict=True)
    return [sizes if len(sizes) == len(port.shape) else input_shape for port, sizes in pairs]


def read_values(
    texts: Sequence[str], ports: Sequence[Port]
) -> dict[str, np.ndarray[Any, Any]] | None:
    """Read ``--value`` options such as "sr=16000"; None: there are none.

    Raises
    ------
    ValueError
        For other texts, and for names that no input of one element has.
    """
    known = {port.name: port for port in ports}
    values = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = int(number)
        except ValueError:
            raise ValueError(f"--value takes a name and a number, not {text!r}") from None
        if name not in known or any(size != 1 for size in known[name].shape):
            single = [port.name for port in ports if all(size == 1 for size in port.shape)]
            raise ValueError(
                f"--value: no input {name!r} has one element; "
                f"there are {', '.join(single) or 'none'}"
            )
        values[name] = np.full((1,) * len(known[name].shape), value, known[name].dtype)
    return values or None


def drawn(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, limit: int | None = None
) -> np.ndarray[Any, Any]:
    """Return random values of a dtype: normal numbers, booleans, words, integers.

    Integers of 8 bits take all values, as pixels do, and those of 16 bits as many. Others are
    below ``limit``, or where there is none 0 and 1: they may be indices, lengths or masks.
    """
    if dtype == "object":
        return np.asarray(rng.choice(np.array(["a", "bc", "def", ""], object), shape), object)
    try:
        kind = np.dtype(dtype)
    except TypeError:  # a name that NumPy knows from there on
        import ml_dtypes

        kind = np.dtype(getattr(ml_dtypes, dtype))
    if kind.kind == "b":
        return np.asarray(rng.integers(0, 2, shape), kind)
    if kind.kind in "iu":
        low = -128 if kind.itemsize < 4 and kind.kind == "i" else 0
        high = low + 256 if kind.itemsize < 4 else 2
        if limit is not None:
            low, high = 0, max(1, min(limit, int(np.iinfo(kind).max)))
        return np.asarray(rng.integers(low, high, shape), kind)
    values = rng.standard_normal(shape)
    if kind.kind == "c":
        return (values + 1j * rng.standard_normal(shape)).astype(kind)
    return np.asarray(values).astype(kind)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Return aligned columns under a header; the first ``left`` of them to the left."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def read_shape(text: str | None) -> tuple[int, ...] | None:
    """Read the numbers of ``--input-shape``."""
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--input-shape takes numbers such as 1,3,224,224, not {text!r}")
    return tuple(int(part) for part in parts)


@contextmanager
def bar(title: str) -> Iterator[Any]:
    """Yield a progress callback (done, total, name): a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title)
        yield lambda done, total, name: progress.update(
            task, completed=done, total=total, description=name or title
        )
