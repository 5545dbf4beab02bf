"""What several commands share: the model, its input's shape, a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

model_argument = click.argument("model", type=click.Path(dir_okay=False))
input_shape_option = click.option(
    "--input-shape", help="Such as 1,3,224,224; default: the model's."
)


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
