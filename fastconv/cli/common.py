"""What several commands share: the model, its input's shape, a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import numpy as np

import fastconv
from fastconv.network import Network

model_argument = click.argument("model", type=click.Path(dir_okay=False))
input_shape_option = click.option(
    "--input-shape", help="Such as 1,3,224,224; default: the model's."
)

threads_option = click.option("--threads", type=click.IntRange(1), help="Threads to use.")


def use_threads(threads: int | None) -> None:
    """Take the number of ``--threads``, where it is given."""
    if threads is not None:
        fastconv.set_num_threads(threads)


def random_feeds(
    network: Network, input_shape: tuple[int, ...] | None, batch_size: int
) -> list[np.ndarray[Any, Any]]:
    """Give random inputs: of the shape given, or of the network's with an open batch closed."""
    rng = np.random.default_rng(0)
    feeds = []
    for port in network.inputs:
        given = input_shape or tuple(s if isinstance(s, int) else 1 for s in port.shape)
        fixed = isinstance(port.shape[0], int) or input_shape is not None
        shape = given if fixed else (batch_size, *given[1:])
        feeds.append(rng.standard_normal(shape).astype(port.dtype))
    return feeds


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
    """Give a progress callback (done, total, name): a bar on stderr where that is a terminal."""
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
